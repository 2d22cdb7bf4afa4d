/** The compiled kernel of the scanner (engine/protocol/batch-kernel.ts), as the build leaves it beside the compiled files. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BatchKernel } from '../engine/protocol/batch-kernel.ts';

/** A kernel of its own for the calling thread; undefined where nothing is compiled, as in `npm run dev`. */
export function loadBatchKernel(): BatchKernel | undefined {
  const path = fileURLToPath(new URL('../engine/protocol/batch-scan.wasm', import.meta.url));
  return existsSync(path) ? new BatchKernel(readFileSync(path)) : undefined;
}
