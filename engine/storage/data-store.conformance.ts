/**
 * What every DataStore must do, run by each implementation's own test: memory here, Postgres in workers/.
 *
 * Each test starts on an empty store from `create`.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { partitionOf } from '../partition/hash.ts';
import type { DataStore } from './data-store.ts';
import { counterGuard, lwwGuard, orGuard, removals } from './data-store-guards.conformance.ts';
import { ALL_PARTITIONS, bury, DEADLINE_MS, loadAll, put, type StoreTest, sorted, prune } from './data-store-probe.ts';
import { reading } from './data-store-reads.conformance.ts';
import { KIND_LWW, KIND_OR } from './record.ts';
import { imageOf, recordOf } from './stored-record.ts';

export interface DataStoreFixture {
  /** Empty. The suite closes it. */
  readonly store: DataStore;
  /** Closes `store` and answers another one over the same data. Left out by stores that keep nothing. */
  reopen?(): Promise<DataStore>;
}

/** Registers the suite under `name`. */
export function testDataStore(name: string, create: () => Promise<DataStoreFixture>): void {
  async function withStore(run: (store: DataStore) => Promise<void>): Promise<void> {
    const { store } = await create();
    try {
      await run(store);
    } finally {
      await store.close();
    }
  }

  function storeTest(title: string, run: (store: DataStore) => Promise<void>): void {
    test(title, () => withStore(run));
  }

  describe(`${name} is a DataStore`, () => {
    batches(storeTest);
    lwwGuard(storeTest);
    counterGuard(storeTest);
    orGuard(storeTest);
    removals(storeTest);
    bytesAndNumbers(storeTest);
    loading(storeTest);
    reading(storeTest);
    deadLetters(storeTest);
    reopening(create);
  });
}

function batches(storeTest: StoreTest): void {
  storeTest('an empty store loads nothing', async (store) => {
    assert.deepEqual(await loadAll(store), []);
  });

  storeTest('a committed record is loaded as it was put', async (store) => {
    const record = recordOf({ key: 'k', value: 'v', millis: 17, counter: 3, node: 'n1', ttlMs: 500 });
    await put(store, record);
    assert.deepEqual(await loadAll(store), [record]);
  });

  storeTest('an empty batch commits zero rows', async (store) => {
    const result = await store.batch().commit(DEADLINE_MS);
    assert.equal(result.rows, 0);
    assert.deepEqual(await loadAll(store), []);
  });

  storeTest('a batch counts the rows handed over, also those that the guard refuses', async (store) => {
    const batch = store.batch();
    assert.equal(batch.rows, 0);
    for (const millis of [2, 1]) batch.put(KIND_LWW, MAP, imageOf(recordOf({ key: 'k', value: `${millis}`, millis })));
    batch.prune(KIND_LWW, MAP, imageOf(recordOf({ key: 'other', tombstone: true })));
    assert.equal(batch.rows, 3);
    assert.ok(batch.bytes > 0);
    const result = await batch.commit(DEADLINE_MS);
    assert.equal(result.rows, 3);
    assert.ok(result.bytes > 0);
  });

  storeTest('a batch that is not committed changes nothing', async (store) => {
    store.batch().put(KIND_LWW, MAP, imageOf(recordOf({ key: 'k', value: 'v' })));
    assert.deepEqual(await loadAll(store), []);
  });

  storeTest('put copies: the source may be overwritten before the commit', async (store) => {
    const record = recordOf({ key: 'k', value: 'v', node: 'n' });
    const image = imageOf(record);
    const batch = store.batch();
    batch.put(KIND_LWW, MAP, image);
    image.source.fill(0xee);
    await batch.commit(DEADLINE_MS);
    assert.deepEqual(await loadAll(store), [record]);
  });

  storeTest('a repeated batch changes nothing', async (store) => {
    const records = [
      recordOf({ key: 'live', value: 'v', millis: 5 }),
      recordOf({ key: 'dead', millis: 6, tombstone: true }),
      recordOf({ kind: KIND_OR, key: 'k', tag: 't1', value: 'v', millis: 7 }),
    ];
    for (let repeat = 0; repeat < 3; repeat++) await put(store, ...records);
    assert.deepEqual(await loadAll(store), sorted(records));
  });

  storeTest('a thousand records of many maps in one batch are all there', async (store) => {
    const records = Array.from({ length: 1000 }, (_, index) =>
      recordOf({ map: `m${index % 7}`, key: `k${index}`, value: `v${index}`, millis: 1 + index }),
    );
    await put(store, ...records);
    assert.deepEqual(await loadAll(store), sorted(records));
  });

  storeTest('the same key of another map, kind or tag is another record', async (store) => {
    const records = [
      recordOf({ map: 'a', key: 'k', value: '1' }),
      recordOf({ map: 'b', key: 'k', value: '2' }),
      recordOf({ kind: KIND_OR, map: 'a', key: 'k', tag: 't1', value: '3' }),
      recordOf({ kind: KIND_OR, map: 'a', key: 'k', tag: 't2', value: '4' }),
    ];
    await put(store, ...records);
    assert.deepEqual(await loadAll(store), sorted(records));
  });
}

function bytesAndNumbers(storeTest: StoreTest): void {
  const awkward: readonly Uint8Array[] = [
    Uint8Array.of(0),
    Uint8Array.of(0x61, 0, 0x62),
    Uint8Array.of(0xff, 0xfe, 0x80),
    Uint8Array.of(0xed, 0xa0, 0x80), // lone surrogate U+D800
    Uint8Array.of(0xed, 0xbf, 0xbf), // lone surrogate U+DFFF
    Uint8Array.of(0xc0, 0x80), // overlong U+0000
    new TextEncoder().encode(`\\x41'"; ,{}\t\n\\N`),
    Uint8Array.from({ length: 256 }, (_, index) => index),
  ];

  storeTest('keys, maps, tags, nodes and values are bytes, not text', async (store) => {
    const records = awkward.flatMap((bytes) => [
      recordOf({ key: bytes, value: bytes, node: bytes }),
      recordOf({ map: bytes, key: 'k', value: 'v' }),
      recordOf({ kind: KIND_OR, key: bytes, tag: bytes, value: bytes, node: bytes }),
    ]);
    await put(store, ...records);
    assert.deepEqual(await loadAll(store), sorted(records));
  });

  storeTest('empty key, empty node and empty value are kept and are no tombstone', async (store) => {
    const record = recordOf({ key: '', node: '', value: '', millis: 0 });
    await put(store, record);
    assert.deepEqual(await loadAll(store), [record]);
  });

  storeTest('numbers come back exactly: large millis, full counter, whole, fractional and absent ttl', async (store) => {
    const records = [
      recordOf({ key: 'safe', value: 'v', millis: 2 ** 53 - 1, counter: 2 ** 32 - 1, ttlMs: 2 ** 53 - 1 }),
      recordOf({ key: '2^53', value: 'v', millis: 2 ** 53, ttlMs: 0 }),
      recordOf({ key: 'fraction', value: 'v', ttlMs: 1234.5678 }),
      recordOf({ key: 'tiny', value: 'v', ttlMs: 5e-324 }),
      recordOf({ key: 'absent', value: 'v' }),
      recordOf({ kind: KIND_OR, key: 'or', tag: 't', value: 'v', millis: 2 ** 53, counter: 2 ** 31, ttlMs: 0.1 }),
    ];
    await put(store, ...records);
    assert.deepEqual(await loadAll(store), sorted(records));
  });

  storeTest('a value of 1 MiB is kept whole', async (store) => {
    const value = Uint8Array.from({ length: 1 << 20 }, (_, index) => (index * 31 + (index >> 8)) & 0xff);
    const record = recordOf({ key: 'large', value });
    await put(store, record);
    const [row] = await loadAll(store);
    assert.ok(row !== undefined);
    assert.ok(Buffer.compare(row.value, value) === 0);
  });

  storeTest('a key of 2000 bytes that do not compress is kept', async (store) => {
    let state = 1;
    const key = Uint8Array.from({ length: 2000 }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return state >>> 24;
    });
    const record = recordOf({ key, value: 'v' });
    await put(store, record);
    assert.deepEqual(await loadAll(store), [record]);
  });
}

function loading(storeTest: StoreTest): void {
  storeTest('load streams exactly the partitions asked for', async (store) => {
    const records = Array.from({ length: 600 }, (_, index) =>
      index % 2 === 0
        ? recordOf({ key: `k${index}`, value: 'v' })
        : recordOf({ kind: KIND_OR, key: `k${index}`, tag: `t${index}`, value: 'v' }),
    );
    await put(store, ...records);
    const mine = ALL_PARTITIONS.filter((partition) => partition % 3 === 1);
    const expected = records.filter((record) => partitionOf(record.keyHash) % 3 === 1);
    assert.ok(expected.length > 0);
    assert.deepEqual(await loadAll(store, mine), sorted(expected));
    assert.deepEqual(await loadAll(store, []), []);
    assert.deepEqual(await loadAll(store), sorted(records));
  });

  storeTest('load rejects with what the callback throws', async (store) => {
    await put(store, recordOf({ key: 'k', value: 'v' }));
    const refusal = new Error('stop');
    const loading = store.load(ALL_PARTITIONS, () => {
      throw refusal;
    });
    await assert.rejects(loading, (error) => error === refusal);
    assert.equal((await loadAll(store)).length, 1);
  });
}

function deadLetters(storeTest: StoreTest): void {
  storeTest('a dead letter is loaded with its partition, bytes and clock', async (store) => {
    const lww = recordOf({ key: Uint8Array.of(0, 0xff), value: 'v', millis: 2 ** 53, counter: 4, ttlMs: 0.5 });
    const or = recordOf({ kind: KIND_OR, key: 'k', tag: Uint8Array.of(0), millis: 3, tombstone: true });
    for (const record of [lww, or]) await bury(store, record, 'refused: \u{1f4a5}');
    assert.deepEqual(await loadAll(store, [partitionOf(lww.keyHash)]), [lww]);
    assert.deepEqual(await loadAll(store, [partitionOf(or.keyHash)]), [or]);
    assert.deepEqual(await loadAll(store), sorted([lww, or]));
  });

  storeTest('a reason with U+0000 or a lone surrogate is no obstacle', async (store) => {
    const record = recordOf({ key: 'k', value: 'v' });
    await bury(store, record, 'bad \u0000 byte, bad \ud800 unit');
    assert.deepEqual(await loadAll(store), [record]);
  });

  storeTest('a dead letter of a rejected write is kept, not loaded', async (store) => {
    const rejected = recordOf({ key: 'rejected', value: 'v' });
    const applied = recordOf({ key: 'applied', value: 'v' });
    await bury(store, rejected, 'too old', false);
    await bury(store, applied, 'refused');
    assert.deepEqual(await loadAll(store), [applied]);
  });

  storeTest('a write that was rejected once and applied later is loaded', async (store) => {
    const record = recordOf({ key: 'k', value: 'v' });
    await bury(store, record, 'too old', false);
    await bury(store, record, 'refused');
    await bury(store, record, 'too old', false);
    assert.deepEqual(await loadAll(store), [record]);
  });

  storeTest('what is pruned does not come back from its dead letter, newer ones and other keys stay', async (store) => {
    const lww = recordOf({ key: 'k', value: 'v', millis: 1 });
    const or = recordOf({ kind: KIND_OR, key: 'k', tag: 't', value: 'v', millis: 1 });
    const kept = [
      recordOf({ key: 'k', value: 'newer', millis: 3 }),
      recordOf({ key: 'other', value: 'v', millis: 1 }),
      recordOf({ kind: KIND_OR, key: 'k', tag: 'other', value: 'v', millis: 1 }),
    ];
    for (const record of [lww, or, ...kept]) await bury(store, record, 'refused');
    const tombstones = [recordOf({ key: 'k', tombstone: true, millis: 2 }), recordOf({ ...or, tombstone: true, value: '' })];
    await put(store, ...tombstones);
    await prune(store, ...tombstones);
    assert.deepEqual(await loadAll(store), sorted(kept));
  });

  storeTest('a record buried twice is still loaded', async (store) => {
    const record = recordOf({ key: 'k', value: 'v' });
    for (let repeat = 0; repeat < 2; repeat++) await bury(store, record, 'refused');
    const rows = await loadAll(store);
    assert.ok(rows.length >= 1);
    for (const row of rows) assert.deepEqual(row, record);
  });

  storeTest('a dead letter does not stand in the way of a newer write of its key', async (store) => {
    const newer = recordOf({ key: 'k', value: 'new', millis: 2 });
    await bury(store, recordOf({ key: 'k', value: 'old', millis: 1 }), 'refused');
    await put(store, newer);
    const rows = await loadAll(store);
    assert.deepEqual(
      rows.filter((row) => row.millis === 2),
      [newer],
    );
  });
}

function reopening(create: () => Promise<DataStoreFixture>): void {
  test('what was committed or buried outlives the store', async (context) => {
    const fixture = await create();
    if (fixture.reopen === undefined) {
      await fixture.store.close();
      context.skip('keeps nothing by design');
      return;
    }
    const row = recordOf({ key: 'row', value: 'v' });
    const letter = recordOf({ key: 'letter', value: 'v' });
    await put(fixture.store, row);
    await bury(fixture.store, letter, 'refused');
    const second = await fixture.reopen();
    try {
      assert.deepEqual(await loadAll(second), sorted([row, letter]));
    } finally {
      await second.close();
    }
  });
}

const MAP = recordOf({ key: '' }).map;
