/**
 * Names under which a database has no string, so that a command on a hash need not ask the owner of its name.
 *
 *   HSET h f v   h and f have one owner ─▶ it sees both              not known ─▶ an act that both owners take part in
 *                h is known             ─▶ the owner of f alone                   └─ no string there: known from now on
 *
 * Only names of maps are known: a string command on such a name is an act of this door, which forgets it before it looks. What browsers
 * and HTTP write into the map of a database under the name of another map is not seen here.
 */
import { nameOf, type SpaceKey } from '../../engine/domains/kv/touched-keys.ts';

export class KnownHashes {
  readonly #names = new Set<string>();
  readonly #namesMax: number;

  constructor(namesMax: number) {
    this.#namesMax = namesMax;
  }

  has(key: SpaceKey): boolean {
    return this.#names.size > 0 && this.#names.has(nameOf(key));
  }

  /** The oldest name makes room. */
  add(key: SpaceKey): void {
    const [oldest] = this.#names.size >= this.#namesMax ? this.#names : [];
    if (oldest !== undefined) this.#names.delete(oldest);
    this.#names.add(nameOf(key));
  }

  forget(keys: readonly SpaceKey[]): void {
    if (this.#names.size > 0) for (const key of keys) this.#names.delete(nameOf(key));
  }

  forgetAll(): void {
    this.#names.clear();
  }
}
