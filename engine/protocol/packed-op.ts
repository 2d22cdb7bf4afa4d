/**
 * An op on its way through a ring to its worker: what merging needs of it and nothing else.
 *
 *   word  0      mapId u32                                  the gateway's number for the map's name
 *         1      ordinal u16 | nameBytes u16 << 16          place in its frame; 0 name bytes: the map of the op before
 *         2-3    millis f64      4-5  ttlMs f64             as in op-index.ts
 *         6      counter u32     7    keyHash u32
 *         8      keyBytes u16 | tagBytes u16 << 16
 *         9      nodeBytes u16 | flags u16 << 16            flags of op-index.ts
 *        10      valueBytes u32
 *   byte 44      key, tag, node, value, the map's name, without gaps; padded to 8
 *                a fenced op (FLAG_FENCED) has its fence and the fence's length, u16, behind the name: nameBytes counts them too
 *
 * Ops stand back to back, and how long one is follows from its counts. Key to value lie as they do in a slab block
 * (record-block.ts) and begin on a word, so that they are merged by copying words.
 */
import type { RingMemory } from './envelope.ts';
import { fenceAt, type OpFence } from './op-fence.ts';
import { FLAG_FENCED, OP } from './op-index.ts';

export const PACKED = {
  MAP_ID: 0,
  ORDINAL_NAME_BYTES: 1,
  MILLIS_F64: 1,
  TTL_MS_F64: 2,
  COUNTER: 6,
  KEY_HASH: 7,
  KEY_TAG_BYTES: 8,
  NODE_BYTES_FLAGS: 9,
  VALUE_BYTES: 10,
} as const;

/** Where the key begins. */
export const PACKED_SPANS_START = 44;

const LOW = 0xffff;
const FENCE_LENGTH_BYTES = 2;
/** Spans up to this many bytes are copied word by word, longer ones by `set`: a view costs more than the copy. */
const WORD_COPY_BYTES_MAX = 160;

/** Memory that ops are packed into. */
export interface PackMemory extends RingMemory {
  /** The same bytes. */
  readonly view: DataView;
}

/** Memory of its own for a record of `bytes` bytes. */
export function packMemory(bytes: number): PackMemory {
  const buffer = new ArrayBuffer((bytes + 7) & ~7);
  return {
    bytes: new Uint8Array(buffer),
    words: new Int32Array(buffer),
    floats: new Float64Array(buffer),
    view: new DataView(buffer),
  };
}

/** Bytes that the op of a row takes, with the map's name or without. */
export function bytesWhenPacked(words: Int32Array, row: number, isNamed: boolean): number {
  const spans =
    (words[row + OP.KEY_BYTES] as number) +
    (words[row + OP.TAG_BYTES] as number) +
    (words[row + OP.NODE_BYTES] as number) +
    (words[row + OP.VALUE_BYTES] as number) +
    (isNamed ? (words[row + OP.MAP_BYTES] as number) : 0) +
    fenceFieldBytes(words[row + OP.FENCE_BYTES] as number);
  return (PACKED_SPANS_START + spans + 7) & ~7;
}

/** Bytes of the packed op whose first word is `word`. */
export function packedBytes(words: Int32Array, word: number): number {
  const spans = words[word + PACKED.KEY_TAG_BYTES] as number;
  return (
    (PACKED_SPANS_START +
      (spans & LOW) +
      (spans >>> 16) +
      ((words[word + PACKED.NODE_BYTES_FLAGS] as number) & LOW) +
      (words[word + PACKED.VALUE_BYTES] as number) +
      ((words[word + PACKED.ORDINAL_NAME_BYTES] as number) >>> 16) +
      7) &
    ~7
  );
}

/** Flags of the packed op, as in its row. */
export function packedFlags(words: Int32Array, word: number): number {
  return (words[word + PACKED.NODE_BYTES_FLAGS] as number) >>> 16;
}

export function packedOrdinal(words: Int32Array, word: number): number {
  return (words[word + PACKED.ORDINAL_NAME_BYTES] as number) & LOW;
}

/** Bytes of the map's name, which begins behind the value; 0: the map is that of the op before. */
export function packedNameBytes(memory: RingMemory, word: number): number {
  const nameBytes = (memory.words[word + PACKED.ORDINAL_NAME_BYTES] as number) >>> 16;
  const isFenced = (packedFlags(memory.words, word) & FLAG_FENCED) !== 0;
  return isFenced ? nameBytes - fenceFieldBytes(fenceBytesBefore(memory, endOfName(memory.words, word))) : nameBytes;
}

/** The fence of a fenced op. */
export function packedFence({ bytes, words }: RingMemory, word: number): OpFence | undefined {
  const end = endOfName(words, word) - FENCE_LENGTH_BYTES;
  return fenceAt(bytes, end - fenceBytesBefore({ bytes }, end + FENCE_LENGTH_BYTES), end);
}

/** Where the name, and what counts as it, ends: before the padding. */
function endOfName(words: Int32Array, word: number): number {
  const spans = words[word + PACKED.KEY_TAG_BYTES] as number;
  const nodeBytes = (words[word + PACKED.NODE_BYTES_FLAGS] as number) & LOW;
  const nameBytes = (words[word + PACKED.ORDINAL_NAME_BYTES] as number) >>> 16;
  const valueBytes = words[word + PACKED.VALUE_BYTES] as number;
  return (word << 2) + PACKED_SPANS_START + (spans & LOW) + (spans >>> 16) + nodeBytes + valueBytes + nameBytes;
}

function fenceBytesBefore({ bytes }: Pick<RingMemory, 'bytes'>, end: number): number {
  return (bytes[end - 2] as number) | ((bytes[end - 1] as number) << 8);
}

/** What a fence of so many bytes takes, its length included. */
function fenceFieldBytes(fenceBytes: number): number {
  return fenceBytes === 0 ? 0 : fenceBytes + FENCE_LENGTH_BYTES;
}

/**
 * Packs the op of a row at `at`, a multiple of 8, and returns its end. The row's spans are spans of `frame`, and `view`
 * shows the same bytes. Lengths are those that a gateway lets pass: they fit 16 bits, save the value's.
 */
export function packOp(
  to: PackMemory,
  at: number,
  frame: Uint8Array,
  view: DataView,
  rows: Int32Array,
  rowFloats: Float64Array,
  row: number,
  isNamed: boolean,
): number {
  const words = to.words;
  const floats = to.floats;
  const word = at >> 2;
  const keyBytes = rows[row + OP.KEY_BYTES] as number;
  const tagBytes = rows[row + OP.TAG_BYTES] as number;
  const nodeBytes = rows[row + OP.NODE_BYTES] as number;
  const valueBytes = rows[row + OP.VALUE_BYTES] as number;
  const nameBytes = isNamed ? (rows[row + OP.MAP_BYTES] as number) : 0;
  const fenceBytes = rows[row + OP.FENCE_BYTES] as number;
  words[word] = rows[row + OP.MAP_ID] as number;
  words[word + PACKED.ORDINAL_NAME_BYTES] =
    (rows[row + OP.ORDINAL] as number) | ((nameBytes + fenceFieldBytes(fenceBytes)) << 16);
  floats[(word >> 1) + PACKED.MILLIS_F64] = rowFloats[(row >> 1) + OP.MILLIS_F64] as number;
  floats[(word >> 1) + PACKED.TTL_MS_F64] = rowFloats[(row >> 1) + OP.TTL_MS_F64] as number;
  words[word + PACKED.COUNTER] = rows[row + OP.COUNTER] as number;
  words[word + PACKED.KEY_HASH] = rows[row + OP.KEY_HASH] as number;
  words[word + PACKED.KEY_TAG_BYTES] = keyBytes | (tagBytes << 16);
  words[word + PACKED.NODE_BYTES_FLAGS] = nodeBytes | ((rows[row + OP.FLAGS] as number) << 16);
  words[word + PACKED.VALUE_BYTES] = valueBytes;
  let end = copySpan(to, at + PACKED_SPANS_START, frame, view, rows[row + OP.KEY_START] as number, keyBytes);
  if (tagBytes > 0) end = copySpan(to, end, frame, view, rows[row + OP.TAG_START] as number, tagBytes);
  end = copySpan(to, end, frame, view, rows[row + OP.NODE_START] as number, nodeBytes);
  end = copySpan(to, end, frame, view, rows[row + OP.VALUE_START] as number, valueBytes);
  if (nameBytes > 0) end = copySpan(to, end, frame, view, rows[row + OP.MAP_START] as number, nameBytes);
  if (fenceBytes > 0) {
    end = copySpan(to, end, frame, view, rows[row + OP.FENCE_START] as number, fenceBytes);
    to.bytes[end] = fenceBytes & 0xff;
    to.bytes[end + 1] = fenceBytes >>> 8;
    end += FENCE_LENGTH_BYTES;
  }
  return (end + 7) & ~7;
}

/** Copies a span and returns its end. */
function copySpan(to: PackMemory, at: number, from: Uint8Array, view: DataView, start: number, bytes: number): number {
  if (bytes > WORD_COPY_BYTES_MAX) {
    to.bytes.set(from.subarray(start, start + bytes), at);
    return at + bytes;
  }
  const toView = to.view;
  const words = bytes & ~3;
  let index = 0;
  for (; index < words; index += 4) toView.setInt32(at + index, view.getInt32(start + index, true), true);
  for (; index < bytes; index++) to.bytes[at + index] = from[start + index] as number;
  return at + bytes;
}
