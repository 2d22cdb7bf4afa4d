import assert from 'node:assert/strict';
import test from 'node:test';
import { ForgetfulLogFiles } from './forgetful-log-files.ts';
import { turn } from './virtual-time.ts';

const SECTOR = 512;

function filled(sectors: number, value: number): Uint8Array {
  return new Uint8Array(sectors * SECTOR).fill(value);
}

/** A deterministic stream of numbers below 1. */
function numbers(): () => number {
  let state = 1;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

async function withDurableFile(): Promise<ForgetfulLogFiles> {
  const files = new ForgetfulLogFiles();
  const file = files.create('a');
  file.write(filled(4, 1), 0);
  await file.sync();
  await files.syncFolder();
  file.write(filled(4, 2), 0);
  return files;
}

test('a power loss drops writes that were not synced, and a kill keeps them', async () => {
  const files = await withDurableFile();
  assert.deepEqual(files.read('a'), filled(4, 2));
  assert.deepEqual(files.crash(Math.random, 'dropped').read('a'), filled(4, 1));
  assert.deepEqual(files.kill().read('a'), filled(4, 2));
});

test('a sync saves what was written before it began, when it has ended', async () => {
  const files = await withDurableFile();
  const file = files.reopen('a');
  file.write(filled(1, 3), 0);
  files.holdsSyncs = true;
  const done = file.sync();
  file.write(filled(1, 4), 0);
  assert.equal(files.crash(Math.random, 'dropped').read('a')[0], 1);
  files.releaseSyncs();
  await done;
  assert.equal(files.crash(Math.random, 'dropped').read('a')[0], 3);
});

test('torn writes leave each sector as it was after some write or other', async () => {
  const files = await withDurableFile();
  files.reopen('a').write(filled(2, 3), SECTOR);
  const random = numbers();
  const seen = [new Set<number>(), new Set<number>(), new Set<number>(), new Set<number>()];
  for (let crash = 0; crash < 200; crash++) {
    const bytes = files.crash(random, 'torn').read('a');
    for (let sector = 0; sector < 4; sector++) {
      const part = bytes.subarray(sector * SECTOR, (sector + 1) * SECTOR);
      assert.ok(
        part.every((byte) => byte === part[0]),
        'a sector is never torn itself',
      );
      seen[sector]?.add(part[0] as number);
    }
  }
  assert.deepEqual(
    seen.map((values) => [...values].sort()),
    [
      [1, 2],
      [1, 2, 3],
      [1, 2, 3],
      [1, 2],
    ],
  );
});

test('a new name and a removed one are safe after a sync of the folder only', async () => {
  const files = await withDurableFile();
  await files.create('b').sync();
  files.remove('a');
  assert.deepEqual(files.list(), ['b']);
  assert.deepEqual(files.crash(Math.random, 'dropped').list(), ['a']);
  const random = numbers();
  const seen = new Set(Array.from({ length: 50 }, () => [...files.crash(random, 'torn').list()].sort().join()));
  assert.deepEqual([...seen].sort(), ['', 'a', 'a,b', 'b']);
  await files.syncFolder();
  assert.deepEqual(files.crash(random, 'torn').list(), ['b']);
});

test('a crash leaves the disk that it is asked of as it is', async () => {
  const files = await withDurableFile();
  const after = files.crash(Math.random, 'dropped');
  after.reopen('a').write(filled(1, 9), 0);
  assert.deepEqual(files.read('a'), filled(4, 2));
});

test('what a failed sync was for is not saved by a later one', async () => {
  const files = await withDurableFile();
  const file = files.reopen('a');
  files.failSync(1);
  await assert.rejects(file.sync(), { code: 'EIO' });
  file.write(filled(1, 5), SECTOR);
  await file.sync();
  const bytes = files.crash(Math.random, 'dropped').read('a');
  assert.equal(bytes[0], 1);
  assert.equal(bytes[SECTOR], 5);
});

test('a small disk takes what fits, then nothing, and more when a file is gone', () => {
  const files = new ForgetfulLogFiles();
  files.capacityBytes = 1000;
  const file = files.create('a');
  assert.equal(file.write(filled(1, 1), 0), 512);
  assert.equal(file.write(filled(1, 1), 512), 488);
  assert.equal(file.write(filled(1, 2), 0), 512, 'over what is there');
  assert.throws(() => file.write(filled(1, 1), 1000), { code: 'ENOSPC' });
  files.remove('a');
  assert.equal(files.create('b').write(filled(1, 1), 0), 512);
});

test('writes and syncs fail when they are told to, counted from then on', async () => {
  const files = new ForgetfulLogFiles();
  const file = files.create('a');
  files.failWrite(2, 'EIO');
  files.shortWrite(3, 5);
  files.failSync(2, 'ENOSPC');
  assert.equal(file.write(filled(1, 1), 0), 512);
  assert.throws(() => file.write(filled(1, 1), 0), { code: 'EIO' });
  assert.equal(file.write(filled(1, 1), 0), 5);
  assert.equal(file.write(filled(1, 1), 0), 512);
  await file.sync();
  await assert.rejects(files.syncFolder(), { code: 'ENOSPC' });
  await files.syncFolder();
});

test('a file may be neither created twice nor closed while it is synced', async () => {
  const files = new ForgetfulLogFiles();
  const file = files.create('a');
  assert.throws(() => files.create('a'), { code: 'EEXIST' });
  assert.throws(() => files.read('b'), { code: 'ENOENT' });
  const done = file.sync();
  assert.throws(() => file.close(), /closed while it is synced/);
  await done;
  await turn();
  file.close();
  assert.throws(() => file.write(filled(1, 1), 0), { code: 'EBADF' });
  await assert.rejects(file.sync(), { code: 'EBADF' });
});
