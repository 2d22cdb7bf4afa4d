/**
 * Items of an answer, gathered into parts of about a megabyte, each with the number of its items in front.
 *
 *   u32 items │ item │ item │ …        MessagePack maps back to back; a gateway makes a frame of each part
 */
import { MessageWriter } from '../../protocol/msgpack-writer.ts';
import type { RecordImage } from '../../storage/record.ts';
import { encodeRecord } from '../crdt/change-events.ts';

/** A part with more than this is closed. */
export const PART_BYTES_MAX = 1024 * 1024;
const FOUR_BYTES = new Uint8Array(4);

export class ItemParts {
  readonly #parts: Uint8Array[] = [];
  readonly #writer = new MessageWriter();
  #items = 0;
  #closedBytes = 0;

  /** Bytes of all that was added, parts that were taken included. */
  get bytes(): number {
    return this.#closedBytes + this.#writer.length;
  }

  /** Where the next item is to be written. */
  item(): MessageWriter {
    if (this.#writer.length > PART_BYTES_MAX) this.#close();
    if (this.#items === 0) this.#writer.raw(FOUR_BYTES, 0, 4);
    this.#items += 1;
    return this.#writer;
  }

  /** Adds an LWW record: `{key, record}`. */
  lwwItem(image: RecordImage): void {
    const writer = this.item();
    writer.mapHeader(2);
    writer.string('key');
    writer.stringBytes(image.source, image.keyStart, image.keyBytes);
    writer.string('record');
    encodeRecord(writer, image);
  }

  /** Takes a part that is closed, oldest first. */
  takeClosed(): Uint8Array | undefined {
    return this.#parts.shift();
  }

  /** All parts that were not taken; one at least. */
  finish(): Uint8Array[] {
    if (this.#items > 0 || this.#parts.length === 0) this.#close();
    return this.#parts;
  }

  #close(): void {
    if (this.#items === 0) this.#writer.raw(FOUR_BYTES, 0, 4);
    const part = this.#writer.bytes.slice(0, this.#writer.length);
    new DataView(part.buffer).setUint32(0, this.#items, true);
    this.#parts.push(part);
    this.#closedBytes += part.length;
    this.#writer.reset();
    this.#items = 0;
  }
}
