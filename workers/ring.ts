/**
 * Single-producer single-consumer queue of byte records over shared memory. The picture is in ring-layout.ts.
 *
 *   producer   claim ─ fill in place ─ commit            ... bell, only when the consumer sleeps
 *   consumer   drain ─ (write-ahead log, replies) ─ release        park ─ sleep ─ unpark
 *
 * A payload is contiguous: when a record would cross the end of the ring, a padding record fills the rest and it starts
 * again at the beginning. The producer keeps the last HEAD it saw and looks again only when that one says full.
 *
 * The clever thing is what `drain` does not do: space goes back only by `release`, after the batch is safe. A consumer
 * that dies in between leaves its records where they are, and the one that replaces it takes them again.
 *
 * Sleeping is a Dekker handshake on two sequentially consistent words. The producer stores TAIL, then loads PARKED; the
 * consumer stores PARKED, then loads TAIL. One of the two must see the other, so no wake-up is lost.
 *
 * After Agrona's OneToOneRingBuffer: framing, padding, cached head, claim and commit, capacity as an answer.
 */
import { assert } from '../engine/assert.ts';
import * as layout from './ring-layout.ts';

const { TAIL, HEAD, AT, HANDLING, SUSPECT, DEATHS, PARKED, WANTED } = layout;
const { DATA, HEADER_BYTES, CHUNK_HEADER_BYTES, PADDING, WHOLE, CHUNK } = layout;
const { RECORDS_WRITTEN, BYTES_WRITTEN, FULL_ANSWERS, BELLS_RUNG, RECORDS_READ, MISSED_WAKEUPS } = layout;

/** Answer of `claim`: no room now. */
export const FULL = -1;

/** Takes records out of a ring. */
export interface RingHandler {
  /**
   * One record: `bytes` bytes of payload at offset `at` of `ring.bytes`; `at` is a multiple of 8. They stay valid until
   * `ring.release()`. A throw leaves the record in the ring: whoever takes the ring over gets it again.
   */
  onRecord(ring: RingConsumer, at: number, bytes: number): void;
}

/** The memory of a ring in three units; `bytes[at]`, `words[at / 4]` and `floats[at / 8]` are the same place. */
class RingMemory {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly floats: Float64Array;
  readonly view: DataView;
  readonly capacityBytes: number;
  readonly messageBytesMax: number;

  constructor(memory: SharedArrayBuffer) {
    this.bytes = new Uint8Array(memory);
    this.words = new Int32Array(memory, 0, memory.byteLength >> 2);
    this.floats = new Float64Array(memory, 0, memory.byteLength >> 3);
    this.view = new DataView(memory);
    this.capacityBytes = this.words[layout.CAPACITY] as number;
    this.messageBytesMax = this.words[layout.MESSAGE] as number;
  }
}

/** The writing end. Exactly one exists at a time; a thread that replaces a dead one makes a new one. */
export class RingProducer extends RingMemory {
  /** Payload bytes of the largest record; larger messages travel in parts (chunks.ts). */
  readonly recordBytesMax: number;
  readonly #onParked: () => void;
  readonly #mask: number;
  #tail: number;
  #headSeen: number;
  #claimedAt = 0;
  #claimedBytes = -1;
  #claimedPadding = 0;
  #messageOpen = false;

  /** @param onParked wakes the consumer's thread; called at most once per sleep. */
  constructor(memory: SharedArrayBuffer, onParked: () => void) {
    super(memory);
    this.recordBytesMax = layout.recordBytesMax(this.capacityBytes);
    this.#onParked = onParked;
    this.#mask = this.capacityBytes - 1;
    this.#tail = Atomics.load(this.words, TAIL);
    this.#headSeen = Atomics.load(this.words, HEAD);
  }

  /**
   * Reserves room for `bytes` bytes and returns their offset in `this.bytes` (a multiple of 8), or FULL. Nothing is seen
   * by the consumer before `commit`; a claim that is not committed is replaced by the next one.
   */
  claim(bytes: number): number {
    assert(bytes >= 0 && bytes <= this.recordBytesMax, 'record larger than recordBytesMax');
    if (this.#messageOpen) return this.#full(); // a record must not overtake the large message before it
    return this.#reserve(bytes);
  }

  /** Publishes the claimed record, of which only the first `bytes` bytes if told so, and wakes a sleeping consumer. */
  commit(bytes: number = this.#claimedBytes): void {
    this.#publish(bytes, WHOLE);
  }

  /** Copies one record in. False when full: the caller sheds or waits. */
  tryWrite(record: Uint8Array): boolean {
    const at = this.claim(record.length);
    if (at === FULL) return false;
    this.bytes.set(record, at);
    this.commit();
    return true;
  }

  /**
   * Writes the part of a large message that begins at `offset` and returns where the next one begins: `offset` itself
   * when full. From the first part to the last one every `claim` is answered FULL, which keeps the order.
   */
  tryWriteChunk(message: Uint8Array, offset: number): number {
    const total = message.byteLength;
    assert(total <= this.messageBytesMax, 'message larger than messageBytesMax');
    assert(offset < total, 'no part is left');
    // An eighth of the ring: small enough to find room beside other records, large enough to need few parts.
    const part = Math.min(total - offset, this.capacityBytes / 8 - HEADER_BYTES - CHUNK_HEADER_BYTES);
    const at = this.#reserve(CHUNK_HEADER_BYTES + part);
    if (at === FULL) return offset;
    this.words[at >> 2] = total;
    this.words[(at >> 2) + 1] = offset;
    this.bytes.set(message.subarray(offset, offset + part), at + CHUNK_HEADER_BYTES);
    this.#messageOpen = offset + part < total;
    this.#publish(CHUNK_HEADER_BYTES + part, CHUNK);
    return offset + part;
  }

  /** Gives up a large message half way. The consumer forgets its parts when the next message begins. */
  abandonChunks(): void {
    this.#messageOpen = false;
  }

  /** Bytes that are free now, record headers and padding not counted. */
  get freeBytes(): number {
    this.#headSeen = Atomics.load(this.words, HEAD);
    return this.capacityBytes - ((this.#tail - this.#headSeen) | 0);
  }

  /**
   * Asks the consumer to ring when it gives space back. True when a record of `bytes` bytes fits already: try again
   * now, no bell will come.
   */
  wantRoom(bytes: number): boolean {
    Atomics.store(this.words, WANTED, 1);
    const size = layout.recordSize(bytes);
    if (!this.#hasRoom(size + this.#paddingFor(size))) return false;
    Atomics.store(this.words, WANTED, 0);
    return true;
  }

  #reserve(bytes: number): number {
    const size = layout.recordSize(bytes);
    const padding = this.#paddingFor(size);
    if (!this.#hasRoom(padding + size)) return this.#full();
    this.#claimedPadding = padding;
    this.#claimedBytes = bytes;
    this.#claimedAt = DATA + ((this.#tail + padding) & this.#mask);
    return this.#claimedAt + HEADER_BYTES;
  }

  #publish(bytes: number, kind: number): void {
    assert(bytes >= 0 && bytes <= this.#claimedBytes, 'commit without a claim, or of more than was claimed');
    const words = this.words;
    const floats = this.floats;
    if (this.#claimedPadding > 0) words[(DATA + (this.#tail & this.#mask)) >> 2] = PADDING;
    words[this.#claimedAt >> 2] = bytes;
    words[(this.#claimedAt >> 2) + 1] = kind;
    floats[RECORDS_WRITTEN] = (floats[RECORDS_WRITTEN] as number) + 1;
    floats[BYTES_WRITTEN] = (floats[BYTES_WRITTEN] as number) + bytes;
    this.#tail = (this.#tail + this.#claimedPadding + layout.recordSize(bytes)) | 0;
    this.#claimedBytes = -1;
    Atomics.store(words, TAIL, this.#tail); // publishes every plain write above
    // The plain load first: a compare-and-swap per record would take the cache line from the consumer each time.
    if (Atomics.load(words, PARKED) === 1 && Atomics.compareExchange(words, PARKED, 1, 0) === 1) {
      floats[BELLS_RUNG] = (floats[BELLS_RUNG] as number) + 1;
      this.#onParked();
    }
  }

  #paddingFor(size: number): number {
    const sizeToEnd = this.capacityBytes - (this.#tail & this.#mask);
    return size > sizeToEnd ? sizeToEnd : 0;
  }

  /** Reads the shared HEAD only when the last one seen says full: HEAD stands on the consumer's line. */
  #hasRoom(size: number): boolean {
    if (((this.#tail - this.#headSeen) | 0) + size <= this.capacityBytes) return true;
    this.#headSeen = Atomics.load(this.words, HEAD);
    return ((this.#tail - this.#headSeen) | 0) + size <= this.capacityBytes;
  }

  #full(): number {
    this.floats[FULL_ANSWERS] = (this.floats[FULL_ANSWERS] as number) + 1;
    return FULL;
  }
}

/** The reading end. Exactly one exists at a time. */
export class RingConsumer extends RingMemory {
  /** Which of its owner's rings this is; the owner's number, not the ring's. */
  readonly index: number;
  readonly #onRoom: () => void;
  readonly #mask: number;
  #position: number;
  #released: number;
  #messageHeld = false;
  #drainEnds = false;

  /** @param onRoom wakes the producer's thread when it waits for room (`wantRoom`). */
  constructor(memory: SharedArrayBuffer, index = 0, onRoom: () => void = nobody) {
    super(memory);
    this.index = index;
    this.#onRoom = onRoom;
    this.#mask = this.capacityBytes - 1;
    this.#position = Atomics.load(this.words, HEAD);
    this.#released = this.#position;
    Atomics.store(this.words, PARKED, 0);
  }

  /** Behind the last record handed out. The write-ahead log keeps it, so that a successor can `takeOver` there. */
  get position(): number {
    return this.#position;
  }

  /** Position of the record that is being handled. */
  get recordAt(): number {
    return this.words[AT] as number;
  }

  /** True while there are records that were not handed out. */
  get pending(): boolean {
    return Atomics.load(this.words, TAIL) !== this.#position;
  }

  /** Bytes of the ring that were not handed out. */
  get pendingBytes(): number {
    return (Atomics.load(this.words, TAIL) - this.#position) | 0;
  }

  /** True from `park` until the producer rings or `unpark`. */
  get parked(): boolean {
    return Atomics.load(this.words, PARKED) === 1;
  }

  /**
   * Goes on where a dead consumer stopped: at `position`, which its log knows, or at the space it had not given back.
   * Returns how often in a row consumers died while handling the record at `suspectAt`, 0 when they did not.
   */
  takeOver(position: number = Atomics.load(this.words, HEAD)): number {
    const words = this.words;
    const head = Atomics.load(words, HEAD);
    const tail = Atomics.load(words, TAIL);
    assert(((position - head) | 0) >= 0 && ((tail - position) | 0) >= 0, `position ${position} outside ${head}..${tail}`);
    if (words[HANDLING] === 1) {
      const again = (words[DEATHS] as number) > 0 && words[SUSPECT] === words[AT];
      words[DEATHS] = again ? (words[DEATHS] as number) + 1 : 1;
      words[SUSPECT] = words[AT] as number;
      words[HANDLING] = 0;
    }
    this.#position = position;
    const suspectAhead = ((words[SUSPECT] as number) - position) | 0;
    return suspectAhead >= 0 && suspectAhead < ((tail - position) | 0) ? (words[DEATHS] as number) : 0;
  }

  /** Position of the record at which the consumer before this one died; meaningful when `takeOver` returned more than 0. */
  get suspectAt(): number {
    return this.words[SUSPECT] as number;
  }

  /**
   * Hands up to `recordsMax` records to `handler` and returns how many it took, parts of large messages included. Gives
   * no space back. Ends early behind a large message: its bytes stand in the message area until `release`; and where the handler
   * says so.
   */
  drain(recordsMax: number, handler: RingHandler): number {
    const words = this.words;
    const tail = Atomics.load(words, TAIL);
    let position = this.#position;
    if (position === tail || this.#messageHeld) return 0;
    let records = 0;
    this.#drainEnds = false;
    words[HANDLING] = 1; // stays 1 when the handler throws or the thread is ended: `takeOver` looks at it
    while (position !== tail && records < recordsMax && !this.#drainEnds) {
      const index = position & this.#mask;
      const at = DATA + index;
      const bytes = words[at >> 2] as number;
      if (bytes === PADDING) {
        position = (position + this.capacityBytes - index) | 0;
        continue;
      }
      words[AT] = position;
      position = (position + layout.recordSize(bytes)) | 0;
      this.#position = position;
      records += 1;
      if (words[(at >> 2) + 1] === WHOLE) handler.onRecord(this, at + HEADER_BYTES, bytes);
      else if (this.#takeChunk(at + HEADER_BYTES, bytes, handler)) break;
    }
    words[HANDLING] = 0;
    this.floats[RECORDS_READ] = (this.floats[RECORDS_READ] as number) + records;
    return records;
  }

  /** Ends the drain behind the record at hand: what was made of it is to go out before more is made. */
  endDrain(): void {
    this.#drainEnds = true;
  }

  /** Gives back the space of all that was drained. Called when the batch is logged and its replies are on their way. */
  release(): void {
    if (this.#released === this.#position) return;
    this.#released = this.#position;
    this.#messageHeld = false;
    Atomics.store(this.words, HEAD, this.#position);
    if (Atomics.load(this.words, WANTED) === 1 && Atomics.compareExchange(this.words, WANTED, 1, 0) === 1) this.#onRoom();
  }

  /** Says that this thread is about to sleep. False when a record came meanwhile: it must not. */
  park(): boolean {
    Atomics.store(this.words, PARKED, 1);
    if (!this.pending) return true;
    this.unpark();
    return false;
  }

  unpark(): void {
    Atomics.store(this.words, PARKED, 0);
  }

  /** Called by the watchdog that found records beside a sleeping consumer. */
  countMissedWakeup(): void {
    this.floats[MISSED_WAKEUPS] = (this.floats[MISSED_WAKEUPS] as number) + 1;
  }

  /**
   * Copies one part to its place; true when it was the last, and the message was handed over.
   *
   * It keeps no state of its own: parts come in order and nothing comes between them, so the last part means that all
   * are there. The message area lives as long as the ring, so a successor finds the parts that were released already.
   */
  #takeChunk(at: number, bytes: number, handler: RingHandler): boolean {
    const total = this.words[at >> 2] as number;
    const offset = this.words[(at >> 2) + 1] as number;
    const part = bytes - CHUNK_HEADER_BYTES;
    assert(offset >= 0 && part > 0 && offset + part <= total && total <= this.messageBytesMax, 'damaged part');
    const messageAt = DATA + this.capacityBytes;
    this.bytes.copyWithin(messageAt + offset, at + CHUNK_HEADER_BYTES, at + bytes);
    if (offset + part < total) return false;
    this.#messageHeld = true;
    handler.onRecord(this, messageAt, total);
    return true;
  }
}

function nobody(): void {}
