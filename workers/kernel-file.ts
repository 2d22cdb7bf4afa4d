/** The compiled kernels, as the build leaves them beside the compiled files. Undefined where nothing is compiled, as in `npm run dev`. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BatchKernel } from '../engine/protocol/batch-kernel.ts';
import { MergeKernel } from '../engine/storage/merge-kernel.ts';

/** A kernel of the scanner of its own for the calling thread. */
export function loadBatchKernel(): BatchKernel | undefined {
  const module = readModule('../engine/protocol/batch-scan.wasm');
  return module && new BatchKernel(module);
}

/** A kernel of merges of its own for the calling thread; also undefined where the system does not let so much memory be reserved. */
export function loadMergeKernel(memoryBytes: number): MergeKernel | undefined {
  const module = readModule('../engine/storage/record-merge.wasm');
  try {
    return module && new MergeKernel(module, memoryBytes);
  } catch (cause) {
    if (cause instanceof RangeError) return undefined;
    throw cause;
  }
}

function readModule(path: string): Uint8Array | undefined {
  const file = fileURLToPath(new URL(path, import.meta.url));
  return existsSync(file) ? readFileSync(file) : undefined;
}
