/**
 * Keeps once what workers tell many queries in bytes of their own: the long value of one row.
 *
 *   value ─ long, and equal to the last one told of such a key? ─ yes ─▶ the bytes of that one
 *
 * Only the values told last are looked at: a write is told to all queries in one go, or in a few.
 */

/** Shorter ones are not worth the look, in bytes. */
const LONG_BYTES = 1024;

export class SharedValues {
  readonly #bytesMax: number;
  /** By key, the oldest first. */
  readonly #last = new Map<string, Uint8Array>();
  #bytes = 0;

  /** @param bytesMax of the values that others are compared with; one value may exceed it. */
  constructor(bytesMax = 4 * 1024 * 1024) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes to keep in place of these: their equals, or they themselves. */
  of(key: string, value: Uint8Array): Uint8Array {
    if (value.length < LONG_BYTES) return value;
    const known = this.#last.get(key);
    if (known !== undefined) {
      if (Buffer.compare(known, value) === 0) return known;
      this.#forget(key, known);
    }
    this.#last.set(key, value);
    this.#bytes += value.length;
    for (const [oldKey, old] of this.#last) {
      if (this.#bytes <= this.#bytesMax || oldKey === key) break;
      this.#forget(oldKey, old);
    }
    return value;
  }

  #forget(key: string, value: Uint8Array): void {
    this.#last.delete(key);
    this.#bytes -= value.length;
  }
}
