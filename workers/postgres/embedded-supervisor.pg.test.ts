import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GridError } from '../../engine/protocol/errors.ts';
import { KIND_LWW } from '../../engine/storage/record.ts';
import { imageOf, recordOf } from '../../engine/storage/stored-record.ts';
import { PgClient } from './connection.ts';
import { SupervisedPostgres } from './embedded-supervisor.ts';
import { Ownership } from './ownership.ts';
import { PostgresDataStore } from './postgres-data-store.ts';
import { testFolder } from './test-postgres.ts';

const DEADLINE_MS = 10_000;
const ALL = Array.from({ length: 271 }, (_, index) => index);

interface Run {
  readonly server: SupervisedPostgres;
  readonly seen: string[];
  /** Resolves when `seen` has that entry; rejects when it does not come. */
  until(entry: string): Promise<void>;
}

async function supervised(): Promise<Run> {
  const seen: string[] = [];
  const server = await SupervisedPostgres.start(
    { dataDir: await testFolder(), log: () => {}, holdsProcess: false },
    {
      onDown: (how) => seen.push(`down ${how}`),
      onUp: () => seen.push('up'),
      onStartFailed: (error) => seen.push(String(error)),
    },
  );
  return { server, seen, until: (entry) => eventually(() => assert.ok(seen.includes(entry), seen.join())) };
}

async function eventually(assertions: () => unknown): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await assertions();
      return;
    } catch (error) {
      if (attempt === 600) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

test('a server that is killed is started again: the owner keeps its epoch, flushes go on, and nothing committed is lost', async (t) => {
  const { server, seen, until } = await supervised();
  t.after(() => server.stop());
  const fenced: Error[] = [];
  const reached: boolean[] = [];
  const target = server.connection;
  const owner = await Ownership.acquire({
    target,
    onFenced: (error) => fenced.push(error),
    onReach: (isThere) => reached.push(isThere),
    beatMs: 100,
  });
  const { epoch } = owner;
  const store = new PostgresDataStore({ target, applicationName: 'test', ownerEpoch: epoch });
  t.after(() => Promise.all([owner.release(), store.close()]));
  const put = async (key: string): Promise<void> => {
    const record = recordOf({ key, value: 'v' });
    const batch = store.batch();
    batch.put(KIND_LWW, record.map, imageOf(record));
    await batch.commit(DEADLINE_MS);
  };
  await put('before');
  const firstPid = server.pid;
  for (let kill = 1; kill <= 2; kill++) {
    seen.length = 0;
    process.kill(server.pid, 'SIGKILL');
    // A session may outlive its postmaster by a moment: refused or committed, it must not be left without an answer.
    await put(`meanwhile ${kill}`).catch((error: unknown) =>
      assert.equal(error instanceof GridError && error.code, 'STORAGE_UNAVAILABLE'),
    );
    await until('up');
    assert.deepEqual(seen.slice(0, 1), ['down SIGKILL']);
    await eventually(() => put(`after ${kill}`));
    await eventually(() => assert.equal(reached.at(-1), true));
  }
  assert.notEqual(server.pid, firstPid);
  assert.ok(reached.includes(false), 'the owner noticed');
  assert.equal(owner.epoch, epoch);
  assert.deepEqual(fenced, []);
  await assert.rejects(Ownership.acquire({ target, onFenced: () => {}, waitMs: 0 }), { code: 'STORAGE_FENCED' });
  const keys: string[] = [];
  await store.load(ALL, (_kind, _map, image) => {
    const key = Buffer.from(image.source).toString('utf8', image.keyStart, image.keyStart + image.keyBytes);
    if (!key.startsWith('meanwhile')) keys.push(key);
  });
  assert.deepEqual(keys.sort(), ['after 1', 'after 2', 'before']);
});

test('a server that is stopped while it is down, or being started again, stays stopped', async () => {
  for (const waits of [false, true]) {
    const { server, until } = await supervised();
    process.kill(server.pid, 'SIGKILL');
    await until('down SIGKILL');
    if (waits) await new Promise((resolve) => setTimeout(resolve, 150)); // into the start
    await server.stop();
    assert.throws(() => process.kill(server.pid, 0), { code: 'ESRCH' });
    const client = new PgClient({ target: server.connection, applicationName: 'test' });
    await assert.rejects(
      client.run(DEADLINE_MS, (session) => session.script('select 1')),
      { code: 'STORAGE_UNAVAILABLE' },
    );
    await client.close();
  }
});
