import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { PARTITION_COUNT, partitionOf } from '../../engine/partition/hash.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { LogSketch, sketchedFolder } from '../../engine/storage/log-sketch.ts';
import { identityOf, recordOf, type StoredRecord, storedRecord } from '../../engine/storage/stored-record.ts';
import { type Replay, type ReplayOptions, removeOldSegments, replayLog } from './recovery.ts';

const DATABASE = 'server-a';

interface Replayed extends Replay {
  readonly seen: StoredRecord[];
}

async function replayed(files: ReplayOptions['files'], fields: Partial<ReplayOptions> = {}): Promise<Replayed> {
  const seen: StoredRecord[] = [];
  const replay = await replayLog({
    files,
    epoch: 9,
    worker: undefined,
    database: DATABASE,
    wantsPartition: () => true,
    onRecord: (kind, map, image) => seen.push(storedRecord(kind, map, image)),
    yieldTurn: () => turn(),
    accepted: [],
    ...fields,
  });
  return { ...replay, seen };
}

const texts = (records: readonly StoredRecord[]): string[] =>
  records.map(({ key, value }) => `${Buffer.from(key)}=${Buffer.from(value)}`);

test('a boot replays all older epochs, each key in the order of writing, and nothing of its own epoch', async () => {
  const older = new LogSketch({ epoch: 7 }).segment().frame([recordOf({ key: 'a', value: '1' })]);
  const old = new LogSketch({ epoch: 8 })
    .segment()
    .frame([recordOf({ key: 'a', value: '2' }), recordOf({ key: 'b', value: '1' })]);
  old.segment().frame([recordOf({ key: 'a', value: '3' })]);
  const own = new LogSketch({ epoch: 9 }).segment().frame([recordOf({ key: 'a', value: '4' })], { inboxPositions: [1] });
  const replay = await replayed(
    sketchedFolder(own.files, old.files, older.files, new Map([['accepted.json', new Uint8Array(2)]])),
  );
  assert.deepEqual(texts(replay.seen), ['a=1', 'a=2', 'b=1', 'a=3']);
  assert.equal(replay.records, 4);
  assert.equal(replay.nextSequence, 1);
  assert.equal(replay.inboxPositions, undefined);
  assert.deepEqual(replay.oldNames, [...older.files.keys(), ...old.files.keys()]);
  assert.deepEqual(
    replay.reports.map(({ epoch, records, frames }) => [epoch, records, frames]),
    [
      [7, 1, 1],
      [8, 3, 2],
    ],
  );
});

test('logs of three workers are taken over by two: each takes its own partitions, and together nothing is left', async () => {
  const records = Array.from({ length: 600 }, (_, index) => recordOf({ key: `key ${index}`, value: `${index}` }));
  const sketches = [0, 1, 2].map((worker) => {
    const partitions = Array.from({ length: PARTITION_COUNT }, (_, index) => index).filter((index) => index % 3 === worker);
    const sketch = new LogSketch({ epoch: 3, worker, partitions }).segment();
    const mine = records.filter((record) => partitionOf(record.keyHash) % 3 === worker);
    for (let at = 0; at < mine.length; at += 50) sketch.segment().frame(mine.slice(at, at + 50));
    return sketch;
  });
  const files = sketchedFolder(...sketches.map((sketch) => sketch.files));
  const [even, odd] = await Promise.all(
    [0, 1].map((worker) => replayed(files, { wantsPartition: (partition) => partition % 2 === worker })),
  );
  assert.ok(even !== undefined && odd !== undefined && even.seen.length > 0 && odd.seen.length > 0);
  assert.ok(even.seen.every((record) => partitionOf(record.keyHash) % 2 === 0));
  const all = [...even.seen, ...odd.seen].map(identityOf).sort();
  assert.deepEqual(all, records.map(identityOf).sort());
  assert.equal(
    even.reports.reduce((sum, report) => sum + report.records, 0),
    600,
  );
});

test('a replaced worker goes on behind its own frames of this epoch and sees the records of the last one again', async () => {
  const own = new LogSketch({ epoch: 9, worker: 1 }).segment().frame([recordOf({ key: 'a' })], { inboxPositions: [5, 6] });
  own
    .segment()
    .frame([recordOf({ key: 'b', value: 'x' }), recordOf({ key: 'c' })], { inboxPositions: [70, -80] })
    .segment();
  const others = new LogSketch({ epoch: 9, worker: 0 }).segment().frame([recordOf({ key: 'not mine' })]);
  const old = new LogSketch({ epoch: 2, worker: 1 }).segment().frame([recordOf({ key: 'old' })], { inboxPositions: [9, 9] });
  const replay = await replayed(sketchedFolder(own.files, others.files, old.files), { worker: 1 });
  assert.deepEqual(texts(replay.seen), ['old=', 'a=', 'b=x', 'c=']);
  assert.equal(replay.nextSequence, 3);
  assert.deepEqual(replay.inboxPositions, [70, -80]);
  assert.deepEqual(replay.emptyNames, ['e0000000009-w001-0000000000000003.wal']);
  assert.deepEqual(replay.oldNames, [...old.files.keys()]);
  const again: StoredRecord[] = [];
  replay.visitLastFrame((kind, map, image) => again.push(storedRecord(kind, map, image)));
  assert.deepEqual(texts(again), ['b=x', 'c=']);
});

test('damage names the partitions that are wanted here, and keeps the files of that log', async () => {
  const damaged = new LogSketch({ epoch: 4, worker: 0, partitions: [2, 5, 8] }).segment().frame([]).skip(1);
  damaged.frame([recordOf({ key: 'behind' })], { syncedSequence: 2 });
  const healthy = new LogSketch({ epoch: 4, worker: 1 }).segment().frame([]);
  const files = sketchedFolder(damaged.files, healthy.files);
  const replay = await replayed(files, { wantsPartition: (partition) => partition !== 5 });
  assert.deepEqual(replay.damagedPartitions, [2, 8]);
  assert.deepEqual(replay.oldNames, [...healthy.files.keys()]);
  assert.deepEqual(
    replay.reports.flatMap(({ losses }) => losses.map((loss) => loss.kind)),
    ['damage'],
  );
  const accepted = await replayed(files, { accepted: [{ epoch: 4, worker: 0, fromSequence: 2, toSequence: 2 }] });
  assert.deepEqual(accepted.damagedPartitions, []);
  assert.deepEqual(accepted.oldNames, [...damaged.files.keys(), ...healthy.files.keys()]);
  assert.deepEqual(texts(accepted.seen), ['behind=']);
});

test('the log of another database is refused before any record of it, naming both', async () => {
  const files = sketchedFolder(new LogSketch({ database: 'server-b' }).segment().frame([recordOf({ key: 'a' })]).files);
  const seen: string[] = [];
  await assert.rejects(replayed(files, { onRecord: () => seen.push('record') }), (error) => {
    assert.ok(error instanceof GridError && error.code === 'CONFIG_INVALID');
    assert.match(error.message, /node server-b.*node server-a.*DATABASE_URL/);
    return true;
  });
  assert.deepEqual(seen, []);
});

test('a log of a later epoch than the database has come to is refused', async () => {
  const files = sketchedFolder(new LogSketch({ epoch: 12 }).segment().frame([]).files);
  await assert.rejects(replayed(files), (error) => {
    assert.ok(error instanceof GridError && error.code === 'CONFIG_INVALID');
    assert.match(error.message, /epoch 12.*epoch 9.*older backup/);
    return true;
  });
});

test('others get their turn at least once in a thousand records, and progress is told up to the end', async () => {
  const sketch = new LogSketch().segment();
  const records = Array.from({ length: 700 }, (_, index) => recordOf({ key: `k${index}` }));
  for (let frame = 0; frame < 10; frame++) sketch.frame(records).frame([]);
  let sinceTurn = 0;
  let longest = 0;
  const told: number[] = [];
  const replay = await replayed(sketchedFolder(sketch.files), {
    onRecord: () => {
      sinceTurn++;
      longest = Math.max(longest, sinceTurn);
    },
    yieldTurn: async () => {
      sinceTurn = 0;
      await turn();
    },
    onProgress: ({ bytes, totalBytes, records: count }) => told.push(bytes / totalBytes, count),
  });
  assert.equal(replay.records, 7000);
  assert.ok(longest <= 1000, `${longest} records in one turn`);
  assert.deepEqual(told.slice(-2), [1, 7000]);
  assert.ok(told.length >= 14);
});

test('old segments are removed oldest first, each for good before the next', async () => {
  const steps: string[] = [];
  const files = { remove: (name: string) => void steps.push(name), syncFolder: async () => void steps.push('sync') };
  await removeOldSegments(files, ['e02', 'e10', 'e01']);
  assert.deepEqual(steps, ['e01', 'sync', 'e02', 'sync', 'e10', 'sync']);
});
