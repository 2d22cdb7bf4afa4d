import assert from 'node:assert/strict';
import { FenceTable } from '../../engine/domains/coordination/fence-table.ts';
import { test } from 'node:test';
import { ForgetfulLogFiles } from '../../engine/storage/forgetful-log-files.ts';
import type { LogFiles } from '../../engine/storage/log-files.ts';
import { LogSketch, sketchedFolder } from '../../engine/storage/log-sketch.ts';
import { recordOf, storedRecord } from '../../engine/storage/stored-record.ts';
import { EPOCH, LogUnderTest, seeded } from '../testing/log-under-test.ts';
import { type LoggedPast, replayPast } from './worker-log.ts';

const PARTITIONS = Array.from({ length: 271 }, (_, partition) => partition);

async function replay(files: LogFiles, epoch: number, isReplacement = false): Promise<{ keys: string[]; past: LoggedPast }> {
  const keys: string[] = [];
  const past = await replayPast({
    files,
    epoch,
    worker: 3,
    database: 'node-1',
    partitions: PARTITIONS,
    folder: '/nonexistent',
    isReplacement,
    fences: new FenceTable(),
    onRecord: (kind, map, image) => keys.push(Buffer.from(storedRecord(kind, map, image).key).toString()),
  });
  return { keys, past };
}

test('what was replayed from a killed run survives a power loss: a write that comes again is called persisted', async () => {
  const run = new LogUnderTest(new ForgetfulLogFiles(), { policy: 'off' });
  run.writeMany(3);
  const { files } = run; // the process is gone, the page cache is not
  const { keys } = await replay(files, EPOCH + 1);
  assert.equal(keys.length, 3);
  assert.deepEqual((await replay(files.crash(seeded(1), 'dropped'), EPOCH + 2)).keys, keys);
});

test('a log of earlier runs that cannot be synced is read, and said to be no ground to write on', async () => {
  const run = new LogUnderTest(new ForgetfulLogFiles(), { policy: 'off' });
  run.writeMany(1);
  const { files } = run;
  files.failSync(1);
  const { keys, past } = await replay(files, EPOCH + 1);
  assert.equal(keys.length, 1);
  assert.equal(past.syncFailure?.code, 'READ_ONLY');
});

test('the segment that takes the name of an empty one of its predecessor is not removed with the predecessor’s', async () => {
  const { files } = new LogUnderTest(new ForgetfulLogFiles(), { policy: 'off' }); // died before its first frame
  const { past } = await replay(files, EPOCH, true);
  assert.deepEqual(files.list(), []);
  const successor = new LogUnderTest(files, { policy: 'off' });
  successor.writeMany(3);
  await past.removeOwn();
  assert.equal((await replay(files, EPOCH + 1)).keys.length, 3);
});

test('own files of this run in which frames are missing stay, whatever else is flushed: nobody else can repair them', async () => {
  const sketch = new LogSketch({ epoch: EPOCH, worker: 3, database: 'node-1' }).segment().frame([]).skip(1);
  sketch.frame([recordOf({ key: 'behind' })], { syncedSequence: 2 });
  const files = new ForgetfulLogFiles();
  const folder = sketchedFolder(sketch.files);
  for (const name of folder.list()) files.create(name).write(folder.read(name), 0);
  const { keys, past } = await replay(files, EPOCH, true);
  assert.deepEqual([keys, past.damaged.size > 0], [['behind'], true]);
  await past.removeOwn();
  assert.deepEqual(files.list(), [...sketch.files.keys()]);
  assert.equal((await replay(files, EPOCH, true)).past.damaged.size, past.damaged.size, 'the next thread knows of it, too');
});
