import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { KIND_LWW } from '../../engine/storage/record.ts';
import { imageOf, recordOf } from '../../engine/storage/stored-record.ts';
import { PgClient } from './connection.ts';
import { startEmbedded } from './embedded.ts';
import { PostgresDataStore } from './postgres-data-store.ts';
import { migrate } from './schema.ts';
import { testFolder } from './test-postgres.ts';

const DEADLINE_MS = 10_000;

test('flushes that nobody waits for give way to other processes, reads and other flushes do not', async (t) => {
  const server = await startEmbedded({ dataDir: await testFolder(), log: () => {}, holdsProcess: false });
  t.after(() => server.stop());
  const client = new PgClient({ target: server.connection, applicationName: 'test' });
  await client.run(DEADLINE_MS, migrate);
  const record = recordOf({ key: 'k', value: 'v' });
  for (const givesWay of [true, false]) {
    const store = new PostgresDataStore({ target: server.connection, applicationName: `gives way ${givesWay}`, givesWay });
    t.after(() => store.close());
    const batch = store.batch();
    batch.put(KIND_LWW, record.map, imageOf(record));
    await batch.commit(DEADLINE_MS);
    await store.load([0], () => {});
  }
  t.after(() => client.close());
  const backends = `select pid, application_name as name from pg_stat_activity where application_name like 'gives way%' order by 2`;
  const rows = await client.run(DEADLINE_MS, (session) => session.rows(backends));
  assert.deepEqual(
    rows.map(({ pid, name }) => [name, getPriority(Number(pid)), autogroupOf(Number(pid))]),
    [
      ['gives way false', 0, 0],
      ['gives way false load', 0, 0],
      ['gives way true', 10, isGrouping() ? 10 : 0],
      ['gives way true load', 0, 0],
    ],
  );
});

function isGrouping(): boolean {
  return existsSync('/proc/self/autogroup');
}

/** Niceness of its autogroup. */
function autogroupOf(pid: number): number {
  if (!isGrouping()) return 0;
  return Number(/nice (-?\d+)/.exec(readFileSync(`/proc/${pid}/autogroup`, 'utf8'))?.[1]);
}
