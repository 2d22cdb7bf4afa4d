/**
 * What every DataStore must do when it is asked for some records by their identity.
 */
import assert from 'node:assert/strict';
import type { DataStore } from './data-store.ts';
import { bury, DEADLINE_MS, put, sorted, type StoreTest } from './data-store-probe.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from './record.ts';
import { recordOf, type StoredRecord, storedRecord } from './stored-record.ts';

async function read(
  store: DataStore,
  kind: RecordKind,
  map: Uint8Array,
  wanted: readonly StoredRecord[],
): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  await store.read(
    kind,
    map,
    wanted,
    (foundKind, foundMap, image) => records.push(storedRecord(foundKind, Uint8Array.from(foundMap), image)),
    DEADLINE_MS,
  );
  return sorted(records);
}

export function reading(storeTest: StoreTest): void {
  storeTest('a read answers the records asked for, bytes and numbers as they were put, and no others', async (store) => {
    const strange = Uint8Array.of(0, 0xff, 0x5c, 0x22, 0x7b, 0x2c, 0x7d);
    const wanted = [
      recordOf({ key: 'k', value: 'v', millis: 17.5, counter: 4_294_967_295, node: strange, ttlMs: 0.5 }),
      recordOf({ key: strange, value: Uint8Array.from({ length: 5000 }, (_, index) => index) }),
      recordOf({ key: '', value: Uint8Array.of(0xc0) }),
      recordOf({ key: 'dead', millis: 3, tombstone: true }),
    ];
    const others = [
      recordOf({ key: 'other', value: 'v' }),
      recordOf({ map: 'elsewhere', key: 'k', value: 'w' }),
      recordOf({ kind: KIND_OR, key: 'k', tag: 't', value: 'w' }),
    ];
    await put(store, ...wanted, ...others);
    const absent = recordOf({ key: 'absent' });
    assert.deepEqual(await read(store, KIND_LWW, absent.map, [...wanted, absent]), sorted(wanted));
    assert.deepEqual(await read(store, KIND_LWW, absent.map, [absent]), []);
    assert.deepEqual(await read(store, KIND_LWW, absent.map, []), []);
  });

  storeTest('a read of an OR-Map answers by key and tag', async (store) => {
    const records = ['t1', 't2', Uint8Array.of(0, 0x5c)].map((tag) =>
      recordOf({ kind: KIND_OR, key: 'k', tag, value: `of ${tag}` }),
    );
    const removed = recordOf({ kind: KIND_OR, key: 'k', tag: 'gone', tombstone: true });
    const nil = recordOf({ kind: KIND_OR, key: 'k', tag: 'nil' });
    await put(store, ...records, removed, nil, recordOf({ key: 'k', value: 'lww' }));
    const wanted = [...records.slice(1), removed, nil];
    assert.deepEqual(await read(store, KIND_OR, removed.map, wanted), sorted(wanted));
  });

  storeTest('a read answers the row and the applied dead letters of a record', async (store) => {
    const row = recordOf({ key: 'k', value: 'row', millis: 1 });
    const letter = recordOf({ key: 'k', value: 'letter', millis: 2 });
    await put(store, row);
    await bury(store, letter, 'refused');
    await bury(store, recordOf({ key: 'k', value: 'rejected', millis: 3 }), 'too old', false);
    const found = await read(store, KIND_LWW, row.map, [row]);
    assert.deepEqual(
      found.toSorted((a, b) => a.millis - b.millis),
      [row, letter],
    );
    const or = recordOf({ kind: KIND_OR, key: 'k', tag: 't', value: 'v' });
    await bury(store, or, 'refused');
    assert.deepEqual(await read(store, KIND_OR, or.map, [or]), [or]);
    assert.deepEqual(await read(store, KIND_LWW, or.map, [recordOf({ key: 'x' })]), []);
  });

  storeTest('a thousand records are read at once', async (store) => {
    const records = Array.from({ length: 1000 }, (_, index) => recordOf({ key: `k${index}`, value: `v${index}` }));
    await put(store, ...records);
    assert.deepEqual(await read(store, KIND_LWW, (records[0] as StoredRecord).map, records), sorted(records));
  });
}
