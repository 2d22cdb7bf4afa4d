/** What operators see of storage in trouble: a start that takes its time, a database that dies, one that is refused. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { testFolder } from '../workers/postgres/test-postgres.ts';
import { RespClient } from './testing/resp-client.ts';
import { ServerProcess } from './testing/server-process.ts';
import { eventually, healthOf, metricOf, startGrid, testStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';

const ROWS = 30_000;

/** A port that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  await new Promise((resolve) => server.close(resolve));
  return address.port;
}

/** A list in the document of GET /health. */
async function listOf(port: number, name: string): Promise<readonly unknown[]> {
  const list = (await healthOf(port))[name];
  assert.ok(Array.isArray(list), name);
  return list;
}

async function assertReasons(port: number, present: readonly string[], absent: readonly string[] = []): Promise<void> {
  const reasons = await listOf(port, 'reasons');
  for (const reason of present) assert.ok(reasons.includes(reason), `${reason} is not among ${reasons}`);
  for (const reason of absent) assert.ok(!reasons.includes(reason), `${reason} is among ${reasons}`);
}

async function statusOf(port: number, path: string): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}${path}`)).status;
}

test('while the node loads, health answers and says how far it is; it is ready when all is there', async (t) => {
  const storage = await testStorage();
  t.after(() => storage.close());
  const first = await startGrid({ ...storage.config, store: 'write-behind' });
  await first.grid.stop();
  await storage.script(`insert into lattice.lww (partition, map, key, millis, counter, node, value, provenance)
    select number % 271, 'loaded', convert_to('key ' || number, 'utf8'), 1, number, 'a001', '\\xa176', 0 from generate_series(1, ${ROWS}) number`);
  const port = await freePort();
  storage.proxy.holdAnswersAfter(1_000_000);
  const starting = startGrid({ ...storage.config, store: 'write-behind', port });
  let last = -1;
  await eventually(async () => {
    const { state, ready, writable, workers } = await healthOf(port);
    assert.deepEqual([state, ready, writable], ['starting', false, false]);
    assert.ok(Array.isArray(workers));
    const { recordsLoaded, recovery, state: workerState } = workers[0];
    assert.deepEqual([workerState, recovery], ['loading', 'recovering']);
    const isHeld = recordsLoaded > 0 && recordsLoaded === last;
    last = recordsLoaded;
    assert.ok(isHeld, 'the load has come to where it is held');
  });
  assert.ok(last < ROWS, `${last} records`);
  await assertReasons(port, ['RECOVERING', 'WORKER_NOT_READY']);
  const texts = (await listOf(port, 'degraded')).map(String);
  assert.ok(texts.includes(`worker-0: ${last} records loaded, 0 replayed from the log`), texts.join());
  assert.equal(await metricOf(port, 'lattice_records_loaded'), last);
  assert.deepEqual([await statusOf(port, '/health/ready'), await statusOf(port, '/health/live')], [503, 200]);

  storage.proxy.restore();
  const node = await starting;
  t.after(() => node.grid.stop());
  await eventually(async () => {
    const { state, ready, writable, reasons } = await healthOf(port);
    assert.deepEqual([state, ready, writable, reasons], ['ready', true, true, []]);
  });
  assert.equal(await metricOf(port, 'lattice_records'), ROWS);
});

test('while Postgres is away health, metrics and INFO name each trouble, and all of it is over when it is back', async (t) => {
  const storage = await testStorage();
  const respPort = await freePort();
  const node = await startGrid({ ...storage.config, store: 'write-behind', flushDelayMs: 0, respPort });
  const { port } = node;
  const redis = await RespClient.open(respPort);
  const recovery = async (): Promise<string | undefined> => /\nrecovery_state:(\w+)/.exec(await redis.text('INFO', 'stats'))?.[1];
  const ann = new TopGunClient({ port, nodeId: 'a001' });
  t.after(async () => {
    ann.close();
    redis.close();
    await node.grid.stop();
    await storage.close();
  });
  await ann.connected();
  await eventually(() => assertReasons(port, [], ['RECOVERING']));
  storage.proxy.cut();
  ann.set('trouble', 'k', 1);
  await ann.settled();
  await eventually(() => assertReasons(port, ['STORAGE_DEGRADED', 'BREAKER_OPEN']));
  await eventually(async () => assert.equal(await metricOf(port, 'lattice_database_away'), 1));
  await eventually(async () => assert.equal(await metricOf(port, 'lattice_recovery_state'), 1, 'degraded'), 20_000);
  assert.equal(await recovery(), 'degraded');
  await eventually(() => assertReasons(port, ['FLUSH_LAGGING']), 20_000);
  const { ready, writable } = await healthOf(port);
  assert.deepEqual([ready, writable], [true, true], 'reads and writes go on');
  storage.proxy.restore();
  await eventually(async () => assert.deepEqual(await listOf(port, 'reasons'), []), 30_000);
  assert.equal(await metricOf(port, 'lattice_recovery_state'), 0);
  assert.equal(await recovery(), 'normal');
  assert.equal(await metricOf(port, 'lattice_breaker_state'), 0);
});

test('an embedded Postgres that is killed is started again under the running server, and nothing is lost', async (t) => {
  const dataDir = await testFolder();
  const env = { LATTICE_DATA_DIR: dataDir };
  let server = new ServerProcess(['--port', '0'], env);
  t.after(() => server.end());
  const port = await server.port();
  const ann = new TopGunClient({ port, nodeId: 'a001' });
  t.after(() => ann.close());
  await ann.connected();
  let written = 0;
  const write = (count: number): void => {
    for (const end = written + count; written < end; written++) ann.set('killed', `k${written}`, written);
  };
  const postmaster = async (): Promise<number> => {
    const [pid = '', ...rest] = (await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n');
    assert.ok(
      rest.some((line) => line.trim() === 'ready'),
      'it serves',
    );
    return Number(pid);
  };
  for (let kill = 0; kill < 2; kill++) {
    write(100);
    const pid = await postmaster();
    process.kill(pid, 'SIGKILL');
    write(100);
    await ann.settled();
    await eventually(async () => assert.notEqual(await postmaster(), pid), 30_000);
    await eventually(async () => assert.equal(await metricOf(port, 'lattice_database_away'), 0), 20_000);
  }
  assert.match(server.stderr, /the embedded Postgres has ended/);
  assert.match(server.stderr, /the embedded Postgres serves again/);
  server.signal('SIGTERM');
  assert.deepEqual(await server.exited, { code: 0, signal: null }, server.stderr.slice(-2000));
  ann.offline();
  server = new ServerProcess(['--port', String(port)], env);
  await server.port();
  const fresh = new TopGunClient({ port, nodeId: 'f001' });
  t.after(() => fresh.close());
  fresh.lww('killed');
  await fresh.connected();
  await fresh.settled();
  assert.equal(fresh.lww('killed').records.size, written);
  assert.equal(fresh.root('killed'), ann.root('killed'));
});

test('a row that Postgres refuses becomes a dead letter, also when Postgres goes away before it is one, and is there after a restart', async (t) => {
  const storage = await testStorage();
  t.after(() => storage.close());
  const config = { ...storage.config, store: 'write-behind' } as const;
  const node = await startGrid(config);
  const ann = new TopGunClient({ port: node.port, nodeId: 'a001' });
  t.after(() => Promise.all([ann.close(), node.grid.stop()]));
  await ann.connected();
  await storage.script(`create function lattice.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
    create trigger refuse before insert or update on lattice.lww for each row when (new.key = 'bad') execute function lattice.refuse();
    create function lattice.refuse_letter() returns trigger language plpgsql as $$ begin raise exception 'full' using errcode = 'disk_full'; end $$;
    create trigger refuse before insert on lattice.dead_letters for each row execute function lattice.refuse_letter()`);
  for (const key of ['good', 'bad', 'also good']) ann.set('letters', key, key);
  await ann.settled();
  // What stands beside the refused row is committed; the row itself stays staged while its letter cannot be kept.
  await eventually(async () => assert.equal((await storage.rows('select from lattice.lww')).length, 2));
  await eventually(async () => assert.equal(await metricOf(node.port, 'lattice_staged_records'), 1));
  storage.proxy.cut();
  await storage.script('drop trigger refuse on lattice.dead_letters');
  assert.equal(await metricOf(node.port, 'lattice_dead_letters_total'), 0);
  storage.proxy.restore();
  await eventually(async () => assert.equal(await metricOf(node.port, 'lattice_staged_records'), 0), 30_000);
  assert.equal((await storage.rows('select from lattice.dead_letters where applied')).length, 1);
  ann.close();
  await node.grid.stop();

  const again = await startGrid(config);
  t.after(() => again.grid.stop());
  const fresh = new TopGunClient({ port: again.port, nodeId: 'f001' });
  fresh.lww('letters');
  await fresh.connected();
  await fresh.settled();
  assert.equal(fresh.get('letters', 'bad'), 'bad');
  assert.equal(fresh.root('letters'), ann.root('letters'));
  fresh.close();
});
