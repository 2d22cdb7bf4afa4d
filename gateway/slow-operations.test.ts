import assert from 'node:assert/strict';
import test from 'node:test';
import { SlowOperations } from './slow-operations.ts';

test('only what took long is told and kept, the newest first', () => {
  let nowMs = 0;
  const told: string[] = [];
  const slow = new SlowOperations(
    100,
    () => nowMs,
    (type, tookMs) => told.push(`${type} ${tookMs}`),
  );
  slow.ended('OP_BATCH', 99);
  nowMs = 10;
  slow.ended('SYNC_INIT', 100);
  nowMs = 20;
  slow.ended('OP_BATCH', 5000);
  assert.deepEqual(told, ['SYNC_INIT 100', 'OP_BATCH 5000']);
  assert.deepEqual(slow.recent(), [
    { type: 'OP_BATCH', tookMs: 5000, atMs: 20 },
    { type: 'SYNC_INIT', tookMs: 100, atMs: 10 },
  ]);
});

test('a slow moment tells a few a second and says how many it left out, and keeps the last of them', () => {
  let nowMs = 0;
  const told: number[] = [];
  const slow = new SlowOperations(
    1,
    () => nowMs,
    (_type, _tookMs, notTold) => told.push(notTold),
  );
  for (let operation = 1; operation <= 300; operation++) slow.ended('OP_BATCH', operation);
  nowMs = 1000;
  slow.ended('OP_BATCH', 301);
  assert.deepEqual([told.length, told.at(-1)], [11, 290]);
  const recent = slow.recent();
  assert.deepEqual([recent.length, recent[0]?.tookMs, recent.at(-1)?.tookMs], [128, 301, 174]);
});
