/**
 * The memory of a ring, named offset by named offset, and what anyone may read from it.
 *
 *   byte   0  TAIL       i32  next position to write            ┐ written by the producer only
 *          8  records written, 16 bytes written,                │
 *         24  full answers, 32 bells rung            (f64 each) ┘
 *   byte  64  HEAD       i32  end of the space given back       ┐ written by the consumer only
 *         68  AT         i32  position of the record in hand    │
 *         72  records read, 80 missed wake-ups       (f64 each) │
 *         88  HANDLING   i32  1 while records are handled       │
 *         92  SUSPECT    i32  position where a consumer died    │
 *         96  DEATHS     i32  how often in a row it died there  ┘
 *   byte 128  PARKED     i32  1 while the consumer sleeps         consumer sets it, producer takes it
 *        132  WANTED     i32  1 while the producer waits for room producer sets it, consumer takes it
 *   byte 192  CAPACITY   i32  constants of this ring
 *        196  MESSAGE    i32
 *   byte 256  CAPACITY bytes of records, each [length i32][kind i32][payload], 8-byte aligned
 *   then      MESSAGE bytes where a message larger than a record is put together
 *
 * Each line has one writer, so the two threads do not take cache lines from each other. Statistics stand on the line of
 * the one who writes them: that line is in his cache anyway. TAIL and HEAD count bytes and wrap at 2^32, so
 * `tail - head` is the bytes in use, and no slot is lost to tell full from empty.
 *
 * Memory that is never touched costs no RAM, so the message area is free until a large message comes.
 *
 * After Agrona's RingBufferDescriptor and RecordDescriptor: the layout in its own file.
 */
import { assert } from '../engine/assert.ts';

/** Positions of 32-bit words. */
export const TAIL = 0;
export const HEAD = 16;
export const AT = 17;
export const HANDLING = 22;
export const SUSPECT = 23;
export const DEATHS = 24;
export const PARKED = 32;
export const WANTED = 33;
export const CAPACITY = 48;
export const MESSAGE = 49;

/** Positions of 64-bit floats. */
export const RECORDS_WRITTEN = 1;
export const BYTES_WRITTEN = 2;
export const FULL_ANSWERS = 3;
export const BELLS_RUNG = 4;
export const RECORDS_READ = 9;
export const MISSED_WAKEUPS = 10;

/** First byte of the records. */
export const DATA = 256;
export const HEADER_BYTES = 8;
/** Length of the record that fills the rest of the ring, so that no payload crosses its end. */
export const PADDING = -1;

/** Second word of a record's header: a message of its own, or a part of a large one. */
export const WHOLE = 0;
export const CHUNK = 1;
/** Payload of a chunk: [bytes of the whole message i32][where this part begins i32][part]. */
export const CHUNK_HEADER_BYTES = 8;

const CAPACITY_BYTES_MIN = 1024;
const CAPACITY_BYTES_MAX = 2 ** 30;

export interface RingOptions {
  /** Bytes of records. A power of two, 1 KiB to 1 GiB. */
  readonly capacityBytes: number;
  /** Largest message, in bytes; those larger than a record travel in parts. 0: none. Default 0. */
  readonly messageBytesMax?: number;
  /** Where the positions start. Only tests need another number than 0. */
  readonly position?: number;
}

/** Allocates the memory of one ring: one producer, one consumer, on any two threads. */
export function createRing(options: RingOptions): SharedArrayBuffer {
  const { capacityBytes, messageBytesMax = 0, position = 0 } = options;
  assert(capacityBytes >= CAPACITY_BYTES_MIN && capacityBytes <= CAPACITY_BYTES_MAX, `ring of ${capacityBytes} bytes`);
  assert((capacityBytes & (capacityBytes - 1)) === 0, `capacity must be a power of two: ${capacityBytes}`);
  assert(messageBytesMax >= 0 && messageBytesMax <= CAPACITY_BYTES_MAX, `messages of ${messageBytesMax} bytes`);
  assert(position % 8 === 0, `positions are multiples of 8: ${position}`);
  const memory = new SharedArrayBuffer(DATA + capacityBytes + ((messageBytesMax + 7) & ~7));
  const words = new Int32Array(memory, 0, DATA / 4);
  words[CAPACITY] = capacityBytes;
  words[MESSAGE] = messageBytesMax;
  words[TAIL] = position | 0;
  words[HEAD] = position | 0;
  return memory;
}

/** Bytes that a payload of `bytes` takes in the ring. */
export function recordSize(bytes: number): number {
  return (HEADER_BYTES + bytes + 7) & ~7;
}

/**
 * Largest payload of one record: half the ring, less the header.
 *
 * A record of size S at index i of a ring of capacity C needs S bytes when S <= C - i, else (C - i) of padding and S.
 * Sizes and indexes are multiples of 8, so padding <= S - 8 and the need is at most 2S - 8. With S <= C/2 that is less
 * than C: an empty ring takes it wherever its positions stand. With S = C/2 + 8 at i = C/2 the need is C + 8: never.
 */
export function recordBytesMax(capacityBytes: number): number {
  return capacityBytes / 2 - HEADER_BYTES;
}

/** What metrics show of a ring. Read from any thread; each number is a moment old. */
export interface RingStats {
  readonly capacityBytes: number;
  /** Bytes in use, with headers and padding. Falls when the consumer gives space back. */
  readonly usedBytes: number;
  readonly recordsWritten: number;
  readonly recordsRead: number;
  readonly recordsPending: number;
  readonly bytesWritten: number;
  /** How often a writer was told that the ring is full. */
  readonly fullAnswers: number;
  /** How often the producer had to wake the consumer. */
  readonly bellsRung: number;
  /** How often the watchdog found records beside a sleeping consumer. Should stay 0. */
  readonly missedWakeups: number;
  readonly parked: boolean;
}

export function readRingStats(memory: SharedArrayBuffer): RingStats {
  const words = new Int32Array(memory, 0, DATA / 4);
  const floats = new Float64Array(memory, 0, DATA / 8);
  // Read before written: a record that passes between the two reads shows as pending, never as a negative count.
  const recordsRead = floats[RECORDS_READ] as number;
  const head = Atomics.load(words, HEAD);
  const recordsWritten = floats[RECORDS_WRITTEN] as number;
  return {
    capacityBytes: words[CAPACITY] as number,
    usedBytes: (Atomics.load(words, TAIL) - head) | 0,
    recordsWritten,
    recordsRead,
    recordsPending: Math.max(0, recordsWritten - recordsRead),
    bytesWritten: floats[BYTES_WRITTEN] as number,
    fullAnswers: floats[FULL_ANSWERS] as number,
    bellsRung: floats[BELLS_RUNG] as number,
    missedWakeups: floats[MISSED_WAKEUPS] as number,
    parked: Atomics.load(words, PARKED) === 1,
  };
}
