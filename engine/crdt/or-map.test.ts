import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type OrRecord, joinTombstone, orEntryHash } from './or-map.ts';

/** A record whose tag is its stamp, as the client makes it. */
function record(value: unknown, millis = 1, counter = 0, nodeId = 'n'): OrRecord {
  return { tag: `${millis}:${counter}:${nodeId}`, value, millis, counter, nodeId };
}

const WORK = record('work', 1700000000000, 0, 'node-a');
const HOME = record('home', 1700000000001, 0, 'node-b');

test('entry hashes are those of the client', () => {
  assert.equal(orEntryHash('tags', [WORK]), 4280437098);
  assert.equal(orEntryHash('tags', [WORK, HOME]), 2095173863);
  assert.equal(orEntryHash('tags', [HOME, WORK]), 2095173863);
  assert.equal(orEntryHash('k', [record(42)]), 527034809);
  assert.equal(orEntryHash('k', [record(1.5)]), 1911075597);
  assert.equal(orEntryHash('k', [record(true)]), 1495638119);
  assert.equal(orEntryHash('k', [record(null)]), 473737154);
  assert.equal(orEntryHash('k', [record({ b: 1, a: 'x' })]), 1173912169);
  assert.equal(orEntryHash('k', [record({ a: { z: 1, b: 2 }, b: [{ a: 1, q: 2 }] })]), 3472163216);
  assert.equal(orEntryHash('k', [record([1, 2, { a: 1 }])]), 2215547722);
});

test('a TTL is hashed whenever it is there, even as null', () => {
  assert.equal(orEntryHash('k', [record('x')]), 1331753399);
  assert.equal(orEntryHash('k', [{ ...record('x'), ttlMs: undefined }]), 1331753399);
  assert.equal(orEntryHash('k', [{ ...record('x'), ttlMs: 5000 }]), 1003106529);
  assert.equal(orEntryHash('k', [{ ...record('x'), ttlMs: null }]), 2532622049);
});

test('a key without live records hashes to 0', () => {
  assert.equal(orEntryHash('k', []), 0);
});

test('the hash does not depend on the order of the records, nor changes them', () => {
  const stamps = fc.uniqueArray(fc.tuple(fc.nat(30), fc.nat(12), fc.constantFrom('n', 'A', '😀', '\uffff')), {
    maxLength: 8,
    selector: (stamp) => stamp.join(':'),
  });
  const shuffled = stamps.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })));
  fc.assert(
    fc.property(shuffled, ([list, other]) => {
      const records = list.map(([millis, counter, nodeId]) => record(`${millis}${nodeId}`, millis, counter, nodeId));
      const again = other.map(([millis, counter, nodeId]) => record(`${millis}${nodeId}`, millis, counter, nodeId));
      const before = records.map((one) => one.tag);
      assert.equal(orEntryHash('k', records), orEntryHash('k', again));
      assert.deepEqual(
        records.map((one) => one.tag),
        before,
      );
    }),
  );
});

test('tags sort as JavaScript sorts strings', () => {
  const tags = ['9:2:n', '10:0:n', '9:10:n', '9:0:n', '1:0:\uffff', '1:0:😀'];
  const text = (list: readonly string[]) =>
    orEntryHash(
      'k',
      list.map((tag) => ({ ...record('v'), tag })),
    );
  assert.equal(text(tags), text([...tags].sort()));
});

test('properties of a value may come in any order', () => {
  assert.equal(orEntryHash('k', [record({ a: 1, b: 2 })]), orEntryHash('k', [record({ b: 2, a: 1 })]));
});

test('a tag that is dead on either side is dead', () => {
  assert.deepEqual(
    [joinTombstone(false, false), joinTombstone(true, false), joinTombstone(false, true), joinTombstone(true, true)],
    [false, true, true, true],
  );
});
