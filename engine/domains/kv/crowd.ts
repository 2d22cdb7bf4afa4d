/** The new keys with one hash that one command brings together: beside those that are there, they may be ALIKE_MAX at the most. */
import type { RespCommand } from '../../protocol/resp-parser.ts';
import { ALIKE_MAX } from '../../storage/record-store.ts';

const latin1 = new TextDecoder('latin1');

export class Crowd {
  readonly #args: RespCommand;
  readonly #keys: number;
  /** Of each hash the argument that has it, or, where there are several, what they say. */
  readonly #newKeys = new Map<number, number | Set<string>>();

  /** @param keys of the command, at the most */
  constructor(args: RespCommand, keys: number) {
    this.#args = args;
    this.#keys = keys;
  }

  /**
   * False when there would be too many.
   *
   * @param alike keys that are there with the hash of this argument, and -1 when it is there itself
   */
  takes(index: number, keyHash: number, alike: number): boolean {
    if (alike < 0 || alike + this.#keys <= ALIKE_MAX) return true;
    const known = this.#newKeys.get(keyHash);
    if (known === undefined) {
      this.#newKeys.set(keyHash, index);
      return alike < ALIKE_MAX;
    }
    const keys = typeof known === 'number' ? new Set([this.#textOf(known)]) : known;
    this.#newKeys.set(keyHash, keys.add(this.#textOf(index)));
    return alike + keys.size <= ALIKE_MAX;
  }

  #textOf(index: number): string {
    return latin1.decode(this.#args.argument(index));
  }
}
