import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GridError } from '../protocol/errors.ts';
import { testMapDataStore, World } from './map-data-store.conformance.ts';
import { turn } from './virtual-time.ts';
import { WriteThrough } from './write-through.ts';

testMapDataStore('WriteThrough', (dataStore, time) => new WriteThrough(dataStore, time), { persists: true });

function world(): World<WriteThrough> {
  return new World((dataStore, time) => new WriteThrough(dataStore, time, { commitDeadlineMs: 500, flushRecordsMax: 4 }));
}

describe('WriteThrough settles a batch', () => {
  test('settle resolves when all changes before it are committed, in as many batches as they need', async () => {
    const it = world();
    for (let index = 0; index < 10; index++) it.lww.write({ key: `k${index}`, value: 'v' });
    await it.store.settle();
    it.assertPersisted();
    assert.equal(it.dataStore.commits, 3);
  });

  test('settle with nothing staged resolves without a commit', async () => {
    const it = world();
    await it.store.settle();
    assert.equal(it.dataStore.commits, 0);
  });

  test('settle rejects with the first failure; the change stays staged and the soft flush carries it', async () => {
    const it = world();
    it.dataStore.faults.commits.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
    it.lww.write({ key: 'k', value: 'v' });
    await assert.rejects(it.store.settle(), { code: 'STORAGE_UNAVAILABLE' });
    assert.equal(it.store.stagedRecords, 1);
    assert.equal(it.store.state, 'degraded');
    it.time.advance(100);
    it.store.softFlush(it.time.nowMs());
    await turn();
    it.assertPersisted();
    assert.equal(it.store.state, 'normal');
  });

  test('settle over a store that hangs rejects by the commit deadline', async () => {
    const it = world();
    it.dataStore.faults.hanging = true;
    it.lww.write({ key: 'k', value: 'v' });
    const startMs = it.time.nowMs();
    await assert.rejects(it.time.run(it.store.settle()), { code: 'STORAGE_UNAVAILABLE' });
    assert.equal(it.time.nowMs() - startMs, 500);
  });

  test('batches settled during a commit share the next one', async () => {
    const it = world();
    const gate: { open: () => void } = { open: () => {} };
    it.dataStore.faults.beforeCommit = () =>
      new Promise((resolve) => {
        gate.open = resolve;
      });
    const settles: Promise<void>[] = [];
    for (let index = 0; index < 4; index++) {
      it.lww.write({ key: `k${index}`, value: 'v' });
      settles.push(it.store.settle());
    }
    for (let commit = 0; commit < 2; commit++) {
      await turn();
      gate.open();
    }
    await Promise.all(settles);
    assert.equal(it.dataStore.commits, 2);
    it.assertPersisted();
  });

  test('a fenced store refuses every settle', async () => {
    const it = world();
    it.dataStore.faults.commits.push(new GridError('STORAGE_FENCED', 'another owner'));
    it.lww.write({ key: 'k', value: 'v' });
    for (let repeat = 0; repeat < 2; repeat++) await assert.rejects(it.store.settle(), { code: 'STORAGE_FENCED' });
    assert.equal(it.store.state, 'failed');
  });
});
