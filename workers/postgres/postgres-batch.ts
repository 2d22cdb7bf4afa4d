/**
 * Rows of one flush, encoded as they come: each `put` or `prune` appends one row of binary COPY to one buffer.
 *
 *   kind | identity: partition, map, key, tag | clock: millis, counter, node | ttl | tombstone | value, JSON copy | provenance
 *
 * A set of 32-bit hashes tells whether a record may stand in the batch twice, which the merge must know: a hit may be
 * a collision, and then the slower, always right form of the merge runs.
 */
import { assert } from '../../engine/assert.ts';
import { FNV_OFFSET, fmix32, fnv1aUtf8From, partitionOf } from '../../engine/partition/hash.ts';
import type { BatchResult, DataBatch } from '../../engine/storage/data-store.ts';
import { KIND_COUNTER, KIND_LWW, type RecordImage, type RecordKind, type StoredKind } from '../../engine/storage/record.ts';
import { CopyWriter } from './copy.ts';
import { BATCH_COLUMN_COUNT, PRUNE_KIND } from './merge-sql.ts';

/** Makes the JSON text of a MessagePack value. */
export interface JsonSource {
  /** UTF-8 text, valid until the next call; undefined when JSON (and jsonb) cannot hold the value. */
  toJson(bytes: Uint8Array, start: number, end: number): Uint8Array | undefined;
}

export type CommitBatch = (batch: PostgresBatch, deadlineMs: number) => Promise<BatchResult>;

/** The buffers of a batch: large, so they go from one batch to the next. */
export class BatchBuffers {
  readonly writer = new CopyWriter();
  readonly seen = new HashSet();

  clear(): void {
    this.writer.clear();
    this.seen.clear();
  }
}

export class PostgresBatch implements DataBatch {
  readonly buffers: BatchBuffers;
  /** True when a record may have been put more than once. */
  repeats = false;
  lwwRows = 0;
  orRows = 0;
  counterRows = 0;
  pruneRows = 0;
  #bytes = 0;
  readonly #json: JsonSource | undefined;
  readonly #commit: CommitBatch;

  constructor(buffers: BatchBuffers, json: JsonSource | undefined, commit: CommitBatch) {
    this.buffers = buffers;
    this.#json = json;
    this.#commit = commit;
  }

  get rows(): number {
    return this.buffers.writer.rows;
  }

  get bytes(): number {
    return this.#bytes;
  }

  put(kind: StoredKind, map: Uint8Array, record: RecordImage): void {
    if (kind !== KIND_COUNTER && this.buffers.seen.add(identityHash(kind, map, record))) this.repeats = true;
    if (kind === KIND_COUNTER) this.counterRows += 1;
    else if (kind === KIND_LWW) this.lwwRows += 1;
    else this.orRows += 1;
    this.#putIdentity(kind, map, record);
    const writer = this.buffers.writer;
    if (Number.isNaN(record.ttlMs)) writer.null();
    else writer.float8(record.ttlMs);
    writer.boolean(record.tombstone);
    if (record.tombstone || kind === KIND_COUNTER) {
      writer.null();
      writer.null();
    } else {
      this.#putValue(record);
    }
    writer.int2(record.provenance);
  }

  prune(kind: StoredKind, map: Uint8Array, record: RecordImage): void {
    assert(kind !== KIND_COUNTER, 'a counter has no tombstones');
    this.pruneRows += 1;
    this.#putIdentity(kind + PRUNE_KIND, map, record);
    const writer = this.buffers.writer;
    writer.null(); // ttl
    writer.boolean(true);
    writer.null(); // value
    writer.null(); // its JSON copy
    writer.int2(record.provenance);
  }

  async commit(deadlineMs: number): Promise<BatchResult> {
    return this.#commit(this, deadlineMs);
  }

  #putIdentity(kind: number, map: Uint8Array, record: RecordImage): void {
    const { writer } = this.buffers;
    writer.row(BATCH_COLUMN_COUNT);
    writer.int2(kind);
    writer.int2(partitionOf(record.keyHash));
    writer.bytea(map, 0, map.length);
    writer.bytea(record.source, record.keyStart, record.keyBytes);
    writer.bytea(record.source, record.tagStart, record.tagBytes);
    writer.float8(record.millis);
    writer.float8(record.counter);
    writer.bytea(record.source, record.nodeStart, record.nodeBytes);
    this.#bytes += map.length + record.keyBytes + record.tagBytes + record.nodeBytes + record.valueBytes;
  }

  #putValue(record: RecordImage): void {
    const { writer } = this.buffers;
    writer.bytea(record.source, record.valueStart, record.valueBytes);
    const json = this.#json?.toJson(record.source, record.valueStart, record.valueStart + record.valueBytes);
    if (json === undefined) writer.null();
    else writer.jsonb(json, 0, json.length);
  }
}

function identityHash(kind: RecordKind, map: Uint8Array, record: RecordImage): number {
  const mapHash = fnv1aUtf8From(FNV_OFFSET ^ kind, map, 0, map.length);
  const hash = fmix32(record.keyHash ^ Math.imul(mapHash, 0x9e3779b1));
  if (kind === KIND_LWW) return hash;
  return fmix32(fnv1aUtf8From(hash, record.source, record.tagStart, record.tagStart + record.tagBytes));
}

/** Unsigned 32-bit hashes, open addressing, at most half full; 0 stands for an empty slot. */
class HashSet {
  #slots = new Int32Array(1024);
  #count = 0;

  /** Answers true when it was there already. */
  add(hash: number): boolean {
    if (this.#count * 2 >= this.#slots.length) this.#grow();
    const wanted = (hash | 0) === 0 ? 1 : hash | 0;
    const mask = this.#slots.length - 1;
    for (let at = wanted & mask; ; at = (at + 1) & mask) {
      const stored = this.#slots[at];
      if (stored === wanted) return true;
      if (stored !== 0) continue;
      this.#slots[at] = wanted;
      this.#count += 1;
      return false;
    }
  }

  clear(): void {
    if (this.#count > 0) this.#slots.fill(0);
    this.#count = 0;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    this.#count = 0;
    for (const hash of old) if (hash !== 0) this.add(hash);
  }
}
