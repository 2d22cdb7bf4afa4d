/** Which values go, when, and what is left of their records. The engine around is that of bounded-engine.ts. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BoundedEngine, MIB, textOf, packedText } from '../domains/testing/bounded-engine.ts';
import { KIND_LWW, RecordImage } from './record.ts';
import type { RecordStore } from './record-store.ts';
import type { RecordMeta, RecordRef } from './storage.ts';
import { imageOf, recordOf } from './stored-record.ts';

const VALUE_BYTES = 4000;

function refOf(store: RecordStore, key: string): RecordRef {
  return store.find(imageOf(recordOf({ key })));
}

function isEvicted(store: RecordStore, key: string): boolean {
  const image = new RecordImage();
  store.read(refOf(store, key), image);
  return image.evicted;
}

function metaOf(store: RecordStore, key: string): RecordMeta {
  const meta = { version: 0, createdS: 0, updatedS: 0, accessedS: 0, hits: 0, costBytes: 0 };
  store.meta(refOf(store, key), meta);
  return meta;
}

/** Writes records of about 4 KB until one is refused; answers how many there are. */
function fill(engine: BoundedEngine, from = 0): number {
  let number = from;
  while (number < 10_000 && engine.write({ key: `k${number}`, value: packedText(VALUE_BYTES, number), millis: 1 })) number += 1;
  return number;
}

describe('a worker at its memory bound', () => {
  test('refuses writes while everything is staged, and takes them again once it is flushed', async () => {
    const engine = new BoundedEngine();
    const first = fill(engine);
    assert.ok(first > 200 && first < 260, `${first} records of 4 KB in a megabyte`);
    assert.equal(engine.eviction.refusalOf(5000), 'OUT_OF_MEMORY');
    engine.eviction.run(engine.time.nowMs());
    assert.equal(engine.eviction.evicted, 0);
    assert.equal(engine.eviction.refusalOf(5000), 'OUT_OF_MEMORY');
    await engine.makeRoom();
    assert.equal(engine.eviction.refusalOf(5000), undefined);
    const second = fill(engine, first);
    assert.ok(second > first * 1.5, `${first} records, then ${second}`);
    await engine.flush();
    assert.ok(engine.slab.reservedBytes <= MIB);
    const values = await engine.read();
    assert.equal(values.size, second);
    for (let number = 0; number < second; number += 50) assert.equal(values.get(`k${number}`), textOf(VALUE_BYTES, number));
  });

  test('drops nothing with the policy none, and refuses', async () => {
    const engine = new BoundedEngine({ policy: 'none' });
    const records = fill(engine);
    await engine.makeRoom();
    assert.deepEqual([fill(engine, records), engine.eviction.evicted], [records, 0]);
  });

  test('takes removals, which free memory, as soon as there is any room', async () => {
    const engine = new BoundedEngine({ policy: 'none' });
    const records = fill(engine);
    for (let number = 0; number < 20; number++)
      engine.store().join(imageOf(recordOf({ key: `k${number}`, millis: 2, tombstone: true })), 0);
    assert.ok(fill(engine, records) > records);
  });

  test('drops from the high water down to the low water, a slice at a time', async () => {
    const engine = new BoundedEngine();
    fill(engine);
    await engine.flush();
    assert.ok(engine.eviction.usedBytes > MIB * 0.9);
    assert.equal(engine.eviction.isShort, true);
    assert.equal(engine.eviction.run(0, 5), 'more');
    assert.equal(engine.eviction.evicted, 5);
    while (engine.eviction.run(0, 5) === 'more');
    assert.ok(engine.eviction.usedBytes <= MIB * 0.85);
    assert.ok(engine.eviction.usedBytes > MIB * 0.83, 'no more than needed');
    assert.equal(engine.eviction.run(0, 5), 'done');
    assert.equal(engine.eviction.isShort, false);
  });

  test('finds the one value that can be dropped among thousands that cannot', async () => {
    const engine = new BoundedEngine();
    for (let number = 0; number < 3000; number++) engine.write({ key: `small${number}`, value: packedText(3, 0) });
    engine.write({ key: 'large', value: packedText(50_000) });
    await engine.flush();
    engine.dropAll();
    assert.deepEqual([engine.eviction.evicted, isEvicted(engine.store(), 'large')], [1, true]);
  });
});

describe('who goes first', () => {
  const RECORDS = 230;

  /** Records in a slab that has room for all; every fourth is used, or recently, or often. */
  async function world(
    policy: 'lru' | 'lfu',
    use: (engine: BoundedEngine, store: RecordStore) => void,
  ): Promise<[number, number]> {
    const engine = new BoundedEngine({ policy });
    for (let number = 0; number < RECORDS; number++) engine.write({ key: `k${number}`, value: packedText(VALUE_BYTES, number) });
    await engine.flush();
    const store = engine.store();
    use(engine, store);
    engine.eviction.setBound(Math.floor(engine.slab.reservedBytes * 0.97));
    while (engine.eviction.run(engine.time.nowMs(), 10) === 'more');
    const dropped = Array.from({ length: RECORDS }, (_, number) => number).filter((number) => isEvicted(store, `k${number}`));
    return [dropped.filter((number) => number % 4 === 0).length, dropped.length];
  }

  const touchFourths = (engine: BoundedEngine, store: RecordStore, times: number): void => {
    for (let number = 0; number < RECORDS; number += 4) {
      for (let time = 0; time < times; time++) store.touch(refOf(store, `k${number}`), engine.time.nowMs());
    }
  };

  test('lru drops what was not used for longest', async () => {
    const [used, all] = await world('lru', (engine, store) => {
      engine.time.advance(60_000);
      touchFourths(engine, store, 1);
    });
    assert.ok(all >= 10, `${all} dropped`);
    assert.equal(used, 0);
  });

  test('lfu drops what was used least', async () => {
    const [used, all] = await world('lfu', (engine, store) => {
      touchFourths(engine, store, 5);
      engine.time.advance(1000);
    });
    assert.ok(all >= 10, `${all} dropped`);
    assert.equal(used, 0);
  });

  test('lfu forgets uses of long ago', async () => {
    const [used, all] = await world('lfu', (engine, store) => {
      touchFourths(engine, store, 5);
      engine.time.advance(3_600_000);
      for (let number = 0; number < RECORDS; number++)
        if (number % 4 !== 0) store.touch(refOf(store, `k${number}`), engine.time.nowMs());
    });
    assert.ok(all >= 10, `${all} dropped`);
    assert.ok(used > all * 0.7, `${used} of ${all}`);
  });
});

describe('what is left of a record whose value was dropped', () => {
  test('is all but its value: metadata, counters, leaf and expiry, through being dropped and put back', async () => {
    const engine = new BoundedEngine();
    const store = engine.store();
    const nowMs = engine.time.nowMs();
    for (const key of ['a', 'b', 'c']) engine.write({ key, value: packedText(VALUE_BYTES, 1), millis: nowMs, ttlMs: 5000 });
    store.touch(refOf(store, 'a'), nowMs);
    await engine.flush();
    const sums = (): Uint32Array => {
      const into = new Uint32Array(4096);
      store.copyLeafSums(into);
      return into;
    };
    const before = [metaOf(store, 'a'), store.records, store.applied, store.expiryMillis(refOf(store, 'a')), sums()];
    engine.dropAll();
    assert.equal(store.evicted, 3);
    assert.ok(store.evictedBytes > 3 * VALUE_BYTES);
    const { costBytes, ...meta } = metaOf(store, 'a');
    assert.ok(costBytes < 200);
    assert.deepEqual(
      [
        { ...meta, costBytes: (before[0] as RecordMeta).costBytes },
        store.records,
        store.applied,
        store.expiryMillis(refOf(store, 'a')),
        sums(),
      ],
      before,
    );

    assert.equal(await engine.loader.restoreValue(store, refOf(store, 'a')), true);
    assert.deepEqual([metaOf(store, 'a'), store.records, store.applied, store.expiryMillis(refOf(store, 'a')), sums()], before);
    assert.deepEqual([store.evicted, engine.staging.stagedRecords], [2, 0]);
    engine.time.advance(6000);
    engine.expiry.run(engine.time.nowMs());
    assert.deepEqual([store.tombstones, store.evicted, store.evictedBytes], [3, 0, 0]);
  });

  test('is hashed later, when it was dropped before its entry was hashed', async () => {
    const dropped = new BoundedEngine();
    const kept = new BoundedEngine();
    for (const engine of [dropped, kept]) {
      for (let number = 0; number < 10; number++)
        engine.write({ key: `k${number}`, value: packedText(VALUE_BYTES, number), millis: number });
      await engine.flush();
    }
    dropped.dropAll();
    const [left, right] = [new Uint32Array(4096), new Uint32Array(4096)];
    dropped.store().copyLeafSums(left);
    kept.store().copyLeafSums(right);
    assert.deepEqual(left, right);
  });

  test('a value that is staged, or in flight, stays', async () => {
    const engine = new BoundedEngine();
    engine.write({ key: 'k', value: packedText(VALUE_BYTES), millis: 1 });
    engine.dropAll();
    let commit = (): void => {};
    engine.dataStore.faults.beforeCommit = () => new Promise((resolve) => (commit = resolve));
    engine.staging.softFlush(engine.time.nowMs());
    await engine.settle();
    engine.dropAll();
    assert.equal(engine.eviction.evicted, 0);
    commit();
    await engine.settle();
    engine.dropAll();
    assert.equal(engine.eviction.evicted, 1);
  });
});

test('a server starts with more data than memory, and has all of it', async () => {
  const before = new BoundedEngine({ boundBytes: 64 * MIB });
  for (let number = 0; number < 1000; number++)
    before.write({ key: `k${number}`, value: packedText(VALUE_BYTES, number), millis: number });
  await before.flush();

  const engine = new BoundedEngine();
  for (const [identity, row] of before.dataStore.rows) engine.dataStore.rows.set(identity, row);
  const all = Array.from({ length: 271 }, (_, partition) => partition);
  await engine.dataStore.load(all, (kind, _map, image) => {
    assert.equal(kind, KIND_LWW);
    engine.store('map', KIND_LWW).restore(image);
    engine.eviction.relieve(engine.time.nowMs());
  });
  assert.equal(engine.store().records, 1000);
  assert.ok(engine.slab.reservedBytes <= MIB, `${engine.slab.reservedBytes} bytes`);
  assert.ok(engine.store().evicted > 700 && engine.store().evicted < 850, `${engine.store().evicted} dropped`);
  const values = await engine.read();
  for (let number = 0; number < 1000; number++) assert.equal(values.get(`k${number}`), textOf(VALUE_BYTES, number));
});

test('keys that alone need more memory than there is do not keep a server from starting', () => {
  const engine = new BoundedEngine();
  for (let number = 0; number < 20_000; number++) {
    engine.store().restore(imageOf(recordOf({ key: `k${number}`, value: packedText(10) })));
    engine.eviction.relieve(engine.time.nowMs());
  }
  assert.equal(engine.store().records, 20_000);
  assert.ok(engine.slab.overruns > 0);
  assert.equal(engine.eviction.refusalOf(100), 'OUT_OF_MEMORY');
});
