/**
 * Keeps a worker's records within their memory by dropping values that the data store has.
 *
 *   0 ───────────────── 85 % ── 90 % ──────── bound
 *                         │       │             └ refused: OUT_OF_MEMORY, once nothing is left to drop
 *                         │       └ a rhythm begins to drop, a slice of records at a time
 *                         └ and ends here
 *
 * What counts is the slab's blocks in use and what its segments exceed the bound by. Free blocks are room: the slab cuts and
 * joins them (slab.ts), and makes no segment beyond the bound while one of them can serve. The bound is what the slab may
 * reserve; the rest of a worker's share (indexes, staging, heap) is measured and taken off before (workers/worker-memory.ts).
 *
 * Who goes first is found by sampling, as Redis does it: the best few of the records that were looked at wait in a pool,
 * each round adds some and drops the best. It needs no list of all records and comes close to the true order. When nearly
 * all is staged or dropped already and samples find nothing, a cursor walks on until it meets something to drop.
 *
 *   lru   the record whose last read or write is longest ago
 *   lfu   the one with the fewest reads and writes, divided by the minutes since the last one (ageing)
 *   none  nothing is dropped: writes are refused
 *
 * Only values of records that are not staged go (evicted-value.ts). Source: Redis, evict.c.
 */
import { assert } from '../assert.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import { droppableBytes, dropValue } from './evicted-value.ts';
import type { RecordStore } from './record-store.ts';
import type { Slab } from './slab.ts';
import type { RecordCursor, RecordMeta, RecordRef } from './storage.ts';

export type EvictionPolicy = 'lru' | 'lfu' | 'none';

export interface EvictionOptions {
  readonly slab: Slab;
  /** Every store of the worker. */
  readonly stores: () => Iterable<RecordStore>;
  /** Must be `none` when there is no data store to read values back from. */
  readonly policy: EvictionPolicy;
  /** From [0, 1). */
  readonly random: () => number;
  /** Room that a write must leave, for what comes with it (rounding, indexes that double). Default 4 MiB, at most 1/16 of the bound. */
  readonly headroomBytes?: number;
}

const HIGH_WATER = 0.9;
const LOW_WATER = 0.85;
const HEADROOM_BYTES = 4 * 1024 * 1024;
const HEADROOM_SHARE = 1 / 16;
/** Blocks are rounded up by an eighth at most. */
const ROUNDING = 9 / 8;
const SLICE_RECORDS = 250;
/** Records dropped for each one that a load brings while memory is short. */
const RELIEF_RECORDS = 4;
/** Records brought by a load before it is looked again for what to drop, once nothing was found. */
const RELIEFS_IN_VAIN = 4096;
const SAMPLES = 5;
const POOL_MAX = 16;
/** Rounds of samples without a find before the cursor is asked. */
const ROUNDS_MAX = 8;
/** Records that the cursor looks at in one go: some milliseconds. */
const SWEPT_MAX = 20_000;

interface Candidate {
  store: RecordStore;
  ref: RecordRef;
  /** The highest goes first. */
  score: number;
}

export class Eviction {
  /** Values dropped. */
  evicted = 0;
  /** Writes refused for want of memory. */
  refusals = 0;
  readonly #slab: Slab;
  readonly #stores: EvictionOptions['stores'];
  readonly #policy: EvictionPolicy;
  readonly #random: () => number;
  readonly #headroomBytes: number;
  readonly #meta: RecordMeta = { version: 0, createdS: 0, updatedS: 0, accessedS: 0, hits: 0, costBytes: 0 };
  readonly #pool: Candidate[] = [];
  /** Stores as of the slice at hand, with the number of records up to and with each. */
  #sampled: RecordStore[] = [];
  #counts: number[] = [];
  #sweepStores: RecordStore[] = [];
  #sweepStore: RecordStore | undefined;
  #sweep: RecordCursor | undefined;
  #boundBytes = Number.POSITIVE_INFINITY;
  #nowS = 0;
  /** Nothing was found to drop; asked again on the next slice of the rhythm. */
  #exhausted = false;
  /** Reliefs left out since then. */
  #reliefs = 0;

  constructor(options: EvictionOptions) {
    this.#slab = options.slab;
    this.#stores = options.stores;
    this.#policy = options.policy;
    this.#random = options.random;
    this.#headroomBytes = options.headroomBytes ?? HEADROOM_BYTES;
  }

  /** Sets what the records may take, and with it what the slab may reserve. May change at any time. */
  setBound(bytes: number): void {
    assert(bytes > 0, `a bound of ${bytes} bytes`);
    this.#boundBytes = bytes;
    this.#slab.reservedBytesMax = bytes;
  }

  get boundBytes(): number {
    return this.#boundBytes;
  }

  /** Blocks in use, and segments beyond the bound. */
  get usedBytes(): number {
    return this.#slab.usedBytes + Math.max(0, this.#slab.reservedBytes - this.#boundBytes);
  }

  /** True when a value of this size can be kept without others having to go for it. */
  hasRoomFor(bytes: number): boolean {
    return this.usedBytes + bytes <= this.#boundBytes * LOW_WATER;
  }

  /** True when values have to be dropped. */
  get isShort(): boolean {
    return this.usedBytes > this.#boundBytes * HIGH_WATER;
  }

  /** A slice of the rhythm: drops up to `recordsMax` values while the high water is passed, down to the low water. */
  run(nowMs: number, recordsMax: number = SLICE_RECORDS): 'done' | 'more' {
    this.#nowS = nowMs / 1000;
    this.#exhausted = false;
    if (!this.isShort && !this.#isFalling) return 'done';
    this.#isFalling = this.#drop(this.#boundBytes * LOW_WATER, recordsMax);
    return this.#isFalling ? 'more' : 'done';
  }

  /** The low water is not reached yet. */
  #isFalling = false;

  /** Called for each record that a load brings: what does not fit goes at once, so that no amount of data keeps a server from starting. */
  relieve(nowMs: number): void {
    if (!this.isShort) return;
    if (this.#exhausted && ++this.#reliefs < RELIEFS_IN_VAIN) return;
    this.#reliefs = 0;
    this.#exhausted = false;
    this.#nowS = nowMs / 1000;
    this.#drop(this.#boundBytes * HIGH_WATER, RELIEF_RECORDS);
  }

  /**
   * Why a write of this size is refused now; undefined when there is room, or room could be made by dropping values at once.
   * To be asked before a merge: afterwards memory is taken whatever it costs.
   */
  refusalOf(bytes: number): ErrorCode | undefined {
    const bound = this.#boundBytes;
    const needed = bytes * ROUNDING + Math.min(this.#headroomBytes, bound * HEADROOM_SHARE);
    if (this.usedBytes + needed <= bound) return undefined;
    if (!this.#exhausted) this.#drop(bound - needed, Number.POSITIVE_INFINITY);
    if (this.usedBytes + needed <= bound) return undefined;
    this.refusals += 1;
    return 'OUT_OF_MEMORY';
  }

  /** Drops values until `usedBytes` is at most `targetBytes`. True when there is more to do, and something to do it with. */
  #drop(targetBytes: number, recordsMax: number): boolean {
    if (this.#policy === 'none') return false;
    this.#prepare();
    for (let dropped = 0; this.usedBytes > targetBytes; dropped++) {
      if (dropped >= recordsMax) return true;
      if (!this.#dropOne()) {
        this.#exhausted = true;
        return false;
      }
    }
    return false;
  }

  /** Notes the stores to sample from. References in the pool are of the last slice: what they name may have changed since. */
  #prepare(): void {
    this.#pool.length = 0;
    this.#sampled = [];
    this.#counts = [];
    let records = 0;
    for (const store of this.#stores()) {
      const valued = store.records - store.tombstones - store.evicted;
      if (valued <= 0) continue;
      records += valued;
      this.#sampled.push(store);
      this.#counts.push(records);
    }
  }

  #dropOne(): boolean {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      for (let sample = 0; sample < SAMPLES; sample++) this.#sample();
      const best = this.#pool.pop();
      if (best === undefined) continue;
      this.#dropValue(best.store, best.ref);
      return true;
    }
    return this.#sweepOne();
  }

  #dropValue(store: RecordStore, ref: RecordRef): void {
    dropValue(store, ref);
    this.evicted += 1;
  }

  /** Looks at a record chosen at random, and keeps it in mind if it is among the best to drop. */
  #sample(): void {
    const records = this.#counts.at(-1);
    if (records === undefined) return;
    const wanted = this.#random() * records;
    let index = 0;
    while ((this.#counts[index] as number) <= wanted) index += 1;
    const store = this.#sampled[index] as RecordStore;
    const ref = store.sample(this.#random(), this.#random());
    if (ref === 0 || droppableBytes(store, ref) === 0 || this.#pool.some((other) => other.ref === ref)) return;
    const score = this.#score(store, ref);
    const first = this.#pool[0];
    if (this.#pool.length === POOL_MAX && first !== undefined && score <= first.score) return;
    let at = this.#pool.length;
    while (at > 0 && (this.#pool[at - 1] as Candidate).score > score) at -= 1;
    this.#pool.splice(at, 0, { store, ref, score });
    if (this.#pool.length > POOL_MAX) this.#pool.shift();
  }

  #score(store: RecordStore, ref: RecordRef): number {
    const meta = this.#meta;
    store.meta(ref, meta);
    const usedS = Math.max(meta.accessedS, meta.updatedS);
    if (this.#policy === 'lru') return -usedS;
    const idleMinutes = Math.max(0, this.#nowS - usedS) / 60;
    return -(meta.hits + meta.version) / (1 + idleMinutes);
  }

  /** Drops the next value behind the cursor. False when there was none within reach. */
  #sweepOne(): boolean {
    let ends = 0;
    for (let swept = 0; swept < SWEPT_MAX; swept++) {
      const ref = this.#sweep?.next() ?? 0;
      if (ref === 0) {
        if (!this.#nextSweep() && ++ends === 2) return false;
        continue;
      }
      const store = this.#sweepStore;
      if (store === undefined || droppableBytes(store, ref) === 0) continue;
      this.#dropValue(store, ref);
      return true;
    }
    return false;
  }

  /** Goes on to the next store; false at the end of all of them, from where it begins anew. */
  #nextSweep(): boolean {
    this.#sweepStore = this.#sweepStores.shift();
    this.#sweep = this.#sweepStore?.cursor();
    if (this.#sweepStore !== undefined) return true;
    this.#sweepStores = [...this.#sampled];
    return false;
  }
}
