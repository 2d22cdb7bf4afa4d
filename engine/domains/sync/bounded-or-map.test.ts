/** OR-Maps under a memory bound: whatever was dropped, leaves hash to what a map without a bound hashes to, and entries are whole. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { foldRoot } from '../../crdt/merkle-tree.ts';
import { OrMap } from '../../crdt/model.ts';
import type { RequestAnswer } from '../../operation/request-handler.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { KIND_OR, RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import { imageOf, recordOf } from '../../storage/stored-record.ts';
import { BoundedEngine, MIB, packedText, textOf } from '../testing/bounded-engine.ts';
import { plain, utf8 } from '../testing/scanned-ops.ts';

const MAP = utf8('map');
const NODE = 'n';

interface Entry {
  readonly key: string;
  readonly records: readonly { readonly tag: string; readonly value: unknown }[];
  readonly tombstones: readonly string[];
}

function tagOf(millis: number): string {
  return `${millis}:0:${NODE}`;
}

/** Adds a tag with a text of that length. False when memory has no room. */
function add(engine: BoundedEngine, key: string, millis: number, length: number): boolean {
  return engine.write({ key, tag: tagOf(millis), node: NODE, millis, value: packedText(length, millis) });
}

function remove(engine: BoundedEngine, key: string, millis: number): void {
  engine.store('map', KIND_OR).join(imageOf(recordOf({ key, tag: tagOf(millis), millis: millis + 1, tombstone: true })), 0);
}

function modelRecord(millis: number, length: number): Parameters<OrMap['add']>[1] {
  return { tag: tagOf(millis), value: textOf(length, millis), millis, counter: 0, nodeId: NODE };
}

async function taken(answer: RequestAnswer): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  for await (const part of answer) parts.push(part);
  return parts;
}

/** With time going on as long as anything waits. */
function rootOf(engine: BoundedEngine): Promise<number> {
  return engine.time.run(rootAsIs(engine));
}

async function rootAsIs(engine: BoundedEngine): Promise<number> {
  const [answer = new Uint8Array(8)] = await taken(engine.sync.leavesNowOrLater(MAP, KIND_OR, ''));
  const words = new Uint32Array(answer.slice().buffer);
  const sums = new Uint32Array(4096);
  for (let at = 2; at < words.length; at += 2) sums[words[at] ?? 0] = words[at + 1] ?? 0;
  return foldRoot(sums);
}

/** What the client holds when it has merged the entries. */
async function entriesOf(engine: BoundedEngine, answer: RequestAnswer): Promise<Map<string, Map<string, unknown>>> {
  const byKey = new Map<string, Map<string, unknown>>();
  const removed = new Set<string>();
  for (const part of await engine.time.run(taken(answer))) {
    const count = new DataView(part.buffer, part.byteOffset).getUint32(0, true);
    const header = Uint8Array.of(0xdd, count >>> 24, (count >>> 16) & 0xff, (count >>> 8) & 0xff, count & 0xff);
    for (const entry of plain(decode(Buffer.concat([header, part.subarray(4)]))) as Entry[]) {
      const records = byKey.get(entry.key) ?? new Map<string, unknown>();
      for (const { tag, value } of entry.records) records.set(tag, value);
      for (const tag of entry.tombstones) removed.add(tag);
      byKey.set(entry.key, records);
    }
  }
  for (const records of byKey.values()) for (const tag of removed) records.delete(tag);
  for (const [key, records] of byKey) if (records.size === 0) byKey.delete(key);
  return byKey;
}

function expectedOf(model: OrMap, keys: readonly string[] = model.keys): Map<string, Map<string, unknown>> {
  const held = keys.filter((key) => model.records(key).length > 0);
  return new Map(held.map((key) => [key, new Map(model.records(key).map(({ tag, value }) => [tag, value]))]));
}

type Step =
  | { type: 'add'; key: number; length: number }
  | { type: 'remove'; nth: number }
  | { type: 'flush' }
  | { type: 'evict'; all: boolean }
  | { type: 'root' }
  | { type: 'read' }
  | { type: 'diff'; key: number };

const key = fc.nat(11);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('add' as const),
      key,
      length: fc.oneof(fc.nat(100), fc.integer({ min: 1000, max: 50_000 })),
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('remove' as const), nth: fc.nat(200) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('flush' as const) }) },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('evict' as const), all: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('root' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('read' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('diff' as const), key }) },
);

test('every hash and every entry is what a map without a bound would give, and the bound is kept', async () => {
  const all = { evicted: 0, loaded: 0, kept: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 100 }), async (steps) => {
      const engine = new BoundedEngine();
      const model = new OrMap();
      const added: { key: string; millis: number }[] = [];
      for (const one of steps) {
        if (one.type === 'add') {
          const [name, millis] = [`k${one.key}`, added.length + 1];
          if (!add(engine, name, millis, one.length)) await engine.makeRoom();
          else {
            model.add(name, modelRecord(millis, one.length));
            added.push({ key: name, millis });
          }
        }
        const removed = one.type === 'remove' ? added[one.nth % Math.max(1, added.length)] : undefined;
        if (removed !== undefined) {
          remove(engine, removed.key, removed.millis);
          model.remove(tagOf(removed.millis));
        }
        if (one.type === 'flush') await engine.flush();
        if (one.type === 'evict' && one.all) engine.dropAll();
        else if (one.type === 'evict') engine.eviction.run(0, 8);
        const loaded = engine.loader.loaded;
        if (one.type === 'root') {
          assert.equal(await rootOf(engine), model.tree().root);
          if (engine.store('map', KIND_OR).evicted > 0 && engine.loader.loaded === loaded) all.kept += 1;
        }
        if (one.type === 'read') {
          assert.deepEqual(await entriesOf(engine, engine.sync.leafNowOrLater(MAP, KIND_OR, '')), expectedOf(model));
        }
        if (one.type === 'diff') {
          const name = `k${one.key}`;
          assert.deepEqual(await entriesOf(engine, engine.sync.orDiff(MAP, [name])), expectedOf(model, [name]));
        }
      }
      await engine.flush();
      assert.equal(await rootOf(engine), model.tree().root);
      assert.deepEqual(await entriesOf(engine, engine.sync.leafNowOrLater(MAP, KIND_OR, '')), expectedOf(model));
      assert.ok(engine.slab.reservedBytes <= MIB, `${engine.slab.reservedBytes} bytes`);
      assert.equal(engine.loader.missing, 0);
      all.evicted += engine.eviction.evicted;
      all.loaded += engine.loader.loaded;
    }),
    { numRuns: 60, includeErrorInReport: true },
  );
  for (const [what, count] of Object.entries(all)) assert.ok(count > 0, `nothing was ${what}: the property proves nothing`);
});

function isEvicted(store: RecordStore, name: string, millis: number): boolean {
  const image = new RecordImage();
  store.read(store.find(imageOf(recordOf({ key: name, tag: tagOf(millis) }))), image);
  return image.evicted;
}

/** Keys of two tags each, flushed, hashed and dropped. */
async function dropped(keys: number): Promise<[BoundedEngine, OrMap]> {
  const engine = new BoundedEngine();
  const model = new OrMap();
  for (let number = 0; number < keys; number++) {
    for (const millis of [number * 2 + 1, number * 2 + 2]) {
      assert.ok(add(engine, `k${number}`, millis, 2000));
      model.add(`k${number}`, modelRecord(millis, 2000));
    }
  }
  await engine.flush();
  engine.dropAll();
  assert.ok(isEvicted(engine.store('map', KIND_OR), 'k0', 1));
  return [engine, model];
}

test('leaves that were never hashed are hashed without a read when their keys are as they were dropped', async () => {
  const [engine, model] = await dropped(20);
  assert.equal(await rootOf(engine), model.tree().root);
  assert.equal(engine.dataStore.reads, 0);
});

test('a key that has changed since is read back once, its neighbours and its next question are not', async () => {
  const [engine, model] = await dropped(20);
  remove(engine, 'k3', 7);
  model.remove(tagOf(7));
  add(engine, 'k5', 1000, 10);
  model.add('k5', modelRecord(1000, 10));
  assert.equal(await rootOf(engine), model.tree().root);
  assert.equal(engine.loader.loaded, 3); // one tag of k3, two of k5
  remove(engine, 'k7', 15);
  model.remove(tagOf(15));
  assert.equal(await rootOf(engine), model.tree().root);
  assert.equal(engine.loader.loaded, 4);
});

test('a key that changes while its values are read is hashed as it is in the end', async () => {
  const [engine, model] = await dropped(4);
  add(engine, 'k0', 1000, 10);
  model.add('k0', modelRecord(1000, 10));
  let release = (): void => {};
  engine.dataStore.faults.beforeRead = () => new Promise((resolve) => (release = resolve));
  const answer = rootAsIs(engine);
  await engine.settle();
  remove(engine, 'k0', 1);
  model.remove(tagOf(1));
  add(engine, 'k0', 1001, 10);
  model.add('k0', modelRecord(1001, 10));
  engine.dataStore.faults.beforeRead = () => Promise.resolve();
  release();
  assert.equal(await answer, model.tree().root);
});

test('what a removed tag was dropped with is forgotten, and its removal is stored', async () => {
  const [engine] = await dropped(2);
  const store = engine.store('map', KIND_OR);
  for (const millis of [1, 2, 3, 4]) remove(engine, millis < 3 ? 'k0' : 'k1', millis);
  assert.deepEqual([store.evicted, store.evictedBytes, store.tombstones], [0, 0, 4]);
  await engine.flush();
  assert.ok([...engine.dataStore.rows.values()].every(({ tombstone }) => tombstone));
  assert.equal(await rootOf(engine), 0);
});

test('an add that comes again changes nothing, dropped or not', async () => {
  const [engine, model] = await dropped(2);
  const store = engine.store('map', KIND_OR);
  const before = [store.applied, store.evicted];
  add(engine, 'k0', 1, 2000);
  assert.deepEqual([store.applied, store.evicted], before);
  assert.equal(await rootOf(engine), model.tree().root);
});

test('whoever pushes a tag that is removed here is told so at once, with the values that are in memory', async () => {
  const [engine, model] = await dropped(1);
  remove(engine, 'k0', 1);
  model.remove(tagOf(1));
  add(engine, 'k0', 3, 10);
  const pushed = { tag: tagOf(1), value: 'old', millis: 1, counter: 0, nodeId: NODE };
  const push = {
    map: MAP,
    entries: [{ key: 'k0', records: [pushed] }],
    tombstones: [],
    gateway: 0,
    session: 1,
    writerListens: false,
  };
  const told = await entriesOf(engine, engine.sync.orPush(push, 5000));
  assert.deepEqual(told, new Map([['k0', new Map([[tagOf(3), textOf(10, 3)]])]]));
  assert.equal(engine.dataStore.reads, 0);
});

test('values that are not in the data store as they were dropped make the question fail, and are counted', async () => {
  const [engine] = await dropped(1);
  add(engine, 'k0', 1000, 10);
  for (const [identity, row] of engine.dataStore.rows)
    engine.dataStore.rows.set(identity, { ...row, value: encode('another').slice() });
  await assert.rejects(rootOf(engine), { code: 'UNAVAILABLE' });
  assert.ok(engine.loader.missing > 0);
});
