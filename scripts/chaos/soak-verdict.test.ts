/** What grows is told from what only moves. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { judgeSoak, lineThrough, type Sample, type SoakBounds } from './soak-verdict.ts';

const MIB = 1024 * 1024;
const BOUNDS: SoakBounds = {
  warmUp: 0.3,
  rssRisePercentMax: 5,
  descriptorsSpreadMax: 20,
  stagedBytesMax: 64 * MIB,
  logBytesMax: 256 * MIB,
  tombstonesGrowthMax: 1.3,
};

function samples(change: (index: number) => Partial<Sample>): Sample[] {
  return Array.from({ length: 60 }, (_, index) => ({
    atMs: index * 10_000,
    rssBytes: 300 * MIB + (index % 5) * MIB,
    heapBytes: 40 * MIB,
    slabBytes: 8 * MIB,
    descriptors: 60 + (index % 7),
    threads: 12,
    records: 5000,
    tombstones: 1000 + (index % 11) * 20,
    stagedBytes: MIB,
    logBytes: 8 * MIB,
    ...change(index),
  }));
}

test('a node that moves and does not grow passes, also when it grew while it warmed up', () => {
  assert.deepEqual(
    judgeSoak(
      samples(() => ({})),
      BOUNDS,
    ).failures,
    [],
  );
  const warming = samples((index) => (index < 15 ? { rssBytes: (100 + index * 10) * MIB } : {}));
  assert.deepEqual(judgeSoak(warming, BOUNDS).failures, []);
  const dying = samples((index) => (index === 50 || index === 59 ? { rssBytes: 500 * MIB } : {}));
  assert.deepEqual(judgeSoak(dying, BOUNDS).failures, [], 'a peak of one sample');
});

test('each thing that grows is named', () => {
  for (const [change, pattern] of [
    [(index: number) => ({ rssBytes: (300 + index) * MIB }), /RSS rises by 1\d\.\d %/],
    [(index: number) => ({ descriptors: 60 + index }), /descriptors differ by/],
    [(index: number) => ({ stagedBytes: index === 7 ? 65 * MIB : 0 }), /are staged/],
    [(index: number) => ({ logBytes: index * 5 * MIB }), /the log has/],
    [(index: number) => ({ tombstones: index * 100 }), /tombstones rise from/],
  ] as const) {
    const { failures } = judgeSoak(samples(change), BOUNDS);
    assert.equal(failures.length, 1, failures.join('; '));
    assert.match(failures[0] ?? '', pattern);
  }
});

test('too few samples are no proof', () => {
  assert.match(judgeSoak(samples(() => ({})).slice(0, 4), BOUNDS).failures[0] ?? '', /too few/);
});

test('the line through points has their slope', () => {
  const { slope, mean } = lineThrough([
    [0, 1],
    [1, 3],
    [2, 5],
  ]);
  assert.equal(slope, 2);
  assert.equal(mean, 3);
});
