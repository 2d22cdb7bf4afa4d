/**
 * The short way through a record and its timestamp: the other half of usual-op.ts, with the same rule. Each function answers
 * UNUSUAL at the first thing that is not as expected, and the full reader takes over.
 */
import { skipValue } from './msgpack-bounds.ts';
import { number, readNumber } from './msgpack-number.ts';
import { OP } from './op-index.ts';

/** Not as expected: the full reader decides. */
export const UNUSUAL = -1;

const MAP16 = 0xde;
const NIL = 0xc0;
const FLOAT64 = 0xcb;
const UINT64 = 0xcf;

/** Fills value, TTL, tag and timestamp of the row; all its words are written. */
export function scanUsualRecord(
  words: Int32Array,
  floats: Float64Array,
  row: number,
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  depth: number,
): number {
  if (end - start < 3) return UNUSUAL;
  const token = bytes[start] as number;
  let entries = token & 0x0f;
  let at = start + 1;
  if (token === MAP16) {
    entries = view.getUint16(start + 1);
    at = start + 3;
  } else if ((token & 0xf0) !== 0x80) return UNUSUAL;

  let valueAt = 0;
  let valueBytes = 0;
  let stamped = false;
  let tagAt = 0;
  let tagBytes = 0;
  let ttlMs = Number.NaN;
  for (; entries > 0; entries--) {
    if (at >= end) return UNUSUAL;
    switch (bytes[at]) {
      case 0xa5: {
        const textAt = at + 1;
        at += 6;
        if (at >= end) return UNUSUAL;
        const name = view.getInt32(textAt, true);
        const tail = view.getInt32(textAt + 1, true);
        if (name === VALU) {
          if (tail !== ALUE) return UNUSUAL;
          valueAt = at;
          at = skipValue(bytes, at, end, depth + 1);
          if (at < 0) return UNUSUAL;
          valueBytes = bytes[valueAt] === NIL ? 0 : at - valueAt;
        } else {
          if (name !== TTLM || tail !== TLMS) return UNUSUAL;
          const ttlAt = at;
          at = skipValue(bytes, at, end, depth + 1);
          if (at < 0) return UNUSUAL;
          readNumber(bytes, ttlAt);
          ttlMs = number[0] as number;
          if (!(ttlMs >= 0 && ttlMs < Number.POSITIVE_INFINITY)) return UNUSUAL;
        }
        break;
      }
      case 0xa9:
        if (
          at + 10 >= end ||
          view.getInt32(at + 1, true) !== TIME ||
          view.getInt32(at + 5, true) !== STAM ||
          bytes[at + 9] !== 0x70
        )
          return UNUSUAL;
        stamped = true;
        at = scanUsualTimestamp(words, floats, row, bytes, view, at + 10, end);
        if (at < 0) return UNUSUAL;
        break;
      case 0xa3: {
        const textAt = at + 4;
        if (textAt >= end || view.getInt32(at, true) !== TAG) return UNUSUAL;
        at = shortStringEnd(bytes, textAt, end);
        if (at < 0) return UNUSUAL;
        tagAt = shortStringStart(bytes, textAt);
        tagBytes = at - tagAt;
        break;
      }
      default:
        return UNUSUAL;
    }
  }
  if (!stamped) return UNUSUAL;
  floats[(row >> 1) + OP.TTL_MS_F64] = ttlMs + 0;
  words[row + OP.VALUE_START] = valueBytes === 0 ? 0 : valueAt;
  words[row + OP.VALUE_BYTES] = valueBytes;
  words[row + OP.TAG_START] = tagBytes === 0 ? 0 : tagAt;
  words[row + OP.TAG_BYTES] = tagBytes;
  return at;
}

/** Reads a timestamp of the usual form: see the picture at `timestampEnd`. */
function scanUsualTimestamp(
  words: Int32Array,
  floats: Float64Array,
  row: number,
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): number {
  const next = timestampEnd(bytes, start, end);
  if (next < 0) return UNUSUAL;
  const at = start + (bytes[start] === MAP16 ? 3 : 1);
  if (view.getInt32(at + 1, true) !== MILL || view.getInt32(at + 3, true) !== LLIS) return UNUSUAL;
  if (view.getInt32(at + 17, true) !== COUN || view.getInt32(at + 20, true) !== NTER) return UNUSUAL;
  if (view.getInt32(at + 26, true) !== NODE || view.getInt32(at + 28, true) !== DE_ID) return UNUSUAL;
  const millis =
    bytes[at + 7] === FLOAT64 ? view.getFloat64(at + 8) : view.getUint32(at + 8) * 0x1_0000_0000 + view.getUint32(at + 12);
  if (!(millis >= 0 && millis <= Number.MAX_SAFE_INTEGER) || Math.floor(millis) !== millis) return UNUSUAL;
  const nodeAt = shortStringStart(bytes, at + 32);
  if (nodeAt === next || hasColon(bytes, view, nodeAt, next)) return UNUSUAL;
  floats[(row >> 1) + OP.MILLIS_F64] = millis + 0; // -0 becomes 0
  words[row + OP.COUNTER] = bytes[at + 24] as number;
  words[row + OP.NODE_START] = nodeAt;
  words[row + OP.NODE_BYTES] = next - nodeAt;
  return next;
}

/**
 * End of a map whose tokens stand where those of a usual timestamp do, or UNUSUAL. From behind the map's header:
 *
 *   0 a6 'millis'   7 cb f64 or cf u64   16 a7 'counter'   24 fixint   25 a6 'nodeId'   32 short string
 */
export function timestampEnd(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < 36) return UNUSUAL;
  let at = start + 1;
  if (bytes[start] === MAP16) {
    if (bytes[start + 1] !== 0 || bytes[start + 2] !== 3) return UNUSUAL;
    at = start + 3;
  } else if (bytes[start] !== 0x83) return UNUSUAL;
  if (bytes[at] !== 0xa6 || (bytes[at + 7] !== FLOAT64 && bytes[at + 7] !== UINT64) || bytes[at + 16] !== 0xa7) return UNUSUAL;
  if ((bytes[at + 24] as number) > 0x7f || bytes[at + 25] !== 0xa6) return UNUSUAL;
  return shortStringEnd(bytes, at + 32, end);
}

/** True when a byte of the span is a colon; four bytes at a time (the zero-byte test of Hacker's Delight, §6-1). */
function hasColon(bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
  let at = start;
  for (; at + 4 <= end; at += 4) {
    const zeroAtColon = view.getInt32(at, true) ^ 0x3a3a3a3a;
    if (((zeroAtColon - 0x01010101) & ~zeroAtColon & 0x80808080) !== 0) return true;
  }
  for (; at < end; at++) if (bytes[at] === 0x3a) return true;
  return false;
}

/** End of a string of up to 255 bytes, or UNUSUAL. */
export function shortStringEnd(bytes: Uint8Array, at: number, end: number): number {
  if (at + 1 >= end) return UNUSUAL;
  const token = bytes[at] as number;
  let next = at + 1 + (token & 0x1f);
  if (token === 0xd9) next = at + 2 + (bytes[at + 1] as number);
  else if ((token & 0xe0) !== 0xa0) return UNUSUAL;
  return next <= end ? next : UNUSUAL;
}

/** Where the text of a short string starts: fixstr tokens have bit 6 clear, 0xd9 has it set. */
export function shortStringStart(bytes: Uint8Array, at: number): number {
  return at + 1 + (((bytes[at] as number) >> 6) & 1);
}

// Names and parts of names as little-endian words. Four-byte words of three-letter names start with their token.
const TAG = wordOf('\xa3tag');
const TIME = wordOf('time');
const STAM = wordOf('stam');
const VALU = wordOf('valu');
const ALUE = wordOf('alue');
const TTLM = wordOf('ttlM');
const TLMS = wordOf('tlMs');
const MILL = wordOf('mill');
const LLIS = wordOf('llis');
const COUN = wordOf('coun');
const NTER = wordOf('nter');
const NODE = wordOf('node');
const DE_ID = wordOf('deId');

/** Up to four letters as the word that they are in memory. */
export function wordOf(text: string): number {
  let word = 0;
  for (let index = 0; index < text.length; index++) word |= text.charCodeAt(index) << (8 * index);
  return word;
}
