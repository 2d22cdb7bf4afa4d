import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  ClockError,
  HybridLogicalClock,
  STAMP_MILLIS_MAX,
  type Stamp,
  aheadMs,
  compareBytes,
  compareStamps,
  formatStamp,
  parseStamp,
} from './hlc.ts';

const encoder = new TextEncoder();
const U32_MAX = 0xffffffff;

function compare(a: Stamp, b: Stamp): number {
  const aNode = encoder.encode(a.nodeId);
  const bNode = encoder.encode(b.nodeId);
  return compareStamps(a.millis, a.counter, aNode, 0, aNode.length, b.millis, b.counter, bNode, 0, bNode.length);
}

function compareTexts(a: string, b: string): number {
  return compareBytes(encoder.encode(a), 0, encoder.encode(a).length, encoder.encode(b), 0, encoder.encode(b).length);
}

test('a clock follows the wall and counts within a millisecond', () => {
  let wallMs = 100;
  const clock = new HybridLogicalClock('n', () => wallMs);
  assert.deepEqual(clock.now(), { millis: 100, counter: 0, nodeId: 'n' });
  assert.deepEqual(clock.now(), { millis: 100, counter: 1, nodeId: 'n' });
  wallMs = 90;
  assert.deepEqual(clock.now(), { millis: 100, counter: 2, nodeId: 'n' });
  wallMs = 101;
  assert.deepEqual(clock.now(), { millis: 101, counter: 0, nodeId: 'n' });
});

test('an update takes the latest of clock, wall and remote, and the counter that belongs to it', () => {
  /** last stamp, wall at the update, remote stamp, expected */
  const cases: readonly (readonly [number, number, number, number, number, number])[] = [
    [100, 100, 100, 7, 100, 8],
    [100, 50, 90, 7, 100, 1],
    [100, 50, 200, 7, 200, 8],
    [100, 300, 200, 7, 300, 0],
    [100, 200, 200, 7, 200, 8],
  ];
  for (const [lastMs, wallAtUpdateMs, remoteMs, remoteCounter, millis, counter] of cases) {
    let wallMs = lastMs;
    const clock = new HybridLogicalClock('n', () => wallMs);
    clock.now();
    wallMs = wallAtUpdateMs;
    clock.update({ millis: remoteMs, counter: remoteCounter });
    assert.deepEqual([clock.millis, clock.counter], [millis, counter]);
  }
});

test('a counter that passes 2^32 - 1 moves to the next millisecond', () => {
  const clock = new HybridLogicalClock('n', () => 10);
  clock.update({ millis: 1000, counter: U32_MAX - 1 });
  assert.deepEqual([clock.millis, clock.counter], [1000, U32_MAX]);
  assert.deepEqual(clock.now(), { millis: 1001, counter: 0, nodeId: 'n' });
  clock.update({ millis: 1001, counter: U32_MAX });
  assert.deepEqual([clock.millis, clock.counter], [1002, 0]);
});

test('stamps beyond the Date range, or with a counter that is no u32, leave the clock as it is', () => {
  const clock = new HybridLogicalClock('n', () => 10);
  clock.now();
  for (const millis of [Number.NaN, Number.POSITIVE_INFINITY, STAMP_MILLIS_MAX + 1]) clock.update({ millis, counter: 0 });
  for (const counter of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, U32_MAX + 1]) clock.update({ millis: 11, counter });
  assert.deepEqual([clock.millis, clock.counter], [10, 0]);
});

test('every stamp is after all stamps that the clock gave or saw, however the wall jumps', () => {
  const event = fc.record({
    wallMs: fc.integer({ min: 0, max: 50 }),
    remote: fc.option(fc.record({ millis: fc.integer({ min: 0, max: 60 }), counter: fc.oneof(fc.nat(3), fc.constant(U32_MAX)) })),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      let wallMs = 0;
      let latest: Stamp = { millis: 0, counter: 0, nodeId: 'n' };
      const clock = new HybridLogicalClock('n', () => wallMs);
      for (const { wallMs: nextWallMs, remote } of events) {
        wallMs = nextWallMs;
        if (remote !== null) clock.update(remote);
        const seen = remote === null ? latest : { ...remote, nodeId: 'n' };
        const given = remote === null ? clock.now() : { millis: clock.millis, counter: clock.counter, nodeId: 'n' };
        assert.ok(compare(given, latest) > 0);
        assert.ok(compare(given, seen) > 0);
        assert.ok(given.millis >= wallMs);
        latest = given;
      }
    }),
  );
});

test('a stamp has a text and comes back from it', () => {
  assert.equal(formatStamp({ millis: 1700000000000, counter: 3, nodeId: 'node-a' }), '1700000000000:3:node-a');
  const stamps = fc.record({
    millis: fc.integer({ min: 0, max: STAMP_MILLIS_MAX }),
    counter: fc.integer({ min: 0, max: U32_MAX }),
    nodeId: fc.string({ minLength: 1 }).filter((nodeId) => !nodeId.includes(':')),
  });
  fc.assert(fc.property(stamps, (stamp) => assert.deepEqual(parseStamp(formatStamp(stamp)), { ...stamp })));
});

test('a text that is not exactly three parts, or not two whole numbers, is refused', () => {
  const texts = [
    '',
    '1:2',
    '1:2:n:x',
    ':2:n',
    'x:y:n',
    '1:2:',
    '-1:2:n',
    '1.5:2:n',
    '1e3:2:n',
    ' 1:2:n',
    '1:4294967296:n',
    '99999999999999999:0:n',
  ];
  for (const text of texts) {
    assert.throws(
      () => parseStamp(text),
      (error) => error instanceof ClockError && error.code === 'STAMP_TEXT',
    );
  }
});

test('a node id that is empty or holds a colon is refused', () => {
  const refused = (error: unknown) => error instanceof ClockError && error.code === 'NODE_ID';
  for (const nodeId of ['', ':', 'a:b']) {
    assert.throws(() => new HybridLogicalClock(nodeId, () => 0), refused);
    assert.throws(() => formatStamp({ millis: 0, counter: 0, nodeId }), refused);
  }
});

test('node ids order by bytes, not by locale', () => {
  assert.equal(compareTexts('B', 'a'), -1);
  assert.equal(compareTexts('_a', 'a'), -1);
  assert.equal(compareTexts('node-10', 'node-9'), -1);
  assert.equal(compareTexts('node', 'node-1'), -1);
  assert.equal(compareTexts('\uffff', '😀'), -1); // UTF-16 order would say the opposite
  assert.equal(compareTexts('n', 'n'), 0);
  assert.equal(compareTexts('', ''), 0);
});

test('spans compare like the buffers that they are cut from', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 5 }),
      fc.uint8Array({ maxLength: 5 }),
      fc.nat(4),
      fc.nat(4),
      (a, b, aStart, bStart) => {
        const aSource = Buffer.concat([Buffer.alloc(aStart, 7), a, Buffer.alloc(3, 9)]);
        const bSource = Buffer.concat([Buffer.alloc(bStart, 8), b, Buffer.alloc(3, 1)]);
        const order = compareBytes(aSource, aStart, aStart + a.length, bSource, bStart, bStart + b.length);
        assert.equal(order, Buffer.compare(a, b));
      },
    ),
  );
});

test('stamps order by millis, then counter, then node id', () => {
  const ordered: Stamp[] = [
    { millis: 1, counter: 9, nodeId: 'z' },
    { millis: 2, counter: 0, nodeId: 'z' },
    { millis: 2, counter: 1, nodeId: 'a' },
    { millis: 2, counter: 1, nodeId: 'b' },
    { millis: 2, counter: 10, nodeId: 'a' },
  ];
  ordered.forEach((a, aPosition) => {
    ordered.forEach((b, bPosition) => {
      assert.equal(Math.sign(compare(a, b)), Math.sign(aPosition - bPosition));
    });
  });
});

test('a stamp is ahead by its distance to the wall, or not at all', () => {
  assert.equal(aheadMs(160_001, 100_000), 60_001);
  assert.equal(aheadMs(100_000, 100_000), 0);
  assert.equal(aheadMs(1, 100_000), 0);
});
