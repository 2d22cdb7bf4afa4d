/**
 * Finds, without decoding it, what a gateway must know of a frame: its type, and a row per write (see op-index.ts).
 *
 *   { type, payload: { ops: [ op, op, … ], writeConcern?, timeout? } }      OP_BATCH
 *   { type, payload: op }                                                   CLIENT_OP
 *   op = { id, mapName, key, opType?, record?: { value, timestamp, ttlMs? }, orRecord?: { …, tag }, orTag?, … }
 *
 * One pass over the bytes: the whole frame is walked and checked (lengths, depth, trailing bytes), and the parts that
 * matter leave their spans in a row on the way. A name is recognised by its length and its first and last four
 * bytes; no string, object or number on the heap is made.
 *
 * The clever thing is how any order of keys and repeated keys cost nothing when they do not occur: the pass fills the row
 * with what it meets and remembers where that was. If at the end of an op (or of the frame, when `type` follows
 * `payload`) another place turns out to be the right one, that place is read again; it is known to be well formed.
 * As in decoding, the last of several equal keys wins.
 *
 * Sources: docs/PROTOCOL.md §1.2, §5.1, §5.2; nats.js parser.ts for the manner.
 */
import type { BatchKernel } from './batch-kernel.ts';
import * as field from './field-names.ts';
import { arrayCount, containerHeaderBytes, isArray, isMap, mapCount, skipKey, skipValue } from './msgpack-bounds.ts';
import { isNumber } from './msgpack-number.ts';
import { CONCERN_NONE, OpIndex } from './op-index.ts';
import { fillInvalidRow, scanOp, timeoutOf } from './op-scanner.ts';
import { SCAN_CLIENT_OP, SCAN_MALFORMED, SCAN_OP_BATCH, SCAN_OTHER, SCAN_PING, type ScanResult } from './scan-result.ts';

export { SCAN_CLIENT_OP, SCAN_MALFORMED, SCAN_OP_BATCH, SCAN_OTHER, SCAN_PING, type ScanResult } from './scan-result.ts';

/** Rows a frame may fill. An op that stores something takes at least 60 bytes, so a frame of 2 MiB holds fewer. */
export const OPS_MAX = 65_536;

const WRONG = field.WRONG;
const NO_BYTES = new Uint8Array(0);

/** Reads one frame at a time; its fields describe the last one scanned. */
export class Scanner {
  /** A row per op of an OP_BATCH (in order) or CLIENT_OP (one). Empty for other types. Read it anew after each scan. */
  index: OpIndex = new OpIndex();
  /** Durability level asked for the whole OP_BATCH, CONCERN_NONE when none. */
  writeConcern: number = CONCERN_NONE;
  /** Deadline asked for the whole OP_BATCH, in ms; 0 when none. */
  timeoutMs = 0;
  /** The batch can not be taken apart: `ops` is no array or has more than OPS_MAX items, or a field of it has a wrong type. */
  batchInvalid = false;
  /** Span of the bytes of a PING's `timestamp`, a MessagePack number to be echoed; 0 bytes when it has none. */
  pingStart = 0;
  pingBytes = 0;
  readonly #kernel: BatchKernel | undefined;
  readonly #index: OpIndex = this.index;
  #view: DataView = new DataView(NO_BYTES.buffer);

  /** @param kernel reads batches that are written as the client does, three times as fast. */
  constructor(kernel?: BatchKernel) {
    this.#kernel = kernel;
  }

  /** Scans `bytes[0, length)`. Never throws, reads nothing beyond `length`. */
  scan(bytes: Uint8Array, length: number): ScanResult {
    const kernel = this.#kernel;
    if (kernel !== undefined && length <= kernel.frameBytesMax) {
      if (kernel.scan(bytes.length === length ? bytes : bytes.subarray(0, length))) {
        this.index = kernel.index;
        this.#resetFields();
        this.writeConcern = kernel.writeConcern;
        this.timeoutMs = kernel.timeoutMs;
        return SCAN_OP_BATCH;
      }
    }
    this.index = this.#index;
    this.#reset();
    if (bytes !== this.index.bytes) {
      this.index.bytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.index.view = this.#view;
    }
    const result = this.#message(bytes, length);
    if (result === SCAN_MALFORMED) this.#reset();
    return result;
  }

  #reset(): void {
    this.index.count = 0;
    this.#resetFields();
  }

  #resetFields(): void {
    this.writeConcern = CONCERN_NONE;
    this.timeoutMs = 0;
    this.batchInvalid = false;
    this.pingStart = 0;
    this.pingBytes = 0;
  }

  #message(bytes: Uint8Array, end: number): ScanResult {
    if (end === 0) return SCAN_MALFORMED;
    const first = bytes[0] as number;
    if (!isMap(first)) return skipValue(bytes, 0, end) === end ? SCAN_OTHER : SCAN_MALFORMED;
    const entries = mapCount(bytes, 0, end);
    let at = containerHeaderBytes(first);
    let type: ScanResult = SCAN_OTHER;
    let payloadAt = 0;
    let readAt = 0; // the payload that has been read into this scanner, and as which type
    let readAs: ScanResult = SCAN_OTHER;
    for (let entry = 0; entry < entries; entry++) {
      const valueAt = skipKey(bytes, at, end);
      if (valueAt < 0) return SCAN_MALFORMED;
      const name = field.messageField(bytes, at, valueAt);
      if (name === field.FIELD_PAYLOAD && (type === SCAN_OP_BATCH || type === SCAN_CLIENT_OP)) {
        at = this.#payload(bytes, valueAt, end, type);
        readAt = valueAt;
        readAs = type;
      } else {
        at = skipValue(bytes, valueAt, end, 1);
        if (at >= 0 && name === field.FIELD_TYPE) type = field.messageType(bytes, valueAt, at);
        if (at >= 0 && name === field.FIELD_TIMESTAMP) this.#pingTimestamp(bytes, valueAt, at);
      }
      if (at < 0) return SCAN_MALFORMED;
      if (name === field.FIELD_PAYLOAD) payloadAt = valueAt;
    }
    if (entries < 0 || at !== end) return SCAN_MALFORMED;
    if (readAt !== payloadAt || readAs !== type) this.#readAgain(bytes, payloadAt, end, type);
    else if (payloadAt === 0) this.#readNothing(type);
    if (type !== SCAN_PING) this.pingBytes = 0;
    return type;
  }

  /** The payload read on the way, if any, is not the one that counts. */
  #readAgain(bytes: Uint8Array, payloadAt: number, end: number, type: ScanResult): void {
    this.index.count = 0;
    this.writeConcern = CONCERN_NONE;
    this.timeoutMs = 0;
    this.batchInvalid = false;
    if (payloadAt === 0) this.#readNothing(type);
    else if (type === SCAN_OP_BATCH || type === SCAN_CLIENT_OP) this.#payload(bytes, payloadAt, end, type);
  }

  #readNothing(type: ScanResult): void {
    if (type === SCAN_OP_BATCH) this.batchInvalid = true;
    if (type === SCAN_CLIENT_OP) fillInvalidRow(this.index.words, this.index.floats, this.index.push());
  }

  #pingTimestamp(bytes: Uint8Array, start: number, end: number): void {
    const numeric = isNumber(bytes[start] as number);
    this.pingStart = numeric ? start : 0;
    this.pingBytes = numeric ? end - start : 0;
  }

  /** Reads `payload` and returns its end, or a negative number when it is malformed. */
  #payload(bytes: Uint8Array, start: number, end: number, type: ScanResult): number {
    this.index.count = 0;
    if (type === SCAN_CLIENT_OP) return scanOp(this.index, bytes, this.#view, start, end, 1);
    this.writeConcern = CONCERN_NONE;
    this.timeoutMs = 0;
    this.batchInvalid = false;
    if (start >= end) return WRONG;
    const token = bytes[start] as number;
    if (!isMap(token)) {
      this.batchInvalid = true;
      return skipValue(bytes, start, end, 1);
    }
    return this.#batch(bytes, start, end, mapCount(bytes, start, end));
  }

  #batch(bytes: Uint8Array, start: number, end: number, entries: number): number {
    if (entries < 0) return WRONG;
    let at = start + containerHeaderBytes(bytes[start] as number);
    let opsFound = false;
    let opsWrong = false;
    let concern: number = CONCERN_NONE;
    let timeoutMs = 0;
    for (let entry = 0; entry < entries; entry++) {
      const valueAt = skipKey(bytes, at, end);
      if (valueAt < 0) return WRONG;
      const name = field.batchField(bytes, at, valueAt);
      if (name === field.FIELD_OPS && valueAt < end && isArray(bytes[valueAt] as number)) {
        opsFound = true;
        opsWrong = arrayCount(bytes, valueAt, end) > OPS_MAX;
        at = opsWrong ? skipValue(bytes, valueAt, end, 2) : this.#ops(bytes, valueAt, end);
      } else {
        at = skipValue(bytes, valueAt, end, 2);
        if (at >= 0 && name === field.FIELD_OPS) opsFound = false;
        if (at >= 0 && name === field.FIELD_CONCERN) concern = field.concernOf(bytes, valueAt, at);
        if (at >= 0 && name === field.FIELD_TIMEOUT) timeoutMs = timeoutOf(bytes, valueAt);
      }
      if (at < 0) return WRONG;
    }
    if (!opsFound || opsWrong) this.index.count = 0;
    this.batchInvalid = !opsFound || opsWrong || concern === WRONG || timeoutMs === WRONG;
    this.writeConcern = concern === WRONG ? CONCERN_NONE : concern;
    this.timeoutMs = timeoutMs === WRONG ? 0 : timeoutMs;
    return at;
  }

  #ops(bytes: Uint8Array, start: number, end: number): number {
    const index = this.index;
    const view = this.#view;
    index.count = 0;
    const count = arrayCount(bytes, start, end);
    if (count < 0) return WRONG;
    let at = start + containerHeaderBytes(bytes[start] as number);
    for (let ordinal = 0; ordinal < count; ordinal++) {
      at = scanOp(index, bytes, view, at, end, 3);
      if (at < 0) return WRONG;
    }
    return at;
  }
}
