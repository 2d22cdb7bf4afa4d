import assert from 'node:assert/strict';
import test from 'node:test';
import { Eviction } from '../engine/storage/eviction.ts';
import { Slab } from '../engine/storage/slab.ts';
import { WorkerMemory } from './worker-memory.ts';

const MIB = 1024 ** 2;

function world(share: { workerMemoryBytesMax: number; isMemoryOver: boolean }): {
  memory: WorkerMemory;
  eviction: Eviction;
  slab: Slab;
  thread: { heapTotal: number; arrayBuffers: number };
} {
  const slab = new Slab();
  const eviction = new Eviction({ slab, stores: () => [], policy: 'lru', random: () => 0 });
  const thread = { heapTotal: 30 * MIB, arrayBuffers: 20 * MIB };
  const measure = (): typeof thread => ({ ...thread, arrayBuffers: thread.arrayBuffers + slab.reservedBytes });
  return { memory: new WorkerMemory(slab, eviction, share, measure), eviction, slab, thread };
}

test('the slab may reserve what the share leaves, and a moment of many buffers does not count', () => {
  const { memory, eviction, slab, thread } = world({ workerMemoryBytesMax: 160 * MIB, isMemoryOver: false });
  slab.allocate(100);
  memory.sample();
  assert.deepEqual([eviction.boundBytes, slab.reservedBytesMax, memory.usedBytes], [100 * MIB, 100 * MIB, 51 * MIB]);
  thread.arrayBuffers += 30 * MIB;
  memory.sample();
  assert.equal(eviction.boundBytes, 100 * MIB);
  for (let sample = 0; sample < 4; sample++) memory.sample();
  assert.equal(eviction.boundBytes, 70 * MIB);
});

test('until the share is known there is no bound, and above the bound of the process a slab stays as it is', () => {
  const share = { workerMemoryBytesMax: 0, isMemoryOver: true };
  const { memory, eviction, slab } = world(share);
  memory.sample();
  assert.equal(eviction.boundBytes, Number.POSITIVE_INFINITY);
  for (let block = 0; block < 4; block++) slab.allocate(8 * MIB);
  share.workerMemoryBytesMax = 500 * MIB;
  memory.sample();
  assert.equal(eviction.boundBytes, slab.reservedBytes);
});

test('what a thread allocates is found in its own account', () => {
  const slab = new Slab();
  const eviction = new Eviction({ slab, stores: () => [], policy: 'lru', random: () => 0 });
  const memory = new WorkerMemory(slab, eviction, { workerMemoryBytesMax: 0, isMemoryOver: false });
  memory.sample();
  const before = memory.usedBytes;
  const held = new ArrayBuffer(512 * MIB); // what the tests before let go may be collected meanwhile: tens of MiB
  for (let sample = 0; sample < 4; sample++) memory.sample();
  assert.ok(memory.usedBytes - before > 320 * MIB, `${memory.usedBytes - before} of ${held.byteLength} bytes`);
});
