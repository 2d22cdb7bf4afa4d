import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { fnv1a } from '../partition/hash.ts';
import { type LwwSpan, compareLww, compareLwwStamps, compareLwwValues, expiryMillis, isExpired, lwwEntryHash } from './lww.ts';

const encoder = new TextEncoder();

/** A span as it stands inside a larger buffer. */
function span(millis: number, counter: number, nodeId: string, value: readonly number[]): LwwSpan {
  const node = encoder.encode(nodeId);
  const source = Uint8Array.from([0xff, 0xff, ...node, 0xff, ...value, 0xff]);
  return { source, nodeStart: 2, nodeBytes: node.length, valueStart: 3 + node.length, valueBytes: value.length, millis, counter };
}

function entryHash(key: string, millis: number, counter: number, nodeId: string): number {
  const node = encoder.encode(`##${nodeId}##`);
  return lwwEntryHash(fnv1a(key), millis, counter, node, 2, node.length - 2);
}

const anySpan = fc
  .tuple(fc.nat(2), fc.nat(2), fc.constantFrom('a', 'B', 'node-9', 'node-10', 'é', ''), fc.array(fc.nat(2), { maxLength: 3 }))
  .map(([millis, counter, nodeId, value]) => span(millis, counter, nodeId, value));

test('the entry hash of a record is the one of the client', () => {
  assert.equal(entryHash('key1', 1700000000000, 0, 'node-a'), 356983709);
});

test('the entry hash equals the hash of the text for any key, stamp and node id', () => {
  const millis = fc.oneof(
    fc.maxSafeNat(),
    fc.nat(2000),
    fc.integer({ min: 999_999_990, max: 1_000_000_010 }),
    fc.integer({ min: 1_600_000_000_000, max: 1_900_000_000_000 }),
    fc.double(),
    fc.integer(),
    fc.constantFrom(
      0,
      -0,
      9,
      10,
      99,
      100,
      1e9 - 1,
      1e9,
      1e10,
      2 ** 31,
      2 ** 32,
      2 ** 53 - 1,
      2 ** 53,
      1e21,
      1.5,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ),
  );
  const counter = fc.oneof(fc.nat(20), fc.integer({ min: 0, max: 0xffffffff }), fc.double());
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), millis, counter, fc.string({ unit: 'binary' }), (key, ms, count, nodeId) => {
      assert.equal(entryHash(key, ms, count, nodeId), fnv1a(`${key}:${ms}:${count}:${nodeId}`));
    }),
    { numRuns: 5000 },
  );
});

test('every power of ten and its neighbours hash with the digits that String prints', () => {
  for (let power = 1; power < 2 ** 53; power *= 10) {
    for (const millis of [power - 1, power, power + 1, power * 5]) {
      assert.equal(entryHash('k', millis, 0, 'n'), fnv1a(`k:${millis}:0:n`), String(millis));
    }
  }
});

test('a signed key hash gives the same entry hash as an unsigned one', () => {
  const node = encoder.encode('n');
  assert.equal(lwwEntryHash(fnv1a('hello') | 0, 1, 2, node, 0, 1), lwwEntryHash(fnv1a('hello'), 1, 2, node, 0, 1));
});

test('the later stamp wins: millis, then counter, then node id by bytes', () => {
  assert.ok(compareLww(span(2, 0, 'a', []), span(1, 9, 'z', [9])) > 0);
  assert.ok(compareLww(span(1, 2, 'a', []), span(1, 1, 'z', [9])) > 0);
  assert.ok(compareLww(span(1, 1, 'a', []), span(1, 1, 'B', [9])) > 0);
});

test('of two values with one stamp the larger bytes win, and a removal loses', () => {
  const low = span(1, 1, 'n', [1, 200]);
  const high = span(1, 1, 'n', [2]);
  const removal = span(1, 1, 'n', []);
  assert.equal(compareLwwStamps(low, high), 0);
  assert.ok(compareLwwValues(high, low) > 0);
  assert.ok(compareLww(low, high) < 0);
  assert.ok(compareLww(removal, low) < 0);
  assert.ok(compareLww(span(1, 1, 'n', [1]), low) < 0);
  assert.equal(compareLww(low, span(1, 1, 'n', [1, 200])), 0);
});

test('the join rule is a total order, so joining commutes, associates and repeats without effect', () => {
  const join = (a: LwwSpan, b: LwwSpan) => (compareLww(b, a) > 0 ? b : a);
  const isSame = (a: LwwSpan, b: LwwSpan) => compareLww(a, b) === 0;
  fc.assert(
    fc.property(anySpan, anySpan, anySpan, (a, b, c) => {
      assert.equal(Math.sign(compareLww(a, b)) + Math.sign(compareLww(b, a)), 0);
      assert.ok(isSame(join(a, b), join(b, a)));
      assert.ok(isSame(join(join(a, b), c), join(a, join(b, c))));
      assert.ok(isSame(join(a, a), a));
      if (isSame(a, b)) assert.deepEqual(a, b);
    }),
    { numRuns: 2000 },
  );
});

test('a record expires when its moment has passed, and never without a TTL', () => {
  assert.equal(expiryMillis(1000, 50), 1050);
  assert.equal(isExpired(1000, 50, 1050), false);
  assert.equal(isExpired(1000, 50, 1051), true);
  assert.equal(isExpired(1000, Number.NaN, 1e15), false);
  assert.ok(Number.isNaN(expiryMillis(1000, Number.NaN)));
});
