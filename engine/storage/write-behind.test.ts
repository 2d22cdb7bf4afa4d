import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GridError } from '../protocol/errors.ts';
import { costOf, testMapDataStore, World } from './map-data-store.conformance.ts';
import { turn } from './virtual-time.ts';
import { WriteBehind, type WriteBehindOptions } from './write-behind.ts';

testMapDataStore('WriteBehind', (dataStore, time) => new WriteBehind(dataStore, time), { persists: true });

function world(options: Partial<WriteBehindOptions> = {}): World<WriteBehind> {
  return new World((dataStore, time) => new WriteBehind(dataStore, time, options));
}

const away = (): GridError => new GridError('STORAGE_UNAVAILABLE', 'away');

describe('the soft flush', () => {
  test('waits until the oldest change is flushDelayMs old', async () => {
    const it = world({ flushDelayMs: 50 });
    it.lww.write({ key: 'k', value: 'v' });
    await it.tick(49);
    assert.equal(it.dataStore.commits, 0);
    await it.tick(1);
    it.assertPersisted();
  });

  test('does not wait for age or pause when staging is half full', async () => {
    const probe = world();
    probe.lww.write({ key: 'k10', value: 'v' });
    const bytes = probe.store.stagedBytes;
    const it = world({ flushDelayMs: 1000, flushRecordsMax: 10, stagedBytesMax: bytes * 60 });
    for (let index = 0; index < 35; index++) it.lww.write({ key: `k${10 + index}`, value: 'v' });
    await it.tick(0);
    assert.equal(it.dataStore.commits, 1);
    assert.equal(it.store.stagedRecords, 25);
    await it.tick(1000);
    it.assertPersisted();
  });

  test('pauses for as long as a flush took, so that it takes half of the time at most', async () => {
    const it = world({ flushDelayMs: 0, flushShare: 0.5 });
    const gate = it.holdCommits();
    it.lww.write({ key: 'a', value: 'v' });
    await it.tick(0);
    it.lww.write({ key: 'b', value: 'v' });
    await it.tick(100);
    await gate.release();
    await it.tick(90);
    assert.equal(gate.held, 0);
    await it.tick(20);
    assert.equal(gate.held, 1);
    await gate.release();
    it.assertPersisted();
  });

  for (const hurry of [true, false]) {
    test(`does not pause ${hurry ? 'in a hurry' : 'when the oldest change is older than pacedLagMsMax'}`, async () => {
      const it = world({ flushDelayMs: 0, flushShare: 0.01, flushRecordsMax: 10, pacedLagMsMax: 500 });
      const gate = it.holdCommits();
      it.store.hurry = hurry;
      for (let index = 0; index < 40; index++) it.lww.write({ key: `k${index}`, value: 'v' });
      await it.tick(hurry ? 0 : 500);
      for (let batch = 0; batch < 4; batch++) {
        assert.equal(gate.held, 1);
        it.time.advance(100);
        await gate.release();
      }
      it.assertPersisted();
    });
  }

  test('brings what piled up while the data store was away without a pause, what came later with pauses', async () => {
    const it = world({ flushDelayMs: 0, flushShare: 0.1, flushRecordsMax: 10, pacedLagMsMax: 1e9 });
    it.dataStore.faults.commits.push(away(), away());
    for (let index = 0; index < 40; index++) it.lww.write({ key: `k${index}`, value: 'v' });
    await it.tick(0);
    await it.tick(1000); // the second failure: 40 changes wait
    assert.equal(it.store.failuresInARow, 2);
    const gate = it.holdCommits();
    await it.tick(1000);
    for (let index = 0; index < 20; index++) it.lww.write({ key: `late${index}`, value: 'v' });
    for (let batch = 0; batch < 4; batch++) {
      assert.equal(gate.held, 1);
      it.time.advance(100);
      await gate.release();
    }
    assert.equal(it.store.successesInARow, 4);
    assert.equal(it.dataStore.rows.size, 40);
    assert.equal(gate.held, 0, 'the pause is back');
    await it.tick(800);
    assert.equal(gate.held, 0);
    await it.tick(200);
    assert.equal(gate.held, 1);
    await gate.open();
  });

  test('cuts a batch at flushBytesMax, but takes a single record of any size', async () => {
    const it = world({ flushDelayMs: 0, flushBytesMax: 1000 });
    it.lww.write({ key: 'huge', value: 'v'.repeat(5000) });
    for (let index = 0; index < 4; index++) it.lww.write({ key: `k${index}`, value: 'v'.repeat(350) });
    await it.tick(0);
    assert.equal(it.dataStore.commits, 3);
    it.assertPersisted();
  });

  test('takes the oldest changes first', async () => {
    const it = world({ flushRecordsMax: 3, flushDelayMs: 50 });
    for (const key of ['a', 'b', 'c', 'd']) it.lww.write({ key, value: 'v' });
    it.lww.write({ key: 'a', value: 'w', millis: 2 });
    await it.tick(50);
    assert.deepEqual(
      [...it.dataStore.rows.values()].map((row) => String.fromCharCode(...row.key)),
      ['a', 'b', 'c', 'd'],
    );
  });

  test('never has two flushes in flight', async () => {
    const it = world({ flushDelayMs: 0 });
    const gate = it.holdCommits();
    it.lww.write({ key: 'a', value: 'v' });
    await it.tick(1);
    it.lww.write({ key: 'b', value: 'v' });
    await it.tick(1);
    await it.tick(1);
    assert.equal(gate.held, 1);
    await gate.release();
    await it.tick(10);
    await gate.release();
    it.assertPersisted();
  });

  test('gives the thread back after each slice, and a record that changes meanwhile ends with its newest version', async () => {
    const it = world({ sliceRecords: 10, flushDelayMs: 0 });
    for (let index = 0; index < 35; index++) it.lww.write({ key: `k${index}`, value: 'v', millis: 1 });
    let yields = 0;
    it.time.onYield = () => {
      yields += 1;
      if (yields > 3) return;
      it.lww.write({ key: 'k0', value: `before ${yields}`, millis: 1 + yields }, true); // read in an earlier slice
      it.lww.write({ key: 'k34', value: `after ${yields}`, millis: 1 + yields }, true); // read in a later one
    };
    await it.tick(1);
    assert.equal(it.dataStore.commits, 0);
    await it.time.run(it.store.hardFlush(1000));
    it.assertPersisted();
    assert.equal(yields, 3);
    assert.equal(it.store.stagedRecords, 0);
  });
});

describe('staged changes', () => {
  test('many changes of one key are one row', async () => {
    const it = world();
    for (let millis = 1; millis <= 1000; millis++) it.lww.write({ key: 'k', value: `v${millis}`, millis }, millis % 7 === 0);
    assert.equal(it.store.stagedRecords, 1);
    assert.equal(it.store.counters.coalesced, 999);
    await it.time.run(it.store.hardFlush(1000));
    assert.equal(it.store.counters.flushedRows, 1);
    it.assertPersisted();
  });

  test('count what the newest version costs, whether it grew or shrank', () => {
    const it = world();
    for (const length of [10, 5000, 20]) {
      it.lww.write({ key: 'k', value: 'v'.repeat(length) });
      assert.equal(it.store.stagedBytes, 100 + 1 + length);
    }
  });

  test('fill the staging area up to its bound, and room comes back with a flush', async () => {
    const it = world({ stagedBytesMax: 1000 });
    it.dataStore.faults.commits.push(away());
    let staged = 0;
    while (it.store.admits(200)) {
      it.lww.write({ key: `key${staged}`, value: 'v'.repeat(96) });
      staged += 1;
    }
    assert.equal(staged, 5);
    assert.equal(it.store.stagedBytes, 1000);
    assert.equal(it.store.admits(1), false);
    await it.tick(100);
    assert.equal(it.store.admits(1), false);
    await it.tick(100);
    assert.equal(it.store.admits(1000), true);
  });

  test('keep their bytes counted while in flight', async () => {
    const it = world({ flushDelayMs: 0 });
    const gate = it.holdCommits();
    it.lww.write({ key: 'k', value: 'v' });
    const bytes = it.store.stagedBytes;
    await it.tick(1);
    assert.equal(gate.held, 1);
    assert.equal(it.store.stagedBytes, bytes);
    assert.equal(it.store.stagedRecords, 1);
    await gate.release();
    assert.equal(it.store.stagedBytes, 0);
  });
});

describe('a record in flight', () => {
  async function inFlight(fails: boolean): Promise<{ it: World<WriteBehind>; land: () => Promise<void> }> {
    const it = world({ flushDelayMs: 0 });
    it.lww.write({ key: 'k', value: 'v1', millis: 1 });
    it.lww.write({ key: 'other', value: 'v', millis: 1 });
    const gate = it.holdCommits();
    if (fails) it.dataStore.faults.commits.push(away());
    await it.tick(10);
    assert.equal(gate.held, 1);
    return { it, land: () => gate.open() };
  }

  for (const fails of [false, true]) {
    const outcome = fails ? 'fails' : 'succeeds';

    test(`that changes is staged again when the flight ${outcome}`, async () => {
      const { it, land } = await inFlight(fails);
      it.lww.write({ key: 'k', value: 'v2', millis: 2 });
      await land();
      await it.time.run(it.store.hardFlush(5000));
      it.assertPersisted();
      assert.equal(it.store.stagedBytes, 0);
    });

    test(`that moves keeps its place when the flight ${outcome}`, async () => {
      const { it, land } = await inFlight(fails);
      it.lww.write({ key: 'k', value: 'v2', millis: 2 }, true);
      it.lww.write({ key: 'other', value: 'v2', millis: 2 }, true);
      it.lww.write({ key: 'k', value: 'v3', millis: 3 }, true);
      await land();
      await it.time.run(it.store.hardFlush(5000));
      it.assertPersisted();
      assert.equal(it.store.stagedRecords, 0);
    });

    test(`that is pruned is gone from the data store, and may come back, when the flight ${outcome}`, async () => {
      const { it, land } = await inFlight(fails);
      it.lww.write({ key: 'k', millis: 2, tombstone: true });
      it.lww.prune('k');
      it.lww.write({ key: 'other', millis: 2, tombstone: true });
      it.lww.prune('other');
      it.lww.write({ key: 'other', value: 'again', millis: 1 });
      await land();
      await it.time.run(it.store.hardFlush(5000));
      it.assertPersisted();
      assert.equal(it.store.stagedRecords, 0);
      assert.equal(it.store.stagedBytes, 0);
    });
  }

  test('keeps the age of its failed version, also when a newer one was staged', async () => {
    const { it, land } = await inFlight(true);
    it.time.advance(20);
    it.lww.write({ key: 'k', value: 'v2', millis: 2 });
    await land();
    assert.equal(it.store.state, 'degraded');
    assert.equal(it.store.lagMs(it.time.nowMs()), 30);
  });
});

describe('removals', () => {
  test('beyond removalsMax are left to the next boot when their tombstone is in the data store, and are counted', async () => {
    const it = world({ removalsMax: 3 });
    for (let index = 0; index < 5; index++) it.lww.write({ key: `k${index}`, tombstone: true });
    await it.time.run(it.store.hardFlush(1000));
    for (let index = 0; index < 5; index++) it.lww.prune(`k${index}`);
    assert.equal(it.store.stagedRecords, 3);
    assert.equal(it.store.counters.removalsSkipped, 2);
    await it.time.run(it.store.hardFlush(1000));
    assert.equal(it.dataStore.rows.size, 2);
  });

  test('of tombstones that were still staged are never left out and need no new room', async () => {
    const it = world({ removalsMax: 3, stagedBytesMax: 1000 });
    for (let index = 0; index < 5; index++) it.lww.write({ key: `k${index}`, value: 'live', millis: 1 });
    await it.time.run(it.store.hardFlush(1000));
    for (let index = 0; index < 5; index++) it.lww.write({ key: `k${index}`, millis: 2, tombstone: true });
    const bytes = it.store.stagedBytes;
    for (let index = 0; index < 5; index++) it.lww.prune(`k${index}`);
    assert.equal(it.store.stagedBytes, bytes);
    await it.time.run(it.store.hardFlush(1000));
    assert.equal(it.dataStore.rows.size, 0);
    assert.equal(it.store.stagedBytes, 0);
  });

  test('that come during a flush reach the store before the record that was written again after them', async () => {
    const it = world({ flushDelayMs: 0 });
    for (const key of ['first', 'k']) it.lww.write({ key, millis: 9, tombstone: true });
    await it.time.run(it.store.hardFlush(1000));
    const gate = it.holdCommits();
    it.lww.prune('first');
    await it.tick(1);
    assert.equal(gate.held, 1);
    it.lww.prune('k');
    it.lww.write({ key: 'k', value: 'again', millis: 5 }); // older than the tombstone in the data store
    await gate.open();
    await it.time.run(it.store.hardFlush(1000));
    it.assertPersisted();
  });
});

test('flushedSequence passes a change only when it is in the data store', async () => {
  const it = world({ flushRecordsMax: 2, flushDelayMs: 0 });
  const gate = it.holdCommits();
  for (const key of ['a', 'b', 'c']) it.lww.write({ key, value: 'v' });
  assert.equal(it.store.stagedSequence, 3);
  assert.equal(it.store.flushedSequence, 0);
  it.store.softFlush(it.time.nowMs());
  assert.equal(it.store.flushedSequence, 0);
  await turn();
  await gate.release();
  assert.equal(it.store.flushedSequence, 2);
  await gate.release();
  assert.equal(it.store.flushedSequence, 3);
});

test('a staged record costs what the source says, once', () => {
  const it = world();
  it.lww.write({ key: 'k', value: 'v' });
  it.or.write({ key: 'k', tag: 't', value: 'v' });
  assert.equal(
    it.store.stagedBytes,
    it.expected().reduce((sum, record) => sum + costOf(record), 0),
  );
});
