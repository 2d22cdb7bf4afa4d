/**
 * A value of the Redis protocol as the value of a record, and back.
 *
 *   {"a":1}, [1,2]   map, array    only where parsing and printing it gives the very same text: a browser sees an object
 *   other UTF-8      str           numbers, too: "007" must stay "007"
 *   other bytes      bin
 *
 * Records that other doors wrote are read as text: strings and bytes as they are, all else as JSON.
 */
import { isUtf8 as isStrictUtf8 } from 'node:buffer'; // lone surrogates, which no decoder at a client takes, are none
import { decode, encode } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';

/** Longer texts stay strings: parsing them would hold the worker up. */
const JSON_BYTES_MAX = 256 * 1024;
/** Longer values are not looked at byte by byte here. */
const LONG_BYTES = 1024;
const JSON_DEPTH_MAX = 64;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACE = 0x7d;
const CLOSE_BRACKET = 0x5d;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();

/** Bytes that `encodeValue` may write before those of the value. */
export const VALUE_HEADER_BYTES = 5;
/** Shorter ones are copied by a loop: it costs less than the call of a copy. */
const LOOP_BYTES_MAX = 48;

/**
 * Writes the value `source[start, start + length)` as MessagePack into `target` at `at` and answers where it ends. `target` has room
 * for the value and VALUE_HEADER_BYTES. What becomes an object is answered as bytes of its own instead.
 */
export function encodeValue(
  source: Uint8Array,
  target: Uint8Array,
  at: number,
  start = 0,
  length = source.length - start,
): number | Uint8Array {
  const first = length > 1 ? source[start] : 0;
  if ((first === OPEN_BRACE || first === OPEN_BRACKET) && length <= JSON_BYTES_MAX) {
    const object = encodedJson(source.subarray(start, start + length));
    if (object !== undefined) return object;
  }
  const to = writeHeader(target, at, length, isText(source, start, length));
  if (length > LOOP_BYTES_MAX) target.set(source.subarray(start, start + length), to);
  else for (let index = 0; index < length; index++) target[to + index] = source[start + index] as number;
  return to + length;
}

function isText(source: Uint8Array, start: number, length: number): boolean {
  const end = start + length;
  if (length > LONG_BYTES) return isStrictUtf8(source.subarray(start, end));
  for (let index = start; index < end; index++) {
    if ((source[index] as number) >= 0x80) return isStrictUtf8(source.subarray(start, end));
  }
  return true;
}

function writeHeader(target: Uint8Array, at: number, length: number, isString: boolean): number {
  if (isString && length < 32) {
    target[at] = 0xa0 | length;
    return at + 1;
  }
  const token = isString ? 0xd9 : 0xc4;
  if (length <= 0xff) {
    target[at] = token;
    target[at + 1] = length;
    return at + 2;
  }
  if (length <= 0xffff) {
    target[at] = token + 1;
    target[at + 1] = length >>> 8;
    target[at + 2] = length & 0xff;
    return at + 3;
  }
  target[at] = token + 2;
  target[at + 1] = length >>> 24;
  target[at + 2] = (length >>> 16) & 0xff;
  target[at + 3] = (length >>> 8) & 0xff;
  target[at + 4] = length & 0xff;
  return at + 5;
}

/** The MessagePack of a JSON object or array that prints as it was written, else undefined. */
function encodedJson(value: Uint8Array): Uint8Array | undefined {
  const last = value[value.length - 1];
  if (last !== (value[0] === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET) || !isShallow(value)) return undefined;
  try {
    const text = decoder.decode(value);
    const parsed: unknown = JSON.parse(text);
    if (JSON.stringify(parsed) !== text) return undefined;
    const bytes = encode(parsed).slice();
    return JSON.stringify(decode(bytes)) === text ? bytes : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof GridError) return undefined;
    throw error;
  }
}

/** Brackets in strings are counted, too: then it stays a string, which is no harm. */
function isShallow(value: Uint8Array): boolean {
  let depth = 0;
  for (let index = 0; index < value.length; index++) {
    const byte = value[index];
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
    if (depth > JSON_DEPTH_MAX) return false;
  }
  return true;
}

/** The text of the MessagePack value `bytes[start, start + length)`: a view where it stands there as it is. */
export function decodeValue(bytes: Uint8Array, start: number, length: number): Uint8Array {
  const header = textHeaderBytes(bytes[start] as number);
  if (header === 0) return encoder.encode(jsonOf(bytes, start, start + length));
  return bytes.subarray(start + header, start + length);
}

/** By the first byte of a MessagePack value: bytes before its text, which stands there as it is; 0 when it does not. */
export function textHeaderBytes(token: number): number {
  if ((token & 0xe0) === 0xa0) return 1;
  switch (token) {
    case 0xd9:
    case 0xc4:
      return 2;
    case 0xda:
    case 0xc5:
      return 3;
    case 0xdb:
    case 0xc6:
      return 5;
    default:
      return 0;
  }
}

function jsonOf(bytes: Uint8Array, start: number, end: number): string {
  try {
    return JSON.stringify(decode(bytes, start, end)) ?? 'null';
  } catch (error) {
    if (error instanceof GridError) return 'null'; // an extension type, which no door decodes
    throw error;
  }
}
