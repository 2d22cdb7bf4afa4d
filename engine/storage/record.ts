/**
 * A record outside its slab: spans of one byte source plus the numbers that merging compares.
 *
 * One mutable image is filled again and again (from a ring, from the record table, from Postgres), so a write
 * crosses the layers without an object of its own. An image is valid until its source moves on: copy what must stay.
 */

/** What a record is to the merge. Numbers are stored in slabs and in Postgres: never renumber. */
export const KIND_LWW = 0;
export const KIND_OR = 1;
export type RecordKind = typeof KIND_LWW | typeof KIND_OR;
/**
 * What one node added to a PN counter, in the log and the data store only: it is in no record store. `millis` is the sum of
 * all that the node added, `ttlMs` of all that it subtracted; the map is '', the key names the counter, the tag the owner.
 * 2 and 3 are removals of the kinds above (merge-sql.ts).
 */
export const KIND_COUNTER = 4;
/** What the log and the data store keep. */
export type StoredKind = RecordKind | typeof KIND_COUNTER;

/** Where a write came from. Numbers are stored in slabs: never renumber. */
export const PROVENANCE_CLIENT = 0;
export const PROVENANCE_FORWARDED = 1;
export const PROVENANCE_BACKUP = 2;
export const PROVENANCE_WAN = 3;
export const PROVENANCE_SYSTEM = 4;
export type Provenance = 0 | 1 | 2 | 3 | 4;

const NO_BYTES = new Uint8Array(0);

export class RecordImage {
  /** Holds every span below. */
  source: Uint8Array = NO_BYTES;
  /** fnv1a(key), unsigned: partition, slot and Merkle leaf all come from it. */
  keyHash = 0;
  keyStart = 0;
  keyBytes = 0;
  /** Tag of an OR-Map record; 0 bytes for LWW. */
  tagStart = 0;
  tagBytes = 0;
  nodeStart = 0;
  nodeBytes = 0;
  /** MessagePack bytes of the value; 0 bytes for a tombstone. */
  valueStart = 0;
  valueBytes = 0;
  millis = 0;
  counter = 0;
  /** NaN when the record does not expire. */
  ttlMs = Number.NaN;
  tombstone = false;
  /** The value was dropped from memory: its span holds what is kept in its place (evicted-value.ts). */
  evicted = false;
  provenance: Provenance = PROVENANCE_CLIENT;
}
