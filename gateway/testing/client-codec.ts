/**
 * MessagePack as the TopGun client speaks it: its encoder by the rules of docs/PROTOCOL.md §1.2, and another's decoder.
 *
 *   object      map16 always, keys whose value is undefined left out      integer   fixint, 32 bits, beyond that float64
 *   Uint8Array  the map {"0": b0, "1": b1, …}                             text      UTF-8, lone surrogates as three bytes
 *
 * Nothing of engine/protocol is used, so that a mistake there cannot hide in both ends of a test.
 */
import { decode as decodeMessagePack } from '@msgpack/msgpack';

/** A decoded message or part of one. */
export interface Message {
  readonly [name: string]: unknown;
}

export function isMessage(value: unknown): value is Message {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

/** The value of one whole frame. Throws when it is malformed. */
export function decodeFrame(frame: Uint8Array): unknown {
  return decodeMessagePack(frame);
}

/** The frame of a message, in bytes of its own. */
export function encodeFrame(message: unknown): Uint8Array {
  const out = new FrameWriter();
  write(out, message);
  return out.take();
}

class FrameWriter {
  #bytes = Buffer.alloc(1024);
  #length = 0;

  /** Where to write `size` more bytes; they count as written. */
  claim(size: number): { readonly bytes: Buffer; readonly at: number } {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(this.#bytes.length * 2, this.#length));
      this.#bytes.copy(grown);
      this.#bytes = grown;
    }
    return { bytes: this.#bytes, at };
  }

  byte(value: number): void {
    const { bytes, at } = this.claim(1);
    bytes[at] = value;
  }

  u8(token: number, value: number): void {
    this.byte(token);
    this.byte(value);
  }

  u16(token: number, value: number): void {
    const { bytes, at } = this.claim(3);
    bytes[at] = token;
    bytes.writeUInt16BE(value, at + 1);
  }

  u32(token: number, value: number): void {
    const { bytes, at } = this.claim(5);
    bytes[at] = token;
    bytes.writeUInt32BE(value >>> 0, at + 1);
  }

  f64(value: number): void {
    const { bytes, at } = this.claim(9);
    bytes[at] = 0xcb;
    bytes.writeDoubleBE(value, at + 1);
  }

  take(): Uint8Array {
    return Uint8Array.from(this.#bytes.subarray(0, this.#length));
  }
}

function write(out: FrameWriter, value: unknown): void {
  if (value === null || value === undefined) return out.byte(0xc0);
  if (typeof value === 'boolean') return out.byte(value ? 0xc3 : 0xc2);
  if (typeof value === 'number') return writeNumber(out, value);
  if (typeof value === 'string') return writeText(out, value);
  if (Array.isArray(value)) return writeList(out, value);
  if (typeof value !== 'object') throw new TypeError(`a ${typeof value} cannot be sent`);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined); // a Uint8Array has numbered fields
  if (fields.length > 0xffff) throw new RangeError(`${fields.length} fields`);
  out.u16(0xde, fields.length);
  for (const [name, field] of fields) {
    writeText(out, name);
    write(out, field);
  }
}

function writeList(out: FrameWriter, list: readonly unknown[]): void {
  if (list.length < 16) out.byte(0x90 | list.length);
  else if (list.length <= 0xffff) out.u16(0xdc, list.length);
  else out.u32(0xdd, list.length);
  for (const item of list) write(out, item);
}

function writeNumber(out: FrameWriter, value: number): void {
  if (!Number.isInteger(value) || value > 0xffff_ffff || value < -0x8000_0000) return out.f64(value);
  if (value >= -32 && value < 128) return out.byte(value & 0xff);
  if (value < 0) return out.u32(0xd2, value);
  if (value <= 0xff) return out.u8(0xcc, value);
  if (value <= 0xffff) return out.u16(0xcd, value);
  out.u32(0xce, value);
}

function writeText(out: FrameWriter, text: string): void {
  const utf8 = utf8Of(text);
  if (utf8.length < 32) out.byte(0xa0 | utf8.length);
  else if (utf8.length <= 0xff) out.u8(0xd9, utf8.length);
  else if (utf8.length <= 0xffff) out.u16(0xda, utf8.length);
  else out.u32(0xdb, utf8.length);
  const { bytes, at } = out.claim(utf8.length);
  bytes.set(utf8, at);
}

/** Short texts are encoded unit by unit, so that a lone surrogate becomes three bytes; long ones by the platform. */
const BY_UNIT_MAX = 64;

function utf8Of(text: string): Uint8Array {
  if (text.length >= BY_UNIT_MAX || text.isWellFormed()) return Buffer.from(text, 'utf8');
  const bytes: number[] = [];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xd800 && code <= 0xdfff) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(...Buffer.from(character, 'utf8'));
  }
  return Uint8Array.from(bytes);
}
