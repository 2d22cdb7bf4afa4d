/** Both kinds of index against a list of all rows, while rows come, change and go, and while somebody walks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pick, type Random, randomOf } from '../testing/random-queries.ts';
import type { AttributeIndex, IndexCursor } from './attribute-index.ts';
import { compareValues } from './comparison.ts';
import { HashIndex } from './hash-index.ts';
import { comparedRange, type IndexRange, indexValueOf, type IndexValue, prefixRange, rangeOf } from './index-value.ts';
import { OrderedIndex } from './ordered-index.ts';

const SEEDS = 60;
const KEYS = 2000;

type Rows = Map<string, IndexValue>;

function randomValue(random: Random): IndexValue {
  const fields: [unknown, ...unknown[]] = [
    random(50),
    random(50),
    random(3000),
    `t${random(40)}`,
    'x'.repeat(300),
    true,
    null,
    [1],
    NaN,
  ];
  return indexValueOf(pick(random, fields));
}

function change(random: Random, rows: Rows, indexes: readonly AttributeIndex[]): void {
  const key = `k${random(KEYS)}`;
  if (random(4) === 0) {
    rows.delete(key);
    for (const index of indexes) index.remove(key);
    return;
  }
  const value = randomValue(random);
  rows.set(key, value);
  for (const index of indexes) index.put(key, value);
}

function keysOf(cursor: IndexCursor): string[] {
  const keys: string[] = [];
  for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) keys.push(entry.key);
  return keys;
}

function isIn(value: IndexValue, { low, high }: IndexRange): boolean {
  const fromLow = low === undefined ? 1 : compareValues(value, low.value);
  const toHigh = high === undefined ? 1 : compareValues(high.value, value);
  return (
    (fromLow > 0 || (fromLow === 0 && low?.inclusive === true)) && (toHigh > 0 || (toHigh === 0 && high?.inclusive === true))
  );
}

test('an index finds the rows with a value, in a range and in order, as a look at all rows does', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = randomOf(seed);
    const rows: Rows = new Map();
    const hash = new HashIndex();
    const ordered = new OrderedIndex();
    for (let changes = random(6000); changes > 0; changes--) change(random, rows, [hash, ordered]);
    assert.equal(ordered.entries, rows.size);
    const inOrder = [...rows].sort(([a, x], [b, y]) => compareValues(x, y) || (a < b ? -1 : 1));
    for (let asked = 0; asked < 20; asked++) {
      const value = randomValue(random);
      const [low = rangeOf(value), high = rangeOf(value)] = [comparedRange('gt', random(50)), comparedRange('lte', random(60))];
      const ranges = [{ ...low, high: high.high }, low, high, prefixRange(`t${random(5)}`), rangeOf(value), {}];
      const range = pick(random, [rangeOf(value), ...ranges]);
      const expected = inOrder.filter(([, one]) => isIn(one, range)).map(([key]) => key);
      assert.deepEqual(keysOf(ordered.walk(range, 'asc')), expected, `seed ${seed}`);
      assert.deepEqual(keysOf(ordered.walk(range, 'desc')), expected.toReversed(), `seed ${seed}`);
      assert.equal(ordered.count({ kind: 'range', range }), expected.length, `seed ${seed}`);
      if (typeof value === 'object' || Number.isNaN(value)) continue;
      const equal = {
        kind: 'equal',
        values: [value, 'nobody has it', 7].filter((one, at, all) => all.indexOf(one) === at),
      } as const;
      const found = inOrder.filter(([, one]) => one === value || one === 7).map(([key]) => key);
      for (const index of [hash, ordered]) {
        assert.deepEqual(keysOf(index.cursor(equal)).sort(), found.sort(), `seed ${seed}, ${index.kind}`);
        assert.equal(index.count(equal), found.length, `seed ${seed}, ${index.kind}`);
      }
    }
    for (const key of rows.keys()) for (const index of [hash, ordered]) index.remove(key);
    assert.deepEqual([hash.bytes, hash.entries, ordered.bytes, ordered.entries], [0, 0, 0, 0], `seed ${seed}`);
  }
});

test('a walk misses no row that stayed where it is while others came, moved and went', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = randomOf(seed);
    const rows: Rows = new Map();
    const hash = new HashIndex();
    const ordered = new OrderedIndex();
    for (let changes = 3000; changes > 0; changes--) change(random, rows, [hash, ordered]);
    const value = random(50);
    const range = { low: { value: 10, inclusive: true }, high: { value: 2000, inclusive: false } };
    const before = new Map(rows);
    const walks = [
      { cursor: hash.cursor({ kind: 'equal', values: [value] }), isAsked: (one: IndexValue | undefined) => one === value },
      ...(['asc', 'desc'] as const).map((direction) => ({
        cursor: ordered.walk(range, direction),
        isAsked: (one: IndexValue | undefined) => one !== undefined && isIn(one, range),
      })),
    ];
    const changed = new Set<string>();
    const watched = new Map<string, IndexValue>();
    const seen = walks.map(() => new Set<string>());
    for (let over = 0; over < walks.length; ) {
      over = 0;
      for (const [at, { cursor }] of walks.entries()) {
        const entry = cursor.next();
        if (entry === undefined) over += 1;
        else seen[at]?.add(entry.key);
      }
      if (changed.size < 1500) change(random, watched, [hash, ordered]);
      for (const key of watched.keys()) changed.add(key);
    }
    // What `change` removed is in neither map, so rows are told to have stayed only where the index still has them as they were.
    const now = new Map<string, IndexValue>();
    const all = ordered.walk({}, 'asc');
    for (let entry = all.next(); entry !== undefined; entry = all.next()) now.set(entry.key, entry.value);
    for (const [at, { isAsked }] of walks.entries()) {
      const stayed = [...before].filter(([key, one]) => isAsked(one) && !changed.has(key) && now.get(key) === one);
      for (const [key] of stayed) assert.ok(seen[at]?.has(key), `seed ${seed}: walk ${at} missed ${key}`);
    }
  }
});

test('a comparison of texts that are cut finds all that are equal as far as they are kept', () => {
  const index = new OrderedIndex();
  const long = 'x'.repeat(256);
  for (const text of [`${long}a`, `${long}b`, `${long}`, 'x', 'y']) index.put(text, indexValueOf(text));
  const asked = (range: IndexRange | undefined): string[] => keysOf(index.walk(range ?? {}, 'asc')).sort();
  assert.deepEqual(asked(comparedRange('gt', `${long}a`)), [long, `${long}a`, `${long}b`, 'y'].sort());
  assert.deepEqual(asked(prefixRange(`${long}ab`)), [long, `${long}a`, `${long}b`].sort());
  assert.deepEqual(asked(prefixRange('')), ['x', long, `${long}a`, `${long}b`, 'y'].sort());
  assert.deepEqual(asked(prefixRange('\uffff')), []);
});
