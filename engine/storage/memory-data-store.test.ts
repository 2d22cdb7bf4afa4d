import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GridError } from '../protocol/errors.ts';
import { testDataStore } from './data-store.conformance.ts';
import { loadAll, put } from './data-store-probe.ts';
import { MemoryDataStore } from './memory-data-store.ts';
import { imageOf, recordOf } from './stored-record.ts';

testDataStore('MemoryDataStore', async () => {
  const store = new MemoryDataStore();
  return { store, reopen: async () => store };
});

describe('MemoryDataStore breaks on demand', () => {
  test('the next commit rejects with the error given, changes nothing, and the one after it commits', async () => {
    const store = new MemoryDataStore();
    store.faults.commits.push(new GridError('STORAGE_FENCED', 'another owner'));
    const record = recordOf({ key: 'k', value: 'v' });
    await assert.rejects(put(store, record), { code: 'STORAGE_FENCED' });
    assert.deepEqual(await loadAll(store), []);
    await put(store, record);
    assert.deepEqual(await loadAll(store), [record]);
  });

  test('a hanging commit rejects at its deadline', async () => {
    const waited: number[] = [];
    const store = new MemoryDataStore(async (ms) => {
      waited.push(ms);
    });
    store.faults.hanging = true;
    await assert.rejects(store.batch().commit(77), { code: 'STORAGE_UNAVAILABLE' });
    assert.deepEqual(waited, [77]);
  });

  test('a batch with a poison row is refused whole', async () => {
    const store = new MemoryDataStore();
    store.faults.poison = (record) => record.value.length === 3;
    await assert.rejects(put(store, recordOf({ key: 'a', value: 'v' }), recordOf({ key: 'b', value: 'bad' })), {
      code: 'STORAGE_POISON',
    });
    assert.deepEqual(await loadAll(store), []);
  });

  test('a burial fails on demand and succeeds when repeated', async () => {
    const store = new MemoryDataStore();
    store.faults.burials.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
    const record = recordOf({ key: 'k', value: 'v' });
    const letter = { kind: record.kind, map: record.map, reason: 'refused', applied: true, record: imageOf(record) };
    await assert.rejects(store.bury(letter, 10), { code: 'STORAGE_UNAVAILABLE' });
    await store.bury(letter, 10);
    assert.deepEqual(store.letters, [{ record, reason: 'refused', applied: true }]);
  });
});
