import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { RequestAnswer } from '../../operation/request-handler.ts';
import { atOnce } from '../testing/at-once.ts';
import { addSums, foldBuckets, foldRoot } from '../../crdt/merkle-tree.ts';
import { LwwMap, type ModelTree, OrMap } from '../../crdt/model.ts';
import { fnv1a } from '../../partition/hash.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../../storage/record.ts';
import { RecordStore } from '../../storage/record-store.ts';
import { EngineUnderTest, plain, utf8 } from '../testing/scanned-ops.ts';
import { LateLeaves } from './late-leaf.ts';
import { type Push, type PushedRecord, SyncService } from './sync-service.ts';

const MAP = utf8('tags');
const NOW_MS = 1_000_000;

interface Entry {
  readonly key: string;
  readonly records: readonly { readonly tag: string; readonly value: unknown }[];
  readonly tombstones: readonly string[];
}

function pathOf(key: string): string {
  return fnv1a(key).toString(16).padStart(8, '0').slice(0, 3);
}

/** The items of all parts of an answer; each part is read as the gateway reads it. */
function items(parts: RequestAnswer): unknown[] {
  return atOnce(parts).flatMap((part) => {
    const count = new DataView(part.buffer, part.byteOffset).getUint32(0, true);
    const header = Uint8Array.of(0xdd, count >>> 24, (count >>> 16) & 0xff, (count >>> 8) & 0xff, count & 0xff);
    const list = plain(decode(Buffer.concat([header, part.subarray(4)])));
    assert.ok(Array.isArray(list));
    return list;
  });
}

function entries(parts: RequestAnswer): Entry[] {
  return items(parts) as Entry[];
}

/** Leaf sums as the gateway adds them up over workers. */
function sumsOf(engines: readonly EngineUnderTest[], kind: RecordKind, prefix: string): { sums: Uint32Array; records: number } {
  const sums = new Uint32Array(4096);
  let records = 0;
  for (const engine of engines) {
    const answer = engine.sync.leaves(MAP, kind, prefix);
    const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
    records += view.getUint32(0, true);
    const own = new Uint32Array(4096);
    for (let at = 8; at < answer.length; at += 8) own[view.getUint32(at, true)] = view.getUint32(at + 4, true);
    addSums(sums, own);
  }
  return { sums, records };
}

function assertTree(engines: readonly EngineUnderTest[], kind: RecordKind, model: ModelTree, keys: readonly string[]): void {
  assert.equal(foldRoot(sumsOf(engines, kind, '').sums), model.root);
  for (const key of keys.slice(0, 5)) {
    for (const path of ['', pathOf(key).slice(0, 1), pathOf(key).slice(0, 2)]) {
      const hashes = foldBuckets(sumsOf(engines, kind, path).sums, path);
      const buckets: [string, number][] = [];
      hashes.forEach((hash, digit) => {
        if (hash !== 0) buckets.push([digit.toString(16), hash]);
      });
      assert.deepEqual(Object.fromEntries(buckets), model.buckets(path));
    }
  }
}

const arbitraryStamp = fc.record({
  millis: fc.integer({ min: 1, max: 9 }),
  counter: fc.integer({ min: 0, max: 2 }),
  nodeId: fc.constantFrom('a', 'b'),
});
const arbitraryKey = fc.string({ unit: 'grapheme', maxLength: 6 });

test('leaf sums of several workers add up to the tree of the LWW model', () => {
  const op = fc.record({ key: arbitraryKey, value: fc.constantFrom(null, 1, 'x'), timestamp: arbitraryStamp });
  fc.assert(
    fc.property(fc.array(op, { maxLength: 40 }), (ops) => {
      const engines = [new EngineUnderTest(), new EngineUnderTest()];
      const model = new LwwMap();
      for (const { key, value, timestamp } of ops) {
        model.put(key, { ...timestamp, value: value === null ? new Uint8Array(0) : encode(value).slice() });
        engines[fnv1a(key) % 2]?.apply([{ mapName: 'tags', key, opType: 'PUT', record: { value, timestamp } }]);
      }
      assertTree(
        engines,
        KIND_LWW,
        model.tree(),
        ops.map(({ key }) => key),
      );
      assert.equal(sumsOf(engines, KIND_LWW, '').records, model.records.size);
      for (const [key, record] of model.records) {
        const found = engines.flatMap((engine) => items(engine.sync.leaf(MAP, KIND_LWW, pathOf(key))));
        const mine = found.filter((item) => (item as { key: string }).key === key);
        const timestamp = { millis: record.millis, counter: record.counter, nodeId: record.nodeId };
        const value = record.value.length === 0 ? null : decode(record.value);
        assert.deepEqual(mine, [{ key, record: { value, timestamp } }]);
      }
    }),
    { numRuns: 40 },
  );
});

test('leaf sums of several workers add up to the tree of the OR model, tombstones left out', () => {
  const op = fc.record({ key: arbitraryKey, millis: fc.integer({ min: 1, max: 12 }), removes: fc.boolean() });
  fc.assert(
    fc.property(fc.array(op, { maxLength: 40 }), (ops) => {
      const engines = [new EngineUnderTest(), new EngineUnderTest()];
      const model = new OrMap();
      const keyOfTag = new Map<string, string>();
      for (const { key: wanted, millis, removes } of ops) {
        const tag = `${millis}:0:n`;
        const key = keyOfTag.get(tag) ?? wanted;
        keyOfTag.set(tag, key);
        const timestamp = { millis, counter: 0, nodeId: 'n' };
        if (removes) model.remove(tag);
        else model.add(key, { tag, value: { a: millis }, ...timestamp });
        engines[fnv1a(key) % 2]?.apply([
          removes
            ? { mapName: 'tags', key, opType: 'OR_REMOVE', orTag: tag }
            : { mapName: 'tags', key, opType: 'OR_ADD', orRecord: { value: { a: millis }, timestamp, tag } },
        ]);
      }
      assertTree(engines, KIND_OR, model.tree(), model.keys);
      for (const key of new Set(keyOfTag.values())) {
        const diff = engines.flatMap((engine) => entries(engine.sync.orDiff(MAP, [key, key])));
        assert.equal(diff.length, 1);
        assert.deepEqual(
          diff[0]?.records.map(({ tag }) => tag).sort(),
          model.records(key).map(({ tag }) => tag),
        );
        const dead = [...keyOfTag].filter(([tag, owner]) => owner === key && model.tombstones.has(tag)).map(([tag]) => tag);
        assert.deepEqual([...(diff[0]?.tombstones ?? [])].sort(), dead.sort());
        const leaf = engines.flatMap((engine) => entries(engine.sync.leaf(MAP, KIND_OR, pathOf(key))));
        assert.deepEqual(
          leaf.filter((entry) => entry.key === key),
          diff,
        );
      }
    }),
    { numRuns: 40 },
  );
});

test('an unknown map has no leaves, no records and no entries', () => {
  const { sync } = new EngineUnderTest();
  assert.deepEqual([...sync.leaves(MAP, KIND_LWW, '')], new Array(8).fill(0));
  assert.deepEqual(
    [items(sync.leaf(MAP, KIND_LWW, '')), items(sync.leaf(MAP, KIND_OR, 'abc')), items(sync.orDiff(MAP, ['k']))],
    [[], [], []],
  );
});

test('a whole map is answered in parts of about a megabyte, and nothing is lost between them', () => {
  const engine = new EngineUnderTest();
  const keys = Array.from({ length: 60 }, (_, index) => `key ${index}`);
  const timestamp = { millis: 1, counter: 0, nodeId: 'n' };
  const value = 'x'.repeat(100_000);
  for (const key of keys) engine.apply([{ mapName: 'tags', key, opType: 'PUT', record: { value, timestamp } }]);
  const parts = engine.sync.leaf(MAP, KIND_LWW, '');
  assert.ok(parts.length >= 5);
  for (const part of atOnce(parts)) assert.ok(part.length < 1.2 * 1024 * 1024, `${part.length}`);
  assert.deepEqual(
    items(parts)
      .map((item) => (item as { key: string }).key)
      .sort(),
    [...keys].sort(),
  );
});

test('of a long leaf a part is made at a time, while the loop goes on, and records may come and go', async () => {
  const engine = new EngineUnderTest();
  let pauses = 0;
  const pause = async (): Promise<void> => {
    pauses += 1;
    if (pauses === 3)
      engine.apply([{ mapName: 'tags', key: keys.at(-1), opType: 'PUT', record: { value: 'short', timestamp: stamp(2) } }]);
  };
  const late = new LateLeaves({ loader: undefined, hasRoomFor: () => true, nowMs: () => NOW_MS, pause });
  const sync = new SyncService(engine.maps, engine.crdt, () => 0, undefined, late);
  const stamp = (millis: number): object => ({ millis, counter: 0, nodeId: 'n' });
  const keys = ['k', ...keysBeside('k', 39)];
  const value = 'x'.repeat(300_000);
  const write = (key: string): void =>
    void engine.apply([{ mapName: 'tags', key, opType: 'PUT', record: { value, timestamp: stamp(1) } }]);
  for (const key of keys.slice(0, 3)) write(key);
  assert.ok(Array.isArray(sync.leafNowOrLater(MAP, KIND_LWW, pathOf('k'))), 'a short one is answered at once');
  for (const key of keys.slice(3)) write(key);
  const answer = sync.leafNowOrLater(MAP, KIND_LWW, pathOf('k'));
  const parts = await lateParts(answer);
  assert.ok(pauses >= 10, `${pauses}`);
  for (const part of parts) assert.ok(part.length < 1.5 * 1024 * 1024, `${part.length}`);
  const told = items(parts).map((item) => item as { key: string; record: { value: string } });
  assert.deepEqual(told.map(({ key }) => key).sort(), keys.toSorted());
  assert.deepEqual(new Set(told.map((item) => item.record.value.length)), new Set([300_000, 5]));
});

test('the entries of keys under a long leaf come a part at a time, and are those of the keys alone', async () => {
  const engine = new EngineUnderTest();
  const late = new LateLeaves({ loader: undefined, hasRoomFor: () => true, nowMs: () => NOW_MS });
  const sync = new SyncService(engine.maps, engine.crdt, () => 0, undefined, late);
  const keys = ['k', ...keysBeside('k', 9)];
  for (const [index, key] of keys.entries()) {
    for (const tag of [2 * index + 1, 2 * index + 2].map((millis) => `${millis}:0:n`)) {
      const timestamp = { millis: Number.parseInt(tag, 10), counter: 0, nodeId: 'n' };
      engine.apply([{ mapName: 'tags', key, opType: 'OR_ADD', orRecord: { value: 'x'.repeat(200_000), timestamp, tag } }]);
    }
  }
  engine.apply([{ mapName: 'tags', key: 'k', opType: 'OR_REMOVE', orTag: '1:0:n' }]);
  const wanted = keys.filter((_, index) => index % 2 === 0);
  const parts = await lateParts(sync.orDiff(MAP, [...wanted, 'none']));
  for (const part of parts) assert.ok(part.length < 1.5 * 1024 * 1024, `${part.length}`);
  const told = entries(parts);
  assert.deepEqual(new Set(told.map(({ key }) => key)), new Set(wanted));
  const expected = wanted.flatMap((key) => [2 * keys.indexOf(key) + 1, 2 * keys.indexOf(key) + 2]).filter((millis) => millis > 1);
  const tags = told.flatMap(({ records }) => records.map(({ tag }) => tag));
  assert.deepEqual(tags.sort(), expected.map((millis) => `${millis}:0:n`).sort());
  assert.deepEqual(
    told.flatMap(({ tombstones }) => tombstones),
    ['1:0:n'],
  );
});

test('a push that asks for very much by its removed tags is told what was removed, and the records of some keys', () => {
  const engine = new EngineUnderTest();
  const keys = ['k', ...keysBeside('k', 19)];
  for (const [index, key] of keys.entries()) {
    const [old, tag] = [`${2 * index + 1}:0:n`, `${2 * index + 2}:0:n`];
    const timestamp = { millis: 2 * index + 2, counter: 0, nodeId: 'n' };
    engine.apply([{ mapName: 'tags', key, opType: 'OR_ADD', orRecord: { value: 'x'.repeat(400_000), timestamp, tag } }]);
    engine.apply([{ mapName: 'tags', key, opType: 'OR_ADD', orRecord: { value: 1, timestamp, tag: old } }]);
    engine.apply([{ mapName: 'tags', key, opType: 'OR_REMOVE', orTag: old }]);
  }
  const parts = engine.sync.orPush(push(keys.map((key, index) => ({ key, records: [pushed(2 * index + 1)] }))), NOW_MS);
  assert.ok(parts.reduce((sum, { length }) => sum + length, 0) < 3 * 1024 * 1024);
  const told = entries(parts);
  assert.deepEqual(told.map(({ key }) => key).sort(), keys.toSorted());
  assert.ok(told.every(({ tombstones }) => tombstones.length === 1));
  assert.ok(told.some(({ records }) => records.length > 0));
});

test('a key with very many tags comes in several entries', () => {
  const engine = new EngineUnderTest();
  const value = 'x'.repeat(300_000);
  const tags = Array.from({ length: 20 }, (_, index) => `${index + 1}:0:n`);
  for (const [index, tag] of tags.entries()) {
    const timestamp = { millis: index + 1, counter: 0, nodeId: 'n' };
    engine.apply([{ mapName: 'tags', key: 'k', opType: 'OR_ADD', orRecord: { value, timestamp, tag } }]);
  }
  engine.apply([{ mapName: 'tags', key: 'k', opType: 'OR_REMOVE', orTag: '1:0:n' }]);
  for (const parts of [engine.sync.leaf(MAP, KIND_OR, pathOf('k')), engine.sync.orDiff(MAP, ['k'])]) {
    for (const part of atOnce(parts)) assert.ok(part.length < 3 * 1024 * 1024, `${part.length}`);
    const all = entries(parts);
    assert.ok(all.length > 1);
    assert.deepEqual(all.flatMap(({ records }) => records.map(({ tag }) => tag)).sort(), tags.slice(1).sort());
    assert.deepEqual(
      all.flatMap(({ tombstones }) => tombstones),
      ['1:0:n'],
    );
  }
});

function push(entries: Push['entries'], tombstones: readonly string[] = [], map = MAP): Push {
  return { map, entries, tombstones, gateway: 0, session: 7, writerListens: false };
}

function pushed(millis: number, value: unknown = millis): PushedRecord {
  return { tag: `${millis}:0:n`, value, millis, counter: 0, nodeId: 'n' };
}

function eventsOf(engine: EngineUnderTest): string[] {
  return engine.takeEvents().map(({ event }) => {
    const { eventType, key, orRecord, orTag } = event as {
      eventType: string;
      key: string;
      orRecord?: { tag: string };
      orTag?: string;
    };
    return `${eventType} ${key} ${orRecord?.tag ?? orTag}`;
  });
}

test('a push adds new tags, removes those that the client saw removed, and tells others of the changes alone', () => {
  const engine = new EngineUnderTest();
  assert.deepEqual(items(engine.sync.orPush(push([{ key: 'k', records: [pushed(1), pushed(2)] }]), NOW_MS)), []);
  assert.deepEqual(eventsOf(engine), ['OR_ADD k 1:0:n', 'OR_ADD k 2:0:n']);
  const again = push([{ key: 'k', records: [pushed(2), pushed(3)] }], ['1:0:n', '9:9:elsewhere']);
  assert.deepEqual(items(engine.sync.orPush(again, NOW_MS)), []);
  assert.deepEqual(eventsOf(engine), ['OR_ADD k 3:0:n', 'OR_REMOVE k 1:0:n']);
  assert.deepEqual(items(engine.sync.orPush(again, NOW_MS)), []);
  assert.deepEqual(eventsOf(engine), []);
});

test('a client that pushes a removed tag is corrected with the entry of its key', () => {
  const engine = new EngineUnderTest();
  engine.sync.orPush(push([{ key: 'k', records: [pushed(1), pushed(2)] }], []), NOW_MS);
  engine.apply([{ mapName: 'tags', key: 'k', opType: 'OR_REMOVE', orTag: '1:0:n' }]);
  eventsOf(engine);
  const answer = entries(engine.sync.orPush(push([{ key: 'k', records: [pushed(1)] }]), NOW_MS));
  assert.deepEqual(
    answer.map(({ key, tombstones }) => ({ key, tombstones })),
    [{ key: 'k', tombstones: ['1:0:n'] }],
  );
  assert.deepEqual(
    answer[0]?.records.map(({ tag }) => tag),
    ['2:0:n'],
  );
  assert.deepEqual(eventsOf(engine), []);
});

test('a tag that another push named as removed never comes to life, under whatever key it is pushed or added', () => {
  const engine = new EngineUnderTest();
  engine.sync.orPush(push([{ key: 'other', records: [] }], ['5:0:n']), NOW_MS);
  const answer = entries(engine.sync.orPush(push([{ key: 'k', records: [pushed(5), pushed(6)] }]), NOW_MS));
  assert.deepEqual(
    answer.map(({ tombstones }) => tombstones),
    [['5:0:n']],
  );
  const timestamp = { millis: 5, counter: 0, nodeId: 'n' };
  engine.apply([{ mapName: 'tags', key: 'k', opType: 'OR_ADD', orRecord: { value: 1, timestamp, tag: '5:0:n' } }]);
  assert.deepEqual(eventsOf(engine), ['OR_REMOVE k 5:0:n', 'OR_ADD k 6:0:n']);
});

test('an unknown tag older than the watermark is answered as removed, a known one is left alone', () => {
  const engine = new EngineUnderTest();
  engine.sync.orPush(push([{ key: 'k', records: [pushed(1)] }]), NOW_MS);
  engine.watermarkMs = 100;
  const answer = entries(engine.sync.orPush(push([{ key: 'k', records: [pushed(1), pushed(2), pushed(100)] }]), NOW_MS));
  assert.deepEqual(
    answer.map(({ records, tombstones }) => [records.map(({ tag }) => tag).sort(), tombstones]),
    [[['100:0:n', '1:0:n'], ['2:0:n']]],
  );
});

test('however many entries and keys of a leaf a client names, the leaf is walked once or twice', (t) => {
  const engine = new EngineUnderTest();
  const keys = ['k', ...keysBeside('k', 20)];
  engine.sync.orPush(push(keys.map((key, index) => ({ key, records: [pushed(index + 1)] }))), NOW_MS);
  eventsOf(engine);
  const walks = t.mock.method(RecordStore.prototype, 'forEachInLeaf').mock;
  assert.equal(entries(engine.sync.orDiff(MAP, keys)).length, keys.length);
  assert.equal(walks.callCount(), 1);
  const again = Array.from({ length: 500 }, (_, index) => ({ key: keys[index % keys.length] ?? '', records: [pushed(1)] }));
  const answer = entries(engine.sync.orPush(push(again, ['1:0:n']), NOW_MS));
  assert.deepEqual(answer.map(({ key }) => key).sort(), keys.toSorted());
  assert.ok(answer.every(({ tombstones }) => tombstones.join() === '1:0:n'));
  assert.ok(walks.callCount() <= 3, `${walks.callCount()}`);
  assert.deepEqual(eventsOf(engine).sort(), keys.map((key) => `OR_REMOVE ${key} 1:0:n`).sort());
});

async function lateParts(answer: RequestAnswer): Promise<Uint8Array[]> {
  assert.ok(!Array.isArray(answer), 'it comes later');
  const parts: Uint8Array[] = [];
  for await (const part of answer) parts.push(part);
  return parts;
}

/** Keys of the leaf of `key`. */
function keysBeside(key: string, count: number): string[] {
  const found: string[] = [];
  for (let index = 0; found.length < count; index++) if (pathOf(`b${index}`) === pathOf(key)) found.push(`b${index}`);
  return found;
}

test('pushed records that no op could write are left out, the rest of the push counts', () => {
  const engine = new EngineUnderTest();
  const longKey = 'k'.repeat(2100);
  const longNode = { ...pushed(3), nodeId: 'n'.repeat(257) };
  const longTag = { ...pushed(4), tag: 't'.repeat(70_000) };
  const parts = engine.sync.orPush(
    push([
      { key: longKey, records: [pushed(1)] },
      { key: 'k', records: [longNode, longTag, pushed(2)] },
    ]),
    NOW_MS,
  );
  assert.deepEqual(items(parts), []);
  assert.deepEqual(eventsOf(engine), ['OR_ADD k 2:0:n']);
});

test('a push into one map too many is dropped', () => {
  const engine = new EngineUnderTest({ mapsMax: 1 });
  engine.sync.orPush(push([{ key: 'k', records: [pushed(1)] }]), NOW_MS);
  assert.deepEqual(items(engine.sync.orPush(push([{ key: 'k', records: [pushed(2)] }], [], utf8('second')), NOW_MS)), []);
  assert.deepEqual(eventsOf(engine), ['OR_ADD k 1:0:n']);
});

test('clients that push what they have, and merge what they are answered, end alike', () => {
  const tag = fc.integer({ min: 1, max: 8 });
  const client = fc.record({ live: fc.uniqueArray(tag), removed: fc.uniqueArray(tag) });
  fc.assert(
    fc.property(fc.array(client, { minLength: 1, maxLength: 4 }), (clients) => {
      const engine = new EngineUnderTest();
      const model = new OrMap();
      for (const { live, removed } of clients) {
        for (const millis of removed) model.remove(`${millis}:0:n`);
        for (const millis of live) model.add('k', pushed(millis));
        const tombstones = removed.map((millis) => `${millis}:0:n`);
        engine.sync.orPush(push([{ key: 'k', records: live.map((millis) => pushed(millis)) }], tombstones), NOW_MS);
      }
      const diff = entries(engine.sync.orDiff(MAP, ['k']));
      assert.deepEqual(
        diff.flatMap(({ records }) => records.map((record) => record.tag)).sort(),
        model.records('k').map((record) => record.tag),
      );
      assert.equal(foldRoot(sumsOf([engine], KIND_OR, '').sums), model.tree().root);
    }),
  );
});
