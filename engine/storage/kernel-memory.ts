/**
 * Memory that the kernel of merges can read (merge-kernel.ts): what of a worker's records lies in it, and where.
 *
 *   0 ─ kernel's own ─ FREE ─▶ segments, slots of indexes, tables, as they are made ─▶ end
 *                              never given back; slots that are let go are kept for others of their size
 *
 * The whole of it is reserved at once, since memory that grows would take all views of it away; the system gives pages as they
 * are touched. Beyond its end there is memory of JavaScript as ever, which the kernel leaves alone.
 */
import { assert } from '../assert.ts';
import { type WebAssemblyMemory, webAssembly } from '../web-assembly.ts';

const PAGE_BYTES = 65_536;
/** One less than there can be: an address behind the last byte must be a number of 32 bits. */
const PAGES_MAX = 65_535;
const PAGES_MIN = 32;
const ALIGNED_BYTES = 64;

/** Fixed places, as the module exports them. */
export interface KernelPlaces {
  readonly SEGMENTS: { readonly value: number };
  readonly SEGMENTS_MAX: { readonly value: number };
  readonly FREE: { readonly value: number };
}

export class KernelMemory {
  readonly memory: WebAssemblyMemory;
  readonly buffer: ArrayBuffer;
  readonly words: Int32Array;
  #segments: Int32Array = new Int32Array(0);
  #next = 0;
  #first = 0;
  /** By the logarithm of their words: addresses of slots that were let go. */
  readonly #spare: number[][] = Array.from({ length: 32 }, () => []);

  /** @param bytes to reserve; a RangeError says that the system does not let that much be reserved. */
  constructor(bytes: number) {
    const pages = Math.min(PAGES_MAX, Math.max(PAGES_MIN, Math.ceil(bytes / PAGE_BYTES)));
    this.memory = new webAssembly.Memory({ initial: pages });
    this.buffer = this.memory.buffer;
    this.words = new Int32Array(this.buffer);
  }

  /** Says where the module has its own. Once, before anything is taken. */
  begin({ SEGMENTS, SEGMENTS_MAX, FREE }: KernelPlaces): void {
    assert(this.#next === 0, 'one module a memory');
    this.#segments = new Int32Array(this.buffer, SEGMENTS.value, SEGMENTS_MAX.value);
    this.#first = FREE.value;
    this.#next = FREE.value;
  }

  /** Bytes of all that was taken, let go or not. */
  get takenBytes(): number {
    return this.#next - this.#first;
  }

  /** Room of so many bytes, all 0, from a multiple of 64 on; 0 when there is none. */
  take(bytes: number): number {
    const address = this.#next;
    const end = address + Math.ceil(bytes / ALIGNED_BYTES) * ALIGNED_BYTES;
    if (address === 0 || end > this.buffer.byteLength) return 0;
    this.#next = end;
    return address;
  }

  /** As `take`, for a segment of the slab, by its number. */
  takeSegment(index: number, bytes: number): number {
    const address = index < this.#segments.length ? this.take(bytes) : 0;
    if (address !== 0) this.#segments[index] = address;
    return address;
  }

  /** Slots of an index, all 0: a power of two of words. Where there is no room, memory that the kernel does not see. */
  makeSlots(words: number): Int32Array {
    const spare = this.#spare[31 - Math.clz32(words)]?.pop();
    if (spare !== undefined) return new Int32Array(this.buffer, spare, words).fill(0);
    const address = this.take(words * 4);
    return address === 0 ? new Int32Array(words) : new Int32Array(this.buffer, address, words);
  }

  /** Lets slots go. */
  releaseSlots(slots: Int32Array): void {
    const address = this.addressOf(slots);
    if (address !== 0) this.#spare[31 - Math.clz32(slots.length)]?.push(address);
  }

  /** Where the kernel sees them; 0 when it does not. */
  addressOf(slots: Int32Array): number {
    return slots.buffer === this.buffer ? slots.byteOffset : 0;
  }
}
