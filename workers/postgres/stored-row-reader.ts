/**
 * Points one RecordImage at each row of a load, in the memory of the chunk it came in, and hands it on.
 *
 * Columns, in the order of `loadStatements`: kind, map, key, tag, node, value, millis, counter, ttl, tombstone,
 * provenance. The bytes of a map's name are copied only when they change from one row to the next.
 */
import { assert } from '../../engine/assert.ts';
import { fnv1aUtf8 } from '../../engine/partition/hash.ts';
import type { OnStoredRecord } from '../../engine/storage/data-store.ts';
import { KIND_COUNTER, KIND_LWW, KIND_OR, RecordImage } from '../../engine/storage/record.ts';

const KIND = 0;
const MAP = 1;
const KEY = 2;
const TAG = 3;
const NODE = 4;
const VALUE = 5;
const MILLIS = 6;
const COUNTER = 7;
const TTL = 8;
const TOMBSTONE = 9;
const PROVENANCE = 10;

export class StoredRowReader {
  readonly #onRecord: OnStoredRecord;
  readonly #image = new RecordImage();
  #map = new Uint8Array(0);
  #rowsSinceAsked = 0;

  constructor(onRecord: OnStoredRecord) {
    this.#onRecord = onRecord;
  }

  /** Rows since the last call. */
  rowsSinceAsked(): number {
    const rows = this.#rowsSinceAsked;
    this.#rowsSinceAsked = 0;
    return rows;
  }

  read(bytes: Uint8Array, view: DataView, starts: Int32Array, lengths: Int32Array): void {
    this.#rowsSinceAsked += 1;
    const image = this.#image;
    image.source = bytes;
    image.keyStart = starts[KEY] as number;
    image.keyBytes = lengths[KEY] as number;
    image.keyHash = fnv1aUtf8(bytes, image.keyStart, image.keyStart + image.keyBytes);
    image.tagStart = starts[TAG] as number;
    image.tagBytes = lengths[TAG] as number;
    image.nodeStart = starts[NODE] as number;
    image.nodeBytes = lengths[NODE] as number;
    image.tombstone = bytes[starts[TOMBSTONE] as number] === 1;
    image.valueStart = starts[VALUE] as number;
    image.valueBytes = image.tombstone ? 0 : Math.max(0, lengths[VALUE] as number);
    image.millis = view.getFloat64(starts[MILLIS] as number);
    image.counter = view.getFloat64(starts[COUNTER] as number);
    image.ttlMs = lengths[TTL] === -1 ? Number.NaN : view.getFloat64(starts[TTL] as number);
    image.provenance = provenanceOf(view.getInt16(starts[PROVENANCE] as number));
    const kind = view.getInt16(starts[KIND] as number);
    assert(kind === KIND_LWW || kind === KIND_OR || kind === KIND_COUNTER, `a stored record of kind ${kind}`);
    this.#onRecord(kind, this.#mapName(bytes, starts[MAP] as number, lengths[MAP] as number), image);
  }

  #mapName(bytes: Uint8Array, start: number, length: number): Uint8Array {
    if (!isSame(this.#map, bytes, start, length)) this.#map = Uint8Array.from(bytes.subarray(start, start + length));
    return this.#map;
  }
}

function isSame(name: Uint8Array, bytes: Uint8Array, start: number, length: number): boolean {
  if (name.length !== length) return false;
  for (let index = 0; index < length; index++) if (name[index] !== bytes[start + index]) return false;
  return true;
}

function provenanceOf(stored: number): RecordImage['provenance'] {
  return stored === 1 || stored === 2 || stored === 3 || stored === 4 ? stored : 0;
}
