/**
 * How much JavaScript heap a partition worker may have.
 *
 * Records live outside of the heap, in slabs; on it are staging, catalogues and what a question is answered with. A
 * thread that reaches the limit ends, alone, and is replaced; without one it would take the machine's memory first.
 */
import type { ResourceLimits } from 'node:worker_threads';

const MIB = 1024 * 1024;
/** Share of the process's memory for the heaps of all workers. */
const HEAP_SHARE = 0.25;
const HEAP_MB_MIN = 512;
const HEAP_MB_MAX = 4096;

/** Limits of each of `workers` threads of a process that may take `memoryBytes`. */
export function workerHeapLimits(memoryBytes: number, workers: number): ResourceLimits {
  const shareMb = Math.floor((memoryBytes * HEAP_SHARE) / workers / MIB);
  return { maxOldGenerationSizeMb: Math.min(HEAP_MB_MAX, Math.max(HEAP_MB_MIN, shareMb)) };
}
