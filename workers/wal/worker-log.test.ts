import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ForgetfulLogFiles } from '../../engine/storage/forgetful-log-files.ts';
import { storedRecord } from '../../engine/storage/stored-record.ts';
import { EPOCH, LogUnderTest, seeded } from '../testing/log-under-test.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { type PastOptions, replayPast } from './worker-log.ts';

const PARTITIONS = Array.from({ length: 271 }, (_, partition) => partition);

async function replayedKeys(files: ForgetfulLogFiles, epoch: number, fields: Partial<PastOptions> = {}): Promise<string[]> {
  const keys: string[] = [];
  await replayPast({
    files,
    epoch,
    worker: 3,
    database: 'node-1',
    partitions: PARTITIONS,
    folder: '/nonexistent',
    isReplacement: false,
    onRecord: (kind, map, image) => keys.push(Buffer.from(storedRecord(kind, map, image).key).toString()),
    ...fields,
  });
  return keys;
}

test('what was replayed from a killed run survives a power loss: a write that comes again is called persisted', async () => {
  const run = new LogUnderTest(new ForgetfulLogFiles(), { policy: 'off' });
  run.writeMany(3);
  const { files } = run; // the process is gone, the page cache is not
  const replayed = await replayedKeys(files, EPOCH + 1);
  assert.equal(replayed.length, 3);
  assert.deepEqual(await replayedKeys(files.crash(seeded(1), 'dropped'), EPOCH + 2), replayed);
});

test('a log of earlier runs that cannot be synced is no ground to serve on', async () => {
  const run = new LogUnderTest(new ForgetfulLogFiles(), { policy: 'off' });
  run.writeMany(1);
  const { files } = run;
  files.failSync(1);
  await assert.rejects(replayedKeys(files, EPOCH + 1), (error) => error instanceof GridError && error.code === 'READ_ONLY');
});
