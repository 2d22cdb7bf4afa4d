/**
 * Layer 2 of storage: the records of one map and kind on one worker, with the rules about data.
 *
 *   join ──▶ table of the key's partition ──▶ newer? ──▶ record, Merkle leaf ──▶ MapDataStore, observer
 *
 * Which version wins says join-rule.ts. A join allocates nothing and reads, of a stored record, the slot, the header
 * with the key behind it, and what it overwrites. Merkle leaves follow in their own time (record-leaves.ts). Dropping a
 * value from memory and putting it back (evicted-value.ts) is no write: nobody hears of it.
 */
import { assert, broken } from '../assert.ts';
import { expiryMillis, isExpired } from '../crdt/lww.ts';
import type { MerkleLeaves } from '../crdt/merkle-tree.ts';
import { PARTITION_COUNT, partitionOf } from '../partition/hash.ts';
import { becomeRemoval, blockExpiryMillis } from './expired-record.ts';
import { evictedBytes, type KeyHash } from './evicted-value.ts';
import { type ExpiringStore, ExpiryQueue } from './expiry-queue.ts';
import { JOIN_APPLIED, JOIN_CROWDED, JOIN_DUPLICATE, JOIN_STALE, type JoinResult, JoinRule } from './join-rule.ts';
import { LeafBacklog } from './leaf-backlog.ts';
import type { MapDataStore } from './map-data-store.ts';
import { RUN_OPS_MAX } from './merge-kernel.ts';
import type { DecodeValue, ValueOf } from './or-leaf.ts';
import { KIND_LWW, RecordImage, type RecordKind } from './record.ts';
import {
  EXPIRY_MARK_MASK,
  isEvictedBlock,
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
  wordOf,
} from './record-block.ts';
import { RecordLeaves } from './record-leaves.ts';
import type { RecordObserver } from './record-observer.ts';
import { RecordTable } from './record-table.ts';
import { roundedBytes, type Slab } from './slab.ts';
import type { RecordCursor, RecordMeta, RecordRef } from './storage.ts';
import { StoreCursor } from './store-cursor.ts';

export { JOIN_APPLIED, JOIN_CROWDED, JOIN_DUPLICATE, JOIN_EVICTED, JOIN_STALE, type JoinResult } from './join-rule.ts';

/**
 * New keys of one map that may have one hash. By chance a few of a thousand million have; who makes thousands, which FNV-1a lets
 * anybody do, would have each of their writes look at all of them.
 */
export const ALIKE_MAX = 128;
/** No reference: nobody has looked. */
const UNKNOWN: RecordRef = -1;
/** Of a table: the address of its slots, and which of their bytes a hash chooses. */
const TABLE_ENTRY_BYTES = 8;
/** In a result of the kernel; the sign says that the record is not in the backlog of its leaf. */
const REF_MASK = 0x7fffffff;

export interface RecordStoreOptions {
  /** Name of the map, UTF-8. Not copied. */
  readonly map: Uint8Array;
  readonly kind: RecordKind;
  readonly slab: Slab;
  readonly dataStore: MapDataStore;
  readonly observer?: RecordObserver | undefined;
  /** The worker's, shared by all its stores; one of its own when left out. */
  readonly backlog?: LeafBacklog | undefined;
  /** The worker's, shared by all its stores; one of its own when left out. */
  readonly expiry?: ExpiryQueue | undefined;
  /** Decodes value bytes, for the entry hashes of OR-Maps. Needed by `refreshLeaves` of an OR store only. */
  readonly decode?: DecodeValue | undefined;
}

export class RecordStore implements ExpiringStore {
  readonly map: Uint8Array;
  readonly kind: RecordKind;
  readonly slab: Slab;
  /** Where the kernel finds the tables (merge-kernel.ts); 0: it has none of this store. */
  readonly kernelTables: number;
  /** The record of the last join or restore: the joined one, or the stored one that won. */
  lastRef: RecordRef = 0;
  /** Records, tombstones included. */
  records = 0;
  tombstones = 0;
  /** Records whose value was dropped from memory, and the bytes of those values. */
  evicted = 0;
  evictedBytes = 0;
  applied = 0;
  stale = 0;
  duplicates = 0;

  readonly #leaves: RecordLeaves;
  readonly #expiry: ExpiryQueue;
  readonly #expiryNumber: number;
  readonly #dataStore: MapDataStore;
  readonly #observer: RecordObserver | undefined;
  readonly #tables: (RecordTable | undefined)[] = new Array<RecordTable | undefined>(PARTITION_COUNT).fill(undefined);
  readonly #rule: JoinRule;
  readonly #stored = new RecordImage();
  readonly #expiring = new RecordImage();
  #pruneCursor: RecordCursor | undefined;

  constructor(options: RecordStoreOptions) {
    this.map = options.map;
    this.kind = options.kind;
    this.slab = options.slab;
    this.kernelTables = (options.kind === KIND_LWW && options.slab.memory?.take(PARTITION_COUNT * TABLE_ENTRY_BYTES)) || 0;
    const backlog = options.backlog ?? new LeafBacklog(options.slab);
    this.#leaves = new RecordLeaves(options.slab, options.kind, backlog, options.decode);
    this.#expiry = options.expiry ?? new ExpiryQueue(options.slab);
    this.#expiryNumber = this.#expiry.register(this);
    this.#dataStore = options.dataStore;
    this.#observer = options.observer;
    this.#rule = new JoinRule(options.slab);
  }

  get leaves(): MerkleLeaves {
    return this.#leaves.merkle;
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

  /**
   * Joins a write. The image must fit a block (`fitsBlock`). Afterwards `lastRef` is the record of its key and tag. `found`: what `find`
   * has just said of the image; left out, it is looked up. `alikeMax`: see ALIKE_MAX.
   */
  join(image: RecordImage, nowMs: number, found: RecordRef = UNKNOWN, alikeMax = ALIKE_MAX): JoinResult {
    const table = this.#tables[partitionOf(image.keyHash)] ?? this.#addTable(image);
    const ref = found === UNKNOWN ? table.find(image) : found;
    const nowS = (nowMs / 1000) >>> 0;
    const watchesOld = this.#observer?.watchesOld === true;
    if (ref === 0) {
      if (table.alike >= alikeMax) return JOIN_CROWDED;
      if (watchesOld) this.#observer?.changing?.(this, 0);
      this.#insert(table, image, nowS);
    } else {
      const result = this.kind === KIND_LWW ? this.#rule.compareLww(ref, image) : this.#rule.compareOr(ref, image);
      if (result !== JOIN_APPLIED) return this.#refuse(ref, result);
      if (watchesOld) this.#observer?.changing?.(this, ref);
      this.#overwrite(table, ref, image, nowS);
    }
    this.applied += 1;
    this.#dataStore.changed(this, this.lastRef, nowMs);
    if (this.#observer !== undefined) this.#observer.changed(this, this.lastRef, ref !== 0);
    return JOIN_APPLIED;
  }

  /** As `join`, of a write that was taken in before, and must not be refused. */
  rejoin(image: RecordImage, nowMs: number): JoinResult {
    return this.join(image, nowMs, UNKNOWN, Number.POSITIVE_INFINITY);
  }

  /** Keys that have the hash of the image's, which is not there; -1 when it is. */
  alikeKeys(image: RecordImage): number {
    const table = this.#tables[partitionOf(image.keyHash)];
    if (table === undefined) return 0;
    return table.find(image) === 0 ? table.alike : -1;
  }

  /** How many ops the kernel may join before the store hears of the first: each by itself where somebody watches, none where old versions count. */
  get kernelRunMax(): number {
    if (this.kernelTables === 0) return 0;
    const observer = this.#observer;
    if (observer === undefined || observer.isIdle === true) return RUN_OPS_MAX;
    return observer.watchesOld === true ? 0 : 1;
  }

  /** What follows when the kernel has joined an op: `result` says what it did. True when the record changed. */
  joined(result: number, nowMs: number): boolean {
    if (result === 0) {
      this.stale += 1;
      return false;
    }
    const ref = result & REF_MASK;
    this.lastRef = ref;
    if (result < 0) this.#leaves.changed(ref, false);
    this.applied += 1;
    this.#dataStore.changed(this, ref, nowMs);
    if (this.#observer !== undefined) this.#observer.changed(this, ref, true);
    return true;
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

  /**
   * Turns a record whose TTL has passed into its removal, joined as if somebody had written it: staged, logged, told to
   * observers. Every server makes the same removal of the same record (expired-record.ts). False when it has not expired.
   */
  expire(ref: RecordRef, nowMs: number): boolean {
    if (!this.isExpired(ref, nowMs)) return false;
    const image = this.#expiring;
    readBlock(this.slab, ref, image);
    becomeRemoval(image);
    return this.join(image, nowMs) === JOIN_APPLIED;
  }

  holds(ref: RecordRef): boolean {
    const keyHash = segmentOf(this.slab, ref).i32[wordOf(ref) + KEY_HASH] as number;
    return this.#tables[partitionOf(keyHash)]?.holds(ref) === true;
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
    readBlock(this.slab, ref, into);
  }

  meta(ref: RecordRef, into: RecordMeta): void {
    this.#tableOf(ref).meta(ref, into);
  }

  isTombstone(ref: RecordRef): boolean {
    return isTombstoneBlock(this.slab, ref);
  }

  /** True once the record's TTL has passed. A tombstone or a record without TTL never expires. */
  isExpired(ref: RecordRef, nowMs: number): boolean {
    const f64 = segmentOf(this.slab, ref).f64;
    const at = wordOf(ref) >>> 1;
    return isExpired(f64[at + MILLIS_F64] as number, f64[at + TTL_F64] as number, nowMs) && !this.isTombstone(ref);
  }

  /** Moment at which the record expires, in ms; NaN when it does not. */
  expiryMillis(ref: RecordRef): number {
    const f64 = segmentOf(this.slab, ref).f64;
    const at = wordOf(ref) >>> 1;
    return expiryMillis(f64[at + MILLIS_F64] as number, f64[at + TTL_F64] as number);
  }

  /** First part of the record's clock. */
  millisOf(ref: RecordRef): number {
    return segmentOf(this.slab, ref).f64[(wordOf(ref) >>> 1) + MILLIS_F64] as number;
  }

  stagedAt(ref: RecordRef): number {
    return segmentOf(this.slab, ref).i32[wordOf(ref) + STAGED_AT] as number;
  }

  setStagedAt(ref: RecordRef, position: number): void {
    segmentOf(this.slab, ref).i32[wordOf(ref) + STAGED_AT] = position;
  }

  costBytes(ref: RecordRef): number {
    return roundedBytes(storedBlockBytes(segmentOf(this.slab, ref).i32, wordOf(ref)));
  }

  /** Notes a read of the record. */
  touch(ref: RecordRef, nowMs: number): void {
    this.#tableOf(ref).touch(ref, (nowMs / 1000) >>> 0);
  }

  /** The record at a place of a partition's list, which is below `partitionRecords`. What a removal does to the list says dense-list.ts. */
  recordAt(partition: number, position: number): RecordRef {
    return this.#tables[partition]?.recordAt(position) ?? 0;
  }

  /** A record by two numbers from [0, 1), of the first partition behind the one chosen that has any; 0 when there is none. */
  sample(partition: number, position: number): RecordRef {
    const first = Math.floor(partition * PARTITION_COUNT);
    for (let step = 0; step < PARTITION_COUNT; step++) {
      const ref = this.#tables[(first + step) % PARTITION_COUNT]?.sample(position) ?? 0;
      if (ref !== 0) return ref;
    }
    return 0;
  }

  /** Drops the record's value or puts it back (evicted-value.ts): the version stays, the record may move. Use the answer. */
  replaceValue(ref: RecordRef, image: RecordImage, evicted: boolean): RecordRef {
    assert(this.stagedAt(ref) === 0, 'the value of a staged record stays');
    this.#unevict(ref);
    const to = this.#tableOf(ref).replaceValue(ref, image, evicted);
    if (evicted) {
      readBlock(this.slab, to, this.#stored);
      this.evicted += 1;
      this.evictedBytes += evictedBytes(this.#stored);
    }
    if (to === ref) return to;
    this.#follow(ref, to);
    this.#leaves.moved(to);
    this.#expiry.schedule(this.#expiryNumber, to, Number.NaN);
    return to;
  }

  /** Every record, of one partition or of all. */
  cursor(partition = -1): RecordCursor {
    return new StoreCursor(partition < 0 ? this.#tables : [this.#tables[partition]]);
  }

  /** Calls `visit` with each record of a Merkle leaf, tombstones included. `visit` must not add, move or remove records. */
  forEachInLeaf(leaf: number, visit: (ref: RecordRef) => void): void {
    this.#leaves.forEach(leaf, visit);
  }

  /** Bytes of the leaf's records in memory, or the first sum of some of them that is above `bytesMax`. */
  leafBytes(leaf: number, bytesMax: number): number {
    return this.#leaves.bytesOf(leaf, bytesMax);
  }

  /** Makes the leaf sums true to all that was written, as far as `unknownKeys` does not keep it from it. */
  refreshLeaves(): void {
    this.#leaves.refresh();
  }

  /** Of an OR-Map: keys whose values must be read back before their leaves can be refreshed; the live records of each. */
  unknownKeys(keysMax: number): RecordRef[][] {
    return this.evicted === 0 ? [] : this.#leaves.unknownKeys(keysMax);
  }

  /** Finds out the hash of such a key with values that were read back. False when one of them is not here. */
  learnKey(refs: readonly RecordRef[], readBack: ValueOf): boolean {
    return this.#leaves.learnKey(refs, readBack);
  }

  keyHash(ref: RecordRef): KeyHash | undefined {
    return this.#leaves.keyHash(ref);
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
      if (!this.isTombstone(ref) || !(this.millisOf(ref) < olderThanMillis)) continue;
      readBlock(this.slab, ref, this.#stored);
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
    table.drop();
    this.#tables[partition] = undefined;
  }

  #addTable(image: RecordImage): RecordTable {
    const partition = partitionOf(image.keyHash);
    const table = new RecordTable(this.slab, this.kernelTables && this.kernelTables + partition * TABLE_ENTRY_BYTES);
    this.#tables[partition] = table;
    return table;
  }

  #tableOf(ref: RecordRef): RecordTable {
    const table = this.#tables[partitionOf(segmentOf(this.slab, ref).i32[wordOf(ref) + KEY_HASH] as number)];
    if (table === undefined) broken(`record ${ref} is of no partition here`);
    return table;
  }

  #refuse(ref: RecordRef, result: JoinResult): JoinResult {
    this.lastRef = ref;
    if (result === JOIN_STALE) this.stale += 1;
    else if (result === JOIN_DUPLICATE) this.duplicates += 1;
    return result;
  }

  #insert(table: RecordTable, image: RecordImage, nowS: number): void {
    const ref = table.insert(image, nowS);
    this.lastRef = ref;
    this.records += 1;
    if (image.tombstone) this.tombstones += 1;
    if (!Number.isNaN(image.ttlMs)) this.#expiry.schedule(this.#expiryNumber, ref, Number.NaN);
    this.#leaves.added(ref, image);
  }

  /** The record at `ref` stands at `to` now: staging and expiry must follow. */
  #follow(ref: RecordRef, to: RecordRef): void {
    const i32 = segmentOf(this.slab, to).i32;
    const word = wordOf(to);
    if (i32[word + STAGED_AT] !== 0) this.#dataStore.moved(this, ref, to);
    if (((i32[word + NODE_BYTES_FLAGS] as number) & EXPIRY_MARK_MASK) !== 0) this.#expiry.release(to);
  }

  /** The record is about to be overwritten or forgotten, or to get its value back. */
  #unevict(ref: RecordRef): void {
    if (!isEvictedBlock(this.slab, ref)) return;
    readBlock(this.slab, ref, this.#stored);
    this.evicted -= 1;
    this.evictedBytes -= evictedBytes(this.#stored);
  }

  #overwrite(table: RecordTable, ref: RecordRef, image: RecordImage, nowS: number): void {
    if (this.evicted > 0) this.#unevict(ref);
    if (this.isTombstone(ref)) this.tombstones -= 1;
    if (image.tombstone) this.tombstones += 1;
    const expires = !Number.isNaN(image.ttlMs);
    const beforeMs = expires ? blockExpiryMillis(segmentOf(this.slab, ref), wordOf(ref)) : Number.NaN;
    const to =
      this.kind === KIND_LWW ? table.overwrite(ref, image, nowS) : table.overwrite(ref, this.#rule.removal(ref, image), nowS);
    this.lastRef = to;
    if (to !== ref) this.#follow(ref, to);
    if (expires) this.#expiry.schedule(this.#expiryNumber, to, beforeMs);
    this.#leaves.changed(to, to !== ref);
  }

  #forget(ref: RecordRef): void {
    const table = this.#tableOf(ref);
    this.#leave(ref);
    table.remove(ref);
  }

  /** Takes the record out of counters and leaf. */
  #leave(ref: RecordRef): void {
    const i32 = segmentOf(this.slab, ref).i32;
    const word = wordOf(ref);
    assert(i32[word + STAGED_AT] === 0, `record ${ref} is staged`);
    const flags = i32[word + NODE_BYTES_FLAGS] as number;
    this.records -= 1;
    if (this.evicted > 0) this.#unevict(ref);
    if ((flags & EXPIRY_MARK_MASK) !== 0) this.#expiry.release(ref);
    if ((flags & TOMBSTONE_BIT) !== 0) this.tombstones -= 1;
    this.#leaves.removed(ref);
  }
}
