/** A Postgres of the suite's own, outside of the server that is struck, reached by it through a proxy that can go wrong. */
import { testPostgres } from '../../workers/postgres/test-postgres.ts';
import type { PgTarget } from '../../workers/postgres/pg-session.ts';
import { FaultyProxy } from './faulty-proxy.ts';

export interface ExternalDatabase {
  /** For the server: through the proxy. */
  readonly url: string;
  /** For the suite: past it. */
  readonly target: PgTarget;
  readonly proxy: FaultyProxy;
}

/** A fresh database; it goes with this process. */
export async function externalDatabase(): Promise<ExternalDatabase> {
  const { target } = await testPostgres();
  if (!('path' in target)) throw new Error('the test Postgres is reached by a unix socket');
  const proxy = await FaultyProxy.open(target.path);
  return { url: `postgres://${target.user}@127.0.0.1:${proxy.port}/${target.database}`, target, proxy };
}
