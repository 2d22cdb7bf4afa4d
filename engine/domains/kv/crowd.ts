/** The new keys with one hash that one write brings together: beside those that are there, they may be ALIKE_MAX at the most. */
import { ALIKE_MAX } from '../../storage/record-store.ts';

const latin1 = new TextDecoder('latin1');

export class Crowd {
  readonly #keys: number;
  readonly #newKeys = new Map<number, Set<string>>();

  /** @param keys of the write, at the most */
  constructor(keys: number) {
    this.#keys = keys;
  }

  /**
   * False when there would be too many.
   *
   * @param alike keys that are there with this hash, and -1 when this one is
   */
  takes(keyHash: number, alike: number, source: Uint8Array, keyBytes: number): boolean {
    if (alike < 0 || alike + this.#keys <= ALIKE_MAX) return true;
    const newKeys = this.#newKeys.get(keyHash) ?? new Set<string>();
    this.#newKeys.set(keyHash, newKeys.add(latin1.decode(source.subarray(0, keyBytes))));
    return alike + newKeys.size <= ALIKE_MAX;
  }
}
