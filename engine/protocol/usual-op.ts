/**
 * The short way through an op that looks as the client writes it; anything else is left to the full reader (op-scanner.ts).
 *
 * Nearly every op has short names, each once, short strings, and timestamps written `millis` (eight bytes), `counter`
 * (0..127), `nodeId`. There the places of many bytes follow from one another, so a few comparisons of whole words
 * replace a walk token by token: each step of such a walk must wait for the length found by the step before.
 * Every function here answers UNUSUAL at the first thing that is not as expected. Nothing is refused here, and what was
 * left in the row is written again by the full reader; a property test holds both to the same answers.
 */
import { FNV_OFFSET, fnv1aUtf8From } from '../partition/hash.ts';
import { skipValue } from './msgpack-bounds.ts';
import { OP, OP_OR_ADD, OP_OR_REMOVE, OP_PUT, OP_REMOVE } from './op-index.ts';
import { clearRecord } from './record-scanner.ts';
import { scanUsualRecord, shortStringEnd, shortStringStart, timestampEnd, UNUSUAL, wordOf } from './usual-record.ts';

const MAP16 = 0xde;

/** Fills the row from the op at `start` and returns its end, or UNUSUAL. `view` shows the same bytes as `bytes`. */
export function scanUsualOp(
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

  let idAt = 0;
  let idBytes = 0;
  let keyAt = 0;
  let keyBytes = 0;
  let mapAt = 0;
  let mapBytes = 0;
  let removes = false;
  let recordName = 0; // RECO or ORRE once that has been read
  let tagAt = 0;
  let tagBytes = 0;

  for (; entries > 0; entries--) {
    if (at >= end) return UNUSUAL;
    switch (bytes[at]) {
      case 0xa2: {
        const valueAt = at + 3;
        if (valueAt >= end || view.getUint16(at + 1, true) !== ID) return UNUSUAL;
        at = shortStringEnd(bytes, valueAt, end);
        if (at < 0) return UNUSUAL;
        idAt = shortStringStart(bytes, valueAt);
        idBytes = at - idAt;
        break;
      }
      case 0xa3: {
        const valueAt = at + 4;
        if (valueAt >= end || view.getInt32(at, true) !== KEY) return UNUSUAL;
        at = shortStringEnd(bytes, valueAt, end);
        if (at < 0) return UNUSUAL;
        keyAt = shortStringStart(bytes, valueAt);
        keyBytes = at - keyAt;
        break;
      }
      case 0xa5: {
        const valueAt = at + 6;
        if (valueAt >= end || view.getInt32(at + 1, true) !== ORTA || view.getInt32(at + 2, true) !== RTAG) return UNUSUAL;
        at = shortStringEnd(bytes, valueAt, end);
        if (at < 0) return UNUSUAL;
        tagAt = shortStringStart(bytes, valueAt);
        tagBytes = at - tagAt;
        break;
      }
      case 0xa6: {
        const valueAt = at + 7;
        if (valueAt >= end) return UNUSUAL;
        const name = view.getInt32(at + 1, true);
        const tail = view.getInt32(at + 3, true);
        if (name === RECO) {
          if (tail !== CORD || recordName !== 0) return UNUSUAL;
          recordName = RECO;
          at = scanUsualRecord(words, floats, row, bytes, view, valueAt, end, depth + 1);
          if (at < 0) return UNUSUAL;
        } else if (name === OPTY) {
          if (tail !== TYPE_END) return UNUSUAL;
          at = shortStringEnd(bytes, valueAt, end);
          if (at < 0) return UNUSUAL;
          const textAt = shortStringStart(bytes, valueAt);
          removes = at - textAt === 6 && view.getInt32(textAt, true) === REMO && view.getInt32(textAt + 2, true) === MOVE;
        } else {
          if (name !== SYNC || tail !== NCED || (bytes[valueAt] as number) >> 1 !== 0x61) return UNUSUAL; // true or false
          at = valueAt + 1;
        }
        break;
      }
      case 0xa7: {
        const valueAt = at + 8;
        if (valueAt >= end || view.getInt32(at + 1, true) !== MAPN || view.getInt32(at + 4, true) !== NAME) return UNUSUAL;
        at = shortStringEnd(bytes, valueAt, end);
        if (at < 0) return UNUSUAL;
        mapAt = shortStringStart(bytes, valueAt);
        mapBytes = at - mapAt;
        break;
      }
      case 0xa8: {
        const valueAt = at + 9;
        if (valueAt >= end || view.getInt32(at + 1, true) !== ORRE || view.getInt32(at + 5, true) !== CORD || recordName !== 0)
          return UNUSUAL;
        recordName = ORRE;
        at = scanUsualRecord(words, floats, row, bytes, view, valueAt, end, depth + 1);
        if (at < 0) return UNUSUAL;
        break;
      }
      case 0xa9: {
        const valueAt = at + 10;
        if (
          valueAt >= end ||
          view.getInt32(at + 1, true) !== TIME ||
          view.getInt32(at + 5, true) !== STAM ||
          bytes[at + 9] !== 0x70
        )
          return UNUSUAL;
        at = timestampEnd(bytes, valueAt, end);
        if (at < 0) at = skipValue(bytes, valueAt, end, depth + 1);
        if (at < 0) return UNUSUAL;
        break;
      }
      default:
        return UNUSUAL;
    }
  }

  if (mapBytes === 0 || keyAt === 0) return UNUSUAL;
  let kind: number = OP_PUT;
  if (recordName === RECO) {
    if (tagAt !== 0 || words[row + OP.TAG_BYTES] !== 0) return UNUSUAL;
    if (removes) {
      kind = OP_REMOVE;
      words[row + OP.VALUE_START] = 0;
      words[row + OP.VALUE_BYTES] = 0;
    }
    if (words[row + OP.VALUE_BYTES] === 0) floats[(row >> 1) + OP.TTL_MS_F64] = Number.NaN;
  } else if (removes) {
    return UNUSUAL;
  } else if (recordName === ORRE) {
    if (words[row + OP.TAG_BYTES] === 0) return UNUSUAL;
    kind = OP_OR_ADD;
  } else {
    if (tagBytes === 0) return UNUSUAL;
    kind = OP_OR_REMOVE;
    clearRecord(words, floats, row);
    words[row + OP.TAG_START] = tagAt;
    words[row + OP.TAG_BYTES] = tagBytes;
  }
  words[row + OP.FLAGS] = kind;
  words[row + OP.KEY_HASH] = fnv1aUtf8From(FNV_OFFSET, bytes, keyAt, keyAt + keyBytes);
  words[row + OP.MAP_START] = mapAt;
  words[row + OP.MAP_BYTES] = mapBytes;
  words[row + OP.KEY_START] = keyAt;
  words[row + OP.KEY_BYTES] = keyBytes;
  words[row + OP.ID_START] = idBytes === 0 ? 0 : idAt;
  words[row + OP.ID_BYTES] = idBytes;
  words[row + OP.TIMEOUT_MS] = 0;
  return at;
}

// Names and parts of names as little-endian words. Four-byte words of three-letter names start with their token.
const ID = wordOf('id');
const KEY = wordOf('\xa3key');
const ORTA = wordOf('orTa');
const RTAG = wordOf('rTag');
const RECO = wordOf('reco');
const CORD = wordOf('cord');
const OPTY = wordOf('opTy');
const TYPE_END = wordOf('Type');
const REMO = wordOf('REMO');
const MOVE = wordOf('MOVE');
const SYNC = wordOf('sync');
const NCED = wordOf('nced');
const MAPN = wordOf('mapN');
const NAME = wordOf('Name');
const ORRE = wordOf('orRe');
const TIME = wordOf('time');
const STAM = wordOf('stam');
