/**
 * Which keys may be names of maps, for the gateway that must know where to ask: bits in memory that all threads share.
 *
 *   worker    a map is made ─▶ the bit of fnv1a(name)        gateway    key ─▶ bit 0: no map anywhere has this name
 *                                                                              1: perhaps; all workers are asked
 *
 * A map has records on several workers, and its name as a key belongs to one of them, which may have none of it. Bits are never
 * cleared: what they cost when they are wrong is time.
 */
import { assert } from '../../assert.ts';
import { fnv1aUtf8 } from '../../partition/hash.ts';

const BITS = 1 << 20;
const WORDS = BITS >>> 5;
/** The last word says whether any bit is set. */
const ANY = WORDS;

export class MapNameFilter {
  static readonly BYTES = 4 * (WORDS + 1);
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    assert(memory.byteLength === MapNameFilter.BYTES);
    this.#words = new Int32Array(memory);
  }

  add(name: Uint8Array): void {
    const hash = fnv1aUtf8(name, 0, name.length);
    Atomics.or(this.#words, (hash % BITS) >>> 5, 1 << (hash & 31));
    Atomics.store(this.#words, ANY, 1);
  }

  /** False: no map has a name with this hash. */
  mayHave(hash: number): boolean {
    const words = this.#words;
    return words[ANY] !== 0 && ((words[(hash % BITS) >>> 5] as number) & (1 << (hash & 31))) !== 0;
  }
}
