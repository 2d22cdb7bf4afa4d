import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AssertionError } from '../assert.ts';
import { fnv1a } from '../partition/hash.ts';
import { lwwEntryHash } from './lww.ts';
import { ModelTree } from './model.ts';
import { orEntryHash } from './or-map.ts';
import {
  LEAVES,
  MerkleLeaves,
  addSums,
  combine,
  firstLeafOf,
  foldBuckets,
  foldRoot,
  isPath,
  leafCountOf,
  leafOf,
  leafOfPath,
} from './merkle-tree.ts';

const encoder = new TextEncoder();

function lwwHash(key: string, millis: number, counter: number, nodeId: string): number {
  const node = encoder.encode(nodeId);
  return lwwEntryHash(fnv1a(key), millis, counter, node, 0, node.length);
}

function replace(leaves: MerkleLeaves, key: string, oldHash: number, newHash: number): void {
  leaves.replace(leafOf(fnv1a(key)), oldHash, newHash);
}

function sumsOf(leaves: MerkleLeaves): Uint32Array {
  const sums = new Uint32Array(LEAVES).fill(7);
  leaves.copySums(sums);
  return sums;
}

/** Non-zero children at a path, as they go over the wire. */
function buckets(leaves: MerkleLeaves, path: string): Record<string, number> {
  const found: Record<string, number> = {};
  foldBuckets(sumsOf(leaves), path).forEach((hash, digit) => {
    if (hash !== 0) found[digit.toString(16)] = hash;
  });
  return found;
}

test('hashes combine to the numbers of the client', () => {
  const vectors: readonly (readonly [readonly number[], number])[] = [
    [[], 0],
    [[0], 0],
    [[1], 1364076727],
    [[100], 4258159850],
    [[100, 200], 3156060956],
    [[250, 50], 3292467101],
    [[10, 20, 30], 2762886526],
    [[4294967295], 2180083513],
    [[4294967295, 4294967295], 65199730],
    [[2166136261, 0], 2872998923],
  ];
  for (const [hashes, combined] of vectors) assert.equal(combine(hashes), combined, String(hashes));
});

test('an LWW tree grows and shrinks with the hashes of the client', () => {
  const leaves = new MerkleLeaves();
  const key1 = lwwHash('key1', 1700000000000, 0, 'node-a');
  const hello = lwwHash('hello', 1700000000001, 3, 'node-b');
  const japanese = lwwHash('日本語', 1700000000002, 0, 'n');
  assert.equal(foldRoot(sumsOf(leaves)), 0);

  replace(leaves, 'key1', 0, key1);
  assert.equal(leaves.sum(leafOfPath('374')), 1727567933);
  assert.deepEqual(buckets(leaves, '37'), { 4: 1727567933 });
  assert.deepEqual(buckets(leaves, '3'), { 7: 883977376 });
  assert.deepEqual(buckets(leaves, ''), { 3: 2174768151 });
  assert.equal(foldRoot(sumsOf(leaves)), 637248739);

  replace(leaves, 'hello', 0, hello);
  assert.deepEqual(buckets(leaves, ''), { 3: 2174768151, 4: 770451204 });
  assert.equal(foldRoot(sumsOf(leaves)), 3414371542);

  replace(leaves, '日本語', 0, japanese);
  assert.deepEqual(buckets(leaves, ''), { 3: 2174768151, 4: 770451204, 5: 2525549618 });
  assert.equal(foldRoot(sumsOf(leaves)), 2383387601);

  replace(leaves, 'hello', hello, 0);
  assert.deepEqual(buckets(leaves, ''), { 3: 2174768151, 5: 2525549618 });
  assert.equal(foldRoot(sumsOf(leaves)), 3901232094);

  replace(leaves, 'key1', key1, 0);
  replace(leaves, '日本語', japanese, 0);
  assert.equal(foldRoot(sumsOf(leaves)), 0);
});

test('an OR tree grows and shrinks with the hashes of the client', () => {
  const leaves = new MerkleLeaves();
  const tags = orEntryHash('tags', [
    { tag: '1700000000000:0:node-a', value: 'work', millis: 1700000000000, counter: 0, nodeId: 'node-a' },
  ]);
  const k = orEntryHash('k', [{ tag: '1:0:n', value: 42, millis: 1, counter: 0, nodeId: 'n' }]);
  replace(leaves, 'tags', 0, tags);
  assert.deepEqual(buckets(leaves, ''), { f: 1032142204 });
  assert.equal(foldRoot(sumsOf(leaves)), 1664411264);
  replace(leaves, 'k', 0, k);
  assert.deepEqual(buckets(leaves, ''), { f: 1032142204, e: 467790036 });
  assert.equal(foldRoot(sumsOf(leaves)), 1752890698);
  replace(leaves, 'tags', tags, 0);
  assert.deepEqual(buckets(leaves, ''), { e: 467790036 });
  assert.equal(foldRoot(sumsOf(leaves)), 88479434);
});

const someKey = fc.oneof(fc.constantFrom('key1', 'hello', 'k', 'tags', '日本語'), fc.string({ maxLength: 3 }));
const writes = fc.array(fc.tuple(someKey, fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffffffff }))), { maxLength: 60 });

test('a tree kept write by write equals the client tree built from scratch, at every path', () => {
  fc.assert(
    fc.property(writes, (list) => {
      const entries = new Map<string, number>();
      const leaves = new MerkleLeaves();
      for (const [key, hash] of list) {
        replace(leaves, key, entries.get(key) ?? 0, hash);
        if (hash === 0) entries.delete(key);
        else entries.set(key, hash);
      }
      const model = new ModelTree(entries);
      assert.equal(foldRoot(sumsOf(leaves)), model.root);
      for (const key of entries.keys()) {
        const path = fnv1a(key).toString(16).padStart(8, '0');
        for (const depth of [0, 1, 2])
          assert.deepEqual(buckets(leaves, path.slice(0, depth)), model.buckets(path.slice(0, depth)));
        assert.equal(leaves.sum(leafOfPath(path.slice(0, 3))), model.hash(path.slice(0, 3)));
      }
    }),
  );
});

test('the root does not depend on the order of writes, nor on how keys are spread over workers', () => {
  const entries = fc.uniqueArray(fc.tuple(fc.string({ maxLength: 6 }), fc.integer()), {
    maxLength: 40,
    selector: ([key]) => key,
  });
  const split = entries.chain((list) =>
    fc.tuple(
      fc.constant(list),
      fc.shuffledSubarray(list, { minLength: list.length }),
      fc.array(fc.nat(2), { minLength: 40, maxLength: 40 }),
    ),
  );
  fc.assert(
    fc.property(split, ([list, shuffled, workers]) => {
      const whole = new MerkleLeaves();
      for (const [key, hash] of list) replace(whole, key, 0, hash);
      const parts = [new MerkleLeaves(), new MerkleLeaves(), new MerkleLeaves()];
      shuffled.forEach(([key, hash], position) => {
        const part = parts[workers[position] ?? 0];
        assert.ok(part !== undefined);
        replace(part, key, 0, hash);
      });
      const sums = new Uint32Array(LEAVES);
      for (const part of parts) addSums(sums, sumsOf(part));
      assert.deepEqual(sums, sumsOf(whole));
    }),
  );
});

test('sums wrap at 2^32, added or set, signed or not', () => {
  const leaves = new MerkleLeaves();
  leaves.setSum(5, 0xfffffff0);
  leaves.add(5, 0x20);
  assert.equal(leaves.sum(5), 0x10);
  leaves.add(5, -0x20);
  assert.equal(leaves.sum(5), 0xfffffff0);
  leaves.add(5, 0xffffffff);
  assert.equal(leaves.sum(5), 0xffffffef);
  assert.equal(sumsOf(leaves)[5], 0xffffffef);
});

test('pages are made when first written to, not when read', () => {
  const leaves = new MerkleLeaves();
  for (const leaf of [0, 4095]) {
    assert.deepEqual([leaves.sum(leaf), leaves.head(leaf), leaves.isDirty(leaf)], [0, 0, false]);
    leaves.clearDirty(leaf);
  }
  assert.equal(leaves.bytes, 0);
  leaves.add(0x100, 1);
  const pageBytes = leaves.bytes;
  assert.equal(pageBytes, 256 * 8 + 32);
  leaves.setHead(0x1ff, 1);
  assert.equal(leaves.bytes, pageBytes);
  leaves.markDirty(0x200);
  assert.equal(leaves.bytes, 2 * pageBytes);
});

test('each leaf keeps its own sum, head and dirty bit', () => {
  const leafNumbers = fc.uniqueArray(fc.nat(LEAVES - 1), { maxLength: 100 });
  fc.assert(
    fc.property(leafNumbers, (list) => {
      const leaves = new MerkleLeaves();
      list.forEach((leaf, position) => {
        leaves.setSum(leaf, position + 1);
        leaves.setHead(leaf, 0xffffffff - position);
        leaves.markDirty(leaf);
      });
      list.forEach((leaf, position) => {
        assert.deepEqual(
          [leaves.sum(leaf), leaves.head(leaf), leaves.isDirty(leaf)],
          [position + 1, 0xffffffff - position, true],
        );
      });
      const dirty: number[] = [];
      leaves.forEachDirty((leaf) => {
        dirty.push(leaf);
        if (leaf % 2 === 0) leaves.clearDirty(leaf);
      });
      const ascending = [...list].sort((a, b) => a - b);
      assert.deepEqual(dirty, ascending);
      const still: number[] = [];
      leaves.forEachDirty((leaf) => still.push(leaf));
      assert.deepEqual(
        still,
        ascending.filter((leaf) => leaf % 2 === 1),
      );
    }),
  );
});

test('the leaves under a path are those with a sum or a head', () => {
  const leaves = new MerkleLeaves();
  leaves.setSum(leafOfPath('374'), 9);
  leaves.setHead(leafOfPath('37a'), 1);
  leaves.setSum(leafOfPath('3a0'), 8);
  leaves.markDirty(leafOfPath('375'));
  const under = (path: string) => {
    const found: [string, number][] = [];
    leaves.forEachLeaf(path, (leaf, sum) => found.push([leaf.toString(16), sum]));
    return found;
  };
  assert.deepEqual(under('37'), [
    ['374', 9],
    ['37a', 0],
  ]);
  assert.deepEqual(under('3').length, 3);
  assert.deepEqual(under('').length, 3);
  assert.deepEqual(under('374'), [['374', 9]]);
  assert.deepEqual(under('4'), []);
});

test('a path is 0 to 3 lower-case hex digits and names a range of leaves', () => {
  for (const path of ['', '0', 'f', '37', '374', 'fff']) assert.equal(isPath(path), true, path);
  for (const path of ['g', 'F', '3744', ' ', '3\n', '123/4', '-1', '0x']) assert.equal(isPath(path), false, path);
  assert.deepEqual(
    ['', '3', '37', '374', 'fff'].map((path) => [firstLeafOf(path), leafCountOf(path)]),
    [
      [0, 4096],
      [0x300, 256],
      [0x370, 16],
      [0x374, 1],
      [0xfff, 1],
    ],
  );
  assert.equal(leafOf(fnv1a('key1')), leafOfPath('374'));
  assert.equal(leafOf(0xffffffff | 0), 0xfff);
});

test('what is no leaf, no path or no reference asserts', () => {
  const leaves = new MerkleLeaves();
  for (const leaf of [-1, 4096, Number.NaN]) assert.throws(() => leaves.add(leaf, 1), AssertionError);
  for (const ref of [-1, 2 ** 32, Number.NaN]) assert.throws(() => leaves.setHead(0, ref), AssertionError);
  assert.throws(() => leafOfPath('37'), AssertionError);
  assert.throws(() => firstLeafOf('xyz'), AssertionError);
  assert.throws(() => foldBuckets(new Uint32Array(LEAVES), '374'), AssertionError);
  assert.throws(() => foldRoot(new Uint32Array(10)), AssertionError);
  assert.throws(() => addSums(new Uint32Array(2), new Uint32Array(3)), AssertionError);
});
