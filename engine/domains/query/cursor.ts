/**
 * Keyset cursors: where the last page ended, as a text that is opaque to clients.
 *
 *   base64url of JSON {sortValues, lastKey, queryHash, timestamp}
 *
 * The next page is what stands strictly behind (sort values, then key), so rows that come or go do not shift it. A cursor
 * belongs to one query: map, filter and order are hashed into it. It is valid for ten minutes, after which clients start anew.
 */
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { encode } from '../../protocol/codec.ts';
import { fieldOf } from './attribute.ts';
import { isScalar } from './comparison.ts';
import type { Position } from './sort-order.ts';

export type CursorStatus = 'valid' | 'expired' | 'invalid' | 'none';

export interface ReadCursor {
  readonly status: CursorStatus;
  /** Where the page starts behind; of a valid cursor only. */
  readonly after: Position | undefined;
}

const VALID_MS = 10 * 60_000;
const CURSOR_CHARS_MAX = 16_384;

/** A number for what a cursor is of: equal for equal questions. */
export function queryHash(question: unknown): number {
  const bytes = encode(question);
  return fnv1aUtf8(bytes, 0, bytes.length) >>> 0;
}

export function writeCursor({ sort, key }: Position, hash: number, nowMs: number): string {
  const text = JSON.stringify({ sortValues: sort, lastKey: key, queryHash: hash, timestamp: nowMs });
  const bytes = new TextEncoder().encode(text);
  let units = '';
  for (const byte of bytes) units += String.fromCharCode(byte);
  return btoa(units).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** What a client sent as its cursor; whatever it is, the answer is one. */
export function readCursor(text: unknown, hash: number, sortFields: number, nowMs: number): ReadCursor {
  if (text === undefined || text === null || text === '') return { status: 'none', after: undefined };
  const data = typeof text === 'string' && text.length <= CURSOR_CHARS_MAX ? jsonOf(text) : undefined;
  const sort = fieldOf(data, 'sortValues');
  const key = fieldOf(data, 'lastKey');
  const timestamp = fieldOf(data, 'timestamp');
  if (!Array.isArray(sort) || sort.length !== sortFields || typeof key !== 'string' || typeof timestamp !== 'number')
    return INVALID;
  if (fieldOf(data, 'queryHash') !== hash) return INVALID;
  if (!(Math.abs(nowMs - timestamp) <= VALID_MS)) return { status: 'expired', after: undefined };
  return { status: 'valid', after: { sort: sort.map((value) => (isScalar(value) ? value : [])), key } };
}

const INVALID: ReadCursor = { status: 'invalid', after: undefined };

function jsonOf(text: string): unknown {
  try {
    const units = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(units, (unit) => unit.charCodeAt(0))));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof DOMException) return undefined; // not base64, not JSON
    throw error;
  }
}
