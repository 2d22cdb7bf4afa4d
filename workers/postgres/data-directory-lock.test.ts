import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { GridError } from '../../engine/protocol/errors.ts';
import { DataDirectoryLock } from './data-directory-lock.ts';

async function folder(context: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'lattice-lock-'));
  context.after(() => rm(path, { recursive: true }));
  return path;
}

async function changeCard(dataDir: string, fields: object): Promise<void> {
  const path = join(dataDir, 'lattice.lock');
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...fields }));
}

test('a second taker is refused and told the process, the host and since when', async (context) => {
  const dataDir = await folder(context);
  const lock = await DataDirectoryLock.take(dataDir);
  await assert.rejects(DataDirectoryLock.take(dataDir), (error: GridError) => {
    assert.equal(error.code, 'DATA_DIRECTORY_IN_USE');
    assert.ok(error.message.includes(`${dataDir} is in use by process ${process.pid} on ${hostname()} since 20`));
    return true;
  });
  await lock.release();
  assert.deepEqual(await readdir(dataDir), ['lattice.lock.room']);
  await (await DataDirectoryLock.take(dataDir)).release();
});

test('of many takers at once exactly one succeeds', async (context) => {
  const dataDir = join(await folder(context), 'new', 'deep');
  const results = await Promise.allSettled(Array.from({ length: 10 }, () => DataDirectoryLock.take(dataDir)));
  const locks = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  assert.equal(locks.length, 1);
  await locks[0]?.release();
});

test('the lock of a process that is gone is taken over', async (context) => {
  const dataDir = await folder(context);
  const lock = await DataDirectoryLock.take(dataDir);
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  await changeCard(dataDir, { pid: child.pid });
  const second = await DataDirectoryLock.take(dataDir);
  await lock.release(); // no longer its own: leaves the file alone
  await assert.rejects(DataDirectoryLock.take(dataDir), { code: 'DATA_DIRECTORY_IN_USE' });
  await second.release();
});

test('a pid that now belongs to another process does not hold the lock', async (context) => {
  const dataDir = await folder(context);
  const lock = await DataDirectoryLock.take(dataDir);
  await changeCard(dataDir, { started: 'long ago' });
  const second = await DataDirectoryLock.take(dataDir);
  await Promise.all([lock.release(), second.release()]);
});

test('a holder elsewhere holds while it gives signs of life, and no longer', async (context) => {
  const dataDir = await folder(context);
  const lock = await DataDirectoryLock.take(dataDir);
  await changeCard(dataDir, { place: 'another machine', pid: 1 });
  const path = join(dataDir, 'lattice.lock');
  const probing = DataDirectoryLock.take(dataDir, 200);
  const beating = setInterval(() => void utimes(path, new Date(), new Date()), 20);
  await assert.rejects(probing, { code: 'DATA_DIRECTORY_IN_USE' });
  clearInterval(beating);
  await lock.release();
  const second = await DataDirectoryLock.take(dataDir, 200);
  await second.release();
});

test('a lock file that cannot be read as one is taken over when nothing keeps it alive', async (context) => {
  const dataDir = await folder(context);
  await writeFile(join(dataDir, 'lattice.lock'), 'not a card');
  const lock = await DataDirectoryLock.take(dataDir, 50);
  await lock.release();
});
