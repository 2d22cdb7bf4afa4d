/**
 * All live records of one map on a worker: a database or a hash as a whole, without looking up a key.
 *
 *   every record, or those of one partition (SpaceContext.only) ─ not a tombstone ─ not expired ─▶ visit
 *
 * Only a scan, which goes on where it was, walks partition by partition, from the end of each: records that are added meanwhile come
 * behind its cursor (scan.ts).
 */
import { PARTITION_COUNT } from '../../partition/hash.ts';
import { RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { GridMap } from '../crdt/map-catalogue.ts';
import { KvError } from './command.ts';
import type { SpaceContext } from './record-space.ts';
import { assertGuarded } from './refused-reply.ts';
import { AwayRecords } from './restored-values.ts';
import { FROM_END, scanCursor, scanPlace } from './scan.ts';
import { IDENTITY_BYTES_MAX, KEY_TOO_LONG, type WholeSpace } from './space.ts';

/** The map that is looked at. */
interface WholeMap {
  /** Undefined while it has no records. */
  store(): RecordStore | undefined;
  remove(key: Uint8Array): void;
}

/** Records looked at to say how many expire. */
const EXPIRING_LOOKED_MAX = 5000;
/** Keeps sums of many stamps exact: what is written within so long has stamps apart. */
const VERSION_UNIT_MS = 2 ** 32;

export class RecordWhole implements WholeSpace {
  readonly #context: SpaceContext;
  readonly #map: WholeMap;
  readonly #stored = new RecordImage();

  constructor(context: SpaceContext, map: WholeMap) {
    this.#context = context;
    this.#map = map;
  }

  get size(): number {
    this.#context.catchUp();
    const store = this.#map.store();
    return store === undefined ? 0 : store.records - store.tombstones;
  }

  get expiring(): number {
    const { size } = this;
    const store = this.#map.store();
    let expiring = 0;
    let looked = 0;
    this.#visit((ref) => {
      if (store !== undefined && !Number.isNaN(store.expiryMillis(ref))) expiring += 1;
      looked += 1;
      return looked < EXPIRING_LOOKED_MAX;
    });
    return looked === 0 ? 0 : Math.round((expiring * size) / looked);
  }

  visitAll(visit: (key: Uint8Array) => boolean): void {
    const store = this.#map.store();
    const image = this.#stored;
    this.#visit((ref) => {
      store?.read(ref, image);
      return visit(image.source.subarray(image.keyStart, image.keyStart + image.keyBytes));
    });
  }

  /** Of a few records by chance the first that is live; else the first of all. */
  random(random: number): Uint8Array | undefined {
    const store = this.#map.store();
    if (store === undefined || store.records === store.tombstones) return undefined;
    for (let at = random, step = 0; step < 32; step++, at = (at * 7919 + 0.618) % 1) {
      const ref = store.sample(at, (at * 104_729) % 1);
      if (ref === 0 || store.isTombstone(ref) || store.isExpired(ref, this.#context.nowMs)) continue;
      store.read(ref, this.#stored);
      return this.#stored.source.slice(this.#stored.keyStart, this.#stored.keyStart + this.#stored.keyBytes);
    }
    let first: Uint8Array | undefined;
    this.visitAll((key) => {
      first = key.slice();
      return false;
    });
    return first;
  }

  /** A removed record keeps its place, so the cursor meets each of them. */
  clear(): void {
    this.visitAll((key) => {
      this.#map.remove(key);
      return true;
    });
  }

  /** Throws ValueAway when values were dropped from memory. */
  assertHere(): void {
    const store = this.#map.store();
    if (store === undefined || store.evicted === 0) return;
    const away = new AwayRecords(store);
    this.#visit((ref) => away.add(ref));
    away.assertNone();
  }

  /** Throws KvError when another map does not take all that is here, ValueAway when values must be read back first. */
  assertMovable({ name, guard }: GridMap): void {
    const store = this.#map.store();
    this.assertHere();
    this.#visit((ref) => {
      store?.read(ref, this.#stored);
      if (this.#stored.keyBytes + name.length > IDENTITY_BYTES_MAX) throw new KvError(KEY_TOO_LONG);
      if (guard !== undefined) assertGuarded(guard, this.#stored);
      return true;
    });
  }

  scan(cursor: number, limit: number, visit: (key: Uint8Array) => void): number {
    const store = this.#map.store();
    const { nowMs } = this.#context;
    let { partition, position } = scanPlace(cursor);
    let looked = 0;
    for (; store !== undefined && partition < PARTITION_COUNT; partition++, position = FROM_END) {
      let at = Math.min(position, store.partitionRecords(partition));
      for (; at > 0; at--) {
        if (looked === limit) return scanCursor(partition, at);
        looked += 1;
        const ref = store.recordAt(partition, at - 1);
        if (store.isTombstone(ref) || store.isExpired(ref, nowMs)) continue;
        store.read(ref, this.#stored);
        visit(this.#stored.source.subarray(this.#stored.keyStart, this.#stored.keyStart + this.#stored.keyBytes));
      }
    }
    const next = this.#context.nextPartition();
    return next < 0 ? 0 : scanCursor(next, FROM_END);
  }

  /** For WATCH: each write makes the sum of the stamps larger. */
  get version(): string {
    const store = this.#map.store();
    let millis = 0;
    let counters = 0;
    const cursor = store?.cursor();
    for (let ref = cursor?.next() ?? 0; store !== undefined && ref !== 0; ref = cursor?.next() ?? 0) {
      store.read(ref, this.#stored);
      millis += this.#stored.millis % VERSION_UNIT_MS;
      counters += this.#stored.counter;
    }
    return `${store?.records ?? 0} ${store?.tombstones ?? 0} ${millis} ${counters}`;
  }

  #visit(visit: (ref: RecordRef) => boolean): void {
    const store = this.#map.store();
    if (store === undefined) return;
    const { only, nowMs } = this.#context;
    const cursor = store.cursor(only);
    for (let ref = cursor.next(); ref !== 0; ref = cursor.next()) {
      if (store.isTombstone(ref) || store.isExpired(ref, nowMs)) continue;
      if (!visit(ref)) return;
    }
  }
}
