/**
 * The memory of one worker's records: fixed segments, cut into blocks that never move.
 *
 *   segments   [0: 1 MiB] [1: 16 MiB] [2: 16 MiB] ...      made when first needed, never copied, never given back
 *   reference  segment << 20 | unit                        a block's address in units of 16 bytes; 0 is no block
 *   free[c]    ──▶ block ──▶ block ──▶ 0                   per size class; the link is the first word of a free block
 *   carved     next reference never handed out             up to `#limit`, then a new segment
 *
 * Size classes: every multiple of 16 bytes up to 256, then 8 steps a doubling, so that rounding wastes at most one
 * eighth. A class never lends blocks to another one: a load whose sizes shift for good keeps the memory of the old
 * sizes until records of those sizes come back. (Splitting and joining blocks would cure that, at the price of a
 * search on the hot path; not needed so far, since eviction and tombstones free and reuse the same few classes.)
 *
 * The first segment is small because tests and simulations make many engines that hold a handful of records.
 *
 * References stay below 2^31, so they are small integers to V8 and fit Int32Array: 32 GiB a worker.
 */
import { assert } from '../assert.ts';

export const UNIT_BYTES = 16;
/** `reference >>> SEGMENT_SHIFT` is the segment, `reference & UNIT_MASK` the unit in it. */
export const SEGMENT_SHIFT = 20;
export const UNIT_MASK = (1 << SEGMENT_SHIFT) - 1;
/** Largest block: half a segment, so that the unused end of a segment is at most that. */
export const BLOCK_BYTES_MAX = 8 << 20;

const SEGMENT_UNITS = 1 << SEGMENT_SHIFT;
const FIRST_SEGMENT_UNITS = SEGMENT_UNITS >>> 4;
const SEGMENTS_MAX = 1 << (31 - SEGMENT_SHIFT);
const LINEAR_CLASSES = 16;
const CLASS_COUNT = sizeClassOf(BLOCK_BYTES_MAX) + 1;

/** One stretch of memory, seen four ways. Word index of a block = `(reference & UNIT_MASK) << 2`. */
export class Segment {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly view: DataView;

  constructor(bytes: number) {
    const buffer = new ArrayBuffer(bytes);
    this.u8 = new Uint8Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.view = new DataView(buffer);
  }
}

export class Slab {
  /** Indexed by `reference >>> SEGMENT_SHIFT`. */
  readonly segments: Segment[] = [];
  readonly #free = new Int32Array(CLASS_COUNT);
  #carved = 0;
  #limit = 0;
  #usedUnits = 0;
  #reservedUnits = 0;
  #viewed: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#viewed.buffer);

  /** Bytes of all blocks handed out, rounding included. */
  get usedBytes(): number {
    return this.#usedUnits * UNIT_BYTES;
  }

  /** Bytes of all segments. */
  get reservedBytes(): number {
    return this.#reservedUnits * UNIT_BYTES;
  }

  /** A block of at least `bytes` bytes with whatever was in it before. */
  allocate(bytes: number): number {
    assert(bytes <= BLOCK_BYTES_MAX, 'block larger than the largest size class');
    const sizeClass = sizeClassOf(bytes);
    const units = unitsOfClass(sizeClass);
    this.#usedUnits += units;
    const free = this.#free[sizeClass] as number;
    if (free === 0) return this.#carve(units);
    const segment = this.segments[free >>> SEGMENT_SHIFT] as Segment;
    this.#free[sizeClass] = segment.i32[(free & UNIT_MASK) << 2] as number;
    return free;
  }

  /** Takes back a block that was allocated with the same size class as `bytes` has. Overwrites its first word only. */
  release(ref: number, bytes: number): void {
    const sizeClass = sizeClassOf(bytes);
    this.#usedUnits -= unitsOfClass(sizeClass);
    this.#shelve(ref, sizeClass);
  }

  /**
   * A DataView of the same bytes as `source`, for copies by the word. The last one is kept: records come from the
   * same ring many times in a row.
   */
  viewOf(source: Uint8Array): DataView {
    if (source !== this.#viewed) {
      this.#viewed = source;
      this.#view = new DataView(source.buffer, source.byteOffset, source.byteLength);
    }
    return this.#view;
  }

  #shelve(ref: number, sizeClass: number): void {
    const segment = this.segments[ref >>> SEGMENT_SHIFT] as Segment;
    segment.i32[(ref & UNIT_MASK) << 2] = this.#free[sizeClass] as number;
    this.#free[sizeClass] = ref;
  }

  #carve(units: number): number {
    if (this.#carved + units > this.#limit) this.#addSegment(units);
    const ref = this.#carved;
    this.#carved += units;
    return ref;
  }

  #addSegment(units: number): void {
    this.#shelveRest();
    const index = this.segments.length;
    assert(index < SEGMENTS_MAX, 'slab is full: 32 GiB');
    const segmentUnits = index === 0 && units < FIRST_SEGMENT_UNITS ? FIRST_SEGMENT_UNITS : SEGMENT_UNITS;
    this.segments.push(new Segment(segmentUnits * UNIT_BYTES));
    this.#reservedUnits += segmentUnits;
    this.#carved = index * SEGMENT_UNITS;
    this.#limit = this.#carved + segmentUnits;
    if (index === 0) this.#carved += 1; // reference 0 means none
  }

  /** Puts the end of the current segment on the free lists. */
  #shelveRest(): void {
    let rest = this.#limit - this.#carved;
    while (rest > 0) {
      let sizeClass = sizeClassOf(rest * UNIT_BYTES);
      if (unitsOfClass(sizeClass) > rest) sizeClass -= 1;
      this.#shelve(this.#carved, sizeClass);
      this.#carved += unitsOfClass(sizeClass);
      rest = this.#limit - this.#carved;
    }
  }
}

/** Smallest class whose blocks hold `bytes` bytes; from 1. */
export function sizeClassOf(bytes: number): number {
  const units = (bytes + UNIT_BYTES - 1) >>> 4;
  if (units <= LINEAR_CLASSES) return units;
  const log = 31 - Math.clz32(units - 1); // 2^log < units <= 2^(log + 1), cut into 8 steps
  return LINEAR_CLASSES + (log - 4) * 8 + ((units - 1) >>> (log - 3)) - 7;
}

/** Units of 16 bytes that a block of this class has. */
export function unitsOfClass(sizeClass: number): number {
  if (sizeClass <= LINEAR_CLASSES) return sizeClass;
  const step = sizeClass - LINEAR_CLASSES - 1;
  return ((step & 7) + 9) << (1 + (step >>> 3));
}

/** Bytes that a block for `bytes` bytes occupies. */
export function roundedBytes(bytes: number): number {
  return unitsOfClass(sizeClassOf(bytes)) * UNIT_BYTES;
}
