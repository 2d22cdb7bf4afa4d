/**
 * Text of the wire to strings and back, with nothing lost that UTF-16 can hold.
 *
 * The client's strings may have lone surrogates, and its encoder writes those in three bytes like any other unit
 * (the form called WTF-8). TextDecoder and TextEncoder would put U+FFFD in their place, and two keys would become one.
 * So well-formed text goes through them, and only the rest is taken apart by hand.
 */
import { isUtf8 } from '../partition/hash.ts';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
const SHORT_BYTES = 24;

/** The string that `bytes[start, end)` spells. Bytes that are no UTF-8, not even with surrogates, become U+FFFD, as usual. */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= SHORT_BYTES) {
    let text = '';
    let at = start;
    for (; at < end; at++) {
      const byte = bytes[at] as number;
      if (byte >= 0x80) break;
      text += String.fromCharCode(byte);
    }
    if (at === end) return text;
  }
  const own = bytes.slice(start, end); // TextDecoder refuses shared memory
  try {
    return decoder.decode(own);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // not well formed
  }
  return isUtf8(own, 0, own.length) ? decodeSurrogates(own) : new TextDecoder('utf-8', { ignoreBOM: true }).decode(own);
}

/** The bytes of a string, lone surrogates in three bytes. */
export function encodeText(text: string): Uint8Array {
  return text.isWellFormed() ? encoder.encode(text) : encodeSurrogates(text);
}

function decodeSurrogates(bytes: Uint8Array): string {
  let text = '';
  let from = 0;
  for (let at = 0; at + 3 <= bytes.length; at++) {
    if (bytes[at] !== 0xed || (bytes[at + 1] as number) < 0xa0) continue;
    text += decoder.decode(bytes.subarray(from, at));
    text += String.fromCharCode(0xd000 | (((bytes[at + 1] as number) & 0x3f) << 6) | ((bytes[at + 2] as number) & 0x3f));
    at += 2;
    from = at + 1;
  }
  return text + decoder.decode(bytes.subarray(from));
}

function encodeSurrogates(text: string): Uint8Array {
  const parts: number[] = [];
  for (const point of text) {
    const unit = point.charCodeAt(0);
    if (point.length === 1 && unit >= 0xd800 && unit <= 0xdfff)
      parts.push(0xed, 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f));
    else parts.push(...encoder.encode(point));
  }
  return Uint8Array.from(parts);
}
