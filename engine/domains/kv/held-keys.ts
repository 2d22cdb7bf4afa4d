/**
 * Keys of a worker that an act over several workers holds, from its first look at them until it is over.
 *
 *   hold(act) ── … other commands and HTTP wait for what they touch of it … ── release(act) ─▶ all that wait look again
 *
 * Acts do not wait here: the gateway begins none that would meet another (act-queue.ts). While an act only reads, others may read, too.
 */
import { nameOf, type SpaceKey, type Touched } from './touched-keys.ts';

interface Hold {
  readonly isExclusive: boolean;
  readonly isEverything: boolean;
  readonly names: ReadonlySet<string>;
}

export class HeldKeys {
  /** How many commands here wrote several keys: a read that takes several turns and sees it change has seen one in part. */
  jointWrites = 0;
  readonly #holds = new Map<number, Hold>();
  #freed: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  /** False: nothing is held. Asked for each command. */
  get isBusy(): boolean {
    return this.#holds.size > 0;
  }

  /** True while the act holds anything, were it nothing but its name. */
  holds(act: number): boolean {
    return this.#holds.has(act);
  }

  hold(act: number, isExclusive: boolean, isEverything: boolean, keys: readonly SpaceKey[]): void {
    this.#holds.set(act, { isExclusive, isEverything, names: new Set(keys.map(nameOf)) });
  }

  /** Nothing, when the act holds nothing. */
  release(act: number): void {
    if (!this.#holds.delete(act)) return;
    this.#freed?.resolve();
    this.#freed = undefined;
  }

  /** True when what is touched must wait. */
  blocks({ isWrite, isEverything, keys }: Touched): boolean {
    let names: string[] | undefined;
    for (const hold of this.#holds.values()) {
      if (!hold.isExclusive && !isWrite) continue;
      if (hold.isEverything || isEverything) return true;
      names ??= keys.map(nameOf);
      if (names.some((name) => hold.names.has(name))) return true;
    }
    return false;
  }

  /** Resolves when something was released. */
  freed(): Promise<void> {
    if (this.#freed === undefined) {
      let resolve: () => void = () => {};
      const promise = new Promise<void>((settle) => {
        resolve = settle;
      });
      this.#freed = { promise, resolve };
    }
    return this.#freed.promise;
  }
}
