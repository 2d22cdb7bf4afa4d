/**
 * A worker's account of its memory: how much it takes, and from it the bound of its slab.
 *
 *   main thread ─▶ share, over? (shared memory) ──────────────┐
 *   heap, array buffers and kernel's memory of this thread ───┴─▶ slabBound ─▶ Eviction
 *
 * What the thread takes besides the slab is measured, garbage included; the least of the last few samples counts, so
 * that a moment's buffers do not drive values out.
 */
import type { Eviction } from '../engine/storage/eviction.ts';
import type { Slab } from '../engine/storage/slab.ts';
import { slabBound } from './memory-budget.ts';

/** What the main thread says; in GridState. */
export interface MemoryShare {
  /** Bytes of a worker's share; 0 while not yet known. */
  readonly workerMemoryBytesMax: number;
  /** The process is above its bound. */
  readonly isMemoryOver: boolean;
}

/** Heap and array buffers of a thread, as `process.memoryUsage` tells them in that thread. */
export interface ThreadMemory {
  readonly heapTotal: number;
  readonly arrayBuffers: number;
}

const SAMPLES = 4;

export class WorkerMemory {
  /** Slab and all else: what counts against the share. */
  usedBytes = 0;
  readonly #slab: Slab;
  readonly #eviction: Eviction;
  readonly #share: MemoryShare;
  readonly #measure: () => ThreadMemory;
  readonly #samples: number[] = [];

  constructor(slab: Slab, eviction: Eviction, share: MemoryShare, measure: () => ThreadMemory = process.memoryUsage) {
    this.#slab = slab;
    this.#eviction = eviction;
    this.#share = share;
    this.#measure = measure;
  }

  /** Takes a sample and sets the slab's bound. On each tick of statistics, and before a load. */
  sample(): void {
    const { heapTotal, arrayBuffers } = this.#measure();
    const reservedBytes = this.#slab.reservedBytes;
    const kernelBytes = this.#slab.memory?.takenBytes ?? 0; // Node does not count it among the array buffers
    this.#samples.push(Math.max(0, heapTotal + arrayBuffers + kernelBytes - reservedBytes));
    if (this.#samples.length > SAMPLES) this.#samples.shift();
    const otherBytes = Math.min(...this.#samples);
    this.usedBytes = reservedBytes + otherBytes;
    const { workerMemoryBytesMax, isMemoryOver } = this.#share;
    if (workerMemoryBytesMax > 0)
      this.#eviction.setBound(slabBound(workerMemoryBytesMax, otherBytes, reservedBytes, isMemoryOver));
  }
}
