/**
 * Records as a worker gets them: packed ops in shared memory (packed-op.ts), and beside each an image of it.
 *
 *   256 × [head][key][node][value]     filled again and again; only the digits of keys, their hashes and the clocks change
 *
 * Keys are random; one record in twelve has an older clock, and loses once its key is there. A seed makes every run
 * and every variant merge the same records.
 */
import { Packr } from 'msgpackr';
import { fnv1aUtf8 } from '../engine/partition/hash.ts';
import type { RingMemory } from '../engine/protocol/envelope.ts';
import { PACKED, PACKED_SPANS_START } from '../engine/protocol/packed-op.ts';
import { RecordImage } from '../engine/storage/record.ts';

export const BATCH_RECORDS = 256;
const LOSING_ONE_IN = 12;
const SEED = 0x2545f491;

/** A small document of eight fields, 117 bytes as the TopGun client spells it. */
const VALUE = new Packr({ useRecords: false, variableMapSize: false }).pack({
  id: 'u-1234567',
  name: 'Ada Lovelace',
  email: 'ada@example.org',
  city: 'London, UK',
  age: 36,
  score: 12.5,
  active: true,
  tags: ['admin', 'beta'],
});
const KEY = Buffer.from('k-0000000');
const NODE = Buffer.from('bench-01');
const OP_BYTES = (PACKED_SPANS_START + KEY.length + NODE.length + VALUE.length + 7) & ~7;
/** Name of the map, which the first op carries behind its value. */
export const MAP = Buffer.from('b');
export const MAP_ID = 1;

export class RecordBatch {
  readonly images: RecordImage[] = [];
  /** The ops, the first of them at 0. */
  readonly memory: RingMemory;
  readonly #keys: number;
  #random = SEED;
  #millis = 1_700_000_000_000;

  constructor(keys: number) {
    this.#keys = keys;
    const buffer = new SharedArrayBuffer(BATCH_RECORDS * OP_BYTES);
    this.memory = { bytes: new Uint8Array(buffer), words: new Int32Array(buffer), floats: new Float64Array(buffer) };
    for (let place = 0; place < BATCH_RECORDS; place++) this.images.push(this.#layOut(place * OP_BYTES));
    this.memory.bytes.set(MAP, PACKED_SPANS_START + KEY.length + NODE.length + VALUE.length);
    this.memory.words[PACKED.ORDINAL_NAME_BYTES] = MAP.length << 16;
  }

  #layOut(start: number): RecordImage {
    const { bytes, words, floats } = this.memory;
    const word = start >> 2;
    const image = new RecordImage();
    image.source = bytes;
    image.keyStart = start + PACKED_SPANS_START;
    image.keyBytes = KEY.length;
    image.tagStart = image.keyStart + KEY.length;
    image.nodeStart = image.tagStart;
    image.nodeBytes = NODE.length;
    image.valueStart = image.nodeStart + NODE.length;
    image.valueBytes = VALUE.length;
    words[word + PACKED.MAP_ID] = MAP_ID;
    words[word + PACKED.ORDINAL_NAME_BYTES] = (start / OP_BYTES) | 0;
    floats[(word >> 1) + PACKED.TTL_MS_F64] = Number.NaN;
    words[word + PACKED.KEY_TAG_BYTES] = KEY.length;
    words[word + PACKED.NODE_BYTES_FLAGS] = NODE.length;
    words[word + PACKED.VALUE_BYTES] = VALUE.length;
    bytes.set(KEY, image.keyStart);
    bytes.set(NODE, image.nodeStart);
    bytes.set(VALUE, image.valueStart);
    return image;
  }

  fill(): void {
    const { bytes, words, floats } = this.memory;
    for (const image of this.images) {
      const word = (image.keyStart - PACKED_SPANS_START) >> 2;
      let key = this.#next() % this.#keys;
      for (let digit = 6; digit >= 0; digit--) {
        bytes[image.keyStart + 2 + digit] = 0x30 + (key % 10);
        key = Math.floor(key / 10);
      }
      image.keyHash = fnv1aUtf8(bytes, image.keyStart, image.keyStart + KEY.length);
      this.#millis += 1;
      image.millis = this.#next() % LOSING_ONE_IN === 0 ? 1_600_000_000_000 : this.#millis;
      words[word + PACKED.KEY_HASH] = image.keyHash;
      floats[(word >> 1) + PACKED.MILLIS_F64] = image.millis;
    }
  }

  /** Xorshift, so that every run and every variant merges the same records. */
  #next(): number {
    this.#random ^= this.#random << 13;
    this.#random ^= this.#random >>> 17;
    this.#random ^= this.#random << 5;
    return this.#random >>> 0;
  }
}
