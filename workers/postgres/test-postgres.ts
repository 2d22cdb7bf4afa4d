/**
 * A real Postgres for tests: one server a test process, started at the first use, a fresh database a call.
 *
 *   <tmp>/lattice-test-postgres-<version>-<uid>/     made by initdb once a machine, copied (200 ms) instead of run
 *   <tmp>/lattice-test-XXXXXX/postgres               this process's server; nothing is synced
 *
 * The server does not keep the process alive; it is stopped, and its folder removed, when the process exits.
 */
import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { chmod, lstat, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { assert } from '../../engine/assert.ts';
import { PgClient } from './connection.ts';
import { type EmbeddedPostgres, initialise, startEmbedded } from './embedded.ts';
import { chooseUser, exists, findNatives } from './embedded-natives.ts';
import type { PgTarget } from './pg-session.ts';

export interface TestPostgres {
  /** Of a database of its own, empty. */
  readonly target: PgTarget;
  /** The server behind it, shared with the other databases of this process. */
  readonly server: EmbeddedPostgres;
}

let starting: Promise<EmbeddedPostgres> | undefined;
let databases = 0;

/** Answers an empty database. */
export async function testPostgres(): Promise<TestPostgres> {
  starting ??= startServer();
  const server = await starting;
  assert('path' in server.connection);
  databases += 1;
  const database = `test_${databases}`;
  const client = new PgClient({ target: server.connection, applicationName: 'lattice test set-up' });
  await client.run(30_000, (session) => session.rows(`create database ${database} strategy wal_log`));
  await client.close();
  return { target: { ...server.connection, database }, server };
}

/** A folder of its own under the system's temporary folder, removed when the process exits. */
export async function testFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lattice-test-'));
  await chmod(folder, 0o711);
  process.once('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

async function startServer(): Promise<EmbeddedPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'lattice-test-'));
  await chmod(folder, 0o711);
  await promisify(execFile)('cp', ['-a', await findTemplate(), join(folder, 'postgres')]);
  const server = await startEmbedded({ dataDir: folder, log: () => {}, durable: false, holdsProcess: false });
  process.once('exit', () => {
    process.kill(server.pid, 'SIGQUIT'); // unlike SIGKILL it gives its shared memory back
    if ('path' in server.connection) rmSync(dirname(server.connection.path), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  return server;
}

/** The folder that initdb made; made now when this machine has none. Safe when several processes come at once. */
async function findTemplate(): Promise<string> {
  const runAs = await chooseUser();
  const copies = join(tmpdir(), `lattice-test-natives-${process.getuid?.()}`);
  const natives = await findNatives(runAs, copies);
  const template = join(tmpdir(), `lattice-test-postgres-${natives.version}-${process.getuid?.()}`);
  if (!(await exists(template))) {
    const partial = await mkdtemp(`${template}-`);
    await chmod(partial, 0o711);
    await initialise({ natives, runAs, pgData: join(partial, 'postgres'), durable: false });
    // Fails when another process was faster: then its template is as good.
    await rename(partial, template).catch(() => rm(partial, { recursive: true, force: true }));
  }
  assert((await lstat(template)).uid === process.getuid?.(), `${template} belongs to somebody else`);
  return join(template, 'postgres');
}
