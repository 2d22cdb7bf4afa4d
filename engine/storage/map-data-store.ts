/**
 * Layer 3 of storage: what happens to a changed record beyond memory.
 *
 * Three implementations: NullDataStore (a pure cache), WriteThrough (replies wait for the commit), WriteBehind
 * (replies do not wait; changes are staged, coalesce per key, and are flushed in batches). What is staged is not
 * copied: a staged record is a reference, and the flush reads the newest version from the record table.
 */
import type { RecordImage, StoredKind } from './record.ts';
import type { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** The store of one map and kind, as far as layer 3 needs it. */
export interface StagedSource {
  readonly kind: StoredKind;
  /** Name of the map, UTF-8. */
  readonly map: Uint8Array;
  /** Where its records lie as blocks, when they do (record-block.ts): then they are copied from there. */
  readonly slab?: Slab | undefined;
  /** Points `into` at the record; valid until the store changes. */
  read(ref: RecordRef, into: RecordImage): void;
  /** A number kept beside the record for the staging area: 0 when it is not staged. */
  stagedAt(ref: RecordRef): number;
  setStagedAt(ref: RecordRef, position: number): void;
  /** Bytes that the record counts for in the staging bound. Asked when it is staged, and when it moves. */
  costBytes(ref: RecordRef): number;
}

export interface MapDataStore {
  readonly stagedRecords: number;
  readonly stagedBytes: number;
  /** Age of the oldest change that is not in the data store yet, in ms; 0 when there is none. */
  lagMs(nowMs: number): number;
  /** False when there is no room for a change of this size: refuse it before it is merged. */
  admits(bytes: number): boolean;
  /** The record was inserted or overwritten. Called after the fact, on the worker's thread. */
  changed(store: StagedSource, ref: RecordRef, nowMs: number): void;
  /** A staged record moved in memory, and `to` has taken its `stagedAt` along. Called before anything else is told of `to`. */
  moved(store: StagedSource, from: RecordRef, to: RecordRef): void;
  /** A tombstone is about to be removed from memory for good. The image is valid during the call only. */
  pruned(store: StagedSource, ref: RecordRef, image: RecordImage, nowMs: number): void;
  /** Starts a flush when one is due and none is under way. Never throws, never waits. */
  softFlush(nowMs: number): void;
  /** Resolves when all that was staged before the call is in the data store; rejects with GridError at the deadline. */
  hardFlush(deadlineMs: number): Promise<void>;
}
