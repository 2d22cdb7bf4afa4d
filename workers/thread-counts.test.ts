import assert from 'node:assert/strict';
import test from 'node:test';
import { availableCores, cgroupQuotaCores, coresWithin, gatewayThreads, workerThreads } from './thread-counts.ts';

test('threads per number of cores', () => {
  const table: [cores: number, gateways: number, workers: number][] = [
    [1, 1, 1],
    [2, 1, 1],
    [3, 1, 2],
    [4, 1, 2],
    [6, 1, 3],
    [8, 2, 4],
    [12, 3, 6],
    [16, 4, 8],
    [64, 4, 8],
  ];
  for (const [cores, gateways, workers] of table) {
    assert.equal(gatewayThreads(cores), gateways, `gateways of ${cores} cores`);
    assert.equal(workerThreads(cores, gateways), workers, `workers of ${cores} cores`);
  }
  assert.equal(workerThreads(4, 3), 1, 'more gateways by configuration leave fewer workers');
});

test('cores are the smaller of what there is and what is allowed, and at least 1', () => {
  assert.equal(coresWithin(8, Number.POSITIVE_INFINITY), 8);
  assert.equal(coresWithin(8, 2.5), 2);
  assert.equal(coresWithin(8, 0.5), 1);
  assert.equal(coresWithin(2, 16), 2);
  assert.ok(availableCores() >= 1);
});

function quota(files: Record<string, string>): number {
  return cgroupQuotaCores((path) => files[path]);
}

test('a quota is found in either version of cgroups, the smallest on the way to the root', () => {
  assert.equal(quota({}), Number.POSITIVE_INFINITY);
  assert.equal(quota({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': '150000 100000\n' }), 1.5);
  assert.equal(quota({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/cpu.max': 'max 100000\n' }), Number.POSITIVE_INFINITY);
  const nested = {
    '/proc/self/cgroup': '0::/system.slice/lattice.service\n',
    '/sys/fs/cgroup/system.slice/lattice.service/cpu.max': '400000 100000\n',
    '/sys/fs/cgroup/system.slice/cpu.max': '300000 100000\n',
  };
  assert.equal(quota(nested), 3);
  const version1 = {
    '/proc/self/cgroup': '12:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n',
    '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '200000\n',
    '/sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n',
  };
  assert.equal(quota(version1), 2);
  assert.equal(quota({ ...version1, '/sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n' }), Number.POSITIVE_INFINITY);
});
