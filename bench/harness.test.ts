import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutSettings } from './harness.ts';

test('of the settings of whoever runs a benchmark none reaches the product, and what a benchmark has set does', () => {
  const callers = { PATH: '/bin', LATTICE_WAL: 'off', LATTICE_RESP_PORT: '6379' };
  assert.deepEqual(withoutSettings({ ...callers }, callers), { PATH: '/bin' });
  const environment = { ...callers, LATTICE_RESP_PORT: '7000', LATTICE_BENCH_REPLAY: '/frames' };
  assert.deepEqual(withoutSettings(environment, callers), { PATH: '/bin', LATTICE_RESP_PORT: '7000' });
});
