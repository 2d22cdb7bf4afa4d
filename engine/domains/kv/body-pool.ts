/**
 * Memory for answers that live until their batch is over: cut from one array after another, so that few are made.
 *
 *   bytes   [answer][answer][answer]│ free          a new array when there is no room; the old one goes with its last answer
 *
 * What was cut is never given out again, so an answer may also live longer.
 */

const POOL_BYTES = 16 * 1024;
/** Larger answers have an array of their own: a small one does not keep much. */
const CUT_BYTES_MAX = POOL_BYTES / 4;

export class BodyPool {
  /** Where the last answer was cut from, in bytes and words. */
  bytes = new Uint8Array(POOL_BYTES);
  words = new Int32Array(this.bytes.buffer);
  #free = 0;

  /** Cuts so many bytes; answers where they begin in `bytes`, on a word. */
  cut(bytes: number): number {
    const isLarge = bytes > CUT_BYTES_MAX;
    if (isLarge || this.#free + bytes > this.bytes.length) {
      this.bytes = new Uint8Array(isLarge ? (bytes + 3) & ~3 : POOL_BYTES);
      this.words = new Int32Array(this.bytes.buffer);
      this.#free = 0;
    }
    const at = this.#free;
    this.#free = (at + bytes + 3) & ~3;
    return at;
  }
}
