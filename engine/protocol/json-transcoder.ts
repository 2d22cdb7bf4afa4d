/**
 * MessagePack to the JSON text that Postgres takes for `jsonb`, byte by byte, without an object in between.
 *
 *   82 a1 61 01 a1 62 92 c3 c0      →      {"a":1,"b":[true,null]}
 *
 * Appends to a buffer that is used again. What has no JSON is refused as a whole: byte strings, NaN and infinities, text with
 * U+0000 (jsonb can not hold it), text that is not UTF-8 or has lone surrogates. Such a value keeps its bytes and
 * has no `jsonb`. Numbers are doubles, as for every reader of the protocol; of equal keys jsonb keeps the last, as we do.
 */
import {
  arrayCount,
  checkBounds,
  containerHeaderBytes,
  isArray,
  isMap,
  mapCount,
  STRING_HEADER_BYTES,
  skipKey,
  skipValue,
} from './msgpack-bounds.ts';
import { isNumber, number, readNumber } from './msgpack-number.ts';

/** The value can not be JSON. */
export const NOT_JSON = -1;

const FIRST_BYTES = 1024;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const HEX = '0123456789abcdef';

export class JsonTranscoder {
  /** The texts so far, in the first `length` bytes. Another array after it grew: read it last. */
  bytes: Uint8Array = new Uint8Array(FIRST_BYTES);
  length = 0;
  #source: Uint8Array = this.bytes;
  #at = 0;
  #end = 0;

  /** Begins again in the same memory. */
  reset(): void {
    this.length = 0;
  }

  /** Appends the JSON of the value `source[start, end)`. Returns its bytes, or NOT_JSON, and then nothing was appended. */
  transcode(source: Uint8Array, start: number, end: number): number {
    if (checkBounds(source, start, end) !== 0) return NOT_JSON;
    const from = this.length;
    this.#source = source;
    this.#at = start;
    this.#end = end;
    if (this.#value()) return this.length - from;
    this.length = from;
    return NOT_JSON;
  }

  /** Each of the following reads one thing at #at and moves behind it; false when it has no JSON. At most 256 levels deep. */
  #value(): boolean {
    const at = this.#at;
    const token = this.#source[at] as number;
    if (isMap(token)) return this.#map(mapCount(this.#source, at, this.#end));
    if (isArray(token)) return this.#array(arrayCount(this.#source, at, this.#end));
    const next = skipValue(this.#source, at, this.#end);
    this.#at = next;
    const header = STRING_HEADER_BYTES[token] as number;
    if (header !== 0) return this.#string(at + header, next);
    if (isNumber(token)) return this.#number(at);
    return this.#word(token);
  }

  #map(entries: number): boolean {
    this.#at += containerHeaderBytes(this.#source[this.#at] as number);
    this.#byte(0x7b);
    for (let entry = 0; entry < entries; entry++) {
      if (entry > 0) this.#byte(0x2c);
      if (!this.#key()) return false;
      this.#byte(0x3a);
      if (!this.#value()) return false;
    }
    this.#byte(0x7d);
    return true;
  }

  #array(items: number): boolean {
    this.#at += containerHeaderBytes(this.#source[this.#at] as number);
    this.#byte(0x5b);
    for (let item = 0; item < items; item++) {
      if (item > 0) this.#byte(0x2c);
      if (!this.#value()) return false;
    }
    this.#byte(0x5d);
    return true;
  }

  /** Keys that are no strings become the strings that decoding makes of them. */
  #key(): boolean {
    const at = this.#at;
    const token = this.#source[at] as number;
    const next = skipKey(this.#source, at, this.#end);
    this.#at = next;
    const header = STRING_HEADER_BYTES[token] as number;
    if (header !== 0) return this.#string(at + header, next);
    this.#byte(QUOTE);
    if (isNumber(token)) {
      readNumber(this.#source, at);
      this.#ascii(String(number[0]));
    } else this.#word(token);
    this.#byte(QUOTE);
    return true;
  }

  #word(token: number): boolean {
    if (token === 0xc0) this.#ascii('null');
    else if (token === 0xc2) this.#ascii('false');
    else if (token === 0xc3) this.#ascii('true');
    else return false; // a byte string
    return true;
  }

  #number(at: number): boolean {
    readNumber(this.#source, at);
    const value = number[0] as number;
    if (!Number.isFinite(value)) return false;
    this.#ascii(String(value)); // '-0' does not occur: String(-0) is '0'
    return true;
  }

  #string(start: number, end: number): boolean {
    this.#reserve((end - start) * 6 + 2); // every byte may become \u00xx
    const source = this.#source;
    const bytes = this.bytes;
    let length = this.length;
    bytes[length++] = QUOTE;
    for (let at = start; at < end; ) {
      const byte = source[at] as number;
      if (byte >= 0x80) {
        const size = sequenceBytes(source, at, end);
        if (size === 0) return false;
        for (const behind = at + size; at < behind; at++) bytes[length++] = source[at] as number;
        continue;
      }
      if (byte === 0) return false;
      at += 1;
      if (byte >= 0x20) {
        if (byte === QUOTE || byte === BACKSLASH) bytes[length++] = BACKSLASH;
        bytes[length++] = byte;
      } else length = escapeControl(bytes, length, byte);
    }
    bytes[length++] = QUOTE;
    this.length = length;
    return true;
  }

  #ascii(text: string): void {
    this.#reserve(text.length);
    for (let index = 0; index < text.length; index++) this.bytes[this.length++] = text.charCodeAt(index);
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.bytes[this.length++] = value;
  }

  #reserve(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    let capacity = this.bytes.length * 2;
    while (capacity < this.length + more) capacity *= 2;
    const bytes = new Uint8Array(capacity);
    bytes.set(this.bytes.subarray(0, this.length));
    this.bytes = bytes;
  }
}

/** Writes \u00xx and returns the position behind it. */
function escapeControl(bytes: Uint8Array, at: number, byte: number): number {
  bytes[at] = BACKSLASH;
  bytes[at + 1] = 0x75;
  bytes[at + 2] = 0x30;
  bytes[at + 3] = 0x30;
  bytes[at + 4] = HEX.charCodeAt(byte >> 4);
  bytes[at + 5] = HEX.charCodeAt(byte & 15);
  return at + 6;
}

/** Bytes of the UTF-8 sequence at `at`, 0 when it is not well formed. Unlike in keys of the grid, surrogates are not. */
function sequenceBytes(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at] as number;
  const size = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (size === 0 || at + size > end) return 0;
  const second = bytes[at + 1] as number;
  const lowest = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const highest = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  for (let next = at + 2; next < at + size; next++) if (((bytes[next] as number) & 0xc0) !== 0x80) return 0;
  return size;
}
