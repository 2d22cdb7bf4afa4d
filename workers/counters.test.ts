import assert from 'node:assert/strict';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { CounterRow, createCounters, LoopDelaySampler, THREAD_COUNTERS } from './counters.ts';

const NAMES = ['sent', 'received', 'refused'] as const;

test('rows do not touch each other, and start at 0', () => {
  const memory = createCounters(NAMES, 3);
  const rows = [0, 1, 2].map((row) => new CounterRow(memory, NAMES, row));
  const [first, second, third] = rows as [CounterRow<'sent'>, CounterRow<'sent'>, CounterRow<'sent'>];
  second.set('sent', 5);
  second.add(second.indexOf('sent'), 2);
  assert.deepEqual([first.get('sent'), second.get('sent'), third.get('sent')], [0, 7, 0]);
  assert.throws(() => new CounterRow(memory, NAMES, 3), /row 3 of 3/);
});

test('all names are read with their values', () => {
  const row = new CounterRow(createCounters(NAMES, 1), NAMES, 0);
  for (const [n, name] of NAMES.entries()) row.set(name, n + 1);
  const all = row.read();
  assert.deepEqual(Object.keys(all), [...NAMES]);
  assert.deepEqual(Object.values(all), [1, 2, 3]);
});

test('another thread sees what was counted', { timeout: 20_000 }, async () => {
  const memory = createCounters(THREAD_COUNTERS, 1);
  const source = `new Float64Array(require('node:worker_threads').workerData)[${THREAD_COUNTERS.indexOf('records')}] = 42;`;
  const worker = new Worker(source, { eval: true, workerData: memory });
  await new Promise((resolve) => worker.once('exit', resolve));
  assert.equal(new CounterRow(memory, THREAD_COUNTERS, 0).get('records'), 42);
});

test('a blocked event loop shows as delay, and only in the sample it happened in', { timeout: 20_000 }, async () => {
  const row = new CounterRow(createCounters(THREAD_COUNTERS, 1), THREAD_COUNTERS, 0);
  const sampler = new LoopDelaySampler(row);
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await pause(420); // the sampler's timer must have fired once
  const blockedUntil = performance.now() + 700;
  while (performance.now() < blockedUntil);
  await pause(220);
  sampler.sample();
  assert.ok(row.get('loopDelayMaxMs') > 150, `${row.get('loopDelayMaxMs')} ms`);
  sampler.sample();
  sampler.stop();
  assert.equal(row.get('loopDelayMaxMs'), 0);
});
