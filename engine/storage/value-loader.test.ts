import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BoundedEngine, type BoundedOptions, packedText, textOf } from '../domains/testing/bounded-engine.ts';
import { GridError } from '../protocol/errors.ts';
import type { RecordStore } from './record-store.ts';
import type { RecordRef } from './storage.ts';
import { imageOf, recordOf } from './stored-record.ts';

/** Evicted records k0, k1, … of the map, each of 1000 bytes. */
async function evicted(
  records: number,
  loader: NonNullable<BoundedOptions['loader']> = {},
): Promise<{ engine: BoundedEngine; store: RecordStore; refs: RecordRef[] }> {
  const engine = new BoundedEngine({ loader });
  for (let number = 0; number < records; number++)
    engine.write({ key: `k${number}`, value: packedText(997, number), millis: number });
  await engine.flush();
  engine.dropAll();
  const store = engine.store();
  const refs = Array.from({ length: records }, (_, number) => store.find(imageOf(recordOf({ key: `k${number}` }))));
  assert.equal(store.evicted, records);
  return { engine, store, refs };
}

/** Holds reads of the data store until it is opened. */
function holdReads(engine: BoundedEngine): () => void {
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  engine.dataStore.faults.beforeRead = () => gate;
  return open;
}

describe('ValueLoader', () => {
  test('reads a record once, however many wait for it', async () => {
    const { engine, store, refs } = await evicted(3);
    const open = holdReads(engine);
    const loads = [
      engine.loader.load(store, refs),
      engine.loader.load(store, refs.slice(0, 1)),
      engine.loader.load(store, refs.slice(1)),
    ];
    assert.equal(engine.loader.parked, 3);
    open();
    const sizes = (await Promise.all(loads)).map((values) => values.size);
    assert.deepEqual(sizes, [3, 1, 2]);
    assert.deepEqual([engine.dataStore.reads, engine.loader.loaded, engine.loader.parked, engine.time.timers], [1, 3, 0, 0]);
  });

  test('reads in batches bounded by records and by bytes, of all maps in turn', async () => {
    const { engine, store, refs } = await evicted(10, { batchRecords: 4, batchBytes: 3500 });
    await engine.loader.load(store, refs);
    assert.equal(engine.dataStore.reads, 4); // three of a thousand bytes at a time
    const large = await evicted(2, { batchBytes: 10 });
    await large.engine.loader.load(large.store, large.refs);
    assert.equal(large.engine.dataStore.reads, 2);
  });

  test('refuses what exceeds its bounds, and takes it once there is room', async () => {
    for (const limit of [{ recordsMax: 3 }, { bytesMax: 3500 }]) {
      const { engine, store, refs } = await evicted(4, limit);
      const open = holdReads(engine);
      const first = engine.loader.load(store, refs.slice(0, 3));
      await assert.rejects(engine.loader.load(store, refs.slice(3)), { code: 'UNAVAILABLE' });
      await Promise.all([first, engine.loader.load(store, refs.slice(0, 2)), open()]);
      assert.equal((await engine.loader.load(store, refs.slice(3))).size, 1);
    }
  });

  test('a load larger than the bounds goes through alone', async () => {
    const { engine, store, refs } = await evicted(4, { recordsMax: 2 });
    assert.equal((await engine.loader.load(store, refs)).size, 4);
  });

  test('rejects at the deadline, and what comes late serves those who came later', async () => {
    const { engine, store, refs } = await evicted(2, { deadlineMs: 1000 });
    const open = holdReads(engine);
    const early = engine.loader.load(store, refs);
    const refused = assert.rejects(early, { code: 'UNAVAILABLE' });
    engine.time.advance(999);
    const late = engine.loader.load(store, refs.slice(0, 1));
    engine.time.advance(1);
    await refused;
    open();
    assert.equal((await late).size, 1);
  });

  test('a read that fails rejects all who wait for it, and no others', async () => {
    const { engine, store, refs } = await evicted(2, { batchRecords: 1 });
    engine.dataStore.faults.reads.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
    const [first, second] = await Promise.allSettled(refs.map((ref) => engine.loader.load(store, [ref])));
    assert.deepEqual([first?.status, second?.status], ['rejected', 'fulfilled']);
    assert.deepEqual([engine.loader.failures, engine.loader.parked], [1, 0]);
    assert.equal((await engine.loader.load(store, refs)).size, 2);
  });

  test('rejects all that wait when it is closed, and all that comes', async () => {
    const { engine, store, refs } = await evicted(2);
    const open = holdReads(engine);
    const loads = [engine.loader.load(store, refs.slice(0, 1)), engine.loader.load(store, refs.slice(1))];
    const refused = Promise.all(loads.map((load) => assert.rejects(load, { code: 'UNAVAILABLE' })));
    engine.loader.close();
    await refused;
    await assert.rejects(engine.loader.load(store, refs), { code: 'UNAVAILABLE' });
    open();
    await engine.settle();
    assert.equal(engine.time.timers, 0);
  });

  test('joins a write of the same clock once the value is back, and says when it is nowhere', async () => {
    const { engine, store } = await evicted(2);
    const tie = (value: Uint8Array): Promise<boolean> =>
      engine.loader.settleTie(store, recordOf({ key: 'k1', value, millis: 1 }), 5);
    assert.equal(await tie(packedText(997, 9)), true);
    assert.equal(engine.staging.stagedRecords, 1);
    await engine.flush();
    engine.dropAll();
    assert.equal(await tie(packedText(997, 1)), true);
    assert.equal((await engine.read()).get('k1'), textOf(997, 9));
    engine.dropAll();
    engine.dataStore.rows.clear();
    assert.equal(await tie(packedText(997, 1)), false);
    assert.equal(engine.loader.missing, 1);
  });

  test('puts a value back only under the clock under which it was dropped', async () => {
    const { engine, store, refs } = await evicted(2);
    assert.equal(await engine.loader.restoreValue(store, refs[0] as RecordRef), true);
    assert.equal(store.evicted, 1);
    const open = holdReads(engine);
    const restoring = engine.loader.restoreValue(store, refs[1] as RecordRef);
    engine.write({ key: 'k1', value: packedText(10, 7), millis: 9 });
    open();
    assert.equal(await restoring, false);
    assert.equal((await engine.read()).get('k1'), '7 abcdefghij'.slice(0, 10));
  });

  for (const batchRecords of [1, 500]) {
    test(`puts back those of a list that are unchanged, though others change while ${batchRecords} at a time are read`, async () => {
      const { engine, store, refs } = await evicted(4, { batchRecords });
      const open = holdReads(engine);
      const restoring = engine.loader.restoreValues(store, refs);
      engine.write({ key: 'k1', value: packedText(10, 7), millis: 9 });
      engine.write({ key: 'k3', value: packedText(997, 3), millis: 9 });
      open();
      assert.equal(await restoring, 2);
      assert.equal(store.evicted, 0);
      assert.equal((await engine.read()).get('k3'), textOf(997, 3));
    });
  }
});
