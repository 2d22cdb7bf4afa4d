/**
 * The scanner's short way (usual-op.ts, usual-record.ts) in WebAssembly: reads an OP_BATCH that looks as the client writes
 * it into rows (op-index.ts), and answers UNUSUAL at the first thing that is not as expected. AssemblyScript, not TypeScript.
 *
 *   INPUT   the frame                         written by the caller
 *   ROWS    a row of 24 words per op          filled by `scan`; the caller numbers maps, corrects clocks, sets flags
 *   IDS     what an ack needs of all ids      filled by `ids`
 *   ASKED   where the level and the timeout of the whole batch stand, in most there are none      filled by `scan`
 *   PACKED  the ops as they cross a ring      filled by `pack` (packed-op.ts)
 *
 * What it gains is width: a name with its token is one comparison of up to eight bytes, and a load needs no check of bounds.
 * Loads may reach a few bytes beyond the frame, where there is memory of ours; what they found is believed only when
 * the end of what was read is not beyond the frame's. A property test holds the rows to those of the scanner.
 */

const UNUSUAL: i32 = -1;

/** Where the caller puts the frame, and how long it may be. */
export const INPUT: i32 = 8192;
export const INPUT_BYTES: i32 = 262144;
/** Where the rows begin. A usual op has more than 64 bytes, so 4096 rows are enough for any frame that fits. */
export const ROWS: i32 = 8192 + 262144 + 4096;
export const ROWS_MAX: i32 = 4096;
/** Lowest and highest id, cost, latest stamp, and whether the ids are dense: five 64-bit floats. */
export const IDS: i32 = 1280;
/** Where in the frame the value of `writeConcern` begins and ends, and that of `timeout` begins; 0 = it has none. Three words. */
export const ASKED: i32 = 1328;
/** Where packed ops begin. They are no longer than the frame and 52 bytes an op. */
export const PACKED: i32 = 8192 + 262144 + 4096 + 4096 * 96;
export const PACKED_BYTES: i32 = 262144 + 4096 * 56;

const ROW_BYTES: i32 = 96;
const OP_MAP_ID: usize = 28;
const OP_MAP: usize = 32;
const OP_KEY: usize = 40;
const OP_TAG: usize = 48;
const OP_NODE: usize = 56;
const OP_VALUE: usize = 64;
const OP_FENCE: usize = 72;
const OP_ID: usize = 80;
const OP_ORDINAL: usize = 88;
const OP_TIMEOUT: usize = 92;

const PUT: u32 = 0;
const REMOVE: u32 = 1;
const OR_ADD: u32 = 2;
const OR_REMOVE: u32 = 3;

/** As DEPTH_MAX of msgpack-bounds.ts. */
const DEPTH_MAX: i32 = 256;
/** Items left of the levels outside the one that is walked. */
const OUTSIDE: i32 = 4096;

const NIL: u32 = 0xc0;
const MAP16: u32 = 0xde;
const FLOAT64: u32 = 0xcb;
const UINT64: u32 = 0xcf;
const MILLIS_MAX: f64 = 9007199254740991.0;

/** Whole size of the values whose token tells it; 0 for all others: see msgpack-bounds.ts. */
const SCALAR_BYTES: i32 = 1024;
for (let token = 0; token < 256; token++) store<u8>(SCALAR_BYTES + token, scalarBytes(token));

function scalarBytes(token: i32): i32 {
  if (token <= 0x7f || token >= 0xe0) return 1;
  if ((token & 0xe0) == 0xa0) return 1 + (token & 0x1f);
  if (token == 0xc0 || token == 0xc2 || token == 0xc3) return 1;
  if (token == 0xca) return 5;
  if (token == 0xcb) return 9;
  if (token >= 0xcc && token <= 0xcf) return 1 + (1 << (token - 0xcc));
  if (token >= 0xd0 && token <= 0xd3) return 1 + (1 << (token - 0xd0));
  return 0;
}

@inline
function sizeOf(at: i32): i32 {
  return load<u8>(SCALAR_BYTES + <i32>load<u8>(at));
}

/** End of the value at `at`, or UNUSUAL. `depth` containers are open around it. */
@inline
function skip(at: i32, end: i32, depth: i32): i32 {
  if (at >= end) return UNUSUAL;
  const size = sizeOf(at);
  if (size == 0) return walk(at, end, DEPTH_MAX - depth);
  return at + size <= end ? at + size : UNUSUAL;
}

function walk(start: i32, end: i32, levelsMax: i32): i32 {
  let at = start;
  let left = 1;
  let inMap = 0;
  let levels = 0;
  while (true) {
    while (left != 0) {
      if (at >= end) return UNUSUAL;
      const token: u32 = load<u8>(at);
      const size: i32 = load<u8>(SCALAR_BYTES + <i32>token);
      left -= 1;
      if (size != 0) {
        at += size;
        continue;
      }
      const isKey = inMap & left & 1;
      let map = false;
      let count: i32 = -1;
      let header = 1;
      if ((token & 0xf0) == 0x80) {
        map = true;
        count = token & 15;
      } else if ((token & 0xf0) == 0x90) {
        count = token & 15;
      } else if (token == MAP16 || token == 0xdc) {
        map = token == MAP16;
        header = 3;
        count = <i32>bswap<u16>(load<u16>(at + 1));
      } else if (token == 0xdd || token == 0xdf) {
        return UNUSUAL;
      }
      if (count >= 0) {
        if (isKey != 0 || levels == levelsMax || at + header > end) return UNUSUAL;
        if (count > (map ? (end - at - header) >> 1 : end - at - header)) return UNUSUAL;
        at += header;
        store<i32>(OUTSIDE + (levels << 2), left * 2 + inMap);
        levels += 1;
        left = map ? count * 2 : count;
        inMap = map ? 1 : 0;
        continue;
      }
      // Strings (d9 da) and bytes (c4 c5) whose length stands in their own bytes; longer ones and all else are unusual.
      let long = 0;
      if (token == 0xd9 || token == 0xc4) long = 2 + <i32>load<u8>(at + 1);
      else if (token == 0xda || token == 0xc5) long = 3 + <i32>bswap<u16>(load<u16>(at + 1));
      else return UNUSUAL;
      if (isKey != 0 && token < 0xd0) return UNUSUAL;
      if (long > end - at) return UNUSUAL;
      at += long;
    }
    if (levels == 0) return at <= end ? at : UNUSUAL;
    levels -= 1;
    const outer = load<i32>(OUTSIDE + (levels << 2));
    left = outer >> 1;
    inMap = outer & 1;
  }
  return UNUSUAL;
}

/** End of a string of up to 255 bytes, or UNUSUAL. */
@inline
function textEnd(at: i32, end: i32): i32 {
  if (at + 1 >= end) return UNUSUAL;
  const token: u32 = load<u8>(at);
  let next = at + 1 + <i32>(token & 0x1f);
  if (token == 0xd9) next = at + 2 + <i32>load<u8>(at + 1);
  else if ((token & 0xe0) != 0xa0) return UNUSUAL;
  return next <= end ? next : UNUSUAL;
}

/** Where its text starts. */
@inline
function textStart(at: i32): i32 {
  return at + 1 + <i32>((load<u8>(at) >> 6) & 1);
}

/** Size of a counter of up to 32 bits by its token, 0 for all else. */
@inline
function counterBytes(at: i32): i32 {
  const token: u32 = load<u8>(at);
  if (token <= 0x7f) return 1;
  if (token == 0xcc) return 2;
  if (token == 0xcd) return 3;
  return token == 0xce ? 5 : 0;
}

@inline
function counterOf(at: i32): u32 {
  const token: u32 = load<u8>(at);
  if (token <= 0x7f) return token;
  if (token == 0xcc) return load<u8>(at + 1);
  if (token == 0xcd) return bswap<u16>(load<u16>(at + 1));
  return bswap<u32>(load<u32>(at + 1));
}

/** End of a map whose tokens stand where those of a usual timestamp do, or UNUSUAL. See usual-record.ts. */
@inline
function timestampEnd(start: i32, end: i32): i32 {
  if (end - start < 36) return UNUSUAL;
  let at = start + 1;
  const token: u32 = load<u8>(start);
  if (token == MAP16) {
    if (load<u16>(start + 1) != 0x0300) return UNUSUAL;
    at = start + 3;
  } else if (token != 0x83) return UNUSUAL;
  const number: u32 = load<u8>(at + 7);
  if (load<u8>(at) != 0xa6 || (number != FLOAT64 && number != UINT64) || load<u8>(at + 16) != 0xa7) return UNUSUAL;
  const counter = counterBytes(at + 24);
  if (counter == 0 || load<u8>(at + 24 + counter) != 0xa6) return UNUSUAL;
  return textEnd(at + 31 + counter, end);
}

/** True when a byte of the span is a colon (the zero-byte test of Hacker's Delight, §6-1). */
function hasColon(start: i32, end: i32): bool {
  let at = start;
  for (; at + 8 <= end; at += 8) {
    const zeroAtColon = load<u64>(at) ^ 0x3a3a3a3a3a3a3a3a;
    if (((zeroAtColon - 0x0101010101010101) & ~zeroAtColon & 0x8080808080808080) != 0) return true;
  }
  for (; at < end; at++) if (load<u8>(at) == 0x3a) return true;
  return false;
}

/** A finite number of at least 0 that is no negative zero, or NaN. */
function ttlOf(at: i32): f64 {
  const token: u32 = load<u8>(at);
  if (token <= 0x7f) return <f64>token;
  if (token == 0xcc) return <f64>load<u8>(at + 1);
  if (token == 0xcd) return <f64>bswap<u16>(load<u16>(at + 1));
  if (token == 0xce) return <f64>bswap<u32>(load<u32>(at + 1));
  if (token != FLOAT64) return NaN;
  const ttl = reinterpret<f64>(bswap<u64>(load<u64>(at + 1)));
  return ttl >= 0 && ttl < Infinity ? ttl + 0.0 : NaN;
}

/** Fills value, TTL, tag and timestamp of the row and returns the record's end, or UNUSUAL. */
function scanRecord(row: usize, start: i32, end: i32, depth: i32): i32 {
  if (end - start < 3) return UNUSUAL;
  const token: u32 = load<u8>(start);
  let entries: i32 = token & 15;
  let at = start + 1;
  if (token == MAP16) {
    entries = <i32>bswap<u16>(load<u16>(start + 1));
    at = start + 3;
  } else if ((token & 0xf0) != 0x80) return UNUSUAL;

  let valueAt = 0;
  let valueBytes = 0;
  let stamped = false;
  let tagAt = 0;
  let tagBytes = 0;
  let ttlMs: f64 = NaN;
  for (; entries > 0; entries--) {
    if (at >= end) return UNUSUAL;
    const name = load<u64>(at);
    if ((name & 0xffffffffffff) == 0x65756c6176a5) { // a5 value
      valueAt = at + 6;
      at = skip(valueAt, end, depth + 1);
      if (at < 0) return UNUSUAL;
      valueBytes = load<u8>(valueAt) == NIL ? 0 : at - valueAt;
    } else if ((name & 0xff) == 0xa9) {
      if (at + 10 >= end || load<u64>(at + 1) != 0x6d617473656d6974 || load<u8>(at + 9) != 0x70) return UNUSUAL; // timestamp
      const stampAt = at + 10;
      const next = timestampEnd(stampAt, end);
      if (next < 0) return UNUSUAL;
      at = stampAt + (load<u8>(stampAt) == MAP16 ? 3 : 1);
      if ((load<u64>(at) & 0xffffffffffffff) != 0x73696c6c696da6) return UNUSUAL; // a6 millis
      if (load<u64>(at + 16) != 0x7265746e756f63a7) return UNUSUAL; // a7 counter
      const behind = at + 24 + counterBytes(at + 24);
      if ((load<u64>(behind) & 0xffffffffffffff) != 0x644965646f6ea6) return UNUSUAL; // a6 nodeId
      const bits = bswap<u64>(load<u64>(at + 8));
      const millis = load<u8>(at + 7) == FLOAT64 ? reinterpret<f64>(bits) : bits > 9007199254740991 ? NaN : <f64>bits;
      if (!(millis >= 0 && millis <= MILLIS_MAX) || floor(millis) != millis) return UNUSUAL;
      const nodeAt = textStart(behind + 7);
      if (nodeAt == next || hasColon(nodeAt, next)) return UNUSUAL;
      stamped = true;
      store<f64>(row, millis + 0.0); // -0 becomes 0
      store<u32>(row + 16, counterOf(at + 24));
      store<i32>(row + OP_NODE, nodeAt - INPUT);
      store<i32>(row + OP_NODE + 4, next - nodeAt);
      at = next;
    } else if (<u32>name == 0x676174a3) { // a3 tag
      const textAt = at + 4;
      at = textEnd(textAt, end);
      if (at < 0) return UNUSUAL;
      tagAt = textStart(textAt);
      tagBytes = at - tagAt;
    } else if ((name & 0xffffffffffff) == 0x734d6c7474a5) { // a5 ttlMs
      const ttlAt = at + 6;
      at = skip(ttlAt, end, depth + 1);
      if (at < 0) return UNUSUAL;
      ttlMs = ttlOf(ttlAt);
      if (isNaN(ttlMs)) return UNUSUAL;
    } else return UNUSUAL;
  }
  if (!stamped) return UNUSUAL;
  store<f64>(row + 8, ttlMs);
  store<i32>(row + OP_VALUE, valueBytes == 0 ? 0 : valueAt - INPUT);
  store<i32>(row + OP_VALUE + 4, valueBytes);
  store<i32>(row + OP_TAG, tagBytes == 0 ? 0 : tagAt - INPUT);
  store<i32>(row + OP_TAG + 4, tagBytes);
  return at;
}

/** Fills a row from the op at `start` and returns the op's end, or UNUSUAL. */
function scanOp(row: usize, start: i32, end: i32): i32 {
  if (end - start < 3) return UNUSUAL;
  const token: u32 = load<u8>(start);
  let entries: i32 = token & 15;
  let at = start + 1;
  if (token == MAP16) {
    entries = <i32>bswap<u16>(load<u16>(start + 1));
    at = start + 3;
  } else if ((token & 0xf0) != 0x80) return UNUSUAL;

  let idAt = 0;
  let idBytes = 0;
  let keyAt = 0;
  let keyBytes = 0;
  let mapAt = 0;
  let mapBytes = 0;
  let removes = false;
  let record = 0; // 1: record, 2: orRecord, once that has been read
  let tagAt = 0;
  let tagBytes = 0;
  for (; entries > 0; entries--) {
    if (at >= end) return UNUSUAL;
    const name = load<u64>(at);
    switch (<u32>name & 0xff) {
      case 0xa2: {
        if ((<u32>name & 0xffffff) != 0x6469a2) return UNUSUAL; // id
        const valueAt = at + 3;
        at = textEnd(valueAt, end);
        if (at < 0) return UNUSUAL;
        idAt = textStart(valueAt);
        idBytes = at - idAt;
        break;
      }
      case 0xa3: {
        if (<u32>name != 0x79656ba3) return UNUSUAL; // key
        const valueAt = at + 4;
        at = textEnd(valueAt, end);
        if (at < 0) return UNUSUAL;
        keyAt = textStart(valueAt);
        keyBytes = at - keyAt;
        break;
      }
      case 0xa5: {
        if ((name & 0xffffffffffff) != 0x676154726fa5) return UNUSUAL; // orTag
        const valueAt = at + 6;
        at = textEnd(valueAt, end);
        if (at < 0) return UNUSUAL;
        tagAt = textStart(valueAt);
        tagBytes = at - tagAt;
        break;
      }
      case 0xa6: {
        const valueAt = at + 7;
        if (valueAt >= end) return UNUSUAL;
        const seven = name & 0xffffffffffffff;
        if (seven == 0x64726f636572a6) { // record
          if (record != 0) return UNUSUAL;
          record = 1;
          at = scanRecord(row, valueAt, end, 4);
          if (at < 0) return UNUSUAL;
        } else if (seven == 0x65707954706fa6) { // opType
          at = textEnd(valueAt, end);
          if (at < 0) return UNUSUAL;
          const textAt = textStart(valueAt);
          removes = at - textAt == 6 && (load<u64>(textAt) & 0xffffffffffff) == 0x45564f4d4552; // REMOVE
        } else {
          if (seven != 0x6465636e7973a6 || load<u8>(valueAt) >> 1 != 0x61) return UNUSUAL; // synced: true or false
          at = valueAt + 1;
        }
        break;
      }
      case 0xa7: {
        if (name != 0x656d614e70616da7) return UNUSUAL; // mapName
        const valueAt = at + 8;
        at = textEnd(valueAt, end);
        if (at < 0) return UNUSUAL;
        mapAt = textStart(valueAt);
        mapBytes = at - mapAt;
        break;
      }
      case 0xa8: {
        const valueAt = at + 9;
        if (valueAt >= end || load<u64>(at + 1) != 0x64726f636552726f || record != 0) return UNUSUAL; // orRecord
        record = 2;
        at = scanRecord(row, valueAt, end, 4);
        if (at < 0) return UNUSUAL;
        break;
      }
      case 0xa9: {
        const valueAt = at + 10;
        if (valueAt >= end || load<u64>(at + 1) != 0x6d617473656d6974 || load<u8>(at + 9) != 0x70) return UNUSUAL; // timestamp
        at = timestampEnd(valueAt, end);
        if (at < 0) at = skip(valueAt, end, 4);
        if (at < 0) return UNUSUAL;
        break;
      }
      default:
        return UNUSUAL;
    }
  }

  if (mapBytes == 0 || keyAt == 0) return UNUSUAL;
  let kind = PUT;
  if (record == 1) {
    if (tagAt != 0 || load<i32>(row + OP_TAG + 4) != 0) return UNUSUAL;
    if (removes) {
      kind = REMOVE;
      store<u64>(row + OP_VALUE, 0);
    }
    if (load<i32>(row + OP_VALUE + 4) == 0) store<f64>(row + 8, NaN);
  } else if (removes) {
    return UNUSUAL;
  } else if (record == 2) {
    if (load<i32>(row + OP_TAG + 4) == 0) return UNUSUAL;
    kind = OR_ADD;
  } else {
    if (tagBytes == 0) return UNUSUAL;
    kind = OR_REMOVE;
    store<f64>(row, NaN);
    store<f64>(row + 8, NaN);
    store<u32>(row + 16, 0);
    store<i32>(row + OP_TAG, tagAt - INPUT);
    store<i32>(row + OP_TAG + 4, tagBytes);
    store<u64>(row + OP_NODE, 0);
    store<u64>(row + OP_VALUE, 0);
  }
  let hash: u32 = 0x811c9dc5;
  const keyEnd = keyAt + keyBytes;
  for (let index = keyAt; index < keyEnd; index++) {
    const byte: u32 = load<u8>(index);
    if (byte >= 0x80) return UNUSUAL;
    hash = (hash ^ byte) * 0x01000193;
  }
  store<u32>(row + 20, hash);
  store<u32>(row + 24, kind);
  store<u32>(row + OP_MAP_ID, 0);
  store<i32>(row + OP_MAP, mapAt - INPUT);
  store<i32>(row + OP_MAP + 4, mapBytes);
  store<i32>(row + OP_KEY, keyAt - INPUT);
  store<i32>(row + OP_KEY + 4, keyBytes);
  store<u64>(row + OP_FENCE, 0); // an op with one is unusual
  store<i32>(row + OP_ID, idBytes == 0 ? 0 : idAt - INPUT);
  store<i32>(row + OP_ID + 4, idBytes);
  store<u32>(row + OP_TIMEOUT, 0);
  return at;
}

/** End of the header of a map with so many entries, or UNUSUAL. */
@inline
function mapHeaderEnd(at: i32, entries: i32): i32 {
  const token: u32 = load<u8>(at);
  if (token == <u32>(0x80 | entries)) return at + 1;
  return token == MAP16 && <i32>bswap<u16>(load<u16>(at + 1)) == entries ? at + 3 : UNUSUAL;
}

/** Rows of the frame at hand, UNUSUAL before its ops are read. */
let rows: i32 = UNUSUAL;

/** Reads the array of ops at `start` into rows. Returns its end, or UNUSUAL. */
function scanOps(start: i32, end: i32): i32 {
  let at = start;
  const token: u32 = load<u8>(at);
  let count: i32 = token & 15;
  if ((token & 0xf0) == 0x90) at += 1;
  else if (token == 0xdc) {
    count = <i32>bswap<u16>(load<u16>(at + 1));
    at += 3;
  } else return UNUSUAL;
  if (count > ROWS_MAX) return UNUSUAL;
  let row: usize = ROWS;
  for (let ordinal = 0; ordinal < count; ordinal++) {
    at = scanOp(row, at, end);
    if (at < 0) return UNUSUAL;
    store<i32>(row + OP_ORDINAL, ordinal);
    row += ROW_BYTES;
  }
  rows = count;
  return at;
}

/** Reads `writeConcern` or `timeout` of the batch. Returns the end of its value, or UNUSUAL. */
function scanAsked(at: i32, end: i32): i32 {
  if (load<u64>(at) == 0x74756f656d6974a7) { // a7 timeout
    if (at + 9 > end || load<i32>(ASKED + 8) != 0) return UNUSUAL;
    store<i32>(ASKED + 8, at + 8 - INPUT);
    const size = sizeOf(at + 8);
    return size == 0 || at + 8 + size > end ? UNUSUAL : at + 8 + size;
  }
  if (load<u64>(at) != 0x6f436574697277ac || load<u32>(at + 8) != 0x7265636e || load<u8>(at + 12) != 0x6e) return UNUSUAL;
  const next = textEnd(at + 13, end); // ac writeConcern
  if (next < 0 || load<i32>(ASKED) != 0) return UNUSUAL;
  store<i32>(ASKED, at + 13 - INPUT);
  store<i32>(ASKED + 4, next - INPUT);
  return next;
}

/**
 * Reads the frame in INPUT, `{type: 'OP_BATCH', payload: {ops: […], writeConcern?, timeout?}}`, of `bytes` bytes. Returns the number
 * of its rows, or UNUSUAL; then nothing is known of it.
 */
export function scan(bytes: i32): i32 {
  const end = INPUT + bytes;
  let at = mapHeaderEnd(INPUT, 2);
  if (at < 0 || bytes < 28) return UNUSUAL;
  if ((load<u64>(at) & 0xffffffffff) != 0x65707974a4 || load<u8>(at + 5) != 0xa8) return UNUSUAL; // a4 type a8
  if (load<u64>(at + 6) != 0x48435441425f504f) return UNUSUAL; // OP_BATCH
  at += 14;
  if (load<u64>(at) != 0x64616f6c796170a7) return UNUSUAL; // a7 payload
  at += 8;
  let entries: i32 = load<u8>(at) & 15;
  if ((load<u8>(at) & 0xf0) == 0x80) at += 1;
  else if (load<u8>(at) == MAP16) {
    entries = <i32>bswap<u16>(load<u16>(at + 1));
    at += 3;
  } else return UNUSUAL;
  if (entries < 1 || entries > 3) return UNUSUAL;
  store<u64>(ASKED, 0);
  store<i32>(ASKED + 8, 0);
  rows = UNUSUAL;
  for (let entry = 0; entry < entries; entry++) {
    if (at + 5 > end) return UNUSUAL;
    if (load<u32>(at) != 0x73706fa3) at = scanAsked(at, end);
    else at = rows < 0 ? scanOps(at + 4, end) : UNUSUAL; // a3 ops
    if (at < 0) return UNUSUAL;
  }
  return at == end ? rows : UNUSUAL;
}

/** The value of 1 to 15 decimal digits without a leading zero, else 0. */
@inline
function plainNumber(start: i32, length: i32): f64 {
  if (length == 0 || length > 15 || load<u8>(start) == 0x30) return 0;
  let value: u64 = 0;
  const end = start + length;
  for (let at = start; at < end; at++) {
    const digit: u32 = load<u8>(at) - 0x30;
    if (digit > 9) return 0;
    value = value * 10 + digit;
  }
  return <f64>value;
}

/** Reads the ids of `count` rows into IDS, as WriteRouter.ids does. `highestSeen` is the highest id seen before. */
export function ids(count: i32, highestSeen: f64): void {
  let low: f64 = 0;
  let high: f64 = 0;
  let cost: i32 = 0;
  let latest: f64 = 0;
  let previous: f64 = 0;
  let dense = true;
  let row: usize = ROWS;
  for (let op = 0; op < count; op++) {
    const id = plainNumber(INPUT + load<i32>(row + OP_ID), load<i32>(row + OP_ID + 4));
    if (id == 0 || id > highestSeen) cost += 1;
    if (id == 0 || (op > 0 && id != previous + 1)) dense = false;
    if (id > 0 && (low == 0 || id < low)) low = id;
    if (id > high) high = id;
    previous = id;
    const millis = load<f64>(row);
    if (millis > latest && (load<u32>(row + 24) & 2) == 0) latest = millis;
    row += ROW_BYTES;
  }
  store<f64>(IDS, low);
  store<f64>(IDS + 8, high);
  store<f64>(IDS + 16, <f64>cost);
  store<f64>(IDS + 24, latest);
  store<f64>(IDS + 32, dense ? 1 : 0);
}

/** Copies a span and returns its end. Writes up to seven bytes more, which what follows writes over. */
@inline
function copySpan(to: i32, from: i32, bytes: i32): i32 {
  if (bytes > 256) memory.copy(to, INPUT + from, bytes);
  else for (let at = 0; at < bytes; at += 8) store<u64>(to + at, load<u64>(INPUT + from + at));
  return to + bytes;
}

/**
 * Packs the ops of `count` rows into PACKED, back to back, and returns their bytes. A map's name goes along where the row's
 * map is another than that of the row before.
 */
export function pack(count: i32): i32 {
  let at = PACKED;
  let row: usize = ROWS;
  let mapId: u32 = 0;
  for (let op = 0; op < count; op++) {
    const nameBytes = load<u32>(row + OP_MAP_ID) == mapId ? 0 : load<i32>(row + OP_MAP + 4);
    mapId = load<u32>(row + OP_MAP_ID);
    const keyBytes = load<i32>(row + OP_KEY + 4);
    const tagBytes = load<i32>(row + OP_TAG + 4);
    const nodeBytes = load<i32>(row + OP_NODE + 4);
    const valueBytes = load<i32>(row + OP_VALUE + 4);
    store<u32>(at, mapId);
    store<i32>(at + 4, load<i32>(row + OP_ORDINAL) | (nameBytes << 16));
    store<u64>(at + 8, load<u64>(row));
    store<u64>(at + 16, load<u64>(row + 8));
    store<u64>(at + 24, load<u64>(row + 16)); // counter, hash
    store<i32>(at + 32, keyBytes | (tagBytes << 16));
    store<i32>(at + 36, nodeBytes | (load<i32>(row + 24) << 16));
    store<i32>(at + 40, valueBytes);
    let end = copySpan(at + 44, load<i32>(row + OP_KEY), keyBytes);
    if (tagBytes > 0) end = copySpan(end, load<i32>(row + OP_TAG), tagBytes);
    end = copySpan(end, load<i32>(row + OP_NODE), nodeBytes);
    end = copySpan(end, load<i32>(row + OP_VALUE), valueBytes);
    if (nameBytes > 0) end = copySpan(end, load<i32>(row + OP_MAP), nameBytes);
    at = (end + 7) & ~7;
    row += ROW_BYTES;
  }
  return at - PACKED;
}
