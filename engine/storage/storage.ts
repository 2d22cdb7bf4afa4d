/**
 * Layer 1 of storage: records of one map and one partition, found by key, walked by cursor. No rules about data.
 *
 *   Storage (this) → RecordStore (clocks, TTL, tombstones, Merkle leaves, observers) → MapDataStore (Postgres)
 *
 * A record is named by a reference: a number, 0 for none, that stays valid until the record is overwritten or
 * removed. Reading never allocates: `read` points an image into the storage's own memory.
 */
import type { RecordImage } from './record.ts';

/** Names a record inside its storage. 0 means none. */
export type RecordRef = number;

/** Metadata beside the clock. Times in whole seconds of the caller's clock. */
export interface RecordMeta {
  /** Counts the writes that changed this record, from 1. */
  version: number;
  createdS: number;
  updatedS: number;
  accessedS: number;
  hits: number;
  /** Memory that the record occupies, header and rounding included. */
  costBytes: number;
}

/**
 * Walks a storage while it changes. Every record that is there from the first `next` to the last is returned at
 * least once; one that comes or goes meanwhile may or may not be; one may be returned twice after removals.
 */
export interface RecordCursor {
  /** The next record, or 0 at the end. */
  next(): RecordRef;
}

export interface Storage {
  readonly records: number;
  /** Memory of all records, header and rounding included, without the index. */
  readonly bytes: number;
  /** The record whose key and tag bytes equal the image's. Only keyHash, key and tag of the image are read. */
  find(image: RecordImage): RecordRef;
  /** Adds a record that `find` did not find. Copies every span. */
  insert(image: RecordImage, nowS: number): RecordRef;
  /** Replaces clock, node, value, TTL and flags; key and tag stay. The record may move: use the answer. */
  overwrite(ref: RecordRef, image: RecordImage, nowS: number): RecordRef;
  /** Forgets the record. */
  remove(ref: RecordRef): void;
  /** Points `into` at the record. Valid until the storage is next changed. */
  read(ref: RecordRef, into: RecordImage): void;
  /** Fills `into` with the metadata. */
  meta(ref: RecordRef, into: RecordMeta): void;
  /** Notes a read: accessed and hits. */
  touch(ref: RecordRef, nowS: number): void;
  cursor(): RecordCursor;
}
