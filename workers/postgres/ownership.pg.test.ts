import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GridError } from '../../engine/protocol/errors.ts';
import { KIND_LWW } from '../../engine/storage/record.ts';
import { imageOf, recordOf } from '../../engine/storage/stored-record.ts';
import { PgClient } from './connection.ts';
import { Ownership } from './ownership.ts';
import type { PgTarget } from './pg-session.ts';
import { PostgresDataStore } from './postgres-data-store.ts';
import { testPostgres } from './test-postgres.ts';

const DEADLINE_MS = 10_000;

function unexpected(error: GridError): void {
  throw error;
}

async function put(store: PostgresDataStore): Promise<void> {
  const batch = store.batch();
  const record = recordOf({ key: 'k', value: 'v' });
  batch.put(KIND_LWW, record.map, imageOf(record));
  await batch.commit(DEADLINE_MS);
}

async function endBackends(target: PgTarget): Promise<void> {
  const client = new PgClient({ target, applicationName: 'test administrator' });
  const text = `select pg_terminate_backend(pid, 5000) from pg_stat_activity
    where application_name like 'lattice owner%' and datname = current_database()`;
  const ended = await client.run(DEADLINE_MS, (session) => session.script(text));
  assert.equal(ended.length, 1);
  await client.close();
}

test('a second owner is refused and told who holds the data; after a release it is let in with a higher epoch', async () => {
  const { target } = await testPostgres();
  const first = await Ownership.acquire({ target, onFenced: unexpected });
  await assert.rejects(Ownership.acquire({ target, onFenced: unexpected, waitMs: 200 }), (error: GridError) => {
    assert.equal(error.code, 'STORAGE_FENCED');
    assert.match(
      error.message,
      new RegExp(`owned by "lattice owner pid=${process.pid} host=.+" from this machine, connected since 20`),
    );
    return true;
  });
  await first.release();
  const second = await Ownership.acquire({ target, onFenced: unexpected });
  assert.equal(second.epoch, first.epoch + 1);
  await second.release();
});

test('a successor that comes while the predecessor ends waits for it', async () => {
  const { target } = await testPostgres();
  const first = await Ownership.acquire({ target, onFenced: unexpected });
  const successor = Ownership.acquire({ target, onFenced: unexpected, waitMs: DEADLINE_MS });
  await first.release();
  const second = await successor;
  assert.equal(second.epoch, first.epoch + 1);
  await second.release();
});

test('an owner that lost its connection takes the lock again with the same epoch', async () => {
  const { target } = await testPostgres();
  const owner = await Ownership.acquire({ target, onFenced: unexpected });
  const { epoch } = owner;
  await endBackends(target);
  await retried(() => owner.client.run(DEADLINE_MS, (session) => session.script('select 1')));
  assert.equal(owner.epoch, epoch);
  await assert.rejects(Ownership.acquire({ target, onFenced: unexpected, waitMs: 0 }), { code: 'STORAGE_FENCED' });
  await owner.release();
});

test('an owner that lost its lock to another is fenced: told once, and its flushes are refused', async () => {
  const { target } = await testPostgres();
  const told: GridError[] = [];
  const first = await Ownership.acquire({ target, onFenced: (error) => told.push(error), beatMs: 3_600_000 });
  const store = new PostgresDataStore({ target, applicationName: 'first', ownerEpoch: first.epoch });
  await put(store);
  await endBackends(target);
  const second = await Ownership.acquire({ target, onFenced: unexpected });
  await assert.rejects(put(store), { code: 'STORAGE_FENCED' });
  const letter = {
    kind: KIND_LWW,
    map: Uint8Array.of(1),
    reason: 'r',
    applied: true,
    record: imageOf(recordOf({ key: 'k' })),
  } as const;
  await assert.rejects(store.bury(letter, DEADLINE_MS), { code: 'STORAGE_FENCED' });
  await retried(async () => {
    await first.check();
    if (told.length === 0) throw new Error('not told yet');
  });
  await first.check();
  assert.deepEqual(
    told.map((error) => error.code),
    ['STORAGE_FENCED'],
  );
  await second.release();
  await assert.rejects(
    first.client.run(DEADLINE_MS, (session) => session.script('select 1')),
    { code: 'STORAGE_FENCED' },
  );
  await Promise.all([first.release(), store.close()]);
});

test('a new epoch waits for the flush that is under way', async () => {
  const { target } = await testPostgres();
  const owner = await Ownership.acquire({ target, onFenced: unexpected });
  const flush = new PgClient({ target, applicationName: 'flush' });
  const order: string[] = [];
  let bumped: Promise<unknown> = Promise.resolve();
  await flush.run(DEADLINE_MS, (session) =>
    session.transaction(`select value from lattice.meta where key = 'owner_epoch' for share`, async () => {
      const bump = `update lattice.meta set value = '99' where key = 'owner_epoch'`;
      bumped = owner.client.run(DEADLINE_MS, (other) => other.script(bump)).then(() => order.push('epoch raised'));
      await session.script(`do $$ begin
        while not exists (select from pg_locks where not granted) loop perform pg_sleep(0.01); perform pg_stat_clear_snapshot(); end loop;
      end $$`);
      order.push('flush committed');
    }),
  );
  await bumped;
  assert.deepEqual(order, ['flush committed', 'epoch raised']);
  await Promise.all([flush.close(), owner.release()]);
});

/** Until it succeeds: the loss of a connection is noticed, and its breaker closes, a moment later. */
async function retried(action: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await action();
      return;
    } catch (error) {
      if (attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
