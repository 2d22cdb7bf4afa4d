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
import { faultsOf } from '../engine/faults.ts';
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

for (const { disk, faults } of [
  { disk: 'forces nothing to itself', faults: { faultSyncErrorPermille: 1000 } },
  { disk: 'has no room', faults: { faultWriteErrorPermille: 1000 } },
  { disk: 'is well', faults: {} },
]) {
  test(`the data store has nothing of a change that an earlier run decided before the log has it for good, on a disk that ${disk}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'lattice-worker-storage-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const dataStore = new MemoryDataStore();
    const injected = faultsOf(faultOptions(faults), 'worker 0', 0, () => {});
    assert.ok(injected !== undefined);
    const nothing = (): void => {};
    const storage = new WorkerStorage(
      workerData(folder),
      0,
      { dataStore: () => dataStore, logFiles: (files) => new FaultyLogFiles(files, injected) },
      { onPersisted: nothing, onCheckpoint: nothing, onProgress: nothing, onWarning: nothing },
    );
    t.after(() => storage.close());
    await storage.load(PARTITIONS, 0);
    const { log } = storage;
    assert.ok(log !== undefined);
    const syncedAtCommits: number[] = [];
    dataStore.faults.beforeCommit = () => {
      syncedAtCommits.push(log.syncedSequence);
      return turn();
    };

    storage.maps
      .openByName(new TextEncoder().encode('m'))
      ?.store(KIND_LWW)
      .join(imageOf(record(1, 1)), Date.now());
    storage.actLog().note(WHOLE_DONE, 4, new Uint8Array(0), 1);
    const frame = log.sequence + 1;
    storage.flushWhenLogged();
    log.write(1, []);
    await storage.replayed();
    const isWell = disk === 'is well';
    for (let tick = 0; tick < (isWell ? 10_000 : 100) && syncedAtCommits.length === 0; tick++) {
      storage.tick(Date.now(), true);
      await turn();
    }
    await storage.hardFlush(1000);
    assert.equal(dataStore.rows.size, isWell ? 1 : 0);
    assert.ok(syncedAtCommits.every((sequence) => sequence >= frame));
  });
}
