import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type LwwRecord, LwwMap, OrMap } from './model.ts';
import type { OrRecord } from './or-map.ts';
import { type LwwSpan, compareLww } from './lww.ts';

const nodeId = fc.constantFrom('node-9', 'node-10', 'B', 'a', '日');
const key = fc.constantFrom('key1', 'hello', 'k', '日本語');

const lwwRecord: fc.Arbitrary<LwwRecord> = fc
  .tuple(fc.nat(2), fc.nat(1), nodeId, fc.uint8Array({ maxLength: 2, max: 2 }))
  .map(([millis, counter, node, value]) => ({ millis, counter, nodeId: node, value }));
const lwwWrites = fc.array(fc.tuple(key, lwwRecord), { maxLength: 12 });

/** Tags are unique: a tag belongs to one key and one value. */
const TAGS = Array.from({ length: 12 }, (_, position) => `${position % 4}:${position % 3}:${position}`);
function orRecord(tag: string): OrRecord {
  const [millis, counter, node] = tag.split(':');
  return { tag, value: { of: tag }, millis: Number(millis), counter: Number(counter), nodeId: node ?? '' };
}
function orKey(tag: string): string {
  return Number(tag.split(':')[2]) % 2 === 0 ? 'tags' : 'k';
}
const orWrites = fc.array(fc.tuple(fc.constantFrom('add', 'remove'), fc.constantFrom(...TAGS)), { maxLength: 16 });

function lwwMap(...lists: readonly (readonly (readonly [string, LwwRecord])[])[]): LwwMap {
  const map = new LwwMap();
  for (const [name, record] of lists.flat()) map.put(name, record);
  return map;
}

function orMap(writes: readonly (readonly [string, string])[]): OrMap {
  const map = new OrMap();
  for (const [kind, tag] of writes) {
    if (kind === 'add') map.add(orKey(tag), orRecord(tag));
    else map.remove(tag);
  }
  return map;
}

function lwwJoin(...maps: readonly LwwMap[]): LwwMap {
  const joined = new LwwMap();
  for (const map of maps) joined.merge(map);
  return joined;
}

function orJoin(...maps: readonly OrMap[]): OrMap {
  const joined = new OrMap();
  for (const map of maps) joined.merge(map);
  return joined;
}

/** Everything a replica holds, in a form that does not depend on the order of its writes. */
function lwwState(map: LwwMap): unknown {
  return [[...map.records].sort(([a], [b]) => (a < b ? -1 : 1)), map.tree().root];
}

function orState(map: OrMap): unknown {
  return [map.keys.sort().map((name) => [name, map.records(name)]), [...map.tombstones].sort(), map.tree().root];
}

test('LWW maps join alike in any order, grouping and number of repeats', () => {
  fc.assert(
    fc.property(lwwWrites, lwwWrites, lwwWrites, (one, two, three) => {
      const [a, b, c] = [lwwMap(one), lwwMap(two), lwwMap(three)];
      assert.deepEqual(lwwState(lwwJoin(a, b)), lwwState(lwwJoin(b, a)));
      assert.deepEqual(lwwState(lwwJoin(lwwJoin(a, b), c)), lwwState(lwwJoin(a, lwwJoin(b, c))));
      assert.deepEqual(lwwState(lwwJoin(a, a)), lwwState(a));
    }),
  );
});

test('replicas that got the same LWW writes in any order agree', () => {
  const orders = lwwWrites.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })));
  fc.assert(fc.property(orders, ([list, other]) => assert.deepEqual(lwwState(lwwMap(list)), lwwState(lwwMap(other, list)))));
});

test('the LWW model and the rule over bytes pick the same winner', () => {
  const encoder = new TextEncoder();
  const spanOf = (record: LwwRecord): LwwSpan => {
    const node = encoder.encode(record.nodeId);
    const source = Uint8Array.from([...node, ...record.value]);
    return {
      source,
      nodeStart: 0,
      nodeBytes: node.length,
      valueStart: node.length,
      valueBytes: record.value.length,
      millis: record.millis,
      counter: record.counter,
    };
  };
  fc.assert(
    fc.property(lwwRecord, lwwRecord, (stored, written) => {
      const map = lwwMap([['k', stored]]);
      assert.equal(map.put('k', written), compareLww(spanOf(written), spanOf(stored)) > 0);
    }),
    { numRuns: 1000 },
  );
});

test('OR-Maps join alike in any order, grouping and number of repeats', () => {
  fc.assert(
    fc.property(orWrites, orWrites, orWrites, (one, two, three) => {
      const [a, b, c] = [orMap(one), orMap(two), orMap(three)];
      assert.deepEqual(orState(orJoin(a, b)), orState(orJoin(b, a)));
      assert.deepEqual(orState(orJoin(orJoin(a, b), c)), orState(orJoin(a, orJoin(b, c))));
      assert.deepEqual(orState(orJoin(a, a)), orState(a));
    }),
  );
});

test('replicas that got the same OR writes in any order agree', () => {
  const orders = orWrites.chain((list) => fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })));
  fc.assert(fc.property(orders, ([list, other]) => assert.deepEqual(orState(orMap(list)), orState(orMap(other)))));
});

test('a removed tag never comes back, and a concurrent add survives', () => {
  const first = orMap([['add', '0:0:0']]);
  const second = orJoin(first);
  first.remove('0:0:0');
  second.add('tags', orRecord('2:2:2'));
  const joined = orJoin(second, first);
  assert.deepEqual(
    joined.records('tags').map((record) => record.tag),
    ['2:2:2'],
  );
  assert.equal(joined.add('tags', orRecord('0:0:0')), false);
  assert.deepEqual([...joined.tombstones], ['0:0:0']);
});

test('a repeated add or remove changes nothing and says so', () => {
  const map = new OrMap();
  assert.equal(map.add('k', orRecord('1:1:1')), true);
  assert.equal(map.add('k', { ...orRecord('1:1:1'), value: 'other' }), false);
  assert.deepEqual(map.records('k'), [orRecord('1:1:1')]);
  assert.equal(map.remove('1:1:1'), true);
  assert.equal(map.remove('1:1:1'), false);
  assert.deepEqual(map.keys, []);
  assert.equal(map.tree().root, 0);
});

test('the LWW model has the root of the client, removals included', () => {
  const map = new LwwMap();
  const value = Uint8Array.of(1);
  map.put('key1', { millis: 1700000000000, counter: 0, nodeId: 'node-a', value });
  assert.equal(map.tree().root, 637248739);
  map.put('hello', { millis: 1700000000001, counter: 3, nodeId: 'node-b', value: new Uint8Array(0) });
  assert.equal(map.tree().root, 3414371542);
  assert.equal(map.read('hello', 0), null);
  map.put('日本語', { millis: 1700000000002, counter: 0, nodeId: 'n', value });
  assert.equal(map.tree().root, 2383387601);
  assert.deepEqual(map.tree().buckets(''), { 3: 2174768151, 4: 770451204, 5: 2525549618 });
  map.prune('hello');
  assert.equal(map.tree().root, 3901232094);
});

test('the OR model has the root of the client', () => {
  const map = new OrMap();
  map.add('tags', { tag: '1700000000000:0:node-a', value: 'work', millis: 1700000000000, counter: 0, nodeId: 'node-a' });
  assert.equal(map.tree().root, 1664411264);
  map.add('k', { tag: '1:0:n', value: 42, millis: 1, counter: 0, nodeId: 'n' });
  assert.equal(map.tree().root, 1752890698);
  assert.deepEqual(map.tree().buckets(''), { f: 1032142204, e: 467790036 });
  map.remove('1700000000000:0:node-a');
  assert.equal(map.tree().root, 88479434);
});

test('a record with a TTL is read until its moment has passed', () => {
  const map = new LwwMap();
  map.put('k', { millis: 1000, counter: 0, nodeId: 'n', value: Uint8Array.of(1), ttlMs: 50 });
  assert.deepEqual(map.read('k', 1050), Uint8Array.of(1));
  assert.equal(map.read('k', 1051), null);
  assert.equal(map.read('absent', 0), null);
});
