/**
 * MessagePack to plain data and back, for every message that is not on the hot path.
 *
 *   decode  bytes → null, boolean, number, string, Uint8Array, array, Data
 *   encode  the same, and any object → bytes, in the dialect of docs/PROTOCOL.md §1.2
 *
 * The decoder is written by hand. msgpackr's cannot be narrowed enough for bytes from strangers: extension types that
 * define records or rebuild Errors, Sets and typed arrays stay known to it, and it renames the key `__proto__`. Here bounds
 * are checked first (msgpack-bounds.ts, which also refuses extension types), so decoding itself has nothing to check.
 *
 * Objects are `Data`: instances of a function whose prototype is an empty frozen object. No name is inherited, so
 * `__proto__`, `constructor` and `toString` are data like all others, and properties stay as fast as in plain objects
 * (objects made by Object.create(null) are hash tables in V8). Node's querystring does the same.
 */
import { Packr } from 'msgpackr';
import { GridError } from './errors.ts';
import {
  BOUNDS_REASONS,
  checkBounds,
  containerHeaderBytes,
  isMap,
  mapCount,
  arrayCount,
  isArray,
  STRING_HEADER_BYTES,
  skipValue,
} from './msgpack-bounds.ts';
import { isNumber, number, readNumber } from './msgpack-number.ts';
import { decodeText } from './wire-text.ts';

/** A decoded map. Integer-like keys come first when listed, as in every JavaScript object. */
export interface Data {
  [key: string]: unknown;
}

/**
 * The value that `bytes` spells. 64-bit integers are rounded to doubles, keys that are numbers, booleans or nil become
 * strings, of equal keys the last wins, byte strings are copied.
 * Throws GridError BAD_REQUEST when the bytes are not exactly one well-formed value of at most 256 levels.
 */
export function decode(bytes: Uint8Array, start = 0, end = bytes.length): unknown {
  const reason = checkBounds(bytes, start, end);
  if (reason !== 0)
    throw new GridError('BAD_REQUEST', `malformed MessagePack of ${end - start} bytes: ${BOUNDS_REASONS[reason]}`);
  cursor = start;
  return read(bytes, end);
}

/**
 * The bytes of `value`. Properties that are undefined are left out (undefined elsewhere is nil), integers beyond 32 bits and
 * fractions are float64, Uint8Array is bin. The bytes are not written again, but they are part of a larger buffer that they keep alive:
 * `slice` what stays long.
 */
export function encode(value: unknown): Uint8Array {
  const packed = packr.pack(value);
  return new Uint8Array(packed.buffer, packed.byteOffset, packed.byteLength);
}

/**
 * Bytes in either form that arrives: bin, or the map `{"0": b0, "1": b1, …}` that the client's encoder makes of a Uint8Array.
 * Undefined for anything else.
 */
export function toBytes(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (!isData(value)) return undefined;
  const length = Object.keys(value).length;
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) {
    const byte = value[index];
    if (typeof byte !== 'number' || !(byte >= 0 && byte <= 255) || !Number.isInteger(byte)) return undefined;
    bytes[index] = byte;
  }
  return bytes;
}

/** True for a decoded map. */
export function isData(value: unknown): value is Data {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

/** useToJSON is off because a stored value may have a key `toJSON`, which is no function. */
const dialect = {
  useRecords: false,
  variableMapSize: true,
  skipValues: [undefined],
  encodeUndefinedAsNil: true,
  useToJSON: false,
  moreTypes: false,
};
const packr = new Packr(dialect);

interface DataConstructor {
  new (): Data;
}

function createDataConstructor(): DataConstructor {
  const Data = function Data(): void {};
  Data.prototype = Object.freeze(Object.create(null));
  return Data as unknown as DataConstructor; // a function is a constructor, which its type does not say
}

const EmptyData = createDataConstructor();

/** Where the next value starts. One decode runs at a time, to its end. */
let cursor = 0;

function read(bytes: Uint8Array, end: number): unknown {
  const start = cursor;
  const token = bytes[start] as number;
  if (isMap(token)) return readMap(bytes, end, mapCount(bytes, start, end));
  if (isArray(token)) return readArray(bytes, end, arrayCount(bytes, start, end));
  cursor = skipValue(bytes, start, end);
  const header = STRING_HEADER_BYTES[token] as number;
  if (header !== 0) return decodeText(bytes, start + header, cursor);
  if (isNumber(token)) {
    readNumber(bytes, start);
    return number[0];
  }
  if (token === 0xc0) return null;
  if (token === 0xc2) return false;
  if (token === 0xc3) return true;
  return bytes.slice(start + (token === 0xc4 ? 2 : token === 0xc5 ? 3 : 5), cursor);
}

function readMap(bytes: Uint8Array, end: number, entries: number): Data {
  cursor += containerHeaderBytes(bytes[cursor] as number);
  const data = new EmptyData();
  for (let entry = 0; entry < entries; entry++) {
    const key = String(read(bytes, end));
    data[key] = read(bytes, end);
  }
  return data;
}

function readArray(bytes: Uint8Array, end: number, items: number): unknown[] {
  cursor += containerHeaderBytes(bytes[cursor] as number);
  const array: unknown[] = [];
  for (let item = 0; item < items; item++) array.push(read(bytes, end));
  return array;
}
