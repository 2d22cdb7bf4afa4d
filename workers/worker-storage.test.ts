import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Config, isConfig, OPTIONS } from '../engine/config.ts';
import { LogSketch } from '../engine/storage/log-sketch.ts';
import { MemoryDataStore } from '../engine/storage/memory-data-store.ts';
import { KIND_LWW } from '../engine/storage/record.ts';
import { identityOf, imageOf, recordOf, type StoredRecord } from '../engine/storage/stored-record.ts';
import { turn } from '../engine/storage/virtual-time.ts';
import { partitionBits, WHOLE_DECIDED, WHOLE_DONE, WHOLE_OVER, type WholeNote } from '../engine/storage/whole-act-note.ts';
import { type FaultOptions, faultsOf } from '../engine/faults.ts';
import { FaultyLogFiles } from './faults/faulty-log-files.ts';
import { createGridMemory } from './grid-memory.ts';
import { GridState } from './grid-state.ts';
import type { PartitionWorkerData } from './partition-worker.ts';
import { faultOptions } from './testing/fault-options.ts';
import { WorkerStorage } from './worker-storage.ts';

const PARTITIONS = Array.from({ length: 271 }, (_, partition) => partition);
const DATABASE = 'node-1';
/** More than the 16 MiB that a worker's records get at least. */
const RECORDS = 2500;
const VALUE_BYTES = 10_000;
const TIES = 300;

/** Of two records of a key with one clock the one with the larger letter wins. */
function record(number: number, letter: number): StoredRecord {
  return recordOf({ map: 'm', key: `k${number}`, node: 'n', millis: 5, value: new Uint8Array(VALUE_BYTES).fill(letter) });
}

function defaults(): Config {
  const values: unknown = { ...Object.fromEntries(OPTIONS.map(({ name, default: value }) => [name, value])), dataDir: 'unused' };
  assert.ok(isConfig(values));
  return values;
}

function workerData(logFolder: string): PartitionWorkerData {
  const memory = createGridMemory({
    gateways: 1,
    workers: 1,
    ringBytes: 1 << 16,
    messageBytesMax: 1 << 16,
    gatewayCounterNames: [],
  });
  new GridState(memory.state).workerMemoryBytesMax = 1;
  return {
    config: { ...defaults(), flushDelayMs: 0, flushRecordsMax: 10 },
    faults: faultOptions(),
    memory,
    bells: [],
    target: { path: '/nonexistent', user: 'nobody', database: 'none' },
    ownerEpoch: 2,
    logFolder,
    logFailed: false,
    log: { policy: 'off', segmentBytes: 1 << 20, retireAfterMs: Number.POSITIVE_INFINITY, maxBytes: 16 << 20 },
    nodeId: DATABASE,
    definitions: [],
    interests: [],
  };
}

test('the log of an earlier run goes when all of it is in the data store, versions that had to wait for a dropped value too', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-worker-storage-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const sketch = new LogSketch({ epoch: 1, worker: 0, database: DATABASE }).segment();
  for (let number = 0; number < TIES; number++) sketch.frame([record(number, 2)]);
  for (const [name, bytes] of sketch.files) writeFileSync(join(folder, name), bytes);
  const dataStore = new MemoryDataStore();
  for (let number = 0; number < RECORDS; number++) dataStore.rows.set(identityOf(record(number, 1)), record(number, 1));

  dataStore.faults.beforeCommit = turn; // a few records at a time, with ticks in between
  const behind = (): number =>
    Array.from({ length: TIES }, (_, number) => dataStore.rows.get(identityOf(record(number, 2)))?.value[0]).filter(
      (letter) => letter !== 2,
    ).length;
  const checkpoints: { readonly behind: number; readonly names: readonly string[] }[] = [];
  const storage = new WorkerStorage(
    workerData(folder),
    0,
    { dataStore: () => dataStore, logFiles: (files) => files },
    {
      onPersisted: () => {},
      onCheckpoint: (names) => void checkpoints.push({ behind: behind(), names }),
      onProgress: () => {},
      onWarning: (text) => assert.fail(text),
    },
  );
  await storage.load(PARTITIONS, 0);
  await storage.replayed();
  assert.ok((storage.loader?.loaded ?? 0) > 0, 'no value had been dropped: the test proves nothing');
  assert.ok(behind() > 0);
  storage.actLog().keepAll(true);
  for (let tick = 0; tick < 10_000 && behind() > 0; tick++) {
    storage.tick(Date.now(), true);
    await turn();
  }
  storage.tick(Date.now(), true);
  assert.deepEqual(checkpoints, [], 'other workers have to log some of it themselves');
  storage.actLog().keepAll(false);
  for (let tick = 0; tick < 100; tick++) {
    storage.tick(Date.now(), false);
    await turn();
  }
  assert.deepEqual(checkpoints, [], 'the log tells where a successor goes on with what stands in the inboxes');
  for (let tick = 0; tick < 10_000 && checkpoints.length === 0; tick++) {
    storage.tick(Date.now(), true);
    await turn();
  }
  assert.deepEqual(checkpoints, [{ behind: 0, names: [...sketch.files.keys()] }]);
  await storage.close();
});

test('memory that runs short hurries the flushes: only what is flushed can be dropped', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-worker-storage-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const dataStore = new MemoryDataStore();
  const nothing = (): void => {};
  const storage = new WorkerStorage(
    { ...workerData(folder), log: undefined, config: { ...defaults(), flushDelayMs: 60_000, flushRecordsMax: 100_000 } },
    0,
    { dataStore: () => dataStore, logFiles: (files) => files },
    { onPersisted: nothing, onCheckpoint: nothing, onProgress: nothing, onWarning: (text) => assert.fail(text) },
  );
  await storage.load(PARTITIONS, 0);
  storage.memory.sample();
  const store = storage.maps.openByName(new TextEncoder().encode('m'))?.store(KIND_LWW);
  assert.ok(store !== undefined);
  let number = 0;
  const write = (): void => void store.join(imageOf(record(number++, 1)), Date.now());
  write();
  storage.tick(Date.now(), true);
  await turn();
  assert.equal(dataStore.rows.size, 0, 'it may wait a minute for newer writes of its key');
  while (!storage.eviction.isShort) write();
  storage.tick(Date.now(), true);
  while (dataStore.rows.size < number) await turn();
  assert.ok(storage.eviction.run(Date.now()) !== undefined && storage.eviction.evicted > 0);
  await storage.close();
});

test('a change that an earlier run decided is made once, though segments go, threads are replaced and its log stays', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-worker-storage-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const decided: WholeNote = {
    act: 4,
    epoch: 1,
    state: WHOLE_DECIDED,
    partitions: partitionBits([]),
    change: Buffer.from('clear 0'),
  };
  const sketch = new LogSketch({ epoch: 1, worker: 0, database: DATABASE }).segment().frame([], {}, [decided]);
  for (const [name, bytes] of sketch.files) writeFileSync(join(folder, name), bytes);
  const dataStore = new MemoryDataStore();
  const nothing = (): void => {};
  const open = async (launch: number): Promise<WorkerStorage> => {
    const storage = new WorkerStorage(
      workerData(folder),
      0,
      { dataStore: () => dataStore, logFiles: (files) => files },
      { onPersisted: nothing, onCheckpoint: nothing, onProgress: nothing, onWarning: (text) => assert.fail(text) },
    );
    t.after(() => storage.close());
    await storage.load(PARTITIONS, launch);
    await storage.replayed();
    return storage;
  };
  const segments = (): string[] => readdirSync(folder).filter((name) => !sketch.files.has(name));

  const first = await open(0);
  assert.deepEqual(
    first.actLog().undone.map(({ act, epoch, partitions }) => [act, epoch, partitions.length]),
    [[4, 1, PARTITIONS.length]],
  );
  first.actLog().note(WHOLE_DONE, 4, new Uint8Array(0), 1);
  const [begun] = segments();
  for (let number = 0; segments().length < 2; number++) {
    first.log?.frame.append(KIND_LWW, new TextEncoder().encode('m'), imageOf(record(number, 1)));
    first.log?.write(0, []);
  }
  first.log?.flushed(0);
  for (let wait = 0; segments().length > 1 && wait < 1000; wait++) {
    first.log?.tick(Date.now());
    await turn();
  }
  assert.ok(begun !== undefined && !segments().includes(begun), 'the segment that said so first is gone');

  const second = await open(1);
  assert.deepEqual(second.actLog().undone, []);
  const [left] = segments();
  second.actLog().note(WHOLE_DONE, 5, new Uint8Array(0));
  second.actLog().note(WHOLE_OVER, 5, new Uint8Array(0));
  second.log?.write(0, []);
  for (let tick = 0; left !== undefined && segments().includes(left) && tick < 10_000; tick++) {
    second.tick(Date.now(), true);
    await turn();
  }
  assert.ok(left !== undefined && !segments().includes(left), 'what the thread before has written is gone');
  const third = await open(2);
  assert.deepEqual(third.actLog().undone, []);
  assert.deepEqual([...third.actLog().wholesDone], [5], 'its inbox may ask for it once more, though it is over');
});

/** A log in which an earlier run has decided a change and not made it, before a disk with faults. */
class DecidedChange {
  readonly folder = mkdtempSync(join(tmpdir(), 'lattice-worker-storage-'));
  readonly dataStore = new MemoryDataStore();
  readonly faults: { -readonly [Name in keyof FaultOptions]: FaultOptions[Name] } = faultOptions();

  constructor() {
    const note: WholeNote = {
      act: 4,
      epoch: 1,
      state: WHOLE_DECIDED,
      partitions: partitionBits([]),
      change: Buffer.from('clear 0'),
    };
    const sketch = new LogSketch({ epoch: 1, worker: 0, database: DATABASE }).segment().frame([], {}, [note]);
    for (const [name, bytes] of sketch.files) writeFileSync(join(this.folder, name), bytes);
  }

  /** A thread that has read it. */
  async open(launch: number, logFailed = false): Promise<WorkerStorage> {
    const injected = faultsOf(this.faults, 'worker 0', launch, () => {});
    assert.ok(injected !== undefined);
    const nothing = (): void => {};
    const storage = new WorkerStorage(
      { ...workerData(this.folder), logFailed },
      0,
      { dataStore: () => this.dataStore, logFiles: (files) => new FaultyLogFiles(files, injected) },
      { onPersisted: nothing, onCheckpoint: nothing, onProgress: nothing, onWarning: nothing },
    );
    await storage.load(PARTITIONS, launch);
    return storage;
  }

  /** Makes the change, as a start does. */
  finish(storage: WorkerStorage): void {
    storage.maps
      .openByName(new TextEncoder().encode('m'))
      ?.store(KIND_LWW)
      .join(imageOf(record(1, 1)), Date.now());
    storage.actLog().note(WHOLE_DONE, 4, new Uint8Array(0), 1);
    storage.flushWhenLogged();
    storage.log?.write(1, []);
  }

  /** Rows in the data store after so many ticks, or as soon as there are any. */
  async rowsAfter(storage: WorkerStorage, ticks: number): Promise<number> {
    for (let tick = 0; tick < ticks && this.dataStore.rows.size === 0; tick++) {
      storage.tick(Date.now(), true);
      await turn();
    }
    return this.dataStore.rows.size;
  }
}

test('a change that an earlier run decided goes to the data store when the log has for good that it is made', async (t) => {
  const change = new DecidedChange();
  t.after(() => rmSync(change.folder, { recursive: true, force: true }));
  const storage = await change.open(0);
  const { log } = storage;
  assert.ok(log !== undefined);
  const syncedAtCommits: number[] = [];
  change.dataStore.faults.beforeCommit = () => {
    syncedAtCommits.push(log.syncedSequence);
    return turn();
  };
  change.finish(storage);
  await storage.replayed();
  assert.equal(await change.rowsAfter(storage, 10_000), 1);
  await storage.hardFlush(1000);
  assert.ok(syncedAtCommits.every((sequence) => sequence >= 1));
  await storage.close();
});

test('a stop right behind the start syncs the log, and then flushes', async (t) => {
  const change = new DecidedChange();
  t.after(() => rmSync(change.folder, { recursive: true, force: true }));
  const storage = await change.open(0);
  change.finish(storage);
  await storage.hardFlush(1000);
  assert.equal(change.dataStore.rows.size, 1);
  await storage.close();
});

test('a disk that forces nothing to itself keeps such a change from the data store, also under the threads that come after', async (t) => {
  const change = new DecidedChange();
  t.after(() => rmSync(change.folder, { recursive: true, force: true }));
  change.faults.faultSyncErrorPermille = 1000;
  const storage = await change.open(0);
  change.finish(storage);
  await storage.replayed();
  assert.equal(await change.rowsAfter(storage, 100), 0);
  assert.equal(storage.log?.state, 'failed');
  await assert.rejects(storage.hardFlush(1000), { code: 'READ_ONLY' });
  change.faults.faultSyncErrorPermille = 0;
  const successor = await change.open(1, true);
  assert.deepEqual(successor.actLog().undone, [], 'it reads what was never forced to the disk');
  await successor.replayed();
  assert.equal(await change.rowsAfter(successor, 100), 0);
  await assert.rejects(successor.hardFlush(1000), { code: 'READ_ONLY' });
  for (const one of [storage, successor]) await one.close();
});

test('a thread that died before the log had such a change for good is followed by one that syncs it first', async (t) => {
  const change = new DecidedChange();
  t.after(() => rmSync(change.folder, { recursive: true, force: true }));
  const storage = await change.open(0);
  change.finish(storage);
  const successor = await change.open(1);
  const { log } = successor;
  assert.ok(log !== undefined);
  assert.equal(successor.mayFlush, false);
  log.write(1, []); // what its log begins with
  await successor.replayed();
  assert.equal(await change.rowsAfter(successor, 10_000), 1);
  assert.ok(log.syncedSequence >= 1);
  for (const one of [storage, successor]) await one.close();
});

test('such a change waits for room on a full disk, and goes on by itself', async (t) => {
  const change = new DecidedChange();
  t.after(() => rmSync(change.folder, { recursive: true, force: true }));
  change.faults.faultWriteErrorPermille = 1000;
  const storage = await change.open(0);
  change.finish(storage);
  await storage.replayed();
  assert.equal(await change.rowsAfter(storage, 100), 0);
  await assert.rejects(storage.hardFlush(1000), { code: 'READ_ONLY' });
  change.faults.faultWriteErrorPermille = 0;
  storage.tick(Date.now(), true);
  storage.log?.write(1, []);
  assert.equal(await change.rowsAfter(storage, 10_000), 1);
  await storage.close();
});
