/**
 * Records as a worker gets them: bytes in shared memory, and beside them an image with the numbers.
 *
 *   256 × [key][node][value]     filled again and again; only the digits of keys and the clocks change
 *
 * Keys are random; one record in twelve has an older clock, and loses once its key is there. A seed makes every run
 * and every variant merge the same records.
 */
import { Packr } from 'msgpackr';
import { fnv1aUtf8 } from '../engine/partition/hash.ts';
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
const RECORD_BYTES = KEY.length + NODE.length + VALUE.length;

export class RecordBatch {
  readonly images: RecordImage[] = [];
  readonly #bytes = new Uint8Array(new SharedArrayBuffer(BATCH_RECORDS * RECORD_BYTES));
  readonly #keys: number;
  #random = SEED;
  #millis = 1_700_000_000_000;

  constructor(keys: number) {
    this.#keys = keys;
    for (let place = 0; place < BATCH_RECORDS; place++) this.images.push(this.#layOut(place * RECORD_BYTES));
  }

  #layOut(start: number): RecordImage {
    const image = new RecordImage();
    image.source = this.#bytes;
    image.keyStart = start;
    image.keyBytes = KEY.length;
    image.nodeStart = start + KEY.length;
    image.nodeBytes = NODE.length;
    image.valueStart = image.nodeStart + NODE.length;
    image.valueBytes = VALUE.length;
    this.#bytes.set(KEY, image.keyStart);
    this.#bytes.set(NODE, image.nodeStart);
    this.#bytes.set(VALUE, image.valueStart);
    return image;
  }

  fill(): void {
    for (const image of this.images) {
      let key = this.#next() % this.#keys;
      for (let digit = 6; digit >= 0; digit--) {
        this.#bytes[image.keyStart + 2 + digit] = 0x30 + (key % 10);
        key = Math.floor(key / 10);
      }
      image.keyHash = fnv1aUtf8(this.#bytes, image.keyStart, image.keyStart + KEY.length);
      this.#millis += 1;
      image.millis = this.#next() % LOSING_ONE_IN === 0 ? 1_600_000_000_000 : this.#millis;
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
