/** Data directories of every format there was: this version opens each, and finds every record in it. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { checkDataFormat, DATA_FORMAT } from '../workers/data-format.ts';
import { packageFolder } from '../workers/package-folder.ts';
import { testFolder } from '../workers/postgres/test-postgres.ts';
import { syncedPicture } from './testing/golden-data.ts';
import { type GoldenDoors, seenAtDoors, tokensTaken } from './testing/golden-doors.ts';
import { freePort } from './testing/redis-server.ts';
import { ServerProcess } from './testing/server-process.ts';
import { eventually, startGrid, testStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';

const FIXTURES = join(packageFolder(), 'gateway', 'fixtures');
async function assertDoors(port: number, respPort: number, { tokens, ...expected }: GoldenDoors): Promise<void> {
  assert.deepEqual(await seenAtDoors(port, respPort), expected);
  assert.deepEqual(await tokensTaken(port, tokens), [false, true], 'the token of the former holder is refused');
}

const FOREVER_MS = 3_650 * 86_400_000;

test('there is a golden directory of every format up to this one', async () => {
  const formats = Array.from({ length: DATA_FORMAT }, (_, index) => `data-format-${index + 1}`);
  const folders = await readdir(FIXTURES);
  assert.deepEqual(
    formats.filter((format) => !folders.includes(format)),
    [],
  );
  const newest = await readFile(join(FIXTURES, `data-format-${DATA_FORMAT}`, 'FORMAT'), 'utf8');
  assert.equal(JSON.parse(newest).format, DATA_FORMAT);
});

for (const folder of readdirSync(FIXTURES).filter((name) => name.startsWith('data-format-'))) {
  test(`${folder} is opened, and everything is found in it, also by the start after that`, async (t) => {
    const golden = join(FIXTURES, folder);
    const storage = await testStorage();
    t.after(() => storage.close());
    await storage.script(await readFile(join(golden, 'postgres.sql'), 'utf8'));
    const { dataDir } = storage.config;
    for (const name of ['FORMAT', 'wal']) await cp(join(golden, name), join(dataDir, name), { recursive: true });
    const expected: unknown = JSON.parse(await readFile(join(golden, 'expected.json'), 'utf8'));
    const doors = existsSync(join(golden, 'doors.json')) ? await readFile(join(golden, 'doors.json'), 'utf8') : undefined;
    const respPort = await freePort();
    for (const start of ['first', 'second']) {
      const node = await startGrid({
        ...storage.config,
        store: 'write-behind',
        workerThreads: 2,
        respPort,
        tombstoneHorizonMs: FOREVER_MS,
      });
      const client = new TopGunClient({ port: node.port, nodeId: 'e001' });
      try {
        assert.deepEqual(await syncedPicture(client), expected, `${start} start`);
        if (doors !== undefined) await assertDoors(node.port, respPort, JSON.parse(doors));
      } finally {
        client.close();
        await node.grid.stop();
      }
    }
  });
}

test('a data directory of a later version is refused with status 1 and the way out, and left as it is', async () => {
  const dataDir = await testFolder();
  const later = '{"format":1000,"program":"42.0.0","since":"2040-01-01T00:00:00.000Z"}\n';
  await writeFile(join(dataDir, 'FORMAT'), later);
  const server = new ServerProcess(['--port', '0'], { LATTICE_DATA_DIR: dataDir });
  assert.deepEqual(await server.exited, { code: 1, signal: null });
  assert.match(
    server.stderr,
    /DATA_VERSION: .* has data format 1000, made by version 42\.0\.0 .* start version 42\.0\.0 or a later/,
  );
  assert.equal(server.stdout, '');
  assert.deepEqual(await readdir(dataDir), ['FORMAT', 'lattice.lock.room'], 'neither a database nor a log was begun');
  assert.equal(await readFile(join(dataDir, 'FORMAT'), 'utf8'), later);
});

test('a server says its format from the first start on, and a log without its database is refused', async () => {
  const dataDir = await testFolder();
  await checkDataFormat({ dataDir, program: 'test', embedded: true, nowMs: Date.now() });
  await cp(join(FIXTURES, 'data-format-1', 'wal'), join(dataDir, 'wal'), { recursive: true });
  await writeFile(join(dataDir, 'wal', 'e0000000001-w000-0000000000000001.wal'), '');
  const server = new ServerProcess(['--port', '0'], { LATTICE_DATA_DIR: dataDir });
  assert.deepEqual(await server.exited, { code: 1, signal: null });
  assert.match(server.stderr, /holds a write-ahead log .* but not the database/);
  await eventually(async () => assert.ok(!(await readdir(dataDir)).includes('postgres')));
});
