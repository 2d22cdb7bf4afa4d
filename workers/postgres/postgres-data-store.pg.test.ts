/** The conformance suite of data stores, against a real Postgres. */
import { testDataStore } from '../../engine/storage/data-store.conformance.ts';
import { PgClient } from './connection.ts';
import type { PgTarget } from './pg-session.ts';
import { PostgresDataStore } from './postgres-data-store.ts';
import { migrate } from './schema.ts';
import { testPostgres } from './test-postgres.ts';

async function emptyDatabase(): Promise<PgTarget> {
  const { target } = await testPostgres();
  const client = new PgClient({ target, applicationName: 'test' });
  await client.run(10_000, migrate);
  await client.close();
  return target;
}

testDataStore('PostgresDataStore', async () => {
  const target = await emptyDatabase();
  const store = new PostgresDataStore({ target, applicationName: 'test', ownerEpoch: 0 });
  return {
    store,
    reopen: async () => {
      await store.close();
      return new PostgresDataStore({ target, applicationName: 'test again', ownerEpoch: 0 });
    },
  };
});
