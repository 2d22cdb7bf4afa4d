import assert from 'node:assert/strict';
import test from 'node:test';
import { workerHeapLimits } from './worker-heap.ts';

const GIB = 1024 ** 3;

test('workers share a quarter of the memory bound, within limits', () => {
  assert.deepEqual(workerHeapLimits(16 * GIB, 4), { maxOldGenerationSizeMb: 1024 });
  assert.deepEqual(workerHeapLimits(1 * GIB, 8), { maxOldGenerationSizeMb: 512 });
  assert.deepEqual(workerHeapLimits(512 * GIB, 1), { maxOldGenerationSizeMb: 4096 });
});
