/**
 * Reads one op of a frame into a row of the index: the inner part of the scanner.
 *
 * A row is written twice. The record of the op (`record` or `orRecord`) goes straight into its words while it is being
 * walked, with marks in FLAGS for what was wrong with it; the rest is held in locals and written when the op has ended
 * and its kind is known. `filledFrom` says whose record stands in the row, so that an op with both, or with one twice,
 * ends with the right one.
 *
 * Sources: docs/PROTOCOL.md §5.1, §5.2.
 */
import { FNV_OFFSET, fnv1aUtf8From } from '../partition/hash.ts';
import * as field from './field-names.ts';
import { containerHeaderBytes, isMap, mapCount, STRING_HEADER_BYTES, skipKey, skipValue } from './msgpack-bounds.ts';
import { number, readNumber } from './msgpack-number.ts';
import { judgeFence } from './op-fence.ts';
import {
  CONCERN_NONE,
  CONCERN_SHIFT,
  FLAG_EMPTY,
  FLAG_FENCED,
  FLAG_INVALID,
  FLAG_UNSTAMPED,
  OP,
  OP_OR_ADD,
  OP_OR_REMOVE,
} from './op-index.ts';
import { OP_PUT, OP_REMOVE, OP_WORDS, type OpIndex } from './op-index.ts';
import { BAD_STAMP, BAD_TTL, clearRecord, NOT_A_RECORD, readRecordAgain, STAMPED, scanRecord } from './record-scanner.ts';
import { scanUsualOp } from './usual-op.ts';

const NIL = 0xc0;
const WRONG = field.WRONG;

/**
 * Reads the op at `start` into a new row and returns its end, negative when malformed. `view` shows the same bytes as
 * `bytes`; `depth` containers are open around the op.
 */
export function scanOp(index: OpIndex, bytes: Uint8Array, view: DataView, start: number, end: number, depth: number): number {
  const ordinal = index.count;
  const row = index.push();
  const words = index.words;
  words[row + OP.FENCE_START] = 0;
  words[row + OP.FENCE_BYTES] = 0;
  let next = scanUsualOp(words, index.floats, row, bytes, view, start, end, depth);
  if (next < 0) next = scanAnyOp(words, index.floats, row, bytes, start, end, depth);
  words[row + OP.MAP_ID] = 0;
  words[row + OP.ORDINAL] = ordinal;
  return next;
}

/** The row of something that is no op at all, so that it can be refused by its place in the batch. */
export function fillInvalidRow(words: Int32Array, floats: Float64Array, row: number): void {
  words.fill(0, row, row + OP_WORDS);
  clearRecord(words, floats, row);
  words[row + OP.FLAGS] = OP_PUT | FLAG_INVALID;
}

/** Reads an op of any form. */
function scanAnyOp(
  words: Int32Array,
  floats: Float64Array,
  row: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  depth: number,
): number {
  if (start >= end) return WRONG;
  const token = bytes[start] as number;
  if (!isMap(token)) {
    fillInvalidRow(words, floats, row);
    return skipValue(bytes, start, end, depth);
  }
  const entries = mapCount(bytes, start, end);
  if (entries < 0) return WRONG;
  let at = start + containerHeaderBytes(token);
  let mapAt = 0;
  let mapBytes = 0;
  let keyAt = 0;
  let keyBytes = 0;
  let idAt = 0;
  let idBytes = 0;
  let opType = 0; // 1: REMOVE, 0: another or none
  let recordAt = 0; // 0: absent
  let recordNil = false;
  let orRecordAt = 0;
  let orTagAt = 0;
  let orTagEnd = 0;
  let concern: number = CONCERN_NONE;
  let timeoutMs = 0;
  let fence = 0; // 1: there is one
  let filledFrom = 0;

  for (let entry = 0; entry < entries; entry++) {
    const valueAt = skipKey(bytes, at, end);
    if (valueAt < 0 || valueAt >= end) return WRONG;
    const name = field.opField(bytes, at, valueAt);
    const valueToken = bytes[valueAt] as number;
    if ((name === field.FIELD_RECORD || name === field.FIELD_OR_RECORD) && isMap(valueToken)) {
      at = scanRecord(words, floats, row, bytes, valueAt, end, depth + 1);
      filledFrom = valueAt;
    } else {
      at = skipValue(bytes, valueAt, end, depth + 1);
    }
    if (at < 0) return WRONG;
    if (name === field.FIELD_NONE) continue;

    const header = STRING_HEADER_BYTES[valueToken] as number;
    switch (name) {
      case field.FIELD_KEY:
        keyAt = header === 0 ? 0 : valueAt + header;
        keyBytes = header === 0 ? 0 : at - keyAt;
        break;
      case field.FIELD_MAP_NAME:
        mapAt = header === 0 ? 0 : valueAt + header;
        mapBytes = header === 0 ? 0 : at - mapAt;
        break;
      case field.FIELD_ID:
        idAt = header === 0 ? 0 : valueAt + header;
        idBytes = header === 0 ? 0 : at - idAt;
        break;
      case field.FIELD_RECORD:
        recordAt = valueToken === NIL ? 0 : valueAt;
        recordNil = valueToken === NIL;
        break;
      case field.FIELD_OR_RECORD:
        orRecordAt = valueToken === NIL ? 0 : valueAt;
        break;
      case field.FIELD_OR_TAG:
        orTagAt = valueToken === NIL ? 0 : valueAt;
        orTagEnd = at;
        break;
      case field.FIELD_OP_TYPE:
        opType = field.opTypeOf(bytes, valueAt, at);
        break;
      case field.FIELD_CONCERN:
        concern = field.concernOf(bytes, valueAt, at);
        break;
      case field.FIELD_TIMEOUT:
        timeoutMs = timeoutOf(bytes, valueAt);
        break;
      case field.FIELD_FENCE:
        fence = judgeFence(bytes, valueAt, at);
        words[row + OP.FENCE_START] = fence === 1 ? valueAt : 0;
        words[row + OP.FENCE_BYTES] = fence === 1 ? at - valueAt : 0;
        break;
    }
  }

  // Classification in the order of docs/PROTOCOL.md §5.2.
  let kind: number = OP_PUT;
  let source = recordAt;
  if (opType === 1 || recordNil) {
    kind = OP_REMOVE;
  } else if (orRecordAt !== 0) {
    kind = OP_OR_ADD;
    source = orRecordAt;
  } else if (orTagAt !== 0) {
    kind = OP_OR_REMOVE;
    source = 0;
  }
  if (source === 0) clearRecord(words, floats, row);
  else if (source !== filledFrom) readRecordAgain(words, floats, row, bytes, source, end, depth + 1);

  let flags = kind;
  if (mapBytes === 0 || keyAt === 0 || opType === WRONG || concern === WRONG || timeoutMs === WRONG) flags |= FLAG_INVALID;
  if (fence !== 0) flags |= fence === WRONG ? FLAG_INVALID : FLAG_FENCED;
  if (kind === OP_PUT) flags |= source === 0 ? FLAG_EMPTY : recordFlags(words, row);
  else if (kind === OP_REMOVE) flags |= finishRemove(words, floats, row);
  else if (kind === OP_OR_ADD) flags |= words[row + OP.TAG_BYTES] === 0 ? FLAG_INVALID : recordFlags(words, row);
  else flags |= finishOrRemove(words, row, bytes, orTagAt, orTagEnd);
  if (concern > 0) flags |= concern << CONCERN_SHIFT;

  if (kind === OP_PUT) clearTagAndTombstoneTtl(words, floats, row);
  words[row + OP.FLAGS] = flags;
  words[row + OP.KEY_HASH] = keyAt === 0 ? 0 : fnv1aUtf8From(FNV_OFFSET, bytes, keyAt, keyAt + keyBytes);
  words[row + OP.MAP_START] = mapAt;
  words[row + OP.MAP_BYTES] = mapBytes;
  words[row + OP.KEY_START] = keyAt;
  words[row + OP.KEY_BYTES] = keyBytes;
  words[row + OP.ID_START] = idBytes === 0 ? 0 : idAt;
  words[row + OP.ID_BYTES] = idBytes;
  words[row + OP.TIMEOUT_MS] = timeoutMs === WRONG ? 0 : timeoutMs;
  return at;
}

/** FLAG_INVALID unless the record that was read has a good timestamp and a good or no TTL. */
function recordFlags(words: Int32Array, row: number): number {
  return ((words[row + OP.FLAGS] as number) & (STAMPED | BAD_STAMP | BAD_TTL | NOT_A_RECORD)) === STAMPED ? 0 : FLAG_INVALID;
}

/** A removal keeps only the timestamp of its record. */
function finishRemove(words: Int32Array, floats: Float64Array, row: number): number {
  floats[(row >> 1) + OP.TTL_MS_F64] = Number.NaN;
  words[row + OP.TAG_START] = 0;
  words[row + OP.TAG_BYTES] = 0;
  words[row + OP.VALUE_START] = 0;
  words[row + OP.VALUE_BYTES] = 0;
  const marks = words[row + OP.FLAGS] as number;
  if ((marks & (BAD_STAMP | NOT_A_RECORD)) !== 0) return FLAG_INVALID;
  return (marks & STAMPED) === 0 ? FLAG_UNSTAMPED : 0;
}

function finishOrRemove(words: Int32Array, row: number, bytes: Uint8Array, tagAt: number, tagEnd: number): number {
  const header = STRING_HEADER_BYTES[bytes[tagAt] as number] as number;
  if (header === 0 || tagAt + header === tagEnd) return FLAG_INVALID;
  words[row + OP.TAG_START] = tagAt + header;
  words[row + OP.TAG_BYTES] = tagEnd - tagAt - header;
  return 0;
}

/** A put has no tag, and a put of nil is a tombstone, which does not expire. */
function clearTagAndTombstoneTtl(words: Int32Array, floats: Float64Array, row: number): void {
  words[row + OP.TAG_START] = 0;
  words[row + OP.TAG_BYTES] = 0;
  if (words[row + OP.VALUE_BYTES] === 0) floats[(row >> 1) + OP.TTL_MS_F64] = Number.NaN;
}

/** A deadline in whole ms, 0 when nil, WRONG when it is no number from 0. Longer ones than 2^31 - 1 ms are cut to that. */
export function timeoutOf(bytes: Uint8Array, at: number): number {
  if (bytes[at] === NIL) return 0;
  readNumber(bytes, at);
  const timeoutMs = number[0] as number;
  return timeoutMs >= 0 ? Math.min(timeoutMs, 0x7fff_ffff) | 0 : WRONG;
}
