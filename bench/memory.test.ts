import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadLattice, measureLattice, measureProcess, measureRedis } from './memory.bench.ts';
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

test('a run inside a process has figures when its store has every record, and is void when one is missing', async (t) => {
  const whole = await measureProcess({ store: 'js-map', records: 300 });
  assert.ok(typeof whole !== 'string' && (whole.loadMs ?? 0) > 0, String(whole));
  const folder = mkdtempSync(join(tmpdir(), 'lattice-bench-test-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const script = join(folder, 'store.mjs');
  const answer = '{ rssGrowthBytes: 1, loadMs: 1, records: records - 1 }';
  writeFileSync(script, `process.once('message', ({ records }) => process.send(${answer}, () => process.disconnect()));`);
  const lossy = await measureProcess({ store: 'js-map', records: 300 }, undefined, script);
  assert.equal(lossy, 'void: 300 records sent, 299 there');
  writeFileSync(script, "process.once('message', () => process.exit(3));");
  await assert.rejects(measureProcess({ store: 'js-map', records: 300 }, undefined, script), /ended with 3 and without a report/);
});
