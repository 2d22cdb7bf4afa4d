/**
 * What the scanner finds in a frame of writes: one fixed row of 32-bit words per operation, no objects.
 *
 *   word  0  1   millis    f64  of the record's timestamp; NaN when the op carries none
 *         2  3   ttlMs     f64  NaN when the record has none (absent or null)
 *         4      counter   u32
 *         5      keyHash   u32  fnv1a(key)
 *         6      flags     kind in bits 0–1, the FLAG_ bits, write concern in bits 8–10 (0 = none given)
 *         7      mapId     u32  filled in by the gateway: its number for the map's name
 *         8  9   map       start, bytes
 *        10 11   key       start, bytes
 *        12 13   tag       start, bytes   OR-Map ops only, else 0 0
 *        14 15   node      start, bytes   node id of the timestamp
 *        16 17   value     start, bytes   the MessagePack bytes of the value, unread; 0 bytes = none
 *        18 19   fence     start, bytes   the MessagePack map of a fence (op-fence.ts); 0 bytes = none
 *        20 21   id        start, bytes   text of the op's id; 0 bytes = none
 *        22      ordinal   u32  position of the op in its frame, from 0
 *        23      timeoutMs u32  0 = none given
 *
 * Starts are byte offsets from the beginning of the frame. Strings are spans of raw UTF-8, without their header.
 * What the worker needs of a row crosses the ring with the bytes that it points at (packed-op.ts): the worker never scans.
 */

export const OP_WORDS = 24;
export const OP_BYTES = OP_WORDS * 4;

/** Word positions inside a row. MILLIS and TTL_MS are positions of 64-bit floats: word index / 2. */
export const OP = {
  MILLIS_F64: 0,
  TTL_MS_F64: 1,
  COUNTER: 4,
  KEY_HASH: 5,
  FLAGS: 6,
  MAP_ID: 7,
  MAP_START: 8,
  MAP_BYTES: 9,
  KEY_START: 10,
  KEY_BYTES: 11,
  TAG_START: 12,
  TAG_BYTES: 13,
  NODE_START: 14,
  NODE_BYTES: 15,
  VALUE_START: 16,
  VALUE_BYTES: 17,
  FENCE_START: 18,
  FENCE_BYTES: 19,
  ID_START: 20,
  ID_BYTES: 21,
  ORDINAL: 22,
  TIMEOUT_MS: 23,
} as const;

/** Kinds of op, bits 0–1 of FLAGS. Classified in the order of docs/PROTOCOL.md §5.2. */
export const OP_PUT = 0;
export const OP_REMOVE = 1;
export const OP_OR_ADD = 2;
export const OP_OR_REMOVE = 3;
export const OP_KIND_MASK = 3;

/** The op has no timestamp (`record: null`): the worker stamps it strictly after the stored record. */
export const FLAG_UNSTAMPED = 1 << 2;
/** A put without a record: handled, acknowledged, stores nothing. */
export const FLAG_EMPTY = 1 << 3;
/** A field that the op needs is missing or of the wrong type (no key, no map, bad timestamp, `:` in the node id). */
export const FLAG_INVALID = 1 << 4;
/** The writing session gets events by broadcast itself, so one broadcast listener is the writer. Set by the gateway. */
export const FLAG_WRITER_LISTENS = 1 << 5;
/** Row rules decide whether this op may be applied: judged by the scope in the envelope. Set by the gateway. */
export const FLAG_JUDGED = 1 << 7;
/** The op has a fence (op-fence.ts). */
export const FLAG_FENCED = 1 << 6;

export const CONCERN_SHIFT = 8;
export const CONCERN_MASK = 7;

/** Durability levels of an ack, in the numbers used in op rows and envelopes. */
export const CONCERN_NONE = 0;
export const CONCERN_FIRE_AND_FORGET = 1;
export const CONCERN_MEMORY = 2;
export const CONCERN_APPLIED = 3;
export const CONCERN_REPLICATED = 4;
export const CONCERN_PERSISTED = 5;

/** The names of the levels on the wire, at their numbers. */
export const CONCERN_NAMES = ['', 'FIRE_AND_FORGET', 'MEMORY', 'APPLIED', 'REPLICATED', 'PERSISTED'] as const;

/** What can be done with the rows where they were scanned: see batch-kernel.ts. */
export interface RowKernel {
  /** What the last `pack` made. */
  readonly packed: Uint8Array;
  readonly packedWords: Int32Array;
  /** Packs all rows back to back (packed-op.ts) and returns their bytes. */
  pack(): number;
  /** Reads the ids of all rows. `highestSeen` is the highest id that the connection has seen before. */
  ids(highestSeen: number, into: FrameIds): void;
}

/** Ids of a frame as far as an ack needs them. */
export interface FrameIds {
  /** Highest numeric id, 0 when there is none. */
  high: number;
  /** Lowest numeric id, 0 when there is none. */
  low: number;
  /** True when the ids are plain numbers that rise by one: then low and high say everything. */
  dense: boolean;
  /** Ids above the highest that the connection has seen before, and ops without an id. */
  cost: number;
  /** Latest LWW stamp in the frame, in ms; 0 when there is none. */
  latestMillis: number;
}

/** Rows of the last scanned frame, in memory that is used again for the next one. Grows, never shrinks. */
export class OpIndex {
  /** Ops in the frame. */
  count = 0;
  /** Set where the rows were scanned by a kernel. */
  kernel: RowKernel | undefined;
  /** Where the spans of the rows count from: the frame, or the place that the kernel copied it to. */
  bytes: Uint8Array = new Uint8Array(0);
  /** The same bytes. */
  view: DataView = new DataView(new ArrayBuffer(0));
  words: Int32Array;
  floats: Float64Array;

  /** @param rows room at first, or for ever when `memory` is given, in which they begin at byte `start`. */
  constructor(memory?: ArrayBuffer, start = 0, rows = 64) {
    const buffer = memory ?? new ArrayBuffer(rows * OP_BYTES);
    this.words = new Int32Array(buffer, start, rows * OP_WORDS);
    this.floats = new Float64Array(buffer, start, (rows * OP_WORDS) / 2);
  }

  /** Makes room for one more row and returns the position of its first word. The row is not cleared. */
  push(): number {
    const at = this.count * OP_WORDS;
    if (at === this.words.length) this.#grow();
    this.count += 1;
    return at;
  }

  #grow(): void {
    const words = new Int32Array(this.words.length * 2);
    words.set(this.words);
    this.words = words;
    this.floats = new Float64Array(words.buffer);
  }
}
