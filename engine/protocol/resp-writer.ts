/**
 * Appends replies of the Redis protocol to a buffer that is used again.
 *
 *              RESP2        RESP3                     RESP2        RESP3
 *   nil        $-1          _            map(n)       *2n          %n
 *   nilArray   *-1          _            set(n)       *n           ~n
 *   integer    :n           :n           push(n)      *n           >n
 *
 * `isResp3` is set before each reply to what its client speaks. `bytes` is another array after the buffer has grown: read it last.
 */
import { writeDecimal } from './decimal.ts';

/** No buffer is as long. A small integer, as all other bounds are: the engine keeps those in place. */
export const UNBOUNDED = 0x7fff_ffff;
const FIRST_BYTES = 4096;
const KEPT_BYTES = 1 << 20;
const LOOP_BYTES_MAX = 48;
/** A type, 17 characters of a safe number, a line's end. */
const NUMBER_LINE_BYTES_MAX = 20;
const CR = 0x0d;
const LF = 0x0a;

const encoder = new TextEncoder();

/** A reply would make the writer longer than it may be. What was written of it is to be taken back by `length`. */
export class ReplyTooLarge extends Error {
  override readonly name = 'ReplyTooLarge';
}

export class RespWriter {
  bytes = new Uint8Array(FIRST_BYTES);
  length = 0;
  /** Numbers and bytes beyond are not taken: ReplyTooLarge is thrown. Lines are, since they say so. */
  bytesMax = UNBOUNDED;
  isResp3 = false;

  reset(): void {
    this.length = 0;
    if (this.bytes.length > KEPT_BYTES) this.bytes = new Uint8Array(FIRST_BYTES);
  }

  /** `+text`; the text has no line break. */
  simple(text: string): void {
    this.#line(0x2b, text);
  }

  /** `-text`, which begins with a code in capitals. Line breaks become spaces. */
  error(text: string): void {
    this.#line(0x2d, text.replace(/[\r\n]/g, ' '));
  }

  ok(): void {
    this.#line(0x2b, 'OK');
  }

  integer(value: number | bigint): void {
    if (typeof value === 'bigint' || !Number.isSafeInteger(value)) this.#line(0x3a, String(value));
    else this.#number(0x3a, value);
  }

  bool(value: boolean): void {
    this.integer(value ? 1 : 0);
  }

  nil(): void {
    if (this.isResp3) this.#line(0x5f, '');
    else this.#line(0x24, '-1');
  }

  nilArray(): void {
    if (this.isResp3) this.#line(0x5f, '');
    else this.#line(0x2a, '-1');
  }

  array(count: number): void {
    this.#number(0x2a, count);
  }

  map(pairs: number): void {
    if (this.isResp3) this.#number(0x25, pairs);
    else this.#number(0x2a, 2 * pairs);
  }

  set(count: number): void {
    this.#number(this.isResp3 ? 0x7e : 0x2a, count);
  }

  push(count: number): void {
    this.#number(this.isResp3 ? 0x3e : 0x2a, count);
  }

  /** A string of bytes. */
  bulk(source: Uint8Array, start = 0, length = source.length - start): void {
    this.#number(0x24, length);
    const at = this.#claim(length + 2);
    const { bytes } = this;
    if (length > LOOP_BYTES_MAX) bytes.set(source.subarray(start, start + length), at);
    else for (let index = 0; index < length; index++) bytes[at + index] = source[start + index] as number;
    bytes[at + length] = CR;
    bytes[at + length + 1] = LF;
  }

  bulkText(text: string): void {
    this.bulk(encoder.encode(text));
  }

  /** A text that is read, not parsed: INFO, CLIENT LIST. */
  verbatim(text: string): void {
    if (!this.isResp3) return this.bulkText(text);
    const bytes = encoder.encode(text);
    this.#number(0x3d, bytes.length + 4);
    this.raw(encoder.encode('txt:'));
    this.raw(bytes);
    this.raw(CRLF);
  }

  /** Bytes of replies that are complete. */
  raw(source: Uint8Array): void {
    const at = this.#claim(source.length);
    this.bytes.set(source, at);
  }

  #number(type: number, value: number): void {
    const at = this.#claim(NUMBER_LINE_BYTES_MAX);
    const { bytes } = this;
    bytes[at] = type;
    const end = writeDecimal(bytes, at + 1, value);
    bytes[end] = CR;
    bytes[end + 1] = LF;
    this.length = end + 2;
  }

  #line(type: number, text: string): void {
    const length = text.length;
    const at = this.#claim(length * 3 + 3, UNBOUNDED);
    const { bytes } = this;
    bytes[at] = type;
    let end = at + 1;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0x7f) {
        end = at + 1 + encoder.encodeInto(text, bytes.subarray(at + 1)).written;
        break;
      }
      bytes[end++] = unit;
    }
    bytes[end] = CR;
    bytes[end + 1] = LF;
    this.length = end + 2;
  }

  #claim(length: number, bytesMax = this.bytesMax): number {
    const at = this.length;
    const end = at + length;
    if (end > bytesMax) throw new ReplyTooLarge(`a reply of ${end} bytes or more`);
    if (end > this.bytes.length) {
      let capacity = this.bytes.length;
      while (capacity < end) capacity *= 2;
      const larger = new Uint8Array(capacity);
      larger.set(this.bytes.subarray(0, at));
      this.bytes = larger;
    }
    this.length = end;
    return at;
  }
}

const CRLF = Uint8Array.of(CR, LF);
