/**
 * Which of two versions of a record wins: the stored one or the one that comes.
 *
 *   LWW   the newer (millis, counter, node id) wins; on equal clocks the larger value bytes, counted in `clockTies`
 *   OR    one record a (key, tag): a value never changes, tombstone = old OR new, a removed tag never comes back
 *
 * An evicted value is known by its length and hash: enough to tell a repeat, not to compare (JOIN_EVICTED).
 *
 * Both rules are joins: commutative, associative, idempotent. Compared in the block itself: an image of the stored
 * record is only made when millis and counter are equal.
 */
import { compareLwwStamps, compareLwwValues } from '../crdt/lww.ts';
import { isEvictedValue } from './evicted-value.ts';
import { RecordImage } from './record.ts';
import { COUNTER, isTombstoneBlock, MILLIS_F64, readBlock, segmentOf, wordOf } from './record-block.ts';
import type { Slab } from './slab.ts';
import type { RecordRef } from './storage.ts';

/** The record changed. */
export const JOIN_APPLIED = 0;
/** What is stored wins: the write changed nothing. */
export const JOIN_STALE = 1;
/** The write is stored already. */
export const JOIN_DUPLICATE = 2;
/** The clocks are equal and the stored value, which differs, was evicted: read it back, then join again. Nothing changed. */
export const JOIN_EVICTED = 3;
/** The key is new, and as many others have its hash as may: it is one of a flood. Nothing changed. */
export const JOIN_CROWDED = 4;
export type JoinResult =
  | typeof JOIN_APPLIED
  | typeof JOIN_STALE
  | typeof JOIN_DUPLICATE
  | typeof JOIN_EVICTED
  | typeof JOIN_CROWDED;

export class JoinRule {
  /** Joins of equal clocks with different values: some node gave one clock to two writes. */
  clockTies = 0;
  readonly #slab: Slab;
  readonly #stored = new RecordImage();

  constructor(slab: Slab) {
    this.#slab = slab;
  }

  compareLww(ref: RecordRef, image: RecordImage): JoinResult {
    const segment = segmentOf(this.#slab, ref);
    const word = wordOf(ref);
    const millis = segment.f64[(word >>> 1) + MILLIS_F64] as number;
    if (image.millis !== millis) return image.millis > millis ? JOIN_APPLIED : JOIN_STALE;
    const counter = (segment.i32[word + COUNTER] as number) >>> 0;
    if (image.counter !== counter) return image.counter > counter ? JOIN_APPLIED : JOIN_STALE;
    return this.#compareTie(ref, image);
  }

  compareOr(ref: RecordRef, image: RecordImage): JoinResult {
    if (isTombstoneBlock(this.#slab, ref)) return image.tombstone ? JOIN_DUPLICATE : JOIN_STALE;
    return image.tombstone ? JOIN_APPLIED : JOIN_DUPLICATE;
  }

  /** What a removed OR record becomes: the stored one as a tombstone, with the removal's clock if that is newer. */
  removal(ref: RecordRef, image: RecordImage): RecordImage {
    const stored = this.#stored;
    readBlock(this.#slab, ref, stored);
    if (compareLwwStamps(image, stored) > 0) return image;
    stored.tombstone = true;
    stored.evicted = false;
    stored.valueBytes = 0;
    stored.ttlMs = Number.NaN;
    return stored;
  }

  /** Equal millis and counter: the node id decides, then the value bytes, of which a tombstone has none. */
  #compareTie(ref: RecordRef, image: RecordImage): JoinResult {
    const stored = this.#stored;
    readBlock(this.#slab, ref, stored);
    const byStamp = compareLwwStamps(image, stored);
    if (byStamp !== 0) return byStamp > 0 ? JOIN_APPLIED : JOIN_STALE;
    if (image.tombstone) image.valueBytes = 0;
    if (stored.evicted) {
      if (image.valueBytes === 0) return JOIN_STALE; // any value is larger than none, and only values are evicted
      return isEvictedValue(stored, image) ? JOIN_DUPLICATE : JOIN_EVICTED;
    }
    const byValue = compareLwwValues(image, stored);
    if (byValue === 0) return JOIN_DUPLICATE;
    this.clockTies += 1;
    return byValue > 0 ? JOIN_APPLIED : JOIN_STALE;
  }
}
