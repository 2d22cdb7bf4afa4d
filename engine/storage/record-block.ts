/**
 * How a record lies in its slab block. All of it in one block: a merge touches two or three cache lines.
 *
 *   word  0-1   millis f64        clock of the write
 *         2     counter u32       second part of the clock
 *         3     keyHash u32       fnv1a(key)
 *         4     keyBytes u16 | tagBytes u16 << 16
 *         5     nodeBytes u16 | flags u8 << 16 | expiry mark u8 << 24
 *         6     valueBytes
 *         7     entryHash u32     what the record adds to its Merkle leaf, before mixing
 *         8     stagedAt          0, or what the staging area keeps here (staging.ts)
 *         9     version           writes that changed the record
 *        10-11  ttlMs f64         NaN: does not expire
 *        12     updatedS
 *        13     position          index in the table's dense list
 *        14     leafNext          neighbours in the list of the Merkle leaf; 0 at the ends
 *        15     leafPrev
 *        16     createdS
 *        17     accessedS
 *        18     hits
 *   byte 76     key, tag, node, value, without gaps
 *
 * What every merge needs stands first. Node ids are not interned: 36 bytes inline cost less than a table that
 * clients could fill without bound, and they are compared only when millis and counter are equal.
 */
import type { Provenance, RecordImage } from './record.ts';
import { BLOCK_BYTES_MAX, type Segment, SEGMENT_SHIFT, type Slab, UNIT_MASK } from './slab.ts';

export const MILLIS_F64 = 0;
export const COUNTER = 2;
export const KEY_HASH = 3;
export const KEY_TAG_BYTES = 4;
export const NODE_BYTES_FLAGS = 5;
export const VALUE_BYTES = 6;
export const ENTRY_HASH = 7;
export const STAGED_AT = 8;
export const VERSION = 9;
export const TTL_F64 = 5;
export const UPDATED_S = 12;
export const POSITION = 13;
export const LEAF_NEXT = 14;
export const LEAF_PREV = 15;
export const CREATED_S = 16;
export const ACCESSED_S = 17;
export const HITS = 18;
export const BACKLOG_AT = 19;
export const HEADER_BYTES = 80;

/** Bits of the flags, as they stand in word 5. */
export const TOMBSTONE_BIT = 1 << 16;
/** The record is in no Merkle leaf: its key is not UTF-8, which clients cannot name. */
export const UNLISTED_BIT = 1 << 17;
/** The value was dropped from memory; evicted-value.ts says what stands in its place. No write of a record sets it. */
export const EVICTED_BIT = 1 << 21;
/** Upper byte of word 5: which entry of the expiry queue is the record's; 0 is none. */
export const EXPIRY_MARK_SHIFT = 24;
export const EXPIRY_MARK_MASK = 0xff << EXPIRY_MARK_SHIFT;
const PROVENANCE_SHIFT = 18;
const PROVENANCE_MASK = 7;
const SPAN_MASK = 0xffff;

/** Longest key, tag and node id, each. */
export const SPAN_BYTES_MAX = SPAN_MASK;

/** Where key, tag, node and value begin, in words of a block. */
export const SPANS_WORD = HEADER_BYTES >>> 2;

/**
 * Spans up to this many bytes are copied word by word, longer ones by `set`. Measured (ns, 64 / 128 / 256 bytes):
 * words through DataView 48 / 90 / 172, `set(subarray)` 116 / 118 / 162, byte loop 183 / 219 / 443.
 */
const WORD_COPY_BYTES_MAX = 160;

/** True when a block can hold the image. Ask before storing what the world sends. */
export function fitsBlock(image: RecordImage): boolean {
  if (image.keyBytes > SPAN_BYTES_MAX || image.tagBytes > SPAN_BYTES_MAX || image.nodeBytes > SPAN_BYTES_MAX) return false;
  return imageBlockBytes(image) <= BLOCK_BYTES_MAX;
}

/** Bytes of the block that the image needs, before rounding. A tombstone has no value. */
export function imageBlockBytes(image: RecordImage): number {
  return HEADER_BYTES + image.keyBytes + image.tagBytes + image.nodeBytes + (image.tombstone ? 0 : image.valueBytes);
}

/** Bytes of the stored record's block, before rounding. */
export function storedBlockBytes(i32: Int32Array, word: number): number {
  return valueStartOf(i32, word) - (word << 2) + (i32[word + VALUE_BYTES] as number);
}

export function segmentOf(slab: Slab, ref: number): Segment {
  return slab.segments[ref >>> SEGMENT_SHIFT] as Segment;
}

/** Index of the block's first word in its segment's i32. */
export function wordOf(ref: number): number {
  return (ref & UNIT_MASK) << 2;
}

export function isTombstoneBlock(slab: Slab, ref: number): boolean {
  return ((segmentOf(slab, ref).i32[wordOf(ref) + NODE_BYTES_FLAGS] as number) & TOMBSTONE_BIT) !== 0;
}

export function isEvictedBlock(slab: Slab, ref: number): boolean {
  return ((segmentOf(slab, ref).i32[wordOf(ref) + NODE_BYTES_FLAGS] as number) & EVICTED_BIT) !== 0;
}

/** Where the value begins in the segment's u8. */
function valueStartOf(i32: Int32Array, word: number): number {
  const spans = i32[word + KEY_TAG_BYTES] as number;
  const nodeBytes = (i32[word + NODE_BYTES_FLAGS] as number) & SPAN_MASK;
  return (word << 2) + HEADER_BYTES + (spans & SPAN_MASK) + (spans >>> 16) + nodeBytes;
}

/** Points `into` at the record. */
export function readBlock(slab: Slab, ref: number, into: RecordImage): void {
  const segment = segmentOf(slab, ref);
  const i32 = segment.i32;
  const word = wordOf(ref);
  const spans = i32[word + KEY_TAG_BYTES] as number;
  const nodeAndFlags = i32[word + NODE_BYTES_FLAGS] as number;
  into.source = segment.u8;
  into.keyHash = (i32[word + KEY_HASH] as number) >>> 0;
  into.keyStart = (word << 2) + HEADER_BYTES;
  into.keyBytes = spans & SPAN_MASK;
  into.tagStart = into.keyStart + into.keyBytes;
  into.tagBytes = spans >>> 16;
  into.nodeStart = into.tagStart + into.tagBytes;
  into.nodeBytes = nodeAndFlags & SPAN_MASK;
  into.valueStart = into.nodeStart + into.nodeBytes;
  into.valueBytes = i32[word + VALUE_BYTES] as number;
  into.millis = segment.f64[(word >>> 1) + MILLIS_F64] as number;
  into.counter = (i32[word + COUNTER] as number) >>> 0;
  into.ttlMs = segment.f64[(word >>> 1) + TTL_F64] as number;
  into.tombstone = (nodeAndFlags & TOMBSTONE_BIT) !== 0;
  into.evicted = (nodeAndFlags & EVICTED_BIT) !== 0;
  into.provenance = provenanceOf(nodeAndFlags);
}

/** Provenance in word 5. */
export function provenanceOf(nodeAndFlags: number): Provenance {
  return ((nodeAndFlags >>> PROVENANCE_SHIFT) & PROVENANCE_MASK) as Provenance;
}

/** Writes key and tag of a new record. */
export function writeIdentity(segment: Segment, word: number, image: RecordImage, slab: Slab): void {
  const i32 = segment.i32;
  const start = (word << 2) + HEADER_BYTES;
  const view = slab.viewOf(image.source);
  i32[word + KEY_HASH] = image.keyHash;
  i32[word + KEY_TAG_BYTES] = image.keyBytes | (image.tagBytes << 16);
  copySpan(image.source, view, image.keyStart, segment, start, image.keyBytes);
  if (image.tagBytes > 0) copySpan(image.source, view, image.tagStart, segment, start + image.keyBytes, image.tagBytes);
}

/** Writes clock, node, value, TTL and flags of the image after key and tag, which are in place; keeps UNLISTED_BIT and the expiry mark. */
export function writeState(segment: Segment, word: number, image: RecordImage, slab: Slab): void {
  const i32 = segment.i32;
  const valueBytes = image.tombstone ? 0 : image.valueBytes;
  const kept = (i32[word + NODE_BYTES_FLAGS] as number) & (UNLISTED_BIT | EXPIRY_MARK_MASK);
  const tombstone = image.tombstone ? TOMBSTONE_BIT : 0;
  segment.f64[(word >>> 1) + MILLIS_F64] = image.millis;
  segment.f64[(word >>> 1) + TTL_F64] = image.ttlMs;
  i32[word + COUNTER] = image.counter;
  i32[word + NODE_BYTES_FLAGS] = image.nodeBytes | tombstone | kept | (image.provenance << PROVENANCE_SHIFT);
  i32[word + VALUE_BYTES] = valueBytes;
  const nodeStart = valueStartOf(i32, word) - image.nodeBytes;
  const words = slab.wordsOf(image.source);
  const from = image.nodeStart >>> 2;
  const end = (image.nodeStart + image.nodeBytes + valueBytes + 3) >>> 2;
  if (end - from > WORD_COPY_BYTES_MAX >>> 2 || end > words.length || !isPacked(image)) {
    const view = slab.viewOf(image.source);
    copySpan(image.source, view, image.nodeStart, segment, nodeStart, image.nodeBytes);
    copySpan(image.source, view, image.valueStart, segment, nodeStart + image.nodeBytes, valueBytes);
    return;
  }
  // From the word that the node begins in, which begins with the end of key and tag: these are the same here and there.
  const shift = (nodeStart >>> 2) - from;
  for (let at = from; at < end; at++) i32[at + shift] = words[at] as number;
}

/** True when the image's spans lie as in a block: without gaps from the beginning of a word on. */
function isPacked(image: RecordImage): boolean {
  const { keyStart, tagStart, nodeStart } = image;
  return (
    (keyStart & 3) === 0 &&
    tagStart === keyStart + image.keyBytes &&
    nodeStart === tagStart + image.tagBytes &&
    image.valueStart === nodeStart + image.nodeBytes
  );
}

/** Copies a span from outside the block. `view` shows the same bytes as `from`. */
function copySpan(from: Uint8Array, view: DataView, start: number, to: Segment, toStart: number, bytes: number): void {
  if (bytes > WORD_COPY_BYTES_MAX) {
    to.u8.set(from.subarray(start, start + bytes), toStart);
    return;
  }
  const toView = to.view;
  const words = bytes & ~3;
  let index = 0;
  for (; index < words; index += 4) toView.setUint32(toStart + index, view.getUint32(start + index, true), true);
  for (; index < bytes; index++) to.u8[toStart + index] = from[start + index] as number;
}

/** True when the stored key and tag equal the image's. `words` are those of the image's source. */
export function hasIdentity(segment: Segment, word: number, image: RecordImage, words: Int32Array): boolean {
  const keyBytes = image.keyBytes;
  const i32 = segment.i32;
  if (i32[word + KEY_TAG_BYTES] !== (keyBytes | (image.tagBytes << 16))) return false;
  const start = (word << 2) + HEADER_BYTES;
  let same = 0;
  const from = image.keyStart >>> 2;
  const whole = keyBytes >>> 2;
  if ((image.keyStart & 3) === 0 && from + whole <= words.length) {
    for (; same < whole; same++) if (i32[word + SPANS_WORD + same] !== words[from + same]) return false;
    same <<= 2;
  }
  if (!sameSpan(segment.u8, start + same, image.source, image.keyStart + same, keyBytes - same)) return false;
  return image.tagBytes === 0 || sameSpan(segment.u8, start + keyBytes, image.source, image.tagStart, image.tagBytes);
}

export function sameSpan(a: Uint8Array, aStart: number, b: Uint8Array, bStart: number, bytes: number): boolean {
  for (let index = 0; index < bytes; index++) if (a[aStart + index] !== b[bStart + index]) return false;
  return true;
}
