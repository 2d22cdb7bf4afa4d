import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { PgClient } from './connection.ts';
import { type EmbeddedPostgres, startEmbedded } from './embedded.ts';
import type { PgRow } from './pg-session.ts';
import { testFolder } from './test-postgres.ts';

const DEADLINE_MS = 10_000;

async function start(dataDir: string, lines: string[] = []): Promise<EmbeddedPostgres> {
  return startEmbedded({ dataDir, log: (line) => lines.push(line), holdsProcess: false });
}

async function query(server: EmbeddedPostgres, text: string): Promise<readonly PgRow[]> {
  const client = new PgClient({ target: server.connection, applicationName: 'test' });
  try {
    return await client.run(DEADLINE_MS, (session) => session.script(text));
  } finally {
    await client.close();
  }
}

test('what was committed survives a kill of the server, which is listened to by a unix socket only', async () => {
  const dataDir = await testFolder();
  const first = await start(dataDir);
  const [settings] = await query(
    first,
    `select current_setting('listen_addresses') as listen, current_setting('fsync') as fsync`,
  );
  assert.deepEqual({ ...settings }, { listen: '', fsync: 'on' });
  await query(first, 'create table kept (id int); insert into kept values (7)');
  first.kill();
  const second = await start(dataDir);
  const [row] = await query(second, 'select id from kept');
  assert.equal(row?.id, 7);
  await second.stop();
});

test('a server left behind by a killed process is stopped, and the new one serves the same data', async () => {
  const dataDir = await testFolder();
  const orphan = await start(dataDir);
  await query(orphan, 'create table kept (id int)');
  const lines: string[] = [];
  const second = await start(dataDir, lines);
  assert.ok(lines.some((line) => line.includes(`stopping Postgres ${orphan.pid}`)));
  assert.notEqual(second.pid, orphan.pid);
  assert.equal((await query(second, 'select count(*)::int as count from kept'))[0]?.count, 0);
  await second.stop();
});

test('stop ends the server cleanly and removes its socket', async () => {
  const dataDir = await testFolder();
  const lines: string[] = [];
  const server = await start(dataDir, lines);
  assert.ok('path' in server.connection);
  assert.ok(Buffer.byteLength(server.connection.path) <= 107);
  await server.stop();
  assert.equal(existsSync(dirname(server.connection.path)), false);
  assert.equal(existsSync(join(dataDir, 'postgres', 'postmaster.pid')), false);
  const again = await start(dataDir, lines);
  assert.ok(!lines.some((line) => line.includes('interrupted')));
  await again.stop();
});

test('a first start that was killed in the middle is begun again', async () => {
  const dataDir = await testFolder();
  const partial = join(dataDir, 'postgres.1.partial');
  await mkdir(partial);
  await writeFile(join(partial, 'PG_VERSION'), '18');
  const server = await start(dataDir);
  assert.equal(existsSync(partial), false);
  await server.stop();
});

test('data of another major version is refused, naming both', async () => {
  const dataDir = await testFolder();
  await (await start(dataDir)).stop();
  const path = join(dataDir, 'postgres', 'PG_VERSION');
  const ours = (await readFile(path, 'utf8')).trim();
  await writeFile(path, '12\n');
  await assert.rejects(start(dataDir), (error: Error) => {
    assert.match(error.message, new RegExp(`written by PostgreSQL 12, this program brings PostgreSQL ${ours}`));
    return 'code' in error && error.code === 'STORAGE_VERSION';
  });
});

test('a server that cannot start says why', async () => {
  const dataDir = await testFolder();
  await (await start(dataDir)).stop();
  await writeFile(join(dataDir, 'postgres', 'postgresql.auto.conf'), 'no_such_setting = 1\n');
  await assert.rejects(start(dataDir), (error: Error) => {
    assert.match(error.message, /no_such_setting/);
    return 'code' in error && error.code === 'STORAGE_UNAVAILABLE';
  });
});

test('as root, a data directory inside a closed folder is refused with the folder named', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('only root runs the server as another user');
  const closed = join(await testFolder(), 'closed');
  await mkdir(join(closed, 'data'), { recursive: true });
  await chmod(join(closed, 'data'), 0o755);
  await chmod(closed, 0o700);
  // The folder above belongs to the operator, so it stays as it is.
  await assert.rejects(start(join(closed, 'data')), (error: Error) => {
    assert.ok(error.message.includes(`cannot pass ${closed}`));
    return 'code' in error && error.code === 'CONFIG_INVALID';
  });
});
