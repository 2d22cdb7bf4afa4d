/**
 * The two stores that MERGE compares, behind one call per batch.
 *
 *   record-store  the product's, as a worker uses it, Merkle leaves included, with no data store below: packed ops in, bytes kept
 *   map           what one writes first: key and value decoded, an object per record in a Map
 */
import { unpack } from 'msgpackr';
import { ChangeEvents } from '../engine/domains/crdt/change-events.ts';
import { CrdtService } from '../engine/domains/crdt/crdt-service.ts';
import { MapCatalogue } from '../engine/domains/crdt/map-catalogue.ts';
import { Rejections } from '../engine/domains/crdt/rejections.ts';
import { NullDataStore } from '../engine/storage/null-data-store.ts';
import { KIND_LWW, type RecordImage } from '../engine/storage/record.ts';
import { RecordStore } from '../engine/storage/record-store.ts';
import { Slab } from '../engine/storage/slab.ts';
import { loadMergeKernel } from '../workers/kernel-file.ts';
import { MAP, type RecordBatch } from './merge-batch.ts';

const KERNEL_MEMORY_BYTES = 2 ** 32;

export interface MergeStore {
  readonly records: number;
  /** Merges a batch and returns how many of its records were newer and are now stored. */
  merge(batch: RecordBatch, nowMs: number): number;
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

  merge({ images }: RecordBatch): number {
    let applied = 0;
    for (const image of images) if (this.#mergeOne(image)) applied += 1;
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
  readonly #kernel = loadMergeKernel(KERNEL_MEMORY_BYTES);
  readonly #slab = new Slab(this.#kernel?.memory);
  readonly #maps = new MapCatalogue(
    (map, kind) => new RecordStore({ map, kind, slab: this.#slab, dataStore: new NullDataStore() }),
    1,
  );
  readonly #crdt = new CrdtService({
    maps: this.#maps,
    changes: new ChangeEvents(1, { broadcastSessions: () => 0 }),
    nodeId: Buffer.from('bench'),
    pruneWatermarkMs: () => 0,
    onDeadLetter: () => {},
    kernel: this.#kernel,
  });
  readonly #rejections = new Rejections();

  get records(): number {
    return this.#store?.records ?? 0;
  }

  merge({ memory, images }: RecordBatch, nowMs: number): number {
    const appliedBefore = this.#store?.applied ?? 0;
    this.#crdt.applyOps(memory, 0, images.length, 0, 0, nowMs, this.#rejections);
    return (this.#store?.applied ?? 0) - appliedBefore;
  }

  get #store(): RecordStore | undefined {
    return this.#maps.find(MAP)?.existing(KIND_LWW);
  }
}

export function mergeStore(name: 'record-store' | 'map'): MergeStore {
  return name === 'record-store' ? new ProductStore() : new ObjectMap();
}
