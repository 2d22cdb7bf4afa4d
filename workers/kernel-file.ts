/**
 * The compiled kernels, as the build leaves them beside the compiled files. Undefined where nothing is compiled, as in `npm run dev`,
 * and where the system does not let their memory be reserved (of which V8 keeps 10 GiB of addresses each, whatever its size).
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BatchKernel } from '../engine/protocol/batch-kernel.ts';
import { MergeKernel } from '../engine/storage/merge-kernel.ts';

const RESERVED_BYTES_MIN = 64 << 20;

/** A kernel of the scanner of its own for the calling thread. */
export function loadBatchKernel(): BatchKernel | undefined {
  const module = readModule('../engine/protocol/batch-scan.wasm');
  return module && unlessRefused(() => new BatchKernel(module));
}

/**
 * A kernel of merges of its own for the calling thread, with `memoryBytes` or as much of it as the system allows; with 0, none.
 * `onRefused` is called when that is too little.
 */
export function loadMergeKernel(memoryBytes: number, onRefused: () => void = () => {}): MergeKernel | undefined {
  const module = readModule('../engine/storage/record-merge.wasm');
  if (module === undefined || memoryBytes === 0) return undefined;
  for (let bytes = memoryBytes; ; bytes /= 2) {
    const kernel = unlessRefused(() => new MergeKernel(module, bytes));
    if (kernel !== undefined) return kernel;
    if (bytes <= RESERVED_BYTES_MIN) break;
  }
  onRefused();
  return undefined;
}

/** Undefined when V8 refuses the memory: by RangeError when the system has not so much, by TypeError when it is more than it takes. */
function unlessRefused<Kernel>(make: () => Kernel): Kernel | undefined {
  try {
    return make();
  } catch (cause) {
    if (cause instanceof RangeError || cause instanceof TypeError) return undefined;
    throw cause;
  }
}

function readModule(path: string): Uint8Array | undefined {
  const file = fileURLToPath(new URL(path, import.meta.url));
  return existsSync(file) ? readFileSync(file) : undefined;
}
