import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import { LogSketch } from '../engine/storage/log-sketch.ts';
import { recordOf } from '../engine/storage/stored-record.ts';
import { DataDirectoryLock } from '../workers/postgres/data-directory-lock.ts';

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A data directory with the log that was drawn. */
function dataDir(t: TestContext, ...sketches: readonly LogSketch[]): string {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-wal-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'wal'));
  for (const sketch of sketches) for (const [name, bytes] of sketch.files) writeFileSync(join(folder, 'wal', name), bytes);
  return folder;
}

/** Runs `lattice wal …` itself. */
function wal(folder: string, ...words: readonly string[]): Ran {
  const here = import.meta.url;
  const cli = fileURLToPath(new URL(here.endsWith('.ts') ? './cli.ts' : './cli.js', here));
  const loader = here.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : [];
  return spawnSync(process.execPath, [...loader, cli, 'wal', ...words], {
    cwd: folder,
    encoding: 'utf8',
    env: { HOME: folder, LATTICE_DATA_DIR: folder },
  });
}

const record = recordOf({ key: 'k' });

function healthy(): LogSketch {
  return new LogSketch({ epoch: 3, worker: 1 }).segment().frame([record, record]).frame([record]).segment().frame([]);
}

/** Frames 2 to 4 are gone, and were synced once. */
function damaged(): LogSketch {
  const sketch = new LogSketch({ epoch: 3, worker: 0, partitions: [0, 1, 2, 9] }).segment().frame([record]).junk(80).skip(3);
  return sketch.frame([record], { syncedSequence: 4 });
}

test('lattice wal inspect lists segments with their frames, and finds nothing wrong with a whole log', (t) => {
  const folder = dataDir(t, healthy());
  const ran = wal(folder, 'inspect');
  assert.equal(ran.stderr, '');
  assert.equal(ran.status, 0);
  assert.match(
    ran.stdout,
    /e0000000003-w001-0000000000000001\.wal {2}\d+ bytes, 2 frames, sequences 1 to 2, 3 records, of server-a\n/,
  );
  assert.match(ran.stdout, /e0000000003-w001-0000000000000003\.wal .*1 frames, sequences 3 to 3, 0 records/);
  assert.match(ran.stdout, /Nothing is lost\.\n$/);
});

test('lattice wal inspect names damage by file and byte, ends with 1, and writes nothing', (t) => {
  const folder = dataDir(t, healthy(), damaged());
  const before = readdirSync(join(folder, 'wal'));
  const ran = wal(folder, 'inspect');
  assert.equal(ran.status, 1);
  const offset = 4096 + (damaged().frames[0]?.bytes.length ?? 0);
  const place = `frames 2 to 4 of worker 0, epoch 3 .*e0000000003-w000-0000000000000001\\.wal, byte ${offset}: .*partitions 0-2, 9\n`;
  assert.match(ran.stdout, new RegExp(`damage: ${place}`));
  const asJson = wal(folder, 'inspect', '--json');
  assert.equal(asJson.status, 1);
  const { segments, losses } = JSON.parse(asJson.stdout);
  assert.equal(segments.length, 3);
  assert.equal(segments[0].records, 2);
  assert.deepEqual(
    losses.map((loss: Record<string, unknown>) => [loss.kind, loss.fromSequence, loss.toSequence, loss.offset]),
    [['damage', 2, 4, offset]],
  );
  assert.deepEqual(readdirSync(join(folder, 'wal')), before);
  assert.deepEqual(readdirSync(folder), ['wal']);
});

test('lattice wal repair shows the loss and ends with 1; with --accept-loss it is accepted, once and for all', (t) => {
  const folder = dataDir(t, damaged());
  const asked = wal(folder, 'repair');
  assert.equal(asked.status, 1);
  assert.match(asked.stdout, /damage: frames 2 to 4.*\n.*lattice wal repair --accept-loss\n/);
  assert.deepEqual(readdirSync(folder), ['lattice.lock.room', 'wal']);
  assert.ok(!readdirSync(join(folder, 'wal')).includes('accepted.json'));
  const accepted = wal(folder, 'repair', '--accept-loss');
  assert.equal(accepted.status, 0);
  assert.match(accepted.stdout, /accepted as lost, in accepted\.json:\n {2}damage: frames 2 to 4/);
  assert.deepEqual(JSON.parse(readFileSync(join(folder, 'wal', 'accepted.json'), 'utf8')), [
    { epoch: 3, worker: 0, fromSequence: 2, toSequence: 4 },
  ]);
  assert.match(wal(folder, 'repair').stdout, /nothing to repair/);
  const inspected = wal(folder, 'inspect');
  assert.equal(inspected.status, 0);
  assert.match(inspected.stdout, /accepted: frames 2 to 4/);
});

test('while a server runs lattice wal repair refuses and says who; inspect reads', async (t) => {
  const folder = dataDir(t, damaged());
  const lock = await DataDirectoryLock.take(folder);
  const refused = wal(folder, 'repair', '--accept-loss');
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, new RegExp(`is in use by process ${process.pid} on `));
  assert.equal(wal(folder, 'inspect').status, 1);
  await lock.release();
  assert.deepEqual(
    readdirSync(join(folder, 'wal')).filter((name) => name.endsWith('.json')),
    [],
  );
});

test('a data directory without a log is none to complain about, and stays as it is', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lattice-wal-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const word of ['inspect', 'repair']) {
    const ran = wal(folder, word);
    assert.equal(ran.status, 0, ran.stderr);
    assert.match(ran.stdout, /no log|nothing to repair/);
  }
  assert.deepEqual(readdirSync(folder), []);
});

test('a newer format ends with 1 and says both numbers; a wrong word ends with 2', (t) => {
  const folder = dataDir(t);
  const [[name, bytes] = ['', new Uint8Array(0)]] = new LogSketch().segment().frame([record]).files;
  bytes[12] = 2;
  new DataView(bytes.buffer).setUint32(144, crc32(bytes.subarray(0, 144)), true);
  writeFileSync(join(folder, 'wal', name), bytes);
  const ran = wal(folder, 'inspect');
  assert.equal(ran.status, 1);
  assert.match(ran.stderr, /of format 2, and this version of Lattice reads format 1/);
  assert.equal(wal(folder).status, 2);
  assert.equal(wal(folder, 'mend').status, 2);
  assert.equal(wal(folder, 'inspect', '--accept-loss').status, 2);
});
