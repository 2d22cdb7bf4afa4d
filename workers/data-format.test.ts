import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { checkDataFormat, DATA_FORMAT, type DataFormatOptions } from './data-format.ts';

const folders: string[] = [];
after(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))));

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'lattice-format-'));
  folders.push(path);
  return path;
}

function check(dataDir: string, options: Partial<DataFormatOptions> = {}): Promise<void> {
  return checkDataFormat({ dataDir, program: '1.2.3', embedded: true, nowMs: Date.UTC(2026, 0, 31), ...options });
}

function stored(dataDir: string): Promise<string> {
  return readFile(join(dataDir, 'FORMAT'), 'utf8');
}

async function addFile(dataDir: string, path: string, content = 'x'): Promise<void> {
  await mkdir(join(dataDir, path, '..'), { recursive: true });
  await writeFile(join(dataDir, path), content);
}

const OURS = `{"format":${DATA_FORMAT},"program":"1.2.3","since":"2026-01-31T00:00:00.000Z"}\n`;

test('an empty directory, or one that is missing, gets the format of this program, and nothing else', async () => {
  const dataDir = join(await folder(), 'not', 'there');
  await check(dataDir);
  assert.equal(await stored(dataDir), OURS);
  assert.deepEqual(await readdir(dataDir), ['FORMAT']);
});

test('a directory of this format stays as it is', async () => {
  const dataDir = await folder();
  await check(dataDir);
  await check(dataDir, { program: '9.9.9', nowMs: Date.UTC(2030, 0) });
  assert.equal(await stored(dataDir), OURS);
});

test('a newer format is refused with both numbers and the way out, and nothing is changed', async () => {
  const dataDir = await folder();
  const newer = `{"format":${DATA_FORMAT + 1},"program":"7.0.0","since":"2027-03-01T00:00:00.000Z"}\n`;
  await addFile(dataDir, 'FORMAT', newer);
  await assert.rejects(check(dataDir), {
    code: 'DATA_VERSION',
    message:
      `${dataDir} has data format ${DATA_FORMAT + 1}, made by version 7.0.0 on 2027-03-01T00:00:00.000Z; this program reads ` +
      `formats up to ${DATA_FORMAT}: start version 7.0.0 or a later one, or choose another data directory`,
  });
  assert.equal(await stored(dataDir), newer);
});

test('a file that is no format is refused, however it is broken', async () => {
  for (const content of ['', 'nonsense', '{}', '{"format":"1"}', '{"format":0}', '{"format":1.5}', '[1]', 'null']) {
    const dataDir = await folder();
    await addFile(dataDir, 'FORMAT', content);
    await assert.rejects(check(dataDir), { code: 'DATA_VERSION' }, content);
    assert.equal(await stored(dataDir), content);
  }
});

test('data from before the file existed is format 1 and is upgraded from there', async () => {
  for (const path of ['postgres/PG_VERSION', 'wal/accepted.json']) {
    const dataDir = await folder();
    await addFile(dataDir, path);
    const steps: number[] = [];
    const upgrades = [1, 2].map((from) => ({ from, run: async () => void steps.push(from) }));
    await check(dataDir, { format: 3, upgrades });
    assert.deepEqual(steps, [1, 2], path);
    assert.match(await stored(dataDir), /^\{"format":3,/);
  }
});

test('an upgrade that fails is begun again at the step that failed', async () => {
  const dataDir = await folder();
  await addFile(dataDir, 'FORMAT', '{"format":1,"program":"0.1.0","since":""}\n');
  const steps: number[] = [];
  let broken = true;
  const run = (from: number) => async (): Promise<void> => {
    steps.push(from);
    if (from === 2 && broken) throw new Error('the disk is full');
  };
  const options = { format: 4, upgrades: [1, 2, 3].map((from) => ({ from, run: run(from) })) };
  await assert.rejects(check(dataDir, options), /the disk is full/);
  assert.match(await stored(dataDir), /^\{"format":2,/);
  broken = false;
  await check(dataDir, options);
  assert.deepEqual(steps, [1, 2, 2, 3]);
});

test('a format without a step to ours is refused by name', async () => {
  const dataDir = await folder();
  await addFile(dataDir, 'FORMAT', '{"format":1,"program":"0.1.0","since":""}\n');
  await assert.rejects(check(dataDir, { format: 2, upgrades: [] }), {
    code: 'DATA_VERSION',
    message: /has data format 1; this program \(1\.2\.3\) reads format 2 and has no step from 1/,
  });
});

test('a log without its database is refused, unless the database is elsewhere or the log is empty', async () => {
  const dataDir = await folder();
  await addFile(dataDir, 'wal/e0000000001-w000-0000000000000001.wal');
  await assert.rejects(check(dataDir), {
    code: 'DATA_VERSION',
    message: /write-ahead log \(1 segments in wal\/\).*postgres\/ is missing.*DATABASE_URL.*move wal\/ away/,
  });
  assert.deepEqual(await readdir(dataDir), ['wal'], 'nothing was written');
  await check(dataDir, { embedded: false });
  await assert.rejects(check(dataDir), { code: 'DATA_VERSION' }, 'also when the format is known');
  await rm(join(dataDir, 'wal', 'e0000000001-w000-0000000000000001.wal'));
  await check(dataDir);
});
