/**
 * Memory that the kernel of merges can read (merge-kernel.ts): what of a worker's records lies in it, and where.
 *
 *   0 ─ kernel's own ─ FREE ─▶ segments, chunks of slots, tables, as they are made ─▶ end      never given back
 *   chunk of slots     [ 1 MiB ] = [ 512 KiB | 256 | 128 | 64 … ]      halves that are both free are one again
 *
 * The whole of it is reserved at once, since memory that grows would take all views of it away; the system gives pages as they
 * are touched. Beyond its end there is memory of JavaScript as ever, which the kernel leaves alone; segments leave some room
 * for the slots by which their records are found.
 *
 * The indexes of a map double at about the same time, so what they let go is of no use before it is joined. Source: buddy
 * system, Knuth, The Art of Computer Programming, volume 1, section 2.5.
 */
import { assert } from '../assert.ts';
import { type WebAssemblyMemory, webAssembly } from '../web-assembly.ts';

const PAGE_BYTES = 65_536;
/** One less than there can be: an address behind the last byte must be a number of 32 bits. */
const PAGES_MAX = 65_535;
const PAGES_MIN = 64;
const ALIGNED_BYTES = 64;
const CHUNK_ORDER = 20;
/** Of the memory, what segments leave. */
const SLOTS_SHARE = 1 / 8;

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
  /** Addresses of free slots by the logarithm of their bytes. */
  readonly #free: readonly Set<number>[] = Array.from({ length: 32 }, () => new Set<number>());

  /** @param bytes to reserve. Throws what the system says when it does not let that much be reserved. */
  constructor(bytes: number) {
    const pages = Math.min(PAGES_MAX, Math.max(PAGES_MIN, Math.ceil(bytes / PAGE_BYTES)));
    this.memory = new webAssembly.Memory({ initial: pages, maximum: pages });
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

  /** Room of so many bytes, all 0, from a multiple of `aligned` on; 0 when there is none. */
  take(bytes: number, aligned: number = ALIGNED_BYTES): number {
    const address = Math.ceil(this.#next / aligned) * aligned;
    const end = address + Math.ceil(bytes / ALIGNED_BYTES) * ALIGNED_BYTES;
    if (address === 0 || end > this.buffer.byteLength) return 0;
    this.#next = end;
    return address;
  }

  /** As `take`, for a segment of the slab, by its number. */
  takeSegment(index: number, bytes: number): number {
    const hasRoom = this.#next + bytes <= this.buffer.byteLength * (1 - SLOTS_SHARE);
    const address = hasRoom && index < this.#segments.length ? this.take(bytes) : 0;
    if (address !== 0) this.#segments[index] = address;
    return address;
  }

  /** Slots of an index, all 0: a power of two of words, 16 or more. Where there is no room, memory that the kernel does not see. */
  makeSlots(words: number): Int32Array {
    const address = this.#claim(orderOf(words));
    return address === 0 ? new Int32Array(words) : new Int32Array(this.buffer, address, words).fill(0);
  }

  /** Lets slots go. */
  releaseSlots(slots: Int32Array): void {
    let address = this.addressOf(slots);
    if (address === 0) return;
    let order = orderOf(slots.length);
    for (; order < CHUNK_ORDER; order++) {
      const half = buddyOf(address, order);
      if (this.#free[order]?.delete(half) !== true) break;
      address = Math.min(address, half);
    }
    this.#free[order]?.add(address);
  }

  /** Where the kernel sees them; 0 when it does not. */
  addressOf(slots: Int32Array): number {
    return slots.buffer === this.buffer ? slots.byteOffset : 0;
  }

  /** A free place of 2^order bytes: one that was let go, half of a larger one, or of a new chunk; 0 when there is no room. */
  #claim(order: number): number {
    for (const address of this.#free[order] ?? []) {
      this.#free[order]?.delete(address);
      return address;
    }
    if (order >= CHUNK_ORDER) return this.take(2 ** order, 2 ** CHUNK_ORDER);
    const whole = this.#claim(order + 1);
    if (whole !== 0) this.#free[order]?.add(whole + 2 ** order);
    return whole;
  }
}

function orderOf(words: number): number {
  return 33 - Math.clz32(words);
}

/** The other half of the place of twice the size. */
function buddyOf(address: number, order: number): number {
  return (address ^ (1 << order)) >>> 0;
}
