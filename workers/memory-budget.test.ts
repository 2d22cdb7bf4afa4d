import assert from 'node:assert/strict';
import test from 'node:test';
import {
  cgroupMemoryBytes,
  estimatedFixedBytes,
  isBoundTooSmall,
  kernelReserveBytes,
  machineMemoryBytes,
  memoryBound,
  SHARE_BYTES_MIN,
  slabBound,
  workerShare,
} from './memory-budget.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const SIZES = { gateways: 1, workers: 2, ringBytes: 4 * MIB };

function reader(files: Record<string, string>): (path: string) => string | undefined {
  return (path) => files[path];
}

test('the bound is what was configured, else 70 % of the machine or its container', () => {
  assert.equal(memoryBound(0, 8 * GIB, Number.POSITIVE_INFINITY), Math.floor(5.6 * GIB));
  assert.equal(memoryBound(0, 8 * GIB, GIB), Math.floor(0.7 * GIB));
  assert.equal(memoryBound(300 * MIB, 8 * GIB, GIB), 300 * MIB);
});

test('a worker reserves twice its share for the kernel, at most what that can address, and nothing where that would count as taken', () => {
  const lax = reader({ '/proc/sys/vm/overcommit_memory': '0\n' });
  assert.equal(kernelReserveBytes(GIB, 4, lax), GIB / 2);
  assert.equal(kernelReserveBytes(64 * GIB, 4, lax), 4 * GIB);
  assert.equal(kernelReserveBytes(GIB, 4, reader({})), GIB / 2);
  assert.equal(kernelReserveBytes(GIB, 4, reader({ '/proc/sys/vm/overcommit_memory': '2\n' })), 0);
});

test('the memory limit of a container is the smallest on the way to the root, in both versions of cgroups', () => {
  assert.equal(cgroupMemoryBytes(reader({})), Number.POSITIVE_INFINITY);
  const version2 = { '/proc/self/cgroup': '0::/system/app\n', '/sys/fs/cgroup/system/app/memory.max': 'max\n' };
  assert.equal(cgroupMemoryBytes(reader(version2)), Number.POSITIVE_INFINITY);
  assert.equal(cgroupMemoryBytes(reader({ ...version2, '/sys/fs/cgroup/system/memory.max': `${GIB}\n` })), GIB);
  assert.equal(cgroupMemoryBytes(reader({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': '1000\n' })), 1000);
  const version1 = {
    '/proc/self/cgroup': '7:cpu:/x\n4:hugetlb,memory:/docker/1\n',
    '/sys/fs/cgroup/cpu/memory.limit_in_bytes': '1',
  };
  assert.equal(cgroupMemoryBytes(reader({ ...version1, '/sys/fs/cgroup/memory/memory.limit_in_bytes': '2000' })), 2000);
  assert.ok(cgroupMemoryBytes() > 0 && machineMemoryBytes() > 0);
});

test('shares are even, and what the rest of the process turns out to take is taken off', () => {
  const fixed = estimatedFixedBytes(SIZES);
  assert.equal(workerShare(GIB, SIZES, 0, 0), Math.floor((GIB - fixed) / 2));
  assert.equal(workerShare(GIB, SIZES, fixed + 100 * MIB, 100 * MIB), Math.floor((GIB - fixed) / 2));
  assert.equal(workerShare(GIB, SIZES, 500 * MIB, 100 * MIB), Math.floor((GIB - 400 * MIB) / 2));
  assert.equal(workerShare(64 * MIB, SIZES, 500 * MIB, 0), SHARE_BYTES_MIN);
  assert.equal(isBoundTooSmall(GIB, SIZES), false);
  assert.equal(isBoundTooSmall(128 * MIB, SIZES), true);
});

test('a slab gets its share less what stands beside it, and does not grow while the process is above its bound', () => {
  assert.equal(slabBound(160 * MIB, 50 * MIB, 0, false), 100 * MIB);
  assert.equal(slabBound(160 * MIB, 50 * MIB, 33 * MIB, true), 33 * MIB);
  assert.equal(slabBound(160 * MIB, 50 * MIB, 130 * MIB, true), 100 * MIB);
  assert.equal(slabBound(SHARE_BYTES_MIN, 500 * MIB, 1 * MIB, true), SHARE_BYTES_MIN / 2);
});
