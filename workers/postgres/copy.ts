/**
 * The binary COPY format of Postgres: written from spans into one growing buffer, and read back without copies.
 *
 *   "PGCOPY\n\xff\r\n\0" | flags i32 | extension bytes i32 | row … | -1 i16
 *   row: columns i16, then per column: bytes i32 (-1 for NULL), value; all numbers big-endian
 *
 * No cell becomes a string: bytea is raw, float8 and int2 are their bits, jsonb is a version byte 1 and JSON text.
 * Source: PostgreSQL documentation, COPY, "Binary Format".
 */
import { assert } from '../../engine/assert.ts';

const SIGNATURE = Uint8Array.of(0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0);
const HEADER_BYTES = SIGNATURE.length + 8;
const TRAILER_BYTES = 2;
const NULL_LENGTH = -1;
const JSONB_VERSION = 1;
const FIRST_BUFFER_BYTES = 1 << 16;

export class CopyWriter {
  #bytes = new Uint8Array(FIRST_BUFFER_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #end = HEADER_BYTES;
  #rows = 0;

  constructor() {
    this.#bytes.set(SIGNATURE);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Bytes written so far, header included. */
  get bytes(): number {
    return this.#end;
  }

  /** Forgets the rows, keeps the buffer. */
  clear(): void {
    this.#end = HEADER_BYTES;
    this.#rows = 0;
  }

  /** Begins a row of `columns` columns, of which all are written before the next row. */
  row(columns: number): void {
    this.#room(2);
    this.#view.setInt16(this.#end, columns);
    this.#end += 2;
    this.#rows += 1;
  }

  null(): void {
    this.#room(4);
    this.#view.setInt32(this.#end, NULL_LENGTH);
    this.#end += 4;
  }

  int2(value: number): void {
    this.#room(6);
    this.#view.setInt32(this.#end, 2);
    this.#view.setInt16(this.#end + 4, value);
    this.#end += 6;
  }

  float8(value: number): void {
    this.#room(12);
    this.#view.setInt32(this.#end, 8);
    this.#view.setFloat64(this.#end + 4, value);
    this.#end += 12;
  }

  boolean(value: boolean): void {
    this.#room(5);
    this.#view.setInt32(this.#end, 1);
    this.#bytes[this.#end + 4] = value ? 1 : 0;
    this.#end += 5;
  }

  bytea(source: Uint8Array, start: number, bytes: number): void {
    this.#room(4 + bytes);
    this.#view.setInt32(this.#end, bytes);
    this.#span(source, start, bytes, this.#end + 4);
    this.#end += 4 + bytes;
  }

  jsonb(text: Uint8Array, start: number, bytes: number): void {
    this.#room(5 + bytes);
    this.#view.setInt32(this.#end, bytes + 1);
    this.#bytes[this.#end + 4] = JSONB_VERSION;
    this.#span(text, start, bytes, this.#end + 5);
    this.#end += 5 + bytes;
  }

  /** All that was written, with its trailer. Valid until the next row. */
  finish(): Uint8Array {
    this.#room(TRAILER_BYTES);
    this.#view.setInt16(this.#end, -1);
    return this.#bytes.subarray(0, this.#end + TRAILER_BYTES);
  }

  #span(source: Uint8Array, start: number, bytes: number, at: number): void {
    if (bytes > 32) {
      this.#bytes.set(source.subarray(start, start + bytes), at);
      return;
    }
    const target = this.#bytes; // for a few bytes a loop is quicker than a subarray
    for (let index = 0; index < bytes; index++) target[at + index] = source[start + index] as number;
  }

  #room(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return;
    let capacity = this.#bytes.length * 2;
    while (capacity < this.#end + bytes) capacity *= 2;
    const grown = new Uint8Array(capacity);
    grown.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Called per row; cell `index` is `bytes[starts[index], starts[index] + lengths[index])`, its length -1 for NULL. */
export type OnCopyRow = (bytes: Uint8Array, view: DataView, starts: Int32Array, lengths: Int32Array) => void;

/** Takes a COPY stream in chunks cut anywhere; a row that came whole is not copied. */
export class CopyReader {
  readonly #columns: number;
  readonly #onRow: OnCopyRow;
  readonly #starts: Int32Array;
  readonly #lengths: Int32Array;
  #rest = new Uint8Array(0);
  #headerSeen = false;
  #finished = false;

  constructor(columns: number, onRow: OnCopyRow) {
    this.#columns = columns;
    this.#onRow = onRow;
    this.#starts = new Int32Array(columns);
    this.#lengths = new Int32Array(columns);
  }

  /** True when the trailer was read: nothing is missing. */
  get finished(): boolean {
    return this.#finished;
  }

  feed(chunk: Uint8Array): void {
    const bytes = this.#rest.length === 0 ? chunk : joined(this.#rest, chunk);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    if (!this.#headerSeen) {
      if (bytes.length < HEADER_BYTES) {
        this.#keep(bytes, 0);
        return;
      }
      assert(bytes[0] === SIGNATURE[0] && view.getInt32(HEADER_BYTES - 4) === 0, 'not a binary COPY');
      this.#headerSeen = true;
      at = HEADER_BYTES;
    }
    for (let next = this.#readRow(bytes, view, at); next !== at; next = this.#readRow(bytes, view, at)) at = next;
    this.#keep(bytes, at);
  }

  /** Answers the end of the row at `at`, or `at` when it is not all there. */
  #readRow(bytes: Uint8Array, view: DataView, at: number): number {
    if (this.#finished || at + 2 > bytes.length) return at;
    const columns = view.getInt16(at);
    if (columns === -1) {
      this.#finished = true;
      return at + 2;
    }
    assert(columns === this.#columns, `a row of ${columns} columns`);
    let position = at + 2;
    for (let index = 0; index < columns; index++) {
      if (position + 4 > bytes.length) return at;
      const length = view.getInt32(position);
      this.#starts[index] = position + 4;
      this.#lengths[index] = length;
      position += 4 + (length > 0 ? length : 0);
    }
    if (position > bytes.length) return at;
    this.#onRow(bytes, view, this.#starts, this.#lengths);
    return position;
  }

  #keep(bytes: Uint8Array, from: number): void {
    this.#rest = from === bytes.length ? new Uint8Array(0) : Uint8Array.from(bytes.subarray(from));
  }
}

function joined(left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}
