/**
 * Appends MessagePack to a buffer that is used again: events, leaves and answers, put together from bytes that are never decoded.
 *
 *   writer.reset(); writer.mapHeader(2); writer.string('key'); writer.stringBytes(slab, start, bytes); …
 *   writer.bytes[0, writer.length) is the message
 *
 * Nothing is allocated once the buffer is large enough, except by `string` for text that is not ASCII. The buffer doubles
 * when it must; `bytes` is another array after that, so read it last.
 */
import { assert } from '../assert.ts';
import { decimalBytes, writeDecimal } from './decimal.ts';
import { encodeText } from './wire-text.ts';

const FIRST_BYTES = 512;
/** Strings and copies up to this size are moved by a loop: making a `subarray` costs more than they do. */
const LOOP_BYTES_MAX = 32;

export class MessageWriter {
  /** The message so far, in the first `length` bytes. */
  bytes: Uint8Array;
  length = 0;
  #view: DataView;

  constructor(capacityBytes: number = FIRST_BYTES) {
    this.bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Begins a new message in the same memory. */
  reset(): void {
    this.length = 0;
  }

  mapHeader(entries: number): void {
    this.#header(entries, 0x80, 0xde);
  }

  arrayHeader(items: number): void {
    this.#header(items, 0x90, 0xdc);
  }

  /** Leaves room for an array's header whose count is not known yet, and returns the place to give to `patchArray`. */
  reserveArray(): number {
    const at = this.#claim(5);
    this.bytes[at] = 0xdd;
    this.#view.setUint32(at + 1, 0);
    return at;
  }

  patchArray(at: number, items: number): void {
    assert(this.bytes[at] === 0xdd, `no reserved array at ${at}`);
    this.#view.setUint32(at + 1, items);
  }

  nil(): void {
    this.#byte(0xc0);
  }

  bool(value: boolean): void {
    this.#byte(value ? 0xc3 : 0xc2);
  }

  /** An integer of up to 32 bits in its shortest form, any other number as float64: what the client's encoder does. */
  number(value: number): void {
    if (Math.floor(value) !== value || value > 0xffff_ffff || value < -0x8000_0000) this.#float(value);
    else if (value >= 0) this.#unsigned(value);
    else this.#negative(value);
  }

  string(text: string): void {
    if (text.length > LOOP_BYTES_MAX || !this.#ascii(text)) this.#text(encodeText(text));
  }

  /** A string of the decimal digits of a whole number from 0 to 2^53. */
  digits(value: number): void {
    const digits = decimalBytes(value);
    const at = this.#claim(1 + digits);
    this.bytes[at] = 0xa0 | digits;
    writeDecimal(this.bytes, at + 1, value);
  }

  /** A string whose text is `source[start, start + length)`, in UTF-8. */
  stringBytes(source: Uint8Array, start: number, length: number): void {
    if (length < 32) this.#byte(0xa0 | length);
    else this.#lengthHeader(length, 0xd9);
    this.raw(source, start, length);
  }

  /** A byte string. */
  bin(source: Uint8Array, start: number, length: number): void {
    this.#lengthHeader(length, 0xc4);
    this.raw(source, start, length);
  }

  /** Bytes as they are: a value that is MessagePack already. */
  raw(source: Uint8Array, start: number, length: number): void {
    assert(start + length <= source.length, `span ${start}+${length} leaves its source of ${source.length} bytes`);
    const at = this.#claim(length);
    const bytes = this.bytes;
    if (length > LOOP_BYTES_MAX) bytes.set(source.subarray(start, start + length), at);
    else for (let index = 0; index < length; index++) bytes[at + index] = source[start + index] as number;
  }

  /** Makes room for `length` more bytes and returns where they start. */
  #claim(length: number): number {
    const at = this.length;
    if (at + length > this.bytes.length) this.#grow(at + length);
    this.length = at + length;
    return at;
  }

  #grow(bytesMin: number): void {
    let capacity = Math.max(FIRST_BYTES, this.bytes.length);
    while (capacity < bytesMin) capacity *= 2;
    const bytes = new Uint8Array(capacity);
    bytes.set(this.bytes);
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }

  #byte(value: number): void {
    const at = this.#claim(1);
    this.bytes[at] = value;
  }

  #header(count: number, fix: number, token16: number): void {
    if (count < 16) this.#byte(fix | count);
    else if (count <= 0xffff) this.#word16(token16, count);
    else this.#word32(token16 + 1, count);
  }

  /** Header of a string or byte string; the tokens of the three widths follow one another. */
  #lengthHeader(length: number, token8: number): void {
    if (length <= 0xff) this.#word8(token8, length);
    else if (length <= 0xffff) this.#word16(token8 + 1, length);
    else this.#word32(token8 + 2, length);
  }

  #unsigned(value: number): void {
    if (value <= 0x7f) this.#byte(value);
    else if (value <= 0xff) this.#word8(0xcc, value);
    else if (value <= 0xffff) this.#word16(0xcd, value);
    else this.#word32(0xce, value);
  }

  #negative(value: number): void {
    if (value >= -32) this.#byte(value & 0xff);
    else if (value >= -0x80) this.#word8(0xd0, value & 0xff);
    else if (value >= -0x8000) this.#word16(0xd1, value & 0xffff);
    else this.#word32(0xd2, value >>> 0);
  }

  #float(value: number): void {
    const at = this.#claim(9);
    this.bytes[at] = 0xcb;
    this.#view.setFloat64(at + 1, value);
  }

  #word8(token: number, value: number): void {
    const at = this.#claim(2);
    this.bytes[at] = token;
    this.bytes[at + 1] = value;
  }

  #word16(token: number, value: number): void {
    const at = this.#claim(3);
    this.bytes[at] = token;
    this.#view.setUint16(at + 1, value);
  }

  #word32(token: number, value: number): void {
    const at = this.#claim(5);
    this.bytes[at] = token;
    this.#view.setUint32(at + 1, value);
  }

  /** Appends a short string letter by letter; takes it back and answers false when it is not ASCII. */
  #ascii(text: string): boolean {
    const from = this.length;
    const length = text.length;
    if (length < 32) this.#byte(0xa0 | length);
    else this.#word8(0xd9, length);
    const at = this.#claim(length);
    const bytes = this.bytes;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) {
        this.length = from;
        return false;
      }
      bytes[at + index] = unit;
    }
    return true;
  }

  #text(utf8: Uint8Array): void {
    this.stringBytes(utf8, 0, utf8.length);
  }
}
