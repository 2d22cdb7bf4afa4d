/**
 * The fence of an op: `fence: { lock, token }`, an addition of ours to ClientOp.
 *
 * The scanner looks whether it is there and well made and leaves its span in the row; the worker that gets the op reads it.
 */
import { containerHeaderBytes, isMap, mapCount, STRING_HEADER_BYTES, skipKey, skipValue } from './msgpack-bounds.ts';
import { number, readNumber } from './msgpack-number.ts';
import { decodeText } from './wire-text.ts';

const NIL = 0xc0;
/** Of its map: it crosses the ring with its op. */
const FENCE_BYTES_MAX = 1024;

/** A write that counts only while no newer token of the lock is granted. */
export interface OpFence {
  readonly lock: string;
  readonly token: number;
}

/** What stands at `fence`: 0 nil, 1 a fence, -1 something else. The value `bytes[start, end)` is well formed. */
export function judgeFence(bytes: Uint8Array, start: number, end: number): number {
  if (bytes[start] === NIL) return 0;
  return end - start > FENCE_BYTES_MAX || fenceAt(bytes, start, end) === undefined ? -1 : 1;
}

/** The fence that `bytes[start, end)` is, or undefined. As in decoding, the last of equal keys wins. */
export function fenceAt(bytes: Uint8Array, start: number, end: number): OpFence | undefined {
  let lock: string | undefined;
  let token = Number.NaN;
  forEachEntry(bytes, start, end, (name, valueAt, valueEnd) => {
    if (name === 'lock') lock = textAt(bytes, valueAt, valueEnd);
    if (name !== 'token') return;
    readNumber(bytes, valueAt);
    token = number[0] as number;
  });
  return lock !== undefined && Number.isSafeInteger(token) && token > 0 ? { lock, token } : undefined;
}

/** Visits the entries of a map whose keys are short; nothing when it is no map. */
function forEachEntry(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (name: string, valueAt: number, valueEnd: number) => void,
): void {
  if (!isMap(bytes[start] as number)) return;
  let at = start + containerHeaderBytes(bytes[start] as number);
  for (let left = mapCount(bytes, start, end); left > 0; left--) {
    const valueAt = skipKey(bytes, at, end);
    const valueEnd = skipValue(bytes, valueAt, end);
    const header = STRING_HEADER_BYTES[bytes[at] as number] as number;
    if (header !== 0 && valueAt - at - header <= 5) visit(decodeText(bytes, at + header, valueAt), valueAt, valueEnd);
    at = valueEnd;
  }
}

function textAt(bytes: Uint8Array, start: number, end: number): string | undefined {
  const header = STRING_HEADER_BYTES[bytes[start] as number] as number;
  const length = end - start - header;
  return header === 0 || length === 0 ? undefined : decodeText(bytes, start + header, end);
}
