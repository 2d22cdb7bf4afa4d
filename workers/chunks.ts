/**
 * A message larger than a record, on its way into a ring: as many parts as there is room for now, the rest later.
 *
 *   message  ├── part ──┼── part ──┼── part ─┤        each part a record of the ring, in order
 *                                  ▲ written          `resume` goes on from here when the ring has room
 *
 * The consumer puts the parts together in the message area of the ring and hands the whole over as one record, so
 * only the writer knows about parts. While a message is under way the ring answers FULL to every other writer.
 */
import { assert } from '../engine/assert.ts';
import type { RingProducer } from './ring.ts';

export class ChunkedWrite {
  readonly #ring: RingProducer;
  #message: Uint8Array | undefined;
  #written = 0;

  constructor(ring: RingProducer) {
    this.#ring = ring;
  }

  /** True while a message is under way. */
  get active(): boolean {
    return this.#message !== undefined;
  }

  /** Bytes that are still to be written. */
  get remainingBytes(): number {
    return this.#message === undefined ? 0 : this.#message.byteLength - this.#written;
  }

  /**
   * Begins a message; true when all of it is in the ring. Otherwise call `resume` until that is true, and leave
   * `message` unchanged until then. The message may be of any size from 1 byte to `messageBytesMax`.
   */
  start(message: Uint8Array): boolean {
    assert(this.#message === undefined, 'a message is under way');
    assert(message.byteLength > 0 && message.byteLength <= this.#ring.messageBytesMax, `message of ${message.byteLength} bytes`);
    this.#message = message;
    this.#written = 0;
    return this.resume();
  }

  /** Writes what there is room for; true when nothing is left. */
  resume(): boolean {
    const message = this.#message;
    if (message === undefined) return true;
    while (this.#written < message.byteLength) {
      const next = this.#ring.tryWriteChunk(message, this.#written);
      if (next === this.#written) return false;
      this.#written = next;
    }
    this.#message = undefined;
    return true;
  }

  /** Gives the message up; its parts in the ring are never handed over. */
  abandon(): void {
    this.#message = undefined;
    this.#ring.abandonChunks();
  }
}
