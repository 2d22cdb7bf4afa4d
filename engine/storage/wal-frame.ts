/**
 * Writes a frame of the write-ahead log (laid out in wal-frame-layout.ts, read in wal-frame-reader.ts).
 *
 *   append, append …   entries grow in one buffer, behind room for the largest header
 *   finish             header right before the entries, then the crc; may be done again with other fields
 *   clear              the next frame
 */
import { crc32 } from 'node:zlib';
import { assert } from '../assert.ts';
import type { RecordImage, StoredKind } from './record.ts';
import {
  COUNTER,
  EVICTED_BIT,
  KEY_HASH,
  KEY_TAG_BYTES,
  MILLIS_F64,
  NODE_BYTES_FLAGS,
  provenanceOf,
  SPANS_WORD,
  sameSpan,
  TOMBSTONE_BIT,
  TTL_F64,
  VALUE_BYTES,
} from './record-block.ts';
import type { Segment } from './slab.ts';
import {
  COMMIT_BYTES,
  CRC_COVERED_START,
  ENTRY_COMMIT,
  ENTRY_FENCE,
  ENTRY_MAP,
  ENTRY_RECORD,
  ENTRY_WHOLE,
  FENCE_NAME_START,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  FRAME_RINGS_MAX,
  headerBytes,
  MAP_NAME_START,
  RECORD_PROVENANCE_SHIFT,
  RECORD_SPANS_START,
  RECORD_TOMBSTONE,
  WHOLE_CHANGE_START,
  WHOLE_PARTITIONS_START,
} from './wal-frame-layout.ts';
import type { WholeNote } from './whole-act-note.ts';

export { type Frame, FrameRecords, forEachRecord, readFrame } from './wal-frame-reader.ts';

/** Where entries begin in the writer's buffer: the largest header fits before them. */
const BODY_START = FRAME_HEADER_BYTES + 4 * FRAME_RINGS_MAX;
const BUFFER_BYTES = 64 * 1024;
/** A larger buffer is let go when its frame is written: one huge value must not cost its memory for ever. */
const BUFFER_KEPT_BYTES = 4 << 20;
const SPAN_BYTES_MAX = 0xffff;
/**
 * Runs up to this many bytes are copied word by word, longer ones by `set`. Measured (ns a record of 60 / 100 / 130 / 300
 * bytes, 44 of frame included): words 48 / 61 / 74 / 105, `set` 75 / 76 / 74 / 69.
 */
const WORD_COPY_BYTES_MAX = 128;
/** Sources of at least this size are slab segments, which live as long as their slab: their word views are kept. */
const LASTING_SOURCE_BYTES = 1 << 20;
const LASTING_SOURCES_MAX = 4096;

const NO_MAP = new Uint8Array(0);
const NO_WORDS = new Int32Array(0);

/** What a frame says beside its records. */
export interface FrameFields {
  readonly salt: number;
  /** Rises by exactly 1 from frame to frame of a worker in one epoch. */
  readonly sequence: number;
  /** Highest frame known to be on the disk when this one was written. */
  readonly syncedSequence: number;
  /** Frames up to here were in Postgres when this one was written. */
  readonly flushedSequence: number;
  readonly writtenAtMs: number;
  /** Where the worker stood in each inbox ring behind this batch. */
  readonly inboxPositions: readonly number[];
}

/** Collects the entries of one frame. Nothing is allocated a record, save when the buffer doubles. */
export class FrameWriter {
  #buffer = new ArrayBuffer(BUFFER_BYTES);
  #u8 = new Uint8Array(this.#buffer);
  #i32 = new Int32Array(this.#buffer);
  #f64 = new Float64Array(this.#buffer);
  #end = BODY_START;
  #kind = -1;
  #map: Uint8Array = NO_MAP;
  /** The source read last, in words; no words when it cannot be read so. */
  #source: Uint8Array = NO_MAP;
  #sourceWords: Int32Array = NO_WORDS;
  readonly #lasting = new Map<Uint8Array, Int32Array>();

  get isEmpty(): boolean {
    return this.#end === BODY_START;
  }

  /** Bytes of all entries. */
  get bodyBytes(): number {
    return this.#end - BODY_START;
  }

  /** Adds a record of `map` (name in UTF-8). Copies every span. A tombstone's value is left out. */
  append(kind: StoredKind, map: Uint8Array, image: RecordImage): void {
    if (kind !== this.#kind || (map !== this.#map && !this.#isSameMap(map))) this.#appendMap(kind, map);
    const keyBytes = image.keyBytes;
    const tagBytes = image.tagBytes;
    const nodeBytes = image.nodeBytes;
    const valueBytes = image.tombstone ? 0 : image.valueBytes;
    assert(!image.evicted || image.tombstone, 'the value of a record that is logged is not in memory');
    assert((keyBytes | tagBytes | nodeBytes) <= SPAN_BYTES_MAX, 'a span of the record is longer than its field');
    const spanBytes = keyBytes + tagBytes + nodeBytes + valueBytes;
    const entryBytes = (RECORD_SPANS_START + spanBytes + 7) & ~7;
    const start = this.#end;
    if (start + entryBytes > this.#u8.length) this.#grow(start + entryBytes);
    const i32 = this.#i32;
    const f64 = this.#f64;
    const word = start >>> 2;
    i32[word + (entryBytes >>> 2) - 1] = 0; // padding is zero
    i32[word + (entryBytes >>> 2) - 2] = 0;
    i32[word] = ENTRY_RECORD;
    i32[word + 1] = entryBytes;
    f64[(word >>> 1) + 1] = image.millis;
    f64[(word >>> 1) + 2] = image.ttlMs;
    i32[word + 6] = image.counter;
    i32[word + 7] = image.keyHash;
    i32[word + 8] = keyBytes | (tagBytes << 16);
    const flags = (image.tombstone ? RECORD_TOMBSTONE : 0) | (image.provenance << RECORD_PROVENANCE_SHIFT);
    i32[word + 9] = nodeBytes | (flags << 16);
    i32[word + 10] = valueBytes;
    this.#copySpans(image, start + RECORD_SPANS_START, spanBytes, valueBytes);
    this.#end = start + entryBytes;
  }

  /** As `append`, of the record in the block at `word` of its segment: its spans lie there as they lie in an entry. */
  appendBlock(kind: StoredKind, map: Uint8Array, segment: Segment, word: number): void {
    if (kind !== this.#kind || (map !== this.#map && !this.#isSameMap(map))) this.#appendMap(kind, map);
    const from = segment.i32;
    const nodeAndFlags = from[word + NODE_BYTES_FLAGS] as number;
    const spans = from[word + KEY_TAG_BYTES] as number;
    const valueBytes = from[word + VALUE_BYTES] as number;
    const isTombstone = (nodeAndFlags & TOMBSTONE_BIT) !== 0;
    assert((nodeAndFlags & EVICTED_BIT) === 0, 'the value of a record that is logged is not in memory');
    assert(!isTombstone || valueBytes === 0, 'a tombstone has no value');
    const nodeBytes = nodeAndFlags & SPAN_BYTES_MAX;
    const spanBytes = (spans & SPAN_BYTES_MAX) + (spans >>> 16) + nodeBytes + valueBytes;
    const entryBytes = (RECORD_SPANS_START + spanBytes + 7) & ~7;
    const start = this.#end;
    if (start + entryBytes > this.#u8.length) this.#grow(start + entryBytes);
    const i32 = this.#i32;
    const to = start >>> 2;
    const last = to + (entryBytes >>> 2) - 1;
    i32[last] = 0; // padding is zero
    i32[last - 1] = 0;
    const flags = (isTombstone ? RECORD_TOMBSTONE : 0) | (provenanceOf(nodeAndFlags) << RECORD_PROVENANCE_SHIFT);
    i32[to] = ENTRY_RECORD;
    i32[to + 1] = entryBytes;
    i32[to + 2] = from[word + MILLIS_F64 * 2] as number;
    i32[to + 3] = from[word + MILLIS_F64 * 2 + 1] as number;
    i32[to + 4] = from[word + TTL_F64 * 2] as number;
    i32[to + 5] = from[word + TTL_F64 * 2 + 1] as number;
    i32[to + 6] = from[word + COUNTER] as number;
    i32[to + 7] = from[word + KEY_HASH] as number;
    i32[to + 8] = spans;
    i32[to + 9] = nodeBytes | (flags << 16);
    i32[to + 10] = valueBytes;
    const spansTo = to + (RECORD_SPANS_START >>> 2);
    const spansFrom = word + SPANS_WORD;
    if (spanBytes > WORD_COPY_BYTES_MAX) {
      this.#u8.set(segment.u8.subarray(spansFrom << 2, (spansFrom << 2) + spanBytes), spansTo << 2);
    } else {
      const words = (spanBytes + 3) >>> 2;
      for (let index = 0; index < words; index++) i32[spansTo + index] = from[spansFrom + index] as number;
      const rest = (spanBytes & 3) << 3;
      if (rest !== 0) (i32[spansTo + words - 1] as number) &= (1 << rest) - 1; // what lies behind the record stays out
    }
    this.#end = start + entryBytes;
  }

  /** Adds the newest token of a lock (name in UTF-8). No name: the token of all names that are forgotten. */
  appendFence(name: Uint8Array, token: number): void {
    const start = this.#end;
    const end = start + ((FENCE_NAME_START + name.length + 7) & ~7);
    if (end > this.#u8.length) this.#grow(end);
    const i32 = this.#i32;
    const word = start >>> 2;
    i32[(end >>> 2) - 1] = 0; // padding is zero
    i32[(end >>> 2) - 2] = 0;
    i32[word] = ENTRY_FENCE;
    i32[word + 1] = end - start;
    this.#f64[(word >>> 1) + 1] = token;
    i32[word + 4] = name.length;
    this.#u8.set(name, start + FENCE_NAME_START);
    this.#end = end;
  }

  /** Notes that what follows are the writes of an act over several workers. */
  appendCommit(act: number): void {
    const start = this.#end;
    const end = start + COMMIT_BYTES;
    if (end > this.#u8.length) this.#grow(end);
    this.#i32[start >>> 2] = ENTRY_COMMIT;
    this.#i32[(start >>> 2) + 1] = COMMIT_BYTES;
    this.#f64[(start + 8) >>> 3] = act;
    this.#end = end;
  }

  /** Notes how a change of whole databases stands. */
  appendWhole({ act, epoch, state, partitions, change }: WholeNote): void {
    const start = this.#end;
    const end = start + ((WHOLE_CHANGE_START + change.length + 7) & ~7);
    if (end > this.#u8.length) this.#grow(end);
    const i32 = this.#i32;
    const word = start >>> 2;
    i32[(end >>> 2) - 1] = 0; // padding is zero
    i32[(end >>> 2) - 2] = 0;
    i32[word] = ENTRY_WHOLE;
    i32[word + 1] = end - start;
    this.#f64[(word >>> 1) + 1] = act;
    this.#f64[(word >>> 1) + 2] = epoch;
    i32[word + 6] = state;
    i32[word + 7] = change.length;
    this.#u8.set(partitions, start + WHOLE_PARTITIONS_START);
    this.#u8.set(change, start + WHOLE_CHANGE_START);
    this.#end = end;
  }

  /** Seals the frame. The bytes are valid until `clear` or the next `append`; other fields may seal the same body again. */
  finish(fields: FrameFields): Uint8Array {
    const rings = fields.inboxPositions.length;
    assert(rings <= FRAME_RINGS_MAX, 'a frame carries at most 64 inbox positions');
    const start = BODY_START - headerBytes(rings);
    const bytes = this.#end - start;
    const word = start >>> 2;
    const i32 = this.#i32;
    const f64 = this.#f64;
    i32[(BODY_START >>> 2) - 1] = 0; // padding of an odd number of rings; else written over below
    i32[word] = FRAME_MAGIC ^ fields.salt;
    i32[word + 1] = bytes;
    i32[word + 3] = 0;
    f64[(start + 16) >>> 3] = fields.sequence;
    f64[(start + 24) >>> 3] = fields.syncedSequence;
    f64[(start + 32) >>> 3] = fields.flushedSequence;
    f64[(start + 40) >>> 3] = fields.writtenAtMs;
    i32[word + 12] = rings;
    i32[word + 13] = this.bodyBytes;
    for (let ring = 0; ring < rings; ring++) i32[word + 14 + ring] = fields.inboxPositions[ring] as number;
    i32[word + 2] = crc32(this.#u8.subarray(start + CRC_COVERED_START, this.#end), fields.salt >>> 0);
    return this.#u8.subarray(start, this.#end);
  }

  clear(): void {
    this.#end = BODY_START;
    this.#kind = -1;
    this.#map = NO_MAP;
    if (this.#u8.length > BUFFER_KEPT_BYTES) this.#allocate(BUFFER_BYTES);
  }

  #isSameMap(map: Uint8Array): boolean {
    if (map.length !== this.#map.length || !sameSpan(map, 0, this.#map, 0, map.length)) return false;
    this.#map = map;
    return true;
  }

  #appendMap(kind: StoredKind, map: Uint8Array): void {
    const start = this.#end;
    const end = start + ((MAP_NAME_START + map.length + 7) & ~7);
    if (end > this.#u8.length) this.#grow(end);
    const i32 = this.#i32;
    const word = start >>> 2;
    i32[(end >>> 2) - 1] = 0;
    i32[(end >>> 2) - 2] = 0;
    i32[word] = ENTRY_MAP;
    i32[word + 1] = end - start;
    i32[word + 2] = kind;
    i32[word + 3] = map.length;
    this.#u8.set(map, start + MAP_NAME_START);
    this.#end = end;
    this.#kind = kind;
    this.#map = map;
  }

  #copySpans(image: RecordImage, to: number, spanBytes: number, valueBytes: number): void {
    const from = image.keyStart;
    const isOneRun =
      image.tagStart === from + image.keyBytes &&
      image.nodeStart === image.tagStart + image.tagBytes &&
      (valueBytes === 0 || image.valueStart === image.nodeStart + image.nodeBytes);
    if (!isOneRun) {
      this.#copySpanBySpan(image, to, valueBytes);
      return;
    }
    if (image.source !== this.#source) this.#enter(image.source);
    const words = (spanBytes + 3) >>> 2;
    const sourceWords = this.#sourceWords;
    const fromWord = from >>> 2;
    if (spanBytes > WORD_COPY_BYTES_MAX || (from & 3) !== 0 || fromWord + words > sourceWords.length) {
      this.#u8.set(image.source.subarray(from, from + spanBytes), to);
      return;
    }
    const i32 = this.#i32;
    const toWord = to >>> 2;
    for (let index = 0; index < words; index++) i32[toWord + index] = sourceWords[fromWord + index] as number;
    const rest = (spanBytes & 3) << 3;
    if (rest !== 0) (i32[toWord + words - 1] as number) &= (1 << rest) - 1; // what lies behind the record stays out
  }

  #copySpanBySpan(image: RecordImage, to: number, valueBytes: number): void {
    const u8 = this.#u8;
    const source = image.source;
    u8.set(source.subarray(image.keyStart, image.keyStart + image.keyBytes), to);
    const tagAt = to + image.keyBytes;
    u8.set(source.subarray(image.tagStart, image.tagStart + image.tagBytes), tagAt);
    const nodeAt = tagAt + image.tagBytes;
    u8.set(source.subarray(image.nodeStart, image.nodeStart + image.nodeBytes), nodeAt);
    u8.set(source.subarray(image.valueStart, image.valueStart + valueBytes), nodeAt + image.nodeBytes);
  }

  /** Finds or makes the word view of a source that spans are now read from. */
  #enter(source: Uint8Array): void {
    this.#source = source;
    this.#sourceWords = NO_WORDS;
    if (source.length < LASTING_SOURCE_BYTES || (source.byteOffset & 3) !== 0) return;
    const known = this.#lasting.get(source);
    this.#sourceWords = known ?? new Int32Array(source.buffer, source.byteOffset, source.length >>> 2);
    if (known !== undefined) return;
    if (this.#lasting.size === LASTING_SOURCES_MAX) this.#lasting.clear();
    this.#lasting.set(source, this.#sourceWords);
  }

  #grow(bytes: number): void {
    const old = this.#u8;
    let capacity = old.length;
    while (capacity < bytes) capacity *= 2;
    this.#allocate(capacity);
    this.#u8.set(old.subarray(0, this.#end));
  }

  #allocate(bytes: number): void {
    this.#buffer = new ArrayBuffer(bytes);
    this.#u8 = new Uint8Array(this.#buffer);
    this.#i32 = new Int32Array(this.#buffer);
    this.#f64 = new Float64Array(this.#buffer);
  }
}
