/**
 * LWW records whose Merkle entry hash is behind their clock: written since it was last computed.
 *
 *   written ─▶ [ oldest … newest ] ─▶ hashed: when somebody syncs, and a few on each tick
 *           └▶ no room: hashed at once
 *
 * The hash of an entry costs as much as a quarter of a merge, and a key that is written a hundred times between two
 * syncs needs it once. So a write puts its record here, once, and only the leaf sums that are asked for are made true.
 * Still O(1) a write: when there is no room, the record is hashed as it is written. It stands in the cache then; the oldest
 * one would have to be fetched from memory, which costs as much again as the hash. One backlog serves all stores of a worker; a record knows its place in it (BACKLOG_AT), so that it can be moved and taken out.
 */
import { assert, broken } from '../assert.ts';
import { BACKLOG_AT, segmentOf, wordOf } from './record-block.ts';
import type { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** Whose record it is: computes the hash and tells the leaf. */
export interface HashedStore {
  hashEntry(ref: RecordRef): void;
}

/** About 20 ms of hashing: what a sync may have to wait for. */
const RECORDS_MAX = 131_072;

export class LeafBacklog {
  readonly #slab: Slab;
  readonly #refs: Int32Array;
  readonly #stores: (HashedStore | undefined)[];
  readonly #mask: number;
  /** Counts of records taken out and put in since the start; their difference is what waits. */
  #taken = 0;
  #put = 0;

  /** @param recordsMax a power of two. */
  constructor(slab: Slab, recordsMax: number = RECORDS_MAX) {
    assert((recordsMax & (recordsMax - 1)) === 0 && recordsMax > 0, `backlog of ${recordsMax} records`);
    this.#slab = slab;
    this.#refs = new Int32Array(recordsMax);
    this.#stores = new Array<HashedStore | undefined>(recordsMax).fill(undefined);
    this.#mask = recordsMax - 1;
  }

  /** Records that wait, places of removed ones included. */
  get records(): number {
    return this.#put - this.#taken;
  }

  /** The record was written. It must not be in a backlog yet: `BACKLOG_AT` is 0. */
  add(store: HashedStore, ref: RecordRef): void {
    if (this.#put - this.#taken > this.#mask) {
      store.hashEntry(ref);
      return;
    }
    const place = this.#put & this.#mask;
    this.#refs[place] = ref;
    this.#stores[place] = store;
    this.#put += 1;
    segmentOf(this.#slab, ref).i32[wordOf(ref) + BACKLOG_AT] = place + 1;
  }

  /** The record, which waits here, stands in another block now. */
  moved(to: RecordRef): void {
    const place = (segmentOf(this.#slab, to).i32[wordOf(to) + BACKLOG_AT] as number) - 1;
    assert(this.#stores[place] !== undefined, `record ${to} is not in the backlog`);
    this.#refs[place] = to;
  }

  /** The record, which waits here, is about to be forgotten. */
  drop(ref: RecordRef): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const place = (i32[wordOf(ref) + BACKLOG_AT] as number) - 1;
    if (this.#refs[place] !== ref) broken(`record ${ref} is not in the backlog`);
    this.#refs[place] = 0;
    i32[wordOf(ref) + BACKLOG_AT] = 0;
  }

  /** Hashes up to `recordsMax` records, oldest first; all when left out. */
  hash(recordsMax: number = this.#mask + 1): void {
    for (let left = recordsMax; left > 0 && this.#taken < this.#put; left--) this.#hashOldest();
  }

  #hashOldest(): void {
    const place = this.#taken & this.#mask;
    const ref = this.#refs[place] as number;
    const store = this.#stores[place];
    this.#taken += 1;
    this.#stores[place] = undefined;
    if (ref === 0 || store === undefined) return;
    this.#refs[place] = 0;
    segmentOf(this.#slab, ref).i32[wordOf(ref) + BACKLOG_AT] = 0;
    store.hashEntry(ref);
  }
}
