/**
 * The two stores that MERGE compares, behind one call per batch.
 *
 *   record-store  the product's, Merkle leaves included, with no data store below: bytes in, bytes kept
 *   map           what one writes first: key and value decoded, an object per record in a Map
 */
import { unpack } from 'msgpackr';
import { WARMED_OPS } from '../engine/domains/crdt/crdt-service.ts';
import { NullDataStore } from '../engine/storage/null-data-store.ts';
import { KIND_LWW, type RecordImage } from '../engine/storage/record.ts';
import { RecordStore } from '../engine/storage/record-store.ts';
import { Slab } from '../engine/storage/slab.ts';

export interface MergeStore {
  readonly records: number;
  /** Merges a batch and returns how many of its records were newer and are now stored. */
  merge(batch: readonly RecordImage[], nowMs: number): number;
}

interface MapRecord {
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
  readonly value: unknown;
}

class ObjectMap implements MergeStore {
  readonly #records = new Map<string, MapRecord>();

  get records(): number {
    return this.#records.size;
  }

  merge(batch: readonly RecordImage[]): number {
    let applied = 0;
    for (const image of batch) if (this.#mergeOne(image)) applied += 1;
    return applied;
  }

  #mergeOne(image: RecordImage): boolean {
    const source = Buffer.from(image.source.buffer, image.source.byteOffset, image.source.byteLength);
    const key = source.toString('latin1', image.keyStart, image.keyStart + image.keyBytes);
    const nodeId = source.toString('latin1', image.nodeStart, image.nodeStart + image.nodeBytes);
    const stored = this.#records.get(key);
    if (stored !== undefined && !isNewer(image, nodeId, stored)) return false;
    // msgpackr is many times slower on shared memory, so the value's bytes are copied out first.
    const value: unknown = unpack(Uint8Array.prototype.slice.call(source, image.valueStart, image.valueStart + image.valueBytes));
    this.#records.set(key, { millis: image.millis, counter: image.counter, nodeId, value });
    return true;
  }
}

function isNewer(image: RecordImage, nodeId: string, stored: MapRecord): boolean {
  if (image.millis !== stored.millis) return image.millis > stored.millis;
  if (image.counter !== stored.counter) return image.counter > stored.counter;
  return nodeId > stored.nodeId;
}

class ProductStore implements MergeStore {
  /** What warming has read: kept so that the reads are not optimised away. */
  touched = 0;
  readonly #store = new RecordStore({
    map: Buffer.from('bench'),
    kind: KIND_LWW,
    slab: new Slab(),
    dataStore: new NullDataStore(),
  });

  get records(): number {
    return this.#store.records;
  }

  merge(batch: readonly RecordImage[], nowMs: number): number {
    const store = this.#store;
    const appliedBefore = store.applied;
    // As a worker does it (crdt-service.ts): the memory of some records is touched before the first of them is joined.
    for (let first = 0; first < batch.length; first += WARMED_OPS) {
      const end = Math.min(batch.length, first + WARMED_OPS);
      for (let at = first; at < end; at++) this.touched ^= store.warm((batch[at] as RecordImage).keyHash);
      for (let at = first; at < end; at++) store.join(batch[at] as RecordImage, nowMs);
    }
    return store.applied - appliedBefore;
  }
}

export function mergeStore(name: 'record-store' | 'map'): MergeStore {
  return name === 'record-store' ? new ProductStore() : new ObjectMap();
}
