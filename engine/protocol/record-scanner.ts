/**
 * Reads a record, `{value, timestamp, ttlMs?, tag?}`, and its timestamp, `{millis, counter, nodeId}`, into a row of the index.
 *
 * What is wrong with a record is not yet an error here: an op that turns out to be of another kind does not use it.
 * So it is marked in the row's FLAGS, which the op reader replaces by the final ones.
 */
import * as field from './field-names.ts';
import { containerHeaderBytes, isMap, mapCount, STRING_HEADER_BYTES, skipKey, skipValue } from './msgpack-bounds.ts';
import { number, readNumber } from './msgpack-number.ts';
import { OP } from './op-index.ts';

const NIL = 0xc0;
const WRONG = field.WRONG;

/** Marks in FLAGS while a record is being read; gone when the row is finished. */
export const STAMPED = 1 << 16;
export const BAD_STAMP = 1 << 17;
export const BAD_TTL = 1 << 18;
export const NOT_A_RECORD = 1 << 19;

/** Reads a record (LWW or OR-Map) into the row: value, timestamp, ttl, tag, and marks in FLAGS. Returns its end, or a negative. */
export function scanRecord(
  words: Int32Array,
  floats: Float64Array,
  row: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  depth: number,
): number {
  const entries = mapCount(bytes, start, end);
  if (entries < 0) return WRONG;
  clearRecord(words, floats, row);
  let at = start + containerHeaderBytes(bytes[start] as number);
  for (let entry = 0; entry < entries; entry++) {
    const valueAt = skipKey(bytes, at, end);
    if (valueAt < 0 || valueAt >= end) return WRONG;
    const name = field.recordField(bytes, at, valueAt);
    const token = bytes[valueAt] as number;
    if (name === field.FIELD_TIMESTAMP && isMap(token)) {
      at = scanTimestamp(words, floats, row, bytes, valueAt, end, depth + 1);
      if (at < 0) return WRONG;
      continue;
    }
    at = skipValue(bytes, valueAt, end, depth + 1);
    if (at < 0) return WRONG;
    if (name === field.FIELD_VALUE) {
      words[row + OP.VALUE_START] = token === NIL ? 0 : valueAt;
      words[row + OP.VALUE_BYTES] = token === NIL ? 0 : at - valueAt;
    } else if (name === field.FIELD_TIMESTAMP) {
      clearTimestamp(words, floats, row, token === NIL ? 0 : BAD_STAMP);
    } else if (name === field.FIELD_TAG) {
      const header = STRING_HEADER_BYTES[token] as number;
      const text = header === 0 ? 0 : at - valueAt - header;
      words[row + OP.TAG_START] = text === 0 ? 0 : valueAt + header;
      words[row + OP.TAG_BYTES] = text;
    } else if (name === field.FIELD_TTL) {
      readTtl(words, floats, row, bytes, valueAt);
    }
  }
  return at;
}

function readTtl(words: Int32Array, floats: Float64Array, row: number, bytes: Uint8Array, at: number): void {
  readNumber(bytes, at);
  const ttlMs = number[0] as number;
  const good = ttlMs >= 0 && ttlMs < Number.POSITIVE_INFINITY;
  const marks = (words[row + OP.FLAGS] as number) & ~BAD_TTL;
  words[row + OP.FLAGS] = good || bytes[at] === NIL ? marks : marks | BAD_TTL;
  floats[(row >> 1) + OP.TTL_MS_F64] = good ? ttlMs + 0 : Number.NaN;
}

function clearTimestamp(words: Int32Array, floats: Float64Array, row: number, mark: number): void {
  floats[(row >> 1) + OP.MILLIS_F64] = Number.NaN;
  words[row + OP.COUNTER] = 0;
  words[row + OP.NODE_START] = 0;
  words[row + OP.NODE_BYTES] = 0;
  words[row + OP.FLAGS] = ((words[row + OP.FLAGS] as number) & ~(STAMPED | BAD_STAMP)) | mark;
}

/** Reads `{millis, counter, nodeId}`: safe integers from 0, the counter in 32 bits, a node id that is not empty and has no `:`. */
function scanTimestamp(
  words: Int32Array,
  floats: Float64Array,
  row: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  depth: number,
): number {
  const entries = mapCount(bytes, start, end);
  if (entries < 0) return WRONG;
  let at = start + containerHeaderBytes(bytes[start] as number);
  let millis = Number.NaN;
  let counter = Number.NaN;
  let nodeAt = 0;
  let nodeBytes = 0;
  for (let entry = 0; entry < entries; entry++) {
    const valueAt = skipKey(bytes, at, end);
    if (valueAt < 0) return WRONG;
    const name = field.timestampField(bytes, at, valueAt);
    at = skipValue(bytes, valueAt, end, depth + 1);
    if (at < 0) return WRONG;
    if (name === field.FIELD_MILLIS) {
      readNumber(bytes, valueAt);
      millis = number[0] as number;
    } else if (name === field.FIELD_COUNTER) {
      readNumber(bytes, valueAt);
      counter = number[0] as number;
    } else if (name === field.FIELD_NODE_ID) {
      const header = STRING_HEADER_BYTES[bytes[valueAt] as number] as number;
      nodeAt = valueAt + header;
      nodeBytes = header === 0 ? 0 : at - nodeAt;
    }
  }
  if (isStamp(millis, counter) && isNodeId(bytes, nodeAt, nodeBytes)) {
    floats[(row >> 1) + OP.MILLIS_F64] = millis + 0; // -0 becomes 0
    words[row + OP.COUNTER] = counter | 0;
    words[row + OP.NODE_START] = nodeAt;
    words[row + OP.NODE_BYTES] = nodeBytes;
    words[row + OP.FLAGS] = ((words[row + OP.FLAGS] as number) & ~BAD_STAMP) | STAMPED;
  } else {
    clearTimestamp(words, floats, row, BAD_STAMP);
  }
  return at;
}

function isStamp(millis: number, counter: number): boolean {
  return (
    millis >= 0 &&
    millis <= Number.MAX_SAFE_INTEGER &&
    Math.floor(millis) === millis &&
    counter >= 0 &&
    counter <= 0xffff_ffff &&
    Math.floor(counter) === counter
  );
}

function isNodeId(bytes: Uint8Array, start: number, length: number): boolean {
  for (let at = start; at < start + length; at++) if (bytes[at] === 0x3a) return false;
  return length > 0;
}

/** Reads the value at `start` as a record, which it may not be. It is known to be well formed. */
export function readRecordAgain(
  words: Int32Array,
  floats: Float64Array,
  row: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  depth: number,
): void {
  if (isMap(bytes[start] as number)) {
    scanRecord(words, floats, row, bytes, start, end, depth);
    return;
  }
  clearRecord(words, floats, row);
  words[row + OP.FLAGS] = NOT_A_RECORD;
}

/** Leaves the row as if the op had no record. */
export function clearRecord(words: Int32Array, floats: Float64Array, row: number): void {
  floats[(row >> 1) + OP.MILLIS_F64] = Number.NaN;
  floats[(row >> 1) + OP.TTL_MS_F64] = Number.NaN;
  words[row + OP.COUNTER] = 0;
  words[row + OP.FLAGS] = 0;
  words[row + OP.TAG_START] = 0;
  words[row + OP.TAG_BYTES] = 0;
  words[row + OP.NODE_START] = 0;
  words[row + OP.NODE_BYTES] = 0;
  words[row + OP.VALUE_START] = 0;
  words[row + OP.VALUE_BYTES] = 0;
}
