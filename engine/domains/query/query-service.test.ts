/** How much a worker tells of its live queries at a time. What it tells is in live-query.property.test.ts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClientView, QueryGrid } from '../testing/query-grid.ts';

const MIB = 1024 * 1024;

function gridThatReads(): QueryGrid {
  return new QueryGrid({ workers: 1, waitingBytes: (pushedBytes) => pushedBytes });
}

/** Lets the worker tell once more, and returns how many bytes it told. */
function bytesTold(grid: QueryGrid): number {
  const [worker] = grid.workers;
  assert.ok(worker !== undefined);
  worker.service.settled();
  const bytes = worker.pushedBytes;
  grid.settle();
  return bytes;
}

function viewsOf(grid: QueryGrid, count: number): ClientView[] {
  const views = Array.from({ length: count }, () => grid.subscribe({}));
  grid.settleAll();
  return views;
}

test('a long value that many queries show is told to a few of them at a time, and to all in the end', () => {
  const grid = gridThatReads();
  grid.write({ key: 'k', value: 1, millis: 1 });
  const views = viewsOf(grid, 50);
  const value = 'x'.repeat(MIB / 2);
  grid.write({ key: 'k', value, millis: 2 });
  const worst = bytesTold(grid);
  assert.ok(worst < 2 * MIB, `${worst} bytes`);
  assert.ok(grid.workers.some(({ service }) => service.isUnsettled));
  grid.settleAll();
  for (const { rows, told } of views) assert.deepEqual([rows.get('k'), told.UPDATE], [value, 1]);
});

test('a query that is told late is told the newest value, once', () => {
  const grid = gridThatReads();
  grid.write({ key: 'k', value: 1, millis: 1 });
  const views = viewsOf(grid, 20);
  grid.write({ key: 'k', value: 'x'.repeat(MIB), millis: 2 });
  bytesTold(grid);
  grid.write({ key: 'k', value: 2, millis: 3 });
  grid.settleAll();
  const updates = views.map(({ told }) => told.UPDATE);
  assert.ok(updates.filter((times) => times === 1).length > 16, `${updates}`);
  for (const { rows } of views) assert.equal(rows.get('k'), 2);
});

test('one query with many long rows is told of them in parts, and others come in between', () => {
  const grid = gridThatReads();
  const all = grid.subscribe({});
  grid.settleAll();
  const one = grid.subscribe({ predicate: { op: 'eq', attribute: '_key', value: 'k0' } });
  grid.settleAll();
  for (let n = 0; n < 40; n++) grid.write({ key: `k${n}`, value: `${n}`.repeat(MIB / 4), millis: n + 1 });
  const worst = bytesTold(grid);
  assert.ok(worst < 2 * MIB, `${worst} bytes`);
  assert.ok(all.rows.size < 10, `${all.rows.size} rows`);
  bytesTold(grid);
  assert.equal(one.rows.size, 1);
  grid.settleAll();
  assert.equal(all.rows.size, 40);
  assert.deepEqual(all.told, { ENTER: 40, UPDATE: 0, LEAVE: 0 });
});

test('first results wait for their turn as well, and each comes whole', () => {
  const grid = gridThatReads();
  for (let n = 0; n < 3; n++) grid.write({ key: `k${n}`, value: 'x'.repeat(MIB / 4), millis: n + 1 });
  const views = Array.from({ length: 20 }, () => grid.subscribe({}));
  const worst = bytesTold(grid);
  assert.ok(worst < 2 * MIB, `${worst} bytes`);
  assert.ok(views.filter(({ response }) => response !== undefined).length < 4);
  grid.settleAll();
  for (const { response } of views) assert.equal(response?.length, 3);
});
