/**
 * A connection that misbehaves: a proxy of ours between client and server goes silent, closes or breaks at a chosen
 * moment. Whatever it does, every call settles by its deadline and the client works again when the server is back.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { KIND_LWW } from '../../engine/storage/record.ts';
import { imageOf, recordOf } from '../../engine/storage/stored-record.ts';
import { FaultyProxy } from '../testing/faulty-proxy.ts';
import { CircuitBreaker } from '../../engine/operation/circuit-breaker.ts';
import { PgClient } from './connection.ts';
import type { PgTarget } from './pg-session.ts';
import { PostgresDataStore } from './postgres-data-store.ts';
import { migrate } from './schema.ts';
import { testPostgres } from './test-postgres.ts';

const ALL = Array.from({ length: 271 }, (_, index) => index);

const proxies: FaultyProxy[] = [];
after(() => Promise.all(proxies.map((proxy) => proxy.close())));

async function proxied(): Promise<{ proxy: FaultyProxy; target: PgTarget; direct: PgTarget }> {
  const { target } = await testPostgres();
  assert.ok('path' in target);
  const direct = new PgClient({ target, applicationName: 'test' });
  await direct.run(10_000, migrate);
  await direct.close();
  const proxy = new FaultyProxy(target.path);
  proxies.push(proxy);
  const url = `postgres://${target.user}@127.0.0.1:${await proxy.listen()}/${target.database}`;
  return { proxy, target: { url }, direct: target };
}

/** Does not open within a test. */
function patientBreaker(): CircuitBreaker {
  return new CircuitBreaker({ failuresMax: 1000, openMinMs: 1, openMaxMs: 1, random: Math.random });
}

async function settled<T>(promise: Promise<T>): Promise<unknown> {
  return promise.then(
    () => 'fulfilled',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  );
}

test('a call into a black hole rejects at its deadline, and the next one has a new connection', async () => {
  const { proxy, target } = await proxied();
  const client = new PgClient({ target, applicationName: 'test', breaker: patientBreaker() });
  proxy.onClientChunk = (text) => (text.includes('select 7') ? 'SWALLOW' : 'PASS');
  assert.equal(await settled(client.run(300, (session) => session.script('select 7'))), 'STORAGE_UNAVAILABLE');
  proxy.onClientChunk = () => 'PASS';
  const [row] = await client.run(10_000, (session) => session.script('select 8 as eight'));
  assert.equal(row?.eight, 8);
  assert.equal(proxy.connections, 2);
  await client.close();
});

test('a connection that goes silent while it is set up is given up long before the deadline of a load', async () => {
  const { proxy, target } = await proxied();
  const breaker = patientBreaker();
  const client = new PgClient({ target, applicationName: 'test', breaker, connectTimeoutMs: 300 });
  for (const step of ['application_name', 'bytea_output']) {
    proxy.onClientChunk = (text) => (text.includes(step) ? 'SWALLOW' : 'PASS');
    await assert.rejects(
      client.run(3_600_000, (session) => session.script('select 1')),
      { code: 'STORAGE_UNAVAILABLE' },
    );
  }
  proxy.onClientChunk = () => 'PASS';
  assert.equal(await settled(client.run(5000, (session) => session.script('select 1'))), 'fulfilled');
  await client.close();
});

test('commits wait for the disk though the database would not have them wait, and more than that stays as the database has it', async () => {
  const { direct } = await proxied();
  assert.ok('path' in direct);
  const settingUnder = async (ofDatabase: string): Promise<unknown> => {
    const admin = new PgClient({ target: direct, applicationName: 'test' });
    await admin.run(10_000, (session) =>
      session.script(`alter database ${direct.database} set synchronous_commit = ${ofDatabase}`),
    );
    await admin.close();
    const client = new PgClient({ target: direct, applicationName: 'test' });
    const [row] = await client.run(10_000, (session) => session.rows('show synchronous_commit'));
    await client.close();
    return row?.synchronous_commit;
  };
  assert.equal(await settingUnder('off'), 'local');
  assert.equal(await settingUnder('remote_apply'), 'remote_apply');
});

test('a call that waits behind a hanging one keeps its own deadline and disturbs nobody', async () => {
  const { target } = await proxied();
  const client = new PgClient({ target, applicationName: 'test', breaker: patientBreaker() });
  const slow = client.run(10_000, (session) => session.script(`select pg_sleep(0.5), 'done' as answer`));
  assert.equal(await settled(client.run(50, (session) => session.script('select 1'))), 'STORAGE_UNAVAILABLE');
  assert.equal((await slow)[0]?.answer, 'done');
  await client.close();
});

test('a server that accepts and closes is away: no endless reconnecting, and the breaker refuses without trying', async () => {
  const { proxy, target } = await proxied();
  proxy.accepting = false;
  let nowMs = 0;
  const breaker = new CircuitBreaker({ failuresMax: 1, openMinMs: 1000, openMaxMs: 1000, random: () => 1 });
  const client = new PgClient({ target, applicationName: 'test', breaker, nowMs: () => nowMs });
  assert.equal(await settled(client.run(5000, (session) => session.script('select 1'))), 'STORAGE_UNAVAILABLE');
  assert.equal(proxy.connections, 1);
  assert.equal(await settled(client.run(5000, (session) => session.script('select 1'))), 'STORAGE_UNAVAILABLE');
  assert.equal(proxy.connections, 1);
  proxy.accepting = true;
  nowMs = 1000;
  assert.equal(await settled(client.run(5000, (session) => session.script('select 1'))), 'fulfilled');
  assert.equal(breaker.state, 'CLOSED');
  await client.close();
});

/** Statements of one flush and one load, each recognised by a piece of its text. */
const STEPS = ['begin', 'copy pg_temp', 'PGCOPY', 'insert into lattice.lww', 'commit'];

for (const fault of ['FIN', 'RESET', 'SWALLOW'] as const) {
  test(`${fault} at each step of a flush: the commit rejects, a repeat succeeds, the row is there once`, async () => {
    const { proxy, target, direct } = await proxied();
    const record = recordOf({ key: 'k', value: 'v' });
    const checker = new PostgresDataStore({ target: direct, applicationName: 'test' });
    for (const step of STEPS) {
      const store = new PostgresDataStore({ target, applicationName: 'test', ownerEpoch: 0, breaker: patientBreaker() });
      let faults = 0;
      proxy.onClientChunk = (text) => {
        if (faults > 0 || !text.includes(step)) return 'PASS';
        faults += 1;
        return fault;
      };
      const put = async (): Promise<unknown> => {
        const batch = store.batch();
        batch.put(KIND_LWW, record.map, imageOf(record));
        return settled(batch.commit(1000));
      };
      assert.equal(await put(), 'STORAGE_UNAVAILABLE', step);
      assert.equal(faults, 1, step);
      assert.equal(await put(), 'fulfilled', step);
      await store.close();
      let rows = 0;
      await checker.load(ALL, () => (rows += 1));
      assert.equal(rows, 1);
    }
    await checker.close();
  });
}

test('a load that is cut or goes silent rejects', async () => {
  const { proxy, target } = await proxied();
  for (const fault of ['FIN', 'SWALLOW'] as const) {
    const store = new PostgresDataStore({ target, applicationName: 'test', loadStallMs: 200 });
    proxy.onClientChunk = (text) => (text.includes('lattice.or_map') ? fault : 'PASS');
    assert.equal(await settled(store.load(ALL, () => {})), 'STORAGE_UNAVAILABLE');
    await store.close();
  }
});

test('backends that the administrator ends count as away, and work goes on with new ones', async () => {
  const { target } = await proxied();
  const client = new PgClient({ target, applicationName: 'victim', breaker: patientBreaker() });
  const other = new PgClient({ target, applicationName: 'test' });
  const sleeping = settled(client.run(10_000, (session) => session.script('select pg_sleep(20)')));
  const kill = `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim' and query like '%pg_sleep%'`;
  for (let ended = 0; ended === 0; ) ended = (await other.run(5000, (session) => session.script(kill))).length;
  assert.equal(await sleeping, 'STORAGE_UNAVAILABLE');
  assert.equal(await settled(client.run(5000, (session) => session.script('select 1'))), 'fulfilled');
  await Promise.all([client.close(), other.close()]);
});

test('a row that the server refuses is poison, keeps the connection, and the other rows can still be written', async () => {
  const { proxy, target } = await proxied();
  const bad = { toJson: (bytes: Uint8Array, start: number) => (bytes[start] === 0x62 ? Uint8Array.of(0x7b) : undefined) };
  const store = new PostgresDataStore({ target, applicationName: 'test', json: bad });
  for (const values of [['bad'], ['good', 'bad'], ['good']]) {
    const batch = store.batch();
    for (const value of values) batch.put(KIND_LWW, Uint8Array.of(1), imageOf(recordOf({ key: value, value })));
    assert.equal(await settled(batch.commit(5000)), values.includes('bad') ? 'STORAGE_POISON' : 'fulfilled');
  }
  const huge = store.batch();
  let state = 1;
  const key = Uint8Array.from({ length: 9000 }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 24;
  });
  huge.put(KIND_LWW, Uint8Array.of(1), imageOf(recordOf({ key, value: 'good' })));
  assert.equal(await settled(huge.commit(5000)), 'STORAGE_POISON');
  assert.equal(store.away, false);
  assert.equal(proxy.connections, 1);
  await store.close();
});

test('nobody listens: refused at once', async () => {
  const client = new PgClient({ target: { path: '/nowhere/.s.PGSQL.5432', user: 'u', database: 'd' }, applicationName: 'test' });
  assert.equal(await settled(client.run(5000, (session) => session.script('select 1'))), 'STORAGE_UNAVAILABLE');
  await client.close();
});
