/**
 * Values as JSON, for people with curl: MessagePack to JSON text and back.
 *
 *   bytes      {"$binary": "AAEC"}    base64, with padding; an object of any other form is just an object
 *   numbers    doubles, as everywhere; NaN and infinities have no JSON and read as null
 *
 * An object that has `$binary` as its only key, with base64 text, is written as bytes: such an object itself cannot be
 * written here.
 */
import { decode, encode, isData } from '../../engine/protocol/codec.ts';
import { GridError } from '../../engine/protocol/errors.ts';

/** As deep as MessagePack may be. */
const DEPTH_MAX = 256;
const BINARY = '$binary';
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** The decoded value of stored bytes, ready for JSON.stringify. */
export function jsonValue(value: Uint8Array): unknown {
  return withBinaries(decode(value));
}

/** Decoded data, ready for JSON.stringify: byte strings become objects. Changes the maps in it. */
export function jsonOf(data: unknown): unknown {
  return withBinaries(data);
}

/** MessagePack of a JSON text. Throws GridError BAD_REQUEST with what is wrong. */
export function valueOfJson(text: Uint8Array): Uint8Array {
  return encode(withBytes(parseJson(text), 0)).slice();
}

/** Throws GridError BAD_REQUEST for what is no JSON in UTF-8. */
export function parseJson(text: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof TypeError)) throw error;
    throw new GridError('BAD_REQUEST', `no JSON: ${error.message}`);
  }
}

function withBinaries(value: unknown): unknown {
  if (value instanceof Uint8Array) return { [BINARY]: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map(withBinaries);
  if (!isData(value)) return value;
  for (const key of Object.keys(value)) value[key] = withBinaries(value[key]);
  return value;
}

function withBytes(value: unknown, depth: number): unknown {
  if (depth > DEPTH_MAX) throw new GridError('BAD_REQUEST', `a value is nested deeper than ${DEPTH_MAX} levels`);
  if (Array.isArray(value)) return value.map((item) => withBytes(item, depth + 1));
  if (!isData(value)) return value;
  const bytes = bytesOf(value);
  if (bytes !== undefined) return bytes;
  const entries = Object.entries(value).map(([key, item]) => [key, withBytes(item, depth + 1)] as const);
  return new Map(entries); // has no names that are inherited, and `__proto__` is one like others
}

function bytesOf(value: Record<string, unknown>): Uint8Array | undefined {
  const [key, ...others] = Object.keys(value);
  if (key !== BINARY || others.length > 0) return undefined;
  const text = value[BINARY];
  return typeof text === 'string' && BASE64.test(text) ? new Uint8Array(Buffer.from(text, 'base64')) : undefined;
}
