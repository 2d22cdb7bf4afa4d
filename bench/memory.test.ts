import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadLattice, measureLattice, measureRedis } from './memory.bench.ts';
import { keyOf } from './memory-records.ts';
import { redisMissing } from './redis-peer.ts';

test('a run of the server has figures when every record is there after its restart, and is void when some are not', async () => {
  const whole = await measureLattice(300);
  assert.ok(typeof whole !== 'string' && (whole.restartMs ?? 0) > 0 && (whole.loadMs ?? 0) > 0, String(whole));
  assert.equal(await measureLattice(300, (port) => loadLattice(port, 200)), 'void: 300 records sent, 200 there');
});

test('a run of Redis is void when two records were one', { skip: redisMissing() ?? false }, async () => {
  const whole = await measureRedis(300);
  assert.ok(typeof whole !== 'string' && (whole.restartMs ?? 0) > 0, String(whole));
  const lossy = await measureRedis(300, (record) => keyOf(record === 17 ? 0 : record));
  assert.equal(lossy, 'void: 300 records sent, 299 there');
});
