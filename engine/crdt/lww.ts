/**
 * Last writer wins: the join rule of a record, its hash in the Merkle tree, and its expiry. Pure rules over numbers and
 * spans of bytes; nothing here makes a string in the usual case.
 *
 *   order   millis, counter, node id (bytes); then, for the same stamp, the larger value bytes (a prefix is smaller,
 *           so a tombstone, which has none, loses to any value)
 *   hash    fnv1a(`${key}:${millis}:${counter}:${node id}`); value and TTL are not hashed, tombstones are
 *
 * The clever thing: FNV-1a goes left to right, so the hash goes on from the key's own hash, which every write already
 * has, and only the stamp is hashed per write. Decimal digits come from integer arithmetic on two halves below 10^9.
 *
 * Source: docs/PROTOCOL.md §4.3, §5.3.
 */
import { fnv1aUnit, fnv1aUtf8From } from '../partition/hash.ts';
import { compareBytes, compareStamps } from './hlc.ts';

/** The part of a record that the join reads; a RecordImage is one. Node id and value are spans of `source`. */
export interface LwwSpan {
  readonly source: Uint8Array;
  readonly nodeStart: number;
  readonly nodeBytes: number;
  readonly valueStart: number;
  readonly valueBytes: number;
  readonly millis: number;
  readonly counter: number;
}

const COLON = 0x3a;
const ZERO = 0x30;
const HALF = 1e9;
const EXACT_MAX = 2 ** 53;

/** Negative when `b` wins, positive when `a` wins, 0 when they are the same write (a repeat). */
export function compareLww(a: LwwSpan, b: LwwSpan): number {
  const byStamp = compareLwwStamps(a, b);
  return byStamp !== 0 ? byStamp : compareLwwValues(a, b);
}

/** The stamps alone. 0 while `compareLwwValues` is not 0 means: one node gave one stamp twice. Count it. */
export function compareLwwStamps(a: LwwSpan, b: LwwSpan): number {
  const aNodeEnd = a.nodeStart + a.nodeBytes;
  const bNodeEnd = b.nodeStart + b.nodeBytes;
  return compareStamps(
    a.millis,
    a.counter,
    a.source,
    a.nodeStart,
    aNodeEnd,
    b.millis,
    b.counter,
    b.source,
    b.nodeStart,
    bNodeEnd,
  );
}

/** Tie rule of equal stamps: the larger value bytes win. */
export function compareLwwValues(a: LwwSpan, b: LwwSpan): number {
  return compareBytes(a.source, a.valueStart, a.valueStart + a.valueBytes, b.source, b.valueStart, b.valueStart + b.valueBytes);
}

/** Moment at which a record expires, in ms; NaN when it has no TTL (`ttlMs` NaN). The removal is stamped with it. */
export function expiryMillis(millis: number, ttlMs: number): number {
  return millis + ttlMs;
}

/** True once the moment of expiry has passed, as the client sees it; never for a `ttlMs` of NaN. */
export function isExpired(millis: number, ttlMs: number, nowMs: number): boolean {
  return millis + ttlMs < nowMs;
}

/**
 * Hash of a record in the Merkle tree, unsigned. `keyHash` is fnv1a of the key; the node id is `bytes[nodeStart,
 * nodeEnd)` in UTF-8. Any `millis` and `counter` hash as `String` prints them.
 */
export function lwwEntryHash(
  keyHash: number,
  millis: number,
  counter: number,
  bytes: Uint8Array,
  nodeStart: number,
  nodeEnd: number,
): number {
  let state = hashNumber(fnv1aUnit(keyHash | 0, COLON), millis);
  state = hashNumber(fnv1aUnit(state, COLON), counter);
  return fnv1aUtf8From(fnv1aUnit(state, COLON), bytes, nodeStart, nodeEnd) >>> 0;
}

/** Hashes on over the decimal text of a number. */
function hashNumber(state: number, value: number): number {
  if (!(value >= 0 && value < EXACT_MAX) || Math.floor(value) !== value) return hashText(state, String(value));
  if (value < HALF) return hashDigits(state, value | 0);
  const high = Math.floor(value / HALF);
  return hashNineDigits(hashDigits(state, high | 0), (value - high * HALF) | 0);
}

/** Digits of a number below 10^9, without leading zeros. */
function hashDigits(state: number, value: number): number {
  if (value < 10) return fnv1aUnit(state, ZERO + value);
  if (value < 100) return hashPair(state, value);
  const head = (value / 100) | 0;
  return hashPair(hashDigits(state, head), value - head * 100);
}

/** All nine digits of a number below 10^9. */
function hashNineDigits(state: number, value: number): number {
  const first = (value / 100_000_000) | 0;
  const rest = (value - first * 100_000_000) | 0;
  const upper = (rest / 10_000) | 0;
  const lower = (rest - upper * 10_000) | 0;
  const a = (upper / 100) | 0;
  const c = (lower / 100) | 0;
  const head = hashPair(hashPair(fnv1aUnit(state, ZERO + first), a), upper - a * 100);
  return hashPair(hashPair(head, c), lower - c * 100);
}

/** Both digits of a number below 100. */
function hashPair(state: number, value: number): number {
  const tens = (value * 103) >> 10; // = value / 10 for 0..99
  return fnv1aUnit(fnv1aUnit(state, ZERO + tens), ZERO + value - tens * 10);
}

function hashText(state: number, text: string): number {
  let hash = state;
  for (let index = 0; index < text.length; index++) hash = fnv1aUnit(hash, text.charCodeAt(index));
  return hash;
}
