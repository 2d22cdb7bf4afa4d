/**
 * The memory of one worker's records: fixed segments, cut into blocks that never move.
 *
 *   segments   [0: 1 MiB] [1: 16 MiB] [2: 16 MiB] ...      made when first needed, never copied, never given back
 *   reference  segment << 20 | unit                        a block's address in units of 16 bytes; 0 is no block
 *   free[c]    ──▶ block ──▶ block ──▶ 0                   per size class; the link is the first word of a free block
 *   carved     next reference never handed out             up to `#limit`, then a new segment
 *
 * Size classes: every multiple of 16 bytes up to 256, then 8 steps a doubling, so that rounding wastes at most one
 * eighth. While there is room for segments a class lends no blocks to another one. At `reservedBytesMax` a larger free
 * block is cut up, which is what eviction needs, as it makes small blocks of large ones; and when there is none,
 * neighbouring free blocks are joined, all at once (0.1 to 0.3 µs a free block), after enough was released to be worth it.
 * An allocation never fails: who merges was admitted before (eviction.ts), and what fragmentation still lacks is made
 * beyond the bound, a small segment at a time, and counted in `overruns`.
 *
 * The first segment is small because tests and simulations make many engines that hold a handful of records.
 *
 * Where a kernel joins records (merge-kernel.ts), segments lie in its memory; those for which it has no room are joined without it.
 *
 * References stay below 2^31, so they are small integers to V8 and fit Int32Array: 32 GiB a worker.
 */
import { assert } from '../assert.ts';
import type { KernelMemory } from './kernel-memory.ts';

export const UNIT_BYTES = 16;
/** `reference >>> SEGMENT_SHIFT` is the segment, `reference & UNIT_MASK` the unit in it. */
export const SEGMENT_SHIFT = 20;
export const UNIT_MASK = (1 << SEGMENT_SHIFT) - 1;
/** Largest block: half a segment, so that the unused end of a segment is at most that. */
export const BLOCK_BYTES_MAX = 8 << 20;

const SEGMENT_UNITS = 1 << SEGMENT_SHIFT;
const FIRST_SEGMENT_UNITS = SEGMENT_UNITS >>> 4;
const SEGMENTS_MAX = 1 << (31 - SEGMENT_SHIFT);
/** Size of a segment that is made although there is no room for it: this share of the bound, but not more than the second. */
const OVERRUN_SHARE = 1 / 16;
const OVERRUN_UNITS_MAX = SEGMENT_UNITS >>> 2;
/** Free blocks are joined again when so much was released since, as a share of what is free: each release pays for a few. */
const JOIN_SHARE = 1 / 8;
const LINEAR_CLASSES = 16;
const NO_WORDS = new Int32Array(0);
const CLASS_COUNT = sizeClassOf(BLOCK_BYTES_MAX) + 1;

/** One stretch of memory, seen four ways. Word index of a block = `(reference & UNIT_MASK) << 2`. */
export class Segment {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly view: DataView;

  /** @param start a multiple of 8. */
  constructor(buffer: ArrayBuffer, start: number, bytes: number) {
    this.u8 = new Uint8Array(buffer, start, bytes);
    this.i32 = new Int32Array(buffer, start, bytes >>> 2);
    this.f64 = new Float64Array(buffer, start, bytes >>> 3);
    this.view = new DataView(buffer, start, bytes);
  }
}

export class Slab {
  /** Indexed by `reference >>> SEGMENT_SHIFT`. */
  readonly segments: Segment[] = [];
  /** Where segments lie as long as there is room; undefined: each in memory of its own. */
  readonly memory: KernelMemory | undefined;
  /** No segment is made beyond it while a free block can serve instead. May be changed at any time. */
  reservedBytesMax = Number.POSITIVE_INFINITY;
  /** Segments made beyond the bound, because free memory was in pieces too small. */
  overruns = 0;
  /** Times that free blocks were joined. */
  joins = 0;
  readonly #free = new Int32Array(CLASS_COUNT);
  #carved = 0;
  #limit = 0;
  #usedUnits = 0;
  #reservedUnits = 0;
  #releasedUnits = 0;
  #viewed: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#viewed.buffer);
  #words: Int32Array = NO_WORDS;

  constructor(memory?: KernelMemory) {
    this.memory = memory;
  }

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
    const units = unitsOfClass(sizeClass);
    this.#usedUnits -= units;
    this.#releasedUnits += units;
    this.#shelve(ref, sizeClass);
  }

  /**
   * A DataView of the same bytes as `source`, for copies by the word. The last one is kept: records come from the
   * same ring many times in a row.
   */
  viewOf(source: Uint8Array): DataView {
    if (source !== this.#viewed) this.#enter(source);
    return this.#view;
  }

  /** The words of `source`, as far as they are whole; none when it does not begin on a word. The last one is kept. */
  wordsOf(source: Uint8Array): Int32Array {
    if (source !== this.#viewed) this.#enter(source);
    return this.#words;
  }

  #enter(source: Uint8Array): void {
    const isAligned = (source.byteOffset & 3) === 0;
    this.#viewed = source;
    this.#view = new DataView(source.buffer, source.byteOffset, source.byteLength);
    this.#words = isAligned ? new Int32Array(source.buffer, source.byteOffset, source.byteLength >>> 2) : NO_WORDS;
  }

  #shelve(ref: number, sizeClass: number): void {
    const segment = this.segments[ref >>> SEGMENT_SHIFT] as Segment;
    segment.i32[(ref & UNIT_MASK) << 2] = this.#free[sizeClass] as number;
    this.#free[sizeClass] = ref;
  }

  #carve(units: number): number {
    if (this.#carved + units > this.#limit && !this.#addSegmentWithin(units)) {
      const ref = this.#cutOrJoin(units);
      if (ref !== 0) return ref;
      this.overruns += 1;
      const boundUnits = Math.floor((this.reservedBytesMax * OVERRUN_SHARE) / UNIT_BYTES);
      this.#addSegment(Math.max(units, Math.min(boundUnits, OVERRUN_UNITS_MAX)));
    }
    const ref = this.#carved;
    this.#carved += units;
    return ref;
  }

  /** Makes a segment if the bound allows it, the last one as large as there is room. The first one is always made. */
  #addSegmentWithin(units: number): boolean {
    const isFirst = this.segments.length === 0;
    const wanted = isFirst && units < FIRST_SEGMENT_UNITS ? FIRST_SEGMENT_UNITS : SEGMENT_UNITS;
    const room = Math.floor((this.reservedBytesMax - this.reservedBytes) / UNIT_BYTES);
    if (room < wanted && !isFirst && room < Math.max(units, FIRST_SEGMENT_UNITS)) return false;
    this.#addSegment(isFirst ? wanted : Math.min(room, wanted));
    return true;
  }

  #addSegment(units: number): void {
    this.#shelveSpan(this.#carved, this.#limit - this.#carved);
    const index = this.segments.length;
    assert(index < SEGMENTS_MAX, 'slab is full: 32 GiB');
    this.segments.push(this.#newSegment(index, units * UNIT_BYTES));
    this.#reservedUnits += units;
    this.#carved = index * SEGMENT_UNITS;
    this.#limit = this.#carved + units;
    if (index === 0) this.#carved += 1; // reference 0 means none
  }

  #newSegment(index: number, bytes: number): Segment {
    const memory = this.memory;
    const address = memory === undefined ? 0 : memory.takeSegment(index, bytes);
    if (memory === undefined || address === 0) return new Segment(new ArrayBuffer(bytes), 0, bytes);
    return new Segment(memory.buffer, address, bytes);
  }

  /** A block from a larger free one, or 0. */
  #cutOrJoin(units: number): number {
    const ref = this.#cut(units);
    if (ref !== 0 || this.#releasedUnits < (this.#reservedUnits - this.#usedUnits) * JOIN_SHARE) return ref;
    this.#join();
    return this.#cut(units);
  }

  /** Takes the smallest free block that is large enough and gives the rest of it back. */
  #cut(units: number): number {
    for (let sizeClass = sizeClassOf(units * UNIT_BYTES); sizeClass < CLASS_COUNT; sizeClass++) {
      const ref = this.#free[sizeClass] as number;
      if (ref === 0) continue;
      const segment = this.segments[ref >>> SEGMENT_SHIFT] as Segment;
      this.#free[sizeClass] = segment.i32[(ref & UNIT_MASK) << 2] as number;
      this.#shelveSpan(ref + units, unitsOfClass(sizeClass) - units);
      return ref;
    }
    return 0;
  }

  /** Joins free blocks that lie side by side, and puts what they make on the free lists anew. */
  #join(): void {
    const spans = this.#freeSpans();
    this.#free.fill(0);
    let from = 0;
    let units = 0;
    for (const span of spans) {
      const ref = Math.floor(span / SEGMENT_UNITS);
      if (ref !== from + units || (ref & UNIT_MASK) === 0) {
        this.#shelveSpan(from, units);
        from = ref;
        units = 0;
      }
      units += span % SEGMENT_UNITS;
    }
    this.#shelveSpan(from, units);
    this.#releasedUnits = 0;
    this.joins += 1;
  }

  /** Every free block as `reference * 2^20 + units`, by address. */
  #freeSpans(): Float64Array {
    const spans: number[] = [];
    for (let sizeClass = 1; sizeClass < CLASS_COUNT; sizeClass++) {
      const units = unitsOfClass(sizeClass);
      for (let ref = this.#free[sizeClass] as number; ref !== 0; ) {
        spans.push(ref * SEGMENT_UNITS + units);
        ref = (this.segments[ref >>> SEGMENT_SHIFT] as Segment).i32[(ref & UNIT_MASK) << 2] as number;
      }
    }
    return Float64Array.from(spans).sort();
  }

  /** Puts units that follow one another on the free lists. */
  #shelveSpan(from: number, units: number): void {
    let rest = units;
    while (rest > 0) {
      let sizeClass = rest * UNIT_BYTES >= BLOCK_BYTES_MAX ? CLASS_COUNT - 1 : sizeClassOf(rest * UNIT_BYTES);
      if (unitsOfClass(sizeClass) > rest) sizeClass -= 1;
      this.#shelve(from + units - rest, sizeClass);
      rest -= unitsOfClass(sizeClass);
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
