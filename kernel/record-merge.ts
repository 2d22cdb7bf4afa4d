/**
 * Joins usual ops into records where they lie: a put of a client that overwrites what it finds. AssemblyScript, not TypeScript.
 *
 *   SEGMENTS  address of each segment of the slab; 0: it lies elsewhere      written by the caller (kernel-memory.ts)
 *   TABLES    of a store: for each partition the address of its slots and their bytes - 8; 0: none here       (slot-index.ts)
 *   INPUT     packed ops (packed-op.ts), as they crossed the ring            written by the caller
 *   RESULTS   a word for each op that was joined, or was older               filled by `merge`
 *
 * A run ends before the first op that is anything else: of another map, a removal, of an OR-Map, with a TTL, fenced, judged,
 * without a clock, of a new key, of equal clocks, of a record that is removed or evicted, of another size class. It also ends
 * before a second change of a record, since the caller logs a record as it stands after the run. The caller joins that op itself.
 *
 * What it gains: eight bytes at a time, no check of bounds, no view and no object for each part of a record.
 */

export const SEGMENTS: i32 = 4096;
export const SEGMENTS_MAX: i32 = 2048;
/** Runs that a key of each hash was last written in: who collides ends a run early, which does no harm. */
const SEEN: usize = 12288;
const SEEN_MASK: u32 = 4095;
export const RESULTS: i32 = 28672;
export const RESULTS_MAX: i32 = 64;
/** Where in INPUT the op behind the run begins. */
export const NEXT: i32 = 28672 + 64 * 4;
export const INPUT: i32 = 32768;
export const INPUT_BYTES: i32 = 524288;
/** Where memory begins that is free for segments, slots and tables: behind what a load may reach beyond the input. */
export const FREE: i32 = 32768 + 524288 + 4096;

/** What no reference is: the unit would lie beyond the memory. */
const UNUSUAL: u32 = 0xffffffff;
/** In a result: the record is not in the backlog of its Merkle leaf. */
const LEAF_BEHIND: u32 = 0x80000000;

// A packed op, in bytes.
const OP_NAME_BYTES: usize = 6;
const OP_MILLIS: usize = 8;
const OP_TTL: usize = 16;
const OP_COUNTER: usize = 24;
const OP_KEY_HASH: usize = 28;
const OP_KEY_TAG_BYTES: usize = 32;
const OP_NODE_BYTES: usize = 36;
const OP_FLAGS: usize = 38;
const OP_VALUE_BYTES: usize = 40;
const OP_SPANS: usize = 44;
/** Kind, and FLAG_UNSTAMPED, FLAG_EMPTY, FLAG_INVALID, FLAG_FENCED, FLAG_JUDGED. */
const NOT_A_PLAIN_PUT: u32 = 3 | 4 | 8 | 16 | 64 | 128;

// A record in its block (record-block.ts), in bytes.
const COUNTER: usize = 8;
const KEY_TAG_BYTES: usize = 16;
const NODE_BYTES_FLAGS: usize = 20;
const VALUE_BYTES: usize = 24;
const VERSION: usize = 36;
const TTL: usize = 40;
const UPDATED_S: usize = 48;
const LAST_LINE: usize = 72;
const BACKLOG_AT: usize = 76;
const SPANS: usize = 80;
const TOMBSTONE_OR_EVICTED: u32 = (1 << 16) | (1 << 21);
const UNLISTED: u32 = 1 << 17;
const KEPT_FLAGS: u32 = (1 << 17) | 0xff000000;
const NAN_BITS: u64 = 0x7ff8000000000000;

const PARTITIONS: u32 = 271;
/** Spans longer than this are copied by the machine's own loop. */
const LONG_COPY_BYTES: usize = 512;

let run: u32 = 0;
/** What warming has read: kept so that the reads are not optimised away. */
let touched: u32 = 0;

@inline
function slotHash(keyHash: u32): u32 {
  const mixed = keyHash * 0x9e3779b1;
  return mixed ^ (mixed >> 15);
}

@inline
function tableOf(tables: usize, keyHash: u32): usize {
  return tables + <usize>(keyHash % PARTITIONS) * 8;
}

/** Address of the block of a reference, or 0. */
@inline
function blockOf(ref: u32): usize {
  const segment = load<u32>(SEGMENTS + ((ref >> 20) << 2));
  return segment == 0 ? 0 : segment + ((ref & 0xfffff) << 4);
}

@inline
function packedBytes(op: usize): usize {
  const spans = load<u32>(op, OP_KEY_TAG_BYTES);
  const bytes =
    OP_SPANS +
    (spans & 0xffff) +
    (spans >> 16) +
    <usize>load<u16>(op, OP_NODE_BYTES) +
    load<u32>(op, OP_VALUE_BYTES) +
    <usize>load<u16>(op, OP_NAME_BYTES);
  return (bytes + 7) & ~7;
}

/**
 * Touches what the joins of `count` ops will read first, so that the waits for memory overlap (see RecordStore.warm), as far as they
 * are of the map and lie here. Returns how many are.
 */
export function warm(offset: u32, count: i32, map: u32, tables: usize): i32 {
  let op: usize = INPUT + offset;
  let sum = touched;
  let warmed: i32 = 0;
  for (let left = count; left > 0; left--) {
    const keyHash = load<u32>(op, OP_KEY_HASH);
    const table = tableOf(tables, keyHash);
    const slots: usize = load<u32>(table);
    if (load<u32>(op) == map && slots != 0) {
      const block = blockOf(load<u32>(slots + ((slotHash(keyHash) << 3) & load<u32>(table, 4)), 4));
      sum ^= load<u32>(block, KEY_TAG_BYTES) ^ load<u32>(block, LAST_LINE);
      warmed += 1;
    }
    op += packedBytes(op);
  }
  touched = sum;
  return warmed;
}

/**
 * Joins ops from `offset` of INPUT on, up to `count` (RESULTS_MAX at most), and returns how many it did. The result of each is
 * the reference of the record that it changed, with LEAF_BEHIND or without, or 0 when the record is newer.
 */
export function merge(offset: u32, count: i32, map: u32, tables: usize, nowS: u32): i32 {
  run += 1;
  let op: usize = INPUT + offset;
  let done: i32 = 0;
  for (; done < count; done++) {
    if (load<u32>(op) != map) break;
    const result = join(op, tables, nowS);
    if (result == UNUSUAL) break;
    store<u32>(RESULTS + (done << 2), result);
    op += packedBytes(op);
  }
  store<u32>(NEXT, <u32>(op - INPUT));
  return done;
}

@inline
function join(op: usize, tables: usize, nowS: u32): u32 {
  if (!isPlainPut(op)) return UNUSUAL;
  const ref = find(op, tables);
  if (ref == 0) return UNUSUAL;
  const block = blockOf(ref);
  const stored = load<u32>(block, NODE_BYTES_FLAGS);
  if ((stored & TOMBSTONE_OR_EVICTED) != 0) return UNUSUAL;
  const order = compare(op, block);
  if (order == 0) return UNUSUAL;
  if (order < 0) return 0;
  if (!fits(op, block, stored)) return UNUSUAL;
  const keyHash = load<u32>(op, OP_KEY_HASH);
  const seen = SEEN + (((keyHash ^ (keyHash >> 12)) & SEEN_MASK) << 2);
  if (load<u32>(seen) == run) return UNUSUAL;
  store<u32>(seen, run);
  overwrite(op, block, stored, nowS);
  return load<u32>(block, BACKLOG_AT) == 0 && (stored & UNLISTED) == 0 ? ref | LEAF_BEHIND : ref;
}

@inline
function isPlainPut(op: usize): bool {
  const ttlMs = load<f64>(op, OP_TTL);
  return (
    (<u32>load<u16>(op, OP_FLAGS) & NOT_A_PLAIN_PUT) == 0 &&
    load<u32>(op, OP_KEY_TAG_BYTES) < 0x10000 &&
    load<u32>(op, OP_VALUE_BYTES) != 0 &&
    ttlMs != ttlMs
  );
}

/** The record with the key of the op; 0 when there is none, or not here. */
@inline
function find(op: usize, tables: usize): u32 {
  const keyHash = load<u32>(op, OP_KEY_HASH);
  const table = tableOf(tables, keyHash);
  const slots: usize = load<u32>(table);
  if (slots == 0) return 0;
  const mask = load<u32>(table, 4);
  const hash = slotHash(keyHash);
  for (let at = (hash << 3) & mask; ; at = (at + 8) & mask) {
    const ref = load<u32>(slots + at, 4);
    if (ref == 0) return 0;
    if (load<u32>(slots + at) != hash || <i32>ref < 0) continue;
    const block = blockOf(ref);
    if (block == 0) return 0;
    if (hasKey(block, op)) return ref;
  }
  return 0;
}

@inline
function hasKey(block: usize, op: usize): bool {
  const keyBytes: usize = load<u32>(op, OP_KEY_TAG_BYTES);
  if (load<u32>(block, KEY_TAG_BYTES) != <u32>keyBytes) return false;
  let a = block + SPANS;
  let b = op + OP_SPANS;
  const end = a + keyBytes;
  for (; a + 8 <= end; a += 8, b += 8) if (load<u64>(a) != load<u64>(b)) return false;
  for (; a < end; a++, b++) if (load<u8>(a) != load<u8>(b)) return false;
  return true;
}

/** Above 0 when the op is newer than the record, below when it is older; 0: only node ids can tell. */
@inline
function compare(op: usize, block: usize): i32 {
  const millis = load<f64>(op, OP_MILLIS);
  const storedMillis = load<f64>(block);
  if (millis != storedMillis) return millis > storedMillis ? 1 : -1;
  const counter = load<u32>(op, OP_COUNTER);
  const storedCounter = load<u32>(block, COUNTER);
  if (counter != storedCounter) return counter > storedCounter ? 1 : -1;
  return 0;
}

/** True when the new version falls into the same size class as the one in the block. */
@inline
function fits(op: usize, block: usize, stored: u32): bool {
  const before = (stored & 0xffff) + load<u32>(block, VALUE_BYTES);
  const after = <u32>load<u16>(op, OP_NODE_BYTES) + load<u32>(op, OP_VALUE_BYTES);
  if (before == after) return true;
  const fixed = <u32>SPANS + load<u32>(op, OP_KEY_TAG_BYTES);
  return sizeClassOf(fixed + before) == sizeClassOf(fixed + after);
}

/** As `sizeClassOf` of slab.ts. */
function sizeClassOf(bytes: u32): u32 {
  const units = (bytes + 15) >> 4;
  if (units <= 16) return units;
  const log = 31 - clz(units - 1);
  return 16 + (log - 4) * 8 + ((units - 1) >> (log - 3)) - 7;
}

/** As RecordTable.overwrite and writeState of record-block.ts, of a put of a client without a TTL. */
@inline
function overwrite(op: usize, block: usize, stored: u32, nowS: u32): void {
  const keyBytes: usize = load<u32>(op, OP_KEY_TAG_BYTES);
  const nodeBytes: u32 = load<u16>(op, OP_NODE_BYTES);
  const valueBytes = load<u32>(op, OP_VALUE_BYTES);
  store<f64>(block, load<f64>(op, OP_MILLIS));
  store<u32>(block, load<u32>(op, OP_COUNTER), COUNTER);
  store<u32>(block, nodeBytes | (stored & KEPT_FLAGS), NODE_BYTES_FLAGS);
  store<u32>(block, valueBytes, VALUE_BYTES);
  store<u32>(block, load<u32>(block, VERSION) + 1, VERSION);
  store<u64>(block, NAN_BITS, TTL);
  store<u32>(block, nowS, UPDATED_S);
  copySpans(block + SPANS, op + OP_SPANS, keyBytes, keyBytes + nodeBytes + valueBytes);
}

/**
 * Copies node and value, with the end of the key, which is the same here and there, and what stands behind the value up to eight
 * bytes: blocks have whole units, and the input has room.
 */
@inline
function copySpans(to: usize, from: usize, start: usize, end: usize): void {
  let at = start & ~7;
  if (end - at > LONG_COPY_BYTES) {
    memory.copy(to + at, from + at, end - at);
    return;
  }
  for (; at < end; at += 8) store<u64>(to + at, load<u64>(from + at));
}
