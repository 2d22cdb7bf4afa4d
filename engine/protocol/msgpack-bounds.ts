/**
 * Walks MessagePack without decoding it: how long is this value, and may it be decoded at all?
 *
 *   token      what follows                      a walk does
 *   scalar     0..31 bytes, length in the token  one look into SCALAR_BYTES, one addition
 *   str, bin   a length of 1, 2 or 4 bytes       compare with the bytes that are left, add
 *   container  a count, then its items           open a level: remember what is left of the level outside
 *
 * No recursion and no allocation: open levels stand in one fixed array of DEPTH_MAX words, as `items left * 2 + in a map`.
 * Every length and count is compared with the bytes that are left before it is used, so a header of five bytes that
 * claims 2^32 entries is refused at once, and no sum leaves the range of 32-bit integers.
 *
 * The dialect is that of docs/PROTOCOL.md §1.2, narrowed to what every decoder of it reads alike:
 *   - extension types are refused. The client's encoder makes none, and its decoder gives some of them meanings that
 *     change how the bytes after them are read (records, 0x72), so that one stored value could break every reader.
 *   - the key of a map is a string, number, boolean or nil. Decoders throw at containers and bytes there.
 */

/** Containers inside one another that a frame may have; the outermost is the first. */
export const DEPTH_MAX = 256;

/** Answers of `skipValue` and, negated, reasons of `checkBounds`. */
export const TRUNCATED = -1;
export const TOO_DEEP = -2;
export const BAD_TOKEN = -3;
export const BAD_KEY = -4;
const TRAILING_BYTES = 5;

export interface Limits {
  /** Containers inside one another, 0..DEPTH_MAX. */
  readonly depthMax: number;
}

/** Reasons of `checkBounds` in words, at their numbers. */
export const BOUNDS_REASONS = [
  'ok',
  'a length or count exceeds the bytes that are left',
  'containers are nested too deep',
  'a token is not allowed here (0xc1 or an extension type)',
  'a map key is neither a string nor a number, boolean or nil',
  'bytes follow the value',
] as const;

const DEFAULT_LIMITS: Limits = { depthMax: DEPTH_MAX };

/**
 * Checks that `bytes[start, end)` is exactly one well-formed value. Returns 0, or the number of the first reason found
 * (see BOUNDS_REASONS). Reads nothing outside the range.
 */
export function checkBounds(bytes: Uint8Array, start: number, end: number, limits: Limits = DEFAULT_LIMITS): number {
  const next = skipValue(bytes, start, end, DEPTH_MAX - limits.depthMax);
  if (next < 0) return -next;
  return next === end ? 0 : TRAILING_BYTES;
}

/** Whole size of the values whose token tells it: numbers, nil, booleans, short strings. 0 for all others. */
export const SCALAR_BYTES: Uint8Array = Uint8Array.from({ length: 256 }, (_, token) => scalarBytes(token));

/** Bytes of a string's header by token; 0 for tokens that start no string. */
export const STRING_HEADER_BYTES: Uint8Array = Uint8Array.from({ length: 256 }, (_, token) => {
  if (token >= 0xa0 && token <= 0xbf) return 1;
  return token === 0xd9 ? 2 : token === 0xda ? 3 : token === 0xdb ? 5 : 0;
});

function scalarBytes(token: number): number {
  if (token <= 0x7f || token >= 0xe0) return 1; // fixint
  if (token >= 0xa0 && token <= 0xbf) return 1 + (token & 0x1f); // fixstr
  if (token === 0xc0 || token === 0xc2 || token === 0xc3) return 1; // nil, false, true
  if (token === 0xca) return 5; // float32
  if (token === 0xcb) return 9; // float64
  if (token >= 0xcc && token <= 0xcf) return 1 + (1 << (token - 0xcc)); // uint8..uint64
  if (token >= 0xd0 && token <= 0xd3) return 1 + (1 << (token - 0xd0)); // int8..int64
  return 0;
}

/**
 * End of the value that starts at `at`, or a negative reason: TRUNCATED, TOO_DEEP, BAD_TOKEN, BAD_KEY.
 * `depth` is the number of containers already open around it.
 */
export function skipValue(bytes: Uint8Array, at: number, end: number, depth = 0): number {
  if (at >= end) return TRUNCATED;
  const size = SCALAR_BYTES[bytes[at] as number] as number;
  if (size === 0) return walk(bytes, at, end, DEPTH_MAX - depth);
  const next = at + size;
  return next <= end ? next : TRUNCATED;
}

/** As `skipValue`, for the key of a map. */
export function skipKey(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return TRUNCATED;
  const token = bytes[at] as number;
  const size = SCALAR_BYTES[token] as number;
  if (size !== 0) return at + size <= end ? at + size : TRUNCATED;
  return STRING_HEADER_BYTES[token] === 0 ? BAD_KEY : longEnd(bytes, at, end, token);
}

/** Entries of the map that starts at `at`; -1 when it is no map or claims more than the bytes that are left. */
export function mapCount(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return -1;
  const token = bytes[at] as number;
  if (token >= 0x80 && token <= 0x8f) return countWithin(token & 0x0f, (end - at - 1) >> 1);
  if (token === 0xde) return at + 3 > end ? -1 : countWithin(u16(bytes, at + 1), (end - at - 3) >> 1);
  if (token === 0xdf) return at + 5 > end ? -1 : countWithin(i32(bytes, at + 1), (end - at - 5) >> 1);
  return -1;
}

/** Items of the array that starts at `at`; -1 when it is no array or claims more than the bytes that are left. */
export function arrayCount(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return -1;
  const token = bytes[at] as number;
  if (token >= 0x90 && token <= 0x9f) return countWithin(token & 0x0f, end - at - 1);
  if (token === 0xdc) return at + 3 > end ? -1 : countWithin(u16(bytes, at + 1), end - at - 3);
  if (token === 0xdd) return at + 5 > end ? -1 : countWithin(i32(bytes, at + 1), end - at - 5);
  return -1;
}

/** Bytes of the header of a map or an array. */
export function containerHeaderBytes(token: number): number {
  return token < 0xc0 ? 1 : (token & 1) === 0 ? 3 : 5; // de, dc: 16 bits; df, dd: 32 bits
}

export function isMap(token: number): boolean {
  return (token >= 0x80 && token <= 0x8f) || token === 0xde || token === 0xdf;
}

export function isArray(token: number): boolean {
  return (token >= 0x90 && token <= 0x9f) || token === 0xdc || token === 0xdd;
}

function countWithin(count: number, most: number): number {
  return count >= 0 && count <= most ? count : -1; // a 32-bit count of 2^31 or more came out negative
}

/** Levels outside the current one. Shared: a walk never runs inside another. */
const outside = new Int32Array(DEPTH_MAX + 1);

function walk(bytes: Uint8Array, start: number, end: number, levelsMax: number): number {
  let at = start;
  let left = 1; // items left in the current level; in a map, keys and values
  let inMap = 0;
  let levels = 0;
  for (;;) {
    while (left !== 0) {
      if (at >= end) return TRUNCATED;
      const token = bytes[at] as number;
      const size = SCALAR_BYTES[token] as number;
      left -= 1;
      if (size !== 0) {
        at += size;
        continue;
      }
      const isKey = inMap & left & 1; // keys leave an odd number of items behind them
      if (token === 0xde || (token & 0xe0) === 0x80 || isArray(token) || token === 0xdf) {
        if (isKey !== 0) return BAD_KEY;
        if (levels === levelsMax) return TOO_DEEP;
        const map = token === 0xde || token < 0x90 || token === 0xdf;
        const count = map ? mapCount(bytes, at, end) : arrayCount(bytes, at, end);
        if (count < 0) return TRUNCATED;
        at += containerHeaderBytes(token);
        outside[levels] = left * 2 + inMap;
        levels += 1;
        left = map ? count * 2 : count;
        inMap = map ? 1 : 0;
      } else {
        if (isKey !== 0 && STRING_HEADER_BYTES[token] === 0) return BAD_KEY;
        at = longEnd(bytes, at, end, token);
        if (at < 0) return at;
      }
    }
    if (levels === 0) return at <= end ? at : TRUNCATED;
    levels -= 1;
    const outer = outside[levels] as number;
    left = outer >> 1;
    inMap = outer & 1;
  }
}

/** End of a string or byte string whose length stands in its own bytes. */
function longEnd(bytes: Uint8Array, at: number, end: number, token: number): number {
  let header = 0;
  if (token === 0xd9 || token === 0xc4) header = 2;
  else if (token === 0xda || token === 0xc5) header = 3;
  else if (token === 0xdb || token === 0xc6) header = 5;
  else return BAD_TOKEN;
  if (header > end - at) return TRUNCATED;
  const length = header === 2 ? (bytes[at + 1] as number) : header === 3 ? u16(bytes, at + 1) : i32(bytes, at + 1);
  if (length < 0 || length > end - at - header) return TRUNCATED;
  return at + header + length;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function i32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}
