/**
 * One change as the journal keeps it: the bytes of the record, copied once, and as clients are told of it, made when somebody reads.
 *
 *   chunk    … │ key │ node │ value (not of a DELETE) │ previous value (where it is known) │ the next change …
 *
 * A write pays for the copy alone; most events of a journal are never read, or long after the write was answered. Changes
 * share chunks of memory, because an array of its own costs more than all else; a chunk is let go with the last change in it.
 */
import type { MessageWriter } from '../../protocol/msgpack-writer.ts';
import type { RecordImage } from '../../storage/record.ts';
import type { JournalType } from './journal-wire.ts';

const NO_VALUE = -1;
/** Spans up to this size are copied by a loop: making a `subarray` costs more. */
const LOOP_BYTES_MAX = 48;

/** A growing place for the value that is about to be overwritten. */
export class PreviousValue {
  /** Length of the value; -1 when it is not known. */
  length: number = NO_VALUE;
  bytes: Uint8Array = new Uint8Array(256);

  forget(): void {
    this.length = NO_VALUE;
  }

  keep({ source, valueStart, valueBytes }: RecordImage): void {
    if (valueBytes > this.bytes.length) this.bytes = new Uint8Array(valueBytes * 2);
    copy(source, valueStart, valueBytes, this.bytes, 0);
    this.length = valueBytes;
  }
}

const CHUNK_BYTES = 256 * 1024;

/** Memory for changes, a chunk after the other. */
export class ChangeChunks {
  chunk: Uint8Array = new Uint8Array(0);
  #end = 0;

  /** Where so many bytes may be written in `chunk`, which may be another one than before. */
  claim(bytes: number): number {
    if (this.#end + bytes > this.chunk.length) {
      this.chunk = new Uint8Array(Math.max(CHUNK_BYTES, bytes));
      this.#end = 0;
    }
    const start = this.#end;
    this.#end += bytes;
    return start;
  }
}

export class JournaledChange {
  /** What the change takes in its chunk. */
  readonly bytes: number;
  readonly #chunk: Uint8Array;
  readonly #start: number;
  readonly millis: number;
  readonly counter: number;
  readonly #keyBytes: number;
  readonly #nodeBytes: number;
  /** -1: there is none. */
  readonly #valueBytes: number;
  readonly #previousBytes: number;

  /** Copies what the image points at, and the previous value. */
  constructor(image: RecordImage, hasValue: boolean, previous: PreviousValue, chunks: ChangeChunks) {
    const { keyBytes, nodeBytes } = image;
    const valueBytes = hasValue ? image.valueBytes : 0;
    const previousBytes = Math.max(0, previous.length);
    const bytes = keyBytes + nodeBytes + valueBytes + previousBytes;
    const start = chunks.claim(bytes);
    const { chunk } = chunks;
    copy(image.source, image.keyStart, keyBytes, chunk, start);
    copy(image.source, image.nodeStart, nodeBytes, chunk, start + keyBytes);
    copy(image.source, image.valueStart, valueBytes, chunk, start + keyBytes + nodeBytes);
    copy(previous.bytes, 0, previousBytes, chunk, start + keyBytes + nodeBytes + valueBytes);
    this.bytes = bytes;
    this.#chunk = chunk;
    this.#start = start;
    this.millis = image.millis;
    this.counter = image.counter;
    this.#keyBytes = keyBytes;
    this.#nodeBytes = nodeBytes;
    this.#valueBytes = hasValue ? valueBytes : NO_VALUE;
    this.#previousBytes = previous.length;
  }

  /** Appends the event of docs/PROTOCOL.md §9.1. */
  encode(out: MessageWriter, sequence: string, type: JournalType, map: string): void {
    const source = this.#chunk;
    const nodeAt = this.#start + this.#keyBytes;
    const valueAt = nodeAt + this.#nodeBytes;
    const hasValue = this.#valueBytes !== NO_VALUE;
    const hasPrevious = this.#previousBytes !== NO_VALUE;
    out.mapHeader(6 + (hasValue ? 1 : 0) + (hasPrevious ? 1 : 0));
    out.string('sequence');
    out.string(sequence);
    out.string('type');
    out.string(type);
    out.string('mapName');
    out.string(map);
    out.string('key');
    out.stringBytes(source, this.#start, this.#keyBytes);
    if (hasValue) encodeValue(out, 'value', source, valueAt, this.#valueBytes);
    if (hasPrevious) encodeValue(out, 'previousValue', source, valueAt + Math.max(0, this.#valueBytes), this.#previousBytes);
    out.string('timestamp');
    out.mapHeader(3);
    out.string('millis');
    out.number(this.millis);
    out.string('counter');
    out.number(this.counter);
    out.string('nodeId');
    out.stringBytes(source, nodeAt, this.#nodeBytes);
    out.string('nodeId');
    out.stringBytes(source, nodeAt, this.#nodeBytes);
  }
}

function encodeValue(out: MessageWriter, name: string, source: Uint8Array, start: number, bytes: number): void {
  out.string(name);
  if (bytes === 0) out.nil();
  else out.raw(source, start, bytes);
}

function copy(from: Uint8Array, start: number, length: number, to: Uint8Array, at: number): void {
  if (length > LOOP_BYTES_MAX) to.set(from.subarray(start, start + length), at);
  else for (let index = 0; index < length; index++) to[at + index] = from[start + index] as number;
}
