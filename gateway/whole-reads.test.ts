import assert from 'node:assert/strict';
import test from 'node:test';
import { ActMarks } from '../engine/domains/kv/act-marks.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { WholeReads } from './whole-reads.ts';

const MAPS = [new TextEncoder().encode('db0')];

function marks(): ActMarks {
  return new ActMarks(new SharedArrayBuffer(ActMarks.BYTES));
}

test('a read beside no act is made once', async () => {
  let reads = 0;
  const answer = await new WholeReads(marks(), 1000).read(MAPS, async () => ++reads);
  assert.equal(answer, 1);
});

test('a read is made again until no act began meanwhile, and acts are asked to wait while it fails', async () => {
  const acts = marks();
  const readers: number[] = [];
  let reads = 0;
  const answer = await new WholeReads(acts, 10_000).read(MAPS, async () => {
    reads += 1;
    readers.push(acts.readers);
    if (reads < 5) acts.end(acts.begin(MAPS));
    return reads;
  });
  assert.equal(answer, 5);
  assert.deepEqual(readers, [0, 0, 0, 1, 1]);
  assert.equal(acts.readers, 0);
});

test('a read does not begin while an act is under way', async () => {
  const acts = marks();
  const act = acts.begin(MAPS);
  let isOver = false;
  setTimeout(() => {
    isOver = true;
    acts.end(act);
  }, 20);
  assert.equal(await new WholeReads(acts, 10_000).read(MAPS, async () => isOver), true);
});

test('a read that acts leave no room for ends with an error, and keeps nobody waiting', async () => {
  const acts = marks();
  acts.begin(MAPS);
  await assert.rejects(
    new WholeReads(acts, 20).read(MAPS, async () => 1),
    (error) => error instanceof GridError && error.code === 'DEADLINE_EXCEEDED',
  );
  assert.equal(acts.readers, 0);
});

test('what a read rejects with is what comes of it', async () => {
  const acts = marks();
  const failure = new GridError('FORBIDDEN', 'no');
  await assert.rejects(
    new WholeReads(acts, 20).read(MAPS, () => Promise.reject(failure)),
    failure,
  );
});
