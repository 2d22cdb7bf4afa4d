/**
 * What an expired record becomes: its removal, stamped with the moment at which it expired.
 *
 *   record   millis ·············· ttlMs ·············▶ removal   (millis + ttlMs, counter and node of the record)
 *
 * The stamp comes from the record alone, never from the clock of who finds it expired. So every server and every
 * restart makes the same removal of the same record, a write that is sent again loses against it, and a write made
 * later (offline, too) wins. Another TTL is another write, with another stamp.
 *
 * Clocks are whole milliseconds: a moment between two is rounded up. A TTL too small to reach the next millisecond (0,
 * or less than that from a damaged row) expires at once: its removal takes the next counter, for it must win.
 * A moment beyond Number.MAX_SAFE_INTEGER never comes.
 */
import { expiryMillis, isExpired } from '../crdt/lww.ts';
import { PROVENANCE_SYSTEM, type RecordImage } from './record.ts';
import { MILLIS_F64, NODE_BYTES_FLAGS, TOMBSTONE_BIT, TTL_F64 } from './record-block.ts';
import type { Segment } from './slab.ts';

const COUNTER_MAX = 0xffffffff;

/** Moment at which the record in the block expires, in ms, as far as anything is to be done then; NaN when it never does. */
export function blockExpiryMillis(segment: Segment, word: number): number {
  const f64 = segment.f64;
  const expiresAtMs = expiryMillis(f64[(word >>> 1) + MILLIS_F64] as number, f64[(word >>> 1) + TTL_F64] as number);
  if (!(expiresAtMs <= Number.MAX_SAFE_INTEGER)) return Number.NaN;
  return ((segment.i32[word + NODE_BYTES_FLAGS] as number) & TOMBSTONE_BIT) === 0 ? expiresAtMs : Number.NaN;
}

/** True once the record's TTL has passed; never for a tombstone. */
export function isExpiredImage(image: RecordImage, nowMs: number): boolean {
  return !image.tombstone && isExpired(image.millis, image.ttlMs, nowMs);
}

/** Turns the image of an expired record into its removal. Key, tag, node and the bytes that it points at stay. */
export function becomeRemoval(image: RecordImage): void {
  const expiredAtMs = Math.ceil(expiryMillis(image.millis, image.ttlMs));
  if (expiredAtMs > image.millis) image.millis = expiredAtMs;
  else if (image.counter < COUNTER_MAX) image.counter += 1;
  else {
    image.millis += 1;
    image.counter = 0;
  }
  image.tombstone = true;
  image.valueBytes = 0;
  image.evicted = false;
  image.ttlMs = Number.NaN;
  image.provenance = PROVENANCE_SYSTEM;
}
