/**
 * Writes records of any size to one ring, in order, and keeps what does not fit until there is room.
 *
 *   claim/commit   the hot path: in place, FULL is an answer and nothing is kept
 *   write          a record that must not be lost: copied to the backlog when the ring is full, in parts when large
 *   send           the same of an envelope and its body, in place where there is room
 *
 * While the backlog is not empty every claim is answered FULL, which keeps the order. Whoever writes looks at
 * `backlogBytes` and stops taking work in; so the backlog is bounded by one batch of work.
 */
import { ENVELOPE_BYTES, writeEnvelope } from '../engine/protocol/envelope.ts';
import { ChunkedWrite } from './chunks.ts';
import { FULL, type RingProducer } from './ring.ts';

export class RingWriter {
  readonly ring: RingProducer;
  readonly #large: ChunkedWrite;
  readonly #backlog: Uint8Array[] = [];
  #backlogBytes = 0;

  constructor(ring: RingProducer) {
    this.ring = ring;
    this.#large = new ChunkedWrite(ring);
  }

  /** Bytes that wait for room. */
  get backlogBytes(): number {
    return this.#backlogBytes + this.#large.remainingBytes;
  }

  /** True when records wait for room. */
  get blocked(): boolean {
    return this.#large.active || this.#backlog.length > 0;
  }

  /** As the ring's claim; FULL also while older records wait, and for a record that is too large to go in one piece. */
  claim(bytes: number): number {
    if (this.blocked || bytes > this.ring.recordBytesMax) return FULL;
    return this.ring.claim(bytes);
  }

  commit(): void {
    this.ring.commit();
  }

  /** Writes the record now or keeps it. `record` may be used again at once. */
  write(record: Uint8Array): void {
    if (!this.blocked && record.byteLength <= this.ring.recordBytesMax && this.ring.tryWrite(record)) return;
    const copy = record.slice();
    this.#backlog.push(copy);
    this.#backlogBytes += copy.byteLength;
    this.flush();
  }

  /** Writes an envelope and its body now or keeps them; the fields are those of `writeEnvelope`. `body` may be used again at once. */
  send(type: number, call: number, session: number, count: number, body: Uint8Array, flags: number, float: number): void {
    const bytes = ENVELOPE_BYTES + body.length;
    const at = this.claim(bytes);
    if (at !== FULL) {
      writeEnvelope(this.ring, at, type, call, session, count, body.length, flags, float);
      this.ring.bytes.set(body, at + ENVELOPE_BYTES);
      return this.commit();
    }
    const record = new Uint8Array((bytes + 7) & ~7);
    const memory = { bytes: record, words: new Int32Array(record.buffer), floats: new Float64Array(record.buffer) };
    writeEnvelope(memory, 0, type, call, session, count, body.length, flags, float);
    record.set(body, ENVELOPE_BYTES);
    this.write(record);
  }

  /** Writes what waits, as far as there is room; true when nothing is left. */
  flush(): boolean {
    if (!this.#large.resume()) return this.#askForRoom(this.#large.remainingBytes);
    for (let record = this.#backlog[0]; record !== undefined; record = this.#backlog[0]) {
      const isLarge = record.byteLength > this.ring.recordBytesMax;
      if (!isLarge && !this.ring.tryWrite(record)) return this.#askForRoom(record.byteLength);
      this.#backlog.shift();
      this.#backlogBytes -= record.byteLength;
      if (isLarge && !this.#large.start(record)) return this.#askForRoom(this.#large.remainingBytes);
    }
    return true;
  }

  /**
   * Has the reader ring when it gave space back, unless `bytes` fit meanwhile: then whoever asks next finds the room.
   * Always false, the answer of a `flush` that is not done.
   */
  #askForRoom(bytes: number): false {
    this.ring.wantRoom(Math.min(bytes, this.ring.recordBytesMax));
    return false;
  }
}
