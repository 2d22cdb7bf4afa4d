/**
 * The one hash of the grid: 32-bit FNV-1a over UTF-16 code units, and MurmurHash3's finaliser.
 *
 * A key travels as UTF-8 and is never made a string here: the bytes are decoded to code units on the way into the
 * hash. Lone surrogates in their three-byte form count as the unit they stand for. Bytes that are not UTF-8 at all
 * count as one unit each, so that every byte string has a partition; such keys are left out of client sync.
 *
 * Source: docs/PROTOCOL.md §4.1, §4.2 (FNV-1a by Fowler, Noll, Vo; fmix32 by Austin Appleby).
 */

/** Hash slots of the key space. Fixed for ever: clients compute it too. */
export const PARTITION_COUNT = 271;

export const FNV_OFFSET = 0x811c9dc5 | 0;
const FNV_PRIME = 0x01000193;

/** FNV-1a of a string's UTF-16 code units, unsigned. */
export function fnv1a(text: string): number {
  let hash = FNV_OFFSET;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), FNV_PRIME);
  return hash >>> 0;
}

/** FNV-1a of the code units that `bytes[start, end)` spells in UTF-8, unsigned; equal to `fnv1a` of that string. */
export function fnv1aUtf8(bytes: Uint8Array, start: number, end: number): number {
  return fnv1aUtf8From(FNV_OFFSET, bytes, start, end) >>> 0;
}

/** As `fnv1aUtf8`, going on from `hash`; signed, for chaining. */
export function fnv1aUtf8From(hash: number, bytes: Uint8Array, start: number, end: number): number {
  let state = hash | 0;
  for (let index = start; index < end; index++) {
    const byte = bytes[index] as number;
    if (byte >= 0x80) return isUtf8(bytes, start, end) ? hashUnits(hash, bytes, start, end) : hashBytes(hash, bytes, start, end);
    state = Math.imul(state ^ byte, FNV_PRIME);
  }
  return state;
}

/** FNV-1a going on from `hash` over one code unit; signed, for chaining. */
export function fnv1aUnit(hash: number, unit: number): number {
  return Math.imul(hash ^ unit, FNV_PRIME);
}

/** Finaliser of MurmurHash3: spreads every bit of `hash` over all 32; `fmix32(0) === 0`. Unsigned. */
export function fmix32(hash: number): number {
  let mixed = hash | 0;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

/** Partition of a key's hash, 0..270. */
export function partitionOf(keyHash: number): number {
  return (keyHash >>> 0) % PARTITION_COUNT;
}

/** True when the bytes are UTF-8, lone surrogates in three-byte form allowed, overlong forms not. */
export function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let index = start;
  while (index < end) {
    const size = sequenceBytes(bytes, index, end);
    if (size === 0) return false;
    index += size;
  }
  return true;
}

/** Bytes of the sequence that starts at `index`, or 0 when it is not well formed. */
function sequenceBytes(bytes: Uint8Array, index: number, end: number): number {
  const lead = bytes[index] as number;
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (index + size > end) return 0;
  for (let at = index + 1; at < index + size; at++) if (((bytes[at] as number) & 0xc0) !== 0x80) return 0;
  const second = bytes[index + 1] as number;
  if (lead === 0xe0 && second < 0xa0) return 0;
  if (lead === 0xf0 && second < 0x90) return 0;
  if (lead === 0xf4 && second > 0x8f) return 0;
  return size;
}

function hashUnits(hash: number, bytes: Uint8Array, start: number, end: number): number {
  let state = hash | 0;
  let index = start;
  while (index < end) {
    const point = codePointAt(bytes, index);
    index += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (point < 0x10000) {
      state = Math.imul(state ^ point, FNV_PRIME);
    } else {
      state = Math.imul(state ^ (0xd800 + ((point - 0x10000) >> 10)), FNV_PRIME);
      state = Math.imul(state ^ (0xdc00 + ((point - 0x10000) & 0x3ff)), FNV_PRIME);
    }
  }
  return state;
}

/** Code point of the well-formed sequence at `index`. */
export function codePointAt(bytes: Uint8Array, index: number): number {
  const lead = bytes[index] as number;
  if (lead < 0x80) return lead;
  const second = (bytes[index + 1] as number) & 0x3f;
  if (lead < 0xe0) return ((lead & 0x1f) << 6) | second;
  const third = (bytes[index + 2] as number) & 0x3f;
  if (lead < 0xf0) return ((lead & 0x0f) << 12) | (second << 6) | third;
  return ((lead & 0x07) << 18) | (second << 12) | (third << 6) | ((bytes[index + 3] as number) & 0x3f);
}

function hashBytes(hash: number, bytes: Uint8Array, start: number, end: number): number {
  let state = hash | 0;
  for (let index = start; index < end; index++) state = Math.imul(state ^ (bytes[index] as number), FNV_PRIME);
  return state;
}
