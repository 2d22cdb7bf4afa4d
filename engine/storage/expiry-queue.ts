/**
 * When records expire: one queue for all stores of a worker, lowest time first.
 *
 *   heap    (time, reference, store · mark)      an entry may be stale: its record moved, went, or got another entry
 *   block   mark, 8 bits beside the flags        0: no entry; else the entry with this mark is the record's own
 *
 * There is no pointer from a record to its entry, so a write never searches the heap. Two checks tell a stale entry:
 *
 *   - the reference is a record of the store exactly if the store's dense list has it at the place that the block names.
 *     Whatever stands there now (a free block, another store's, the middle of one, since free blocks are cut and joined),
 *     its words cannot make this list contain the reference.
 *   - the mark in the block is the entry's. Marks run from 1 to 255 and begin again. A stale entry that has the mark of
 *     the true one by chance does no harm: it is taken for it, and the other one becomes stale.
 *
 * A record whose own entry is at or before its expiry needs no second one: a key that is refreshed all the time has one
 * entry, which comes up at its old time and is queued again. A write adds an entry only when the record is new, moved,
 * or expires earlier than before. When more than a quarter is stale, each new entry pays for looking at a few old ones,
 * so that the heap stays below about twice the records with an entry, and no write ever waits for a rebuild.
 */
import { blockExpiryMillis } from './expired-record.ts';
import { ExpiryHeap } from './expiry-heap.ts';
import type { StagedSource } from './map-data-store.ts';
import { EXPIRY_MARK_MASK, EXPIRY_MARK_SHIFT, NODE_BYTES_FLAGS, segmentOf, wordOf } from './record-block.ts';
import type { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** A store whose records expire. */
export interface ExpiringStore extends StagedSource {
  /** The record of the last write. */
  readonly lastRef: RecordRef;
  /** True when `ref`, which may be any block of the slab, free or not, is a record of this store. */
  holds(ref: RecordRef): boolean;
  /** Joins the removal of a record that has expired; `lastRef` is its tombstone then. False when it has not expired. */
  expire(ref: RecordRef, nowMs: number): boolean;
}

/** Answers of `poll` that are no reference. */
export const NOTHING_DUE = 0;
export const LOOKED_IN_VAIN = -1;

const MARK_MAX = 255;
const OWNER_SHIFT = 8;
/** Stale entries that are not worth a look. */
const STALE_MIN = 1024;
/** Entries looked at for each new one while too many are stale. */
const TIDY_ENTRIES = 8;

export class ExpiryQueue {
  /** The store of the last due record. */
  dueStore: ExpiringStore | undefined;
  readonly #slab: Slab;
  readonly #heap = new ExpiryHeap();
  readonly #stores: ExpiringStore[] = [];
  readonly #staleMin: number;
  #mark = 0;
  #stale = 0;
  /** Place in the heap at which tidying goes on, towards the front. */
  #tidyAt = 0;

  /** @param staleMin as many stale entries may always stay. */
  constructor(slab: Slab, staleMin: number = STALE_MIN) {
    this.#slab = slab;
    this.#staleMin = staleMin;
  }

  /** Entries, stale ones included. */
  get entries(): number {
    return this.#heap.length;
  }

  /** Entries known to be stale. */
  get staleEntries(): number {
    return this.#stale;
  }

  get bytes(): number {
    return this.#heap.bytes;
  }

  /** A store's number here. */
  register(store: ExpiringStore): number {
    return this.#stores.push(store) - 1;
  }

  /**
   * The record at `ref` was written with a TTL. `beforeMs` is when it was to expire before, NaN when it was not, or was
   * a tombstone: then nothing is known of the entry that it may have.
   */
  schedule(store: number, ref: RecordRef, beforeMs: number): void {
    const segment = segmentOf(this.#slab, ref);
    const word = wordOf(ref);
    const expiresAtMs = blockExpiryMillis(segment, word);
    if (Number.isNaN(expiresAtMs)) return;
    if (((segment.i32[word + NODE_BYTES_FLAGS] as number) & EXPIRY_MARK_MASK) !== 0) {
      if (beforeMs <= expiresAtMs) return;
      this.#stale += 1;
    }
    this.#add(store, ref, expiresAtMs);
  }

  /** The record, which has an entry, moved here or is about to be forgotten: the entry is stale. */
  release(ref: RecordRef): void {
    this.#setMark(ref, 0);
    this.#stale += 1;
  }

  /**
   * Takes the first entry if its time has passed. Answers the record, which then must be expired (`dueStore`); or
   * NOTHING_DUE; or LOOKED_IN_VAIN: it was stale, or its record expires later and is queued again.
   */
  poll(nowMs: number): RecordRef {
    const heap = this.#heap;
    if (heap.length === 0 || !(heap.timeAt(0) < nowMs)) return NOTHING_DUE;
    const isStale = this.#isStale(0);
    const ref = heap.refAt(0);
    const owner = heap.ownerAt(0);
    heap.removeAt(0);
    if (isStale) {
      this.#stale -= 1;
      return LOOKED_IN_VAIN;
    }
    this.#setMark(ref, 0);
    const expiresAtMs = blockExpiryMillis(segmentOf(this.#slab, ref), wordOf(ref));
    if (expiresAtMs < nowMs) {
      this.dueStore = this.#stores[owner >>> OWNER_SHIFT];
      return ref;
    }
    if (!Number.isNaN(expiresAtMs)) this.#add(owner >>> OWNER_SHIFT, ref, expiresAtMs);
    return LOOKED_IN_VAIN;
  }

  /** Looks at up to `entries` entries and drops the stale ones, while there are too many. For a tick: writes do it, too. */
  tidy(entries: number): void {
    const heap = this.#heap;
    for (let looked = 0; looked < entries && this.#isUntidy(); looked++) {
      if (this.#tidyAt >= heap.length) this.#tidyAt = heap.length - 1;
      const at = this.#tidyAt;
      if (this.#isStale(at)) {
        heap.removeAt(at); // what stands here now may be stale as well: it is looked at next
        this.#stale -= 1;
      } else this.#tidyAt = at === 0 ? heap.length - 1 : at - 1;
    }
  }

  #isUntidy(): boolean {
    return this.#stale > this.#staleMin + (this.#heap.length >>> 2);
  }

  #add(store: number, ref: RecordRef, expiresAtMs: number): void {
    this.tidy(TIDY_ENTRIES);
    this.#mark = this.#mark === MARK_MAX ? 1 : this.#mark + 1;
    this.#setMark(ref, this.#mark);
    this.#heap.push(expiresAtMs, ref, (store << OWNER_SHIFT) | this.#mark);
  }

  #isStale(index: number): boolean {
    const ref = this.#heap.refAt(index);
    const owner = this.#heap.ownerAt(index);
    const flags = segmentOf(this.#slab, ref).i32[wordOf(ref) + NODE_BYTES_FLAGS] as number;
    if (flags >>> EXPIRY_MARK_SHIFT !== (owner & MARK_MAX)) return true;
    const store = this.#stores[owner >>> OWNER_SHIFT];
    return store === undefined || !store.holds(ref);
  }

  #setMark(ref: RecordRef, mark: number): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const at = wordOf(ref) + NODE_BYTES_FLAGS;
    i32[at] = ((i32[at] as number) & ~EXPIRY_MARK_MASK) | (mark << EXPIRY_MARK_SHIFT);
  }
}
