import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startServer, withoutSettings } from './harness.ts';
import { descendantsOf } from './process-stats.ts';

test('of the settings of whoever runs a benchmark none reaches the product, and what a benchmark has set does', () => {
  const callers = { PATH: '/bin', LATTICE_WAL: 'off', LATTICE_RESP_PORT: '6379' };
  assert.deepEqual(withoutSettings({ ...callers }, callers), { PATH: '/bin' });
  const environment = { ...callers, LATTICE_RESP_PORT: '7000', LATTICE_BENCH_REPLAY: '/frames' };
  assert.deepEqual(withoutSettings(environment, callers), { PATH: '/bin', LATTICE_RESP_PORT: '7000' });
});

test('a server that is abandoned leaves neither itself nor its Postgres behind', {
  skip: process.platform !== 'linux',
}, async () => {
  const server = await startServer('lattice', undefined);
  const processes = [server.pid, ...descendantsOf(server.pid)];
  assert.ok(processes.length > 1, 'it has no Postgres');
  await server.abandon();
  assert.deepEqual(processes.filter(isRunning), []);
});

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
