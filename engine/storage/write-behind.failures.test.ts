import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GridError } from '../protocol/errors.ts';
import { World } from './map-data-store.conformance.ts';
import { WriteBehind, type WriteBehindOptions } from './write-behind.ts';

function world(options: Partial<WriteBehindOptions> = {}): World<WriteBehind> {
  return new World((dataStore, time) => new WriteBehind(dataStore, time, options));
}

const away = (): GridError => new GridError('STORAGE_UNAVAILABLE', 'away');

describe('a data store that is away', () => {
  test('is tried again after a wait that doubles', async () => {
    const it = world({ flushDelayMs: 0 });
    it.time.randomNext = 0;
    it.lww.write({ key: 'k', value: 'v' });
    for (let failure = 0; failure < 20; failure++) it.dataStore.faults.commits.push(away());
    const attempts: number[] = [];
    const startMs = it.time.nowMs();
    for (let ms = 0; ms < 1000; ms += 10) {
      const before = it.dataStore.faults.commits.length;
      await it.tick(10);
      if (it.dataStore.faults.commits.length < before) attempts.push(it.time.nowMs() - startMs);
    }
    assert.deepEqual(attempts, [10, 60, 160, 360, 760]);
    assert.equal(it.store.state, 'degraded');
    assert.equal(it.store.counters.flushFailures, 5);
  });

  test('a hard flush does not wait for the end of a long backoff to try', async () => {
    const it = world({ flushDelayMs: 0 });
    it.lww.write({ key: 'k', value: 'v' });
    for (let failure = 0; failure < 8; failure++) it.dataStore.faults.commits.push(away());
    while (it.dataStore.faults.commits.length > 0) await it.tick(1000);
    await it.store.hardFlush(10);
    it.assertPersisted();
    assert.equal(it.store.state, 'normal');
  });

  test('a hard flush rejects at its deadline with the last failure as cause', async () => {
    const it = world();
    it.lww.write({ key: 'k', value: 'v' });
    for (let failure = 0; failure < 100; failure++) it.dataStore.faults.commits.push(away());
    const startMs = it.time.nowMs();
    await assert.rejects(it.time.run(it.store.hardFlush(3000)), (error) => {
      assert.ok(error instanceof GridError);
      assert.equal(error.code, 'DEADLINE_EXCEEDED');
      assert.ok(error.cause instanceof GridError);
      return error.cause.code === 'STORAGE_UNAVAILABLE';
    });
    assert.equal(it.time.nowMs() - startMs, 3000);
    assert.equal(it.time.timers, 0);
  });

  test('a hard flush rejects at its deadline though the flush under way has a later one', async () => {
    const it = world({ flushDelayMs: 0, commitDeadlineMs: 30_000 });
    it.dataStore.faults.hanging = true;
    it.lww.write({ key: 'k', value: 'v' });
    await it.tick(1);
    const startMs = it.time.nowMs();
    await assert.rejects(it.time.run(it.store.hardFlush(100)), { code: 'DEADLINE_EXCEEDED' });
    assert.equal(it.time.nowMs() - startMs, 100);
  });

  test('a hard flush is not held up by changes that come after it', async () => {
    const it = world({ flushRecordsMax: 5 });
    for (let index = 0; index < 20; index++) it.lww.write({ key: `k${index}`, value: 'v' });
    let late = 0;
    it.dataStore.faults.beforeCommit = async () => {
      for (let index = 0; index < 10; index++) it.lww.write({ key: `late${late++}`, value: 'v' });
    };
    await it.store.hardFlush(1000);
    assert.equal(it.dataStore.commits, 4);
    assert.equal(it.store.stagedRecords, 40);
  });
});

describe('a fenced data store', () => {
  test('is never written again; what is staged stays, and the state says so', async () => {
    const it = world({ flushDelayMs: 0, stagedBytesMax: 300 });
    it.dataStore.faults.commits.push(new GridError('STORAGE_FENCED', 'owner epoch 4 is not 3'));
    it.lww.write({ key: 'k', value: 'v' });
    await it.tick(1);
    assert.equal(it.store.state, 'failed');
    assert.equal(it.store.fatal?.code, 'STORAGE_FENCED');
    for (let repeat = 0; repeat < 3; repeat++) await it.tick(60_000);
    await assert.rejects(it.store.hardFlush(1000), { code: 'STORAGE_FENCED' });
    assert.equal(it.dataStore.commits, 0);
    assert.equal(it.store.stagedRecords, 1);
    assert.equal(it.store.admits(500), false);
  });
});

describe('a row that the data store refuses', () => {
  const poisonous = (value: Uint8Array): boolean => value[0] === 0xbd;
  const POISON = Uint8Array.of(0xbd);

  test('is buried alone, all others of its batch are committed', async () => {
    const it = world();
    it.dataStore.faults.poison = (record) => poisonous(record.value);
    for (let index = 0; index < 1000; index++) it.lww.write({ key: `k${index}`, value: index === 617 ? POISON : 'v' });
    await it.time.run(it.store.hardFlush(1000));
    assert.deepEqual(
      it.dataStore.letters.map((letter) => letter.record),
      [it.lww.get('k617')],
    );
    assert.match(it.dataStore.letters[0]?.reason ?? '', /refused/);
    assert.equal(it.dataStore.rows.size, 999);
    assert.equal(it.store.stagedRecords, 0);
    assert.equal(it.store.counters.deadLetters, 1);
    assert.equal(it.store.counters.flushedRows, 999);
    assert.equal(it.store.state, 'normal');
  });

  test('stands beside others like it: each is buried', async () => {
    const it = world({ flushRecordsMax: 16 });
    it.dataStore.faults.poison = (record) => poisonous(record.value);
    for (let index = 0; index < 40; index++) it.lww.write({ key: `k${index}`, value: index % 3 === 0 ? POISON : 'v' });
    await it.time.run(it.store.hardFlush(1000));
    assert.equal(it.dataStore.letters.length, 14);
    assert.equal(it.dataStore.rows.size, 26);
  });

  test('stays staged while it cannot be buried, the others are committed meanwhile, and it is buried later', async () => {
    const it = world({ flushDelayMs: 0 });
    it.dataStore.faults.poison = (record) => poisonous(record.value);
    it.dataStore.faults.burials.push(away(), away());
    for (let index = 0; index < 9; index++) it.lww.write({ key: `k${index}`, value: index === 4 ? POISON : 'v' });
    await it.tick(1);
    assert.equal(it.dataStore.rows.size, 8);
    assert.equal(it.store.stagedRecords, 1);
    assert.equal(it.store.state, 'degraded');
    assert.equal(it.store.flushedSequence, 4);
    await it.time.run(it.store.hardFlush(5000));
    assert.equal(it.dataStore.letters.length, 1);
    assert.equal(it.store.flushedSequence, it.store.stagedSequence);
  });

  test('that changes while it is being refused is buried as it was, and its newer version is tried', async () => {
    const it = world({ flushDelayMs: 0 });
    it.dataStore.faults.poison = (record) => poisonous(record.value);
    it.lww.write({ key: 'k', value: POISON, millis: 1 });
    const refused = it.lww.get('k');
    const gate = it.holdCommits();
    await it.tick(1);
    it.lww.write({ key: 'k', value: 'good', millis: 2 }, true);
    await gate.open();
    await it.time.run(it.store.hardFlush(1000));
    assert.deepEqual(
      it.dataStore.letters.map((letter) => letter.record),
      [refused],
    );
    it.assertPersisted();
  });

  test('as a pruned tombstone is buried too, and the removals behind it go on', async () => {
    const it = world();
    for (const key of ['a', 'b', 'c']) {
      it.lww.write({ key, value: 'live', millis: 1 });
    }
    await it.time.run(it.store.hardFlush(1000));
    it.dataStore.faults.poison = (record) => record.key[0] === 'b'.charCodeAt(0);
    for (const key of ['a', 'b', 'c']) {
      it.lww.write({ key, millis: 2, tombstone: true });
      it.lww.prune(key);
    }
    await it.time.run(it.store.hardFlush(1000));
    assert.equal(it.dataStore.letters.length, 1);
    assert.equal(it.dataStore.letters[0]?.record.tombstone, true);
    assert.equal(it.dataStore.rows.size, 1);
    assert.equal(it.store.stagedRecords, 0);
  });
});
