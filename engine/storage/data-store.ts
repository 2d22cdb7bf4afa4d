/**
 * The durable store under a worker: Postgres in production, memory in tests.
 *
 * Guards, so that repeats and reordering change nothing: an LWW row is only overwritten by a newer clock (millis,
 * counter, node id by byte order, then the larger value bytes); an OR row's tombstone is `old OR new` and its value
 * never changes; a counter's sums only grow, and its owner is named once; a removal (`prune`) only hits a tombstone whose clock is not newer than the one named, and ends that dead
 * letters of it are loaded again.
 */
import type { GridError } from '../protocol/errors.ts';
import type { RecordImage, RecordKind, StoredKind } from './record.ts';

/** Answer of a committed batch. */
export interface BatchResult {
  /** Rows handed over, whether or not the guard let them change anything. */
  readonly rows: number;
  /** Bytes handed over. */
  readonly bytes: number;
}

/** Rows gathered for one transaction. `put` and `prune` copy the bytes before they return. */
export interface DataBatch {
  readonly rows: number;
  readonly bytes: number;
  /** Upserts one record of `map` (name in UTF-8). */
  put(kind: StoredKind, map: Uint8Array, record: RecordImage): void;
  /** Deletes the tombstone of this identity, unless the stored clock is newer. A counter has none. */
  prune(kind: StoredKind, map: Uint8Array, record: RecordImage): void;
  /**
   * Writes all rows in one transaction, or none. Never hangs: it settles by `deadlineMs` from now.
   * Rejects with GridError: STORAGE_UNAVAILABLE (retryable: away, deadline, breaker open), STORAGE_POISON (not
   * retryable: the store refuses these rows, the caller isolates the row), STORAGE_FENCED (another owner: stop).
   */
  commit(deadlineMs: number): Promise<BatchResult>;
}

/** Called for each stored record while loading; the image is valid during the call only. */
export type OnStoredRecord = (kind: StoredKind, map: Uint8Array, record: RecordImage) => void;

/** Names a record within its map and kind. */
export interface RecordIdentity {
  /** fnv1a(key). */
  readonly keyHash: number;
  readonly key: Uint8Array;
  /** Empty for LWW. */
  readonly tag: Uint8Array;
}

/** Identities of one `read`. */
export const READ_RECORDS_MAX = 1000;

/** A write given up: kept with its bytes and the reason, to be looked at and loaded again. */
export interface DeadLetter {
  readonly kind: StoredKind;
  readonly map: Uint8Array;
  readonly reason: string;
  /** True when the write is part of the grid's state, and only the store refuses it: it is loaded again. False when it was rejected. */
  readonly applied: boolean;
  readonly record: RecordImage;
}

export interface DataStore {
  /** An empty batch. At most one batch of a store is being committed at a time. */
  batch(): DataBatch;
  /**
   * Streams every record (applied dead letters included) of the given partitions with bounded memory, in no special order.
   * Rejects with GridError STORAGE_UNAVAILABLE; then what was delivered must not be served as if complete.
   */
  load(partitions: readonly number[], onRecord: OnStoredRecord): Promise<void>;
  /**
   * Reads the records of these identities, of one map and kind, in no special order: the row and every applied dead letter
   * of each, so it may be told several versions; of an identity that is not stored, none. At most `READ_RECORDS_MAX`.
   * Settles by `deadlineMs` from now; rejects with GridError STORAGE_UNAVAILABLE.
   */
  read(
    kind: RecordKind,
    map: Uint8Array,
    identities: readonly RecordIdentity[],
    onRecord: OnStoredRecord,
    deadlineMs: number,
  ): Promise<void>;
  /** Commits one dead letter with its bytes and reason. */
  bury(letter: DeadLetter, deadlineMs: number): Promise<void>;
  /** Waits for what is under way and lets go of connections. */
  close(): Promise<void>;
}

/** Narrowing for callers that catch what a DataStore rejects with. */
export type DataStoreError = GridError;
