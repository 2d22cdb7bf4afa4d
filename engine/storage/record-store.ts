/**
 * Layer 2 of storage: the records of one map and kind on one worker, with the rules about data.
 *
 *   join ──▶ table of the key's partition ──▶ newer? ──▶ record, Merkle leaf ──▶ MapDataStore, observer
 *
 * Which version wins says join-rule.ts. A join allocates nothing and reads, of a stored record, the slot, the header
 * with the key behind it, and what it overwrites.
 *
 * An LWW record keeps the hash that it added to its leaf, so a leaf follows a write in O(1), a little later
 * (leaf-backlog.ts). The hash of an OR entry
 * needs the values of all tags of the key: a write only marks the leaf dirty, and `refreshLeaves` computes it when
 * somebody syncs. Records whose key is not UTF-8 are in no leaf: a client could not name them.
 */
import { assert } from '../assert.ts';
import { expiryMillis, isExpired, lwwEntryHash } from '../crdt/lww.ts';
import { MerkleLeaves } from '../crdt/merkle-tree.ts';
import { isUtf8, PARTITION_COUNT, partitionOf } from '../partition/hash.ts';
import { JOIN_APPLIED, JOIN_STALE, type JoinResult, JoinRule } from './join-rule.ts';
import { linkRecord, nextInLeaf, relinkRecord, unlinkRecord } from './leaf-list.ts';
import { LeafBacklog } from './leaf-backlog.ts';
import type { MapDataStore, StagedSource } from './map-data-store.ts';
import { type DecodeValue, orLeafSum } from './or-leaf.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from './record.ts';
import {
  BACKLOG_AT,
  ENTRY_HASH,
  isTombstoneBlock,
  KEY_HASH,
  MILLIS_F64,
  NODE_BYTES_FLAGS,
  readBlock,
  STAGED_AT,
  segmentOf,
  storedBlockBytes,
  TOMBSTONE_BIT,
  TTL_F64,
  UNLISTED_BIT,
  wordOf,
} from './record-block.ts';
import type { RecordObserver } from './record-observer.ts';
import { RecordTable } from './record-table.ts';
import { roundedBytes, type Slab } from './slab.ts';
import type { RecordCursor, RecordMeta, RecordRef } from './storage.ts';
import { StoreCursor } from './store-cursor.ts';

export { JOIN_APPLIED, JOIN_DUPLICATE, JOIN_STALE, type JoinResult } from './join-rule.ts';

export interface RecordStoreOptions {
  /** Name of the map, UTF-8. Not copied. */
  readonly map: Uint8Array;
  readonly kind: RecordKind;
  readonly slab: Slab;
  readonly dataStore: MapDataStore;
  readonly observer?: RecordObserver | undefined;
  /** The worker's, shared by all its stores; one of its own when left out. */
  readonly backlog?: LeafBacklog | undefined;
  /** Decodes value bytes, for the entry hashes of OR-Maps. Needed by `refreshLeaves` of an OR store only. */
  readonly decode?: DecodeValue | undefined;
}

const COUNTER_MAX = 0xffffffff;
const LEAF_SHIFT = 20;

export class RecordStore implements StagedSource {
  readonly map: Uint8Array;
  readonly kind: RecordKind;
  readonly leaves = new MerkleLeaves();
  /** The record of the last join or restore: the joined one, or the stored one that won. */
  lastRef: RecordRef = 0;
  /** Records, tombstones included. */
  records = 0;
  tombstones = 0;
  applied = 0;
  stale = 0;
  duplicates = 0;

  readonly #slab: Slab;
  readonly #backlog: LeafBacklog;
  readonly #dataStore: MapDataStore;
  readonly #observer: RecordObserver | undefined;
  readonly #decode: DecodeValue | undefined;
  readonly #tables: (RecordTable | undefined)[] = new Array<RecordTable | undefined>(PARTITION_COUNT).fill(undefined);
  readonly #rule: JoinRule;
  readonly #stored = new RecordImage();
  #pruneCursor: RecordCursor | undefined;

  constructor(options: RecordStoreOptions) {
    this.map = options.map;
    this.kind = options.kind;
    this.#slab = options.slab;
    this.#backlog = options.backlog ?? new LeafBacklog(options.slab);
    this.#dataStore = options.dataStore;
    this.#observer = options.observer;
    this.#decode = options.decode;
    this.#rule = new JoinRule(options.slab);
  }

  /** Memory of all records, header and rounding included, without the indexes. */
  get bytes(): number {
    return this.#tables.reduce((bytes, table) => bytes + (table?.bytes ?? 0), 0);
  }

  /** Joins of equal clocks with different values: some node gave one clock to two writes. */
  get clockTies(): number {
    return this.#rule.clockTies;
  }

  partitionRecords(partition: number): number {
    return this.#tables[partition]?.records ?? 0;
  }

  /**
   * Reads what the join of a write with this key hash will read first. Called for all writes of a frame before the
   * first is joined, the waits for memory overlap instead of following one another: a fifth less time a join at a
   * million keys. The answer means nothing, but must be used (`sink ^= store.warm(hash)`), or the reads are optimised
   * away. Of no use for OR records, whose slot depends on the tag.
   */
  warm(keyHash: number): number {
    const table = this.#tables[partitionOf(keyHash)];
    return table === undefined ? 0 : table.warm(keyHash);
  }

  /** Joins a write. The image must fit a block (`fitsBlock`). Afterwards `lastRef` is the record of its key and tag. */
  join(image: RecordImage, nowMs: number): JoinResult {
    const table = this.#tables[partitionOf(image.keyHash)] ?? this.#addTable(image);
    const ref = table.find(image);
    const nowS = (nowMs / 1000) >>> 0;
    if (ref === 0) {
      this.#insert(table, image, nowS);
    } else {
      const result = this.kind === KIND_LWW ? this.#rule.compareLww(ref, image) : this.#rule.compareOr(ref, image);
      if (result !== JOIN_APPLIED) return this.#refuse(ref, result);
      this.#overwrite(table, ref, image, nowS);
    }
    this.applied += 1;
    this.#dataStore.changed(this, this.lastRef, nowMs);
    if (this.#observer !== undefined) this.#observer.changed(this, this.lastRef, ref !== 0);
    return JOIN_APPLIED;
  }

  /** Joins a record that the data store or the log already has: it is neither staged, counted, nor told to observers. */
  restore(image: RecordImage): JoinResult {
    const table = this.#tables[partitionOf(image.keyHash)] ?? this.#addTable(image);
    const ref = table.find(image);
    const nowS = (image.millis / 1000) >>> 0;
    if (ref === 0) {
      this.#insert(table, image, nowS);
      return JOIN_APPLIED;
    }
    const result = this.kind === KIND_LWW ? this.#rule.compareLww(ref, image) : this.#rule.compareOr(ref, image);
    if (result === JOIN_APPLIED) this.#overwrite(table, ref, image, nowS);
    else this.lastRef = ref;
    return result;
  }

  /** The record of the image's key and tag, whatever its state, or 0. */
  find(image: RecordImage): RecordRef {
    const table = this.#tables[partitionOf(image.keyHash)];
    return table === undefined ? 0 : table.find(image);
  }

  /** The record of the image's key and tag if it is live and not expired, else 0. Counts as an access. */
  get(image: RecordImage, nowMs: number): RecordRef {
    const table = this.#tables[partitionOf(image.keyHash)];
    const ref = table === undefined ? 0 : table.find(image);
    if (table === undefined || ref === 0 || this.isTombstone(ref) || this.isExpired(ref, nowMs)) return 0;
    table.touch(ref, (nowMs / 1000) >>> 0);
    return ref;
  }

  read(ref: RecordRef, into: RecordImage): void {
    readBlock(this.#slab, ref, into);
  }

  meta(ref: RecordRef, into: RecordMeta): void {
    this.#tableOf(ref).meta(ref, into);
  }

  isTombstone(ref: RecordRef): boolean {
    return isTombstoneBlock(this.#slab, ref);
  }

  /** True once the record's TTL has passed. A tombstone or a record without TTL never expires. */
  isExpired(ref: RecordRef, nowMs: number): boolean {
    const f64 = segmentOf(this.#slab, ref).f64;
    const at = wordOf(ref) >>> 1;
    return isExpired(f64[at + MILLIS_F64] as number, f64[at + TTL_F64] as number, nowMs) && !this.isTombstone(ref);
  }

  /** Moment at which the record expires, in ms; NaN when it does not. */
  expiryMillis(ref: RecordRef): number {
    const f64 = segmentOf(this.#slab, ref).f64;
    const at = wordOf(ref) >>> 1;
    return expiryMillis(f64[at + MILLIS_F64] as number, f64[at + TTL_F64] as number);
  }

  /** Gives a write without a clock one that wins: now, but strictly after the record stored under its key and tag. */
  stampAfter(image: RecordImage, nowMs: number): void {
    const ref = this.find(image);
    image.millis = Math.floor(nowMs);
    image.counter = 0;
    if (ref === 0) return;
    const stored = this.#stored;
    readBlock(this.#slab, ref, stored);
    if (stored.millis < image.millis) return;
    const overflows = stored.counter === COUNTER_MAX;
    image.millis = overflows ? stored.millis + 1 : stored.millis;
    image.counter = overflows ? 0 : stored.counter + 1;
  }

  stagedAt(ref: RecordRef): number {
    return segmentOf(this.#slab, ref).i32[wordOf(ref) + STAGED_AT] as number;
  }

  setStagedAt(ref: RecordRef, position: number): void {
    segmentOf(this.#slab, ref).i32[wordOf(ref) + STAGED_AT] = position;
  }

  costBytes(ref: RecordRef): number {
    return roundedBytes(storedBlockBytes(segmentOf(this.#slab, ref).i32, wordOf(ref)));
  }

  /** Every record, of one partition or of all. */
  cursor(partition = -1): RecordCursor {
    return new StoreCursor(partition < 0 ? this.#tables : [this.#tables[partition]]);
  }

  /** Calls `visit` with each record of a Merkle leaf, tombstones included. `visit` must not change the store. */
  forEachInLeaf(leaf: number, visit: (ref: RecordRef) => void): void {
    for (let ref = this.leaves.head(leaf); ref !== 0; ref = nextInLeaf(this.#slab, ref)) visit(ref);
  }

  /** Computes an LWW record's entry hash and tells its leaf. Called by the backlog. */
  hashEntry(ref: RecordRef): void {
    const stored = this.#stored;
    readBlock(this.#slab, ref, stored);
    const nodeEnd = stored.nodeStart + stored.nodeBytes;
    const hash = lwwEntryHash(stored.keyHash, stored.millis, stored.counter, stored.source, stored.nodeStart, nodeEnd);
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    this.leaves.replace(stored.keyHash >>> LEAF_SHIFT, (i32[word + ENTRY_HASH] as number) >>> 0, hash);
    i32[word + ENTRY_HASH] = hash;
  }

  /** Makes the leaf sums true to all that was written. */
  refreshLeaves(): void {
    if (this.kind === KIND_LWW) return this.#backlog.hash();
    const decode = this.#decode;
    this.leaves.forEachDirty((leaf) => {
      assert(decode !== undefined, 'an OR store needs `decode` to hash its leaves');
      this.leaves.setSum(leaf, orLeafSum(this.#slab, this.leaves.head(leaf), decode));
      this.leaves.clearDirty(leaf);
    });
  }

  /** Writes the sum of every leaf into `into[leaf]`, dirty ones refreshed before. */
  copyLeafSums(into: Uint32Array): void {
    this.refreshLeaves();
    this.leaves.copySums(into);
  }

  /**
   * Removes tombstones with `millis < olderThanMillis` from memory and leaves, and has the data store remove them.
   * Looks at up to `limit` records and goes on there at the next call, so that a tick does bounded work.
   * Returns how many were removed.
   */
  pruneTombstones(olderThanMillis: number, limit: number, nowMs: number): number {
    if (this.tombstones === 0) return 0;
    this.#pruneCursor ??= this.cursor();
    let removed = 0;
    for (let looked = 0; looked < limit; looked++) {
      const ref = this.#pruneCursor.next();
      if (ref === 0) {
        this.#pruneCursor = undefined;
        break;
      }
      if (!this.isTombstone(ref) || !(this.#millisOf(ref) < olderThanMillis)) continue;
      readBlock(this.#slab, ref, this.#stored);
      this.#dataStore.pruned(this, ref, this.#stored, nowMs);
      this.#forget(ref);
      removed += 1;
    }
    return removed;
  }

  /** Forgets the records of a partition, in memory only. Flush them first: none may be staged. */
  removePartition(partition: number): void {
    const table = this.#tables[partition];
    if (table === undefined) return;
    const cursor = table.cursor();
    for (let ref = cursor.next(); ref !== 0; ref = cursor.next()) this.#leave(ref);
    table.clear();
    this.#tables[partition] = undefined;
  }

  #addTable(image: RecordImage): RecordTable {
    const table = new RecordTable(this.#slab);
    this.#tables[partitionOf(image.keyHash)] = table;
    return table;
  }

  #tableOf(ref: RecordRef): RecordTable {
    const table = this.#tables[partitionOf(segmentOf(this.#slab, ref).i32[wordOf(ref) + KEY_HASH] as number)];
    assert(table !== undefined, `record ${ref} is of no partition here`);
    return table;
  }

  #millisOf(ref: RecordRef): number {
    return segmentOf(this.#slab, ref).f64[(wordOf(ref) >>> 1) + MILLIS_F64] as number;
  }

  #refuse(ref: RecordRef, result: JoinResult): JoinResult {
    this.lastRef = ref;
    if (result === JOIN_STALE) this.stale += 1;
    else this.duplicates += 1;
    return result;
  }

  #insert(table: RecordTable, image: RecordImage, nowS: number): void {
    const ref = table.insert(image, nowS);
    this.lastRef = ref;
    this.records += 1;
    if (image.tombstone) this.tombstones += 1;
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    if (!isUtf8(image.source, image.keyStart, image.keyStart + image.keyBytes)) {
      i32[word + NODE_BYTES_FLAGS] = (i32[word + NODE_BYTES_FLAGS] as number) | UNLISTED_BIT;
      return;
    }
    const leaf = image.keyHash >>> LEAF_SHIFT;
    linkRecord(this.#slab, this.leaves, leaf, ref);
    if (this.kind === KIND_LWW) this.#backlog.add(this, ref);
    else if (!image.tombstone) this.leaves.markDirty(leaf); // tombstones are not hashed
  }

  #overwrite(table: RecordTable, ref: RecordRef, image: RecordImage, nowS: number): void {
    if (this.isTombstone(ref)) this.tombstones -= 1;
    if (image.tombstone) this.tombstones += 1;
    const to =
      this.kind === KIND_LWW ? table.overwrite(ref, image, nowS) : table.overwrite(ref, this.#rule.removal(ref, image), nowS);
    this.lastRef = to;
    const i32 = segmentOf(this.#slab, to).i32;
    const word = wordOf(to);
    const leaf = image.keyHash >>> LEAF_SHIFT;
    const listed = ((i32[word + NODE_BYTES_FLAGS] as number) & UNLISTED_BIT) === 0;
    if (to !== ref) {
      if (listed) relinkRecord(this.#slab, this.leaves, leaf, to);
      if (i32[word + STAGED_AT] !== 0) this.#dataStore.moved(this, ref, to);
    }
    if (!listed) return;
    if (this.kind === KIND_OR) this.leaves.markDirty(leaf);
    else if (i32[word + BACKLOG_AT] === 0) this.#backlog.add(this, to);
    else if (to !== ref) this.#backlog.moved(to);
  }

  #forget(ref: RecordRef): void {
    const table = this.#tableOf(ref);
    this.#leave(ref);
    table.remove(ref);
  }

  /** Takes the record out of counters and leaf. */
  #leave(ref: RecordRef): void {
    const i32 = segmentOf(this.#slab, ref).i32;
    const word = wordOf(ref);
    assert(i32[word + STAGED_AT] === 0, `record ${ref} is staged`);
    const flags = i32[word + NODE_BYTES_FLAGS] as number;
    this.records -= 1;
    if ((flags & TOMBSTONE_BIT) !== 0) this.tombstones -= 1;
    if ((flags & UNLISTED_BIT) !== 0) return;
    const leaf = (i32[word + KEY_HASH] as number) >>> LEAF_SHIFT;
    unlinkRecord(this.#slab, this.leaves, leaf, ref);
    if (this.kind === KIND_LWW) {
      if (i32[word + BACKLOG_AT] !== 0) this.#backlog.drop(ref);
      this.leaves.replace(leaf, (i32[word + ENTRY_HASH] as number) >>> 0, 0);
    } else if ((flags & TOMBSTONE_BIT) === 0) this.leaves.markDirty(leaf);
  }
}
