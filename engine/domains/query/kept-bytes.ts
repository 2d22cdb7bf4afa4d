/**
 * How large what is kept of rows and groups is, about: a character of a text as a byte, all else of one size as a few.
 */
import { isData } from '../../protocol/codec.ts';
import type { Position } from './sort-order.ts';

const SCALAR_BYTES = 8;

/** Of a row's place in its order: its key and the values it is sorted by. */
export function positionBytes({ key, sort }: Position): number {
  let bytes = key.length;
  for (const value of sort) bytes += typeof value === 'string' ? value.length : SCALAR_BYTES;
  return bytes;
}

/** Of a decoded value. What is larger than `most` is walked no further than to there. */
export function valueBytes(value: unknown, most = Number.POSITIVE_INFINITY): number {
  if (typeof value === 'string') return value.length;
  if (value instanceof Uint8Array) return value.length;
  let bytes = SCALAR_BYTES;
  if (Array.isArray(value)) {
    for (const item of value) {
      if (bytes > most) return bytes;
      bytes += valueBytes(item, most - bytes);
    }
  } else if (isData(value)) {
    for (const name of Object.keys(value)) {
      if (bytes > most) return bytes;
      bytes += name.length + valueBytes(value[name], most - bytes);
    }
  }
  return bytes;
}
