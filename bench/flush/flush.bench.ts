/**
 * FLUSH: rows a second into Postgres, 5000 a transaction, with every commit synced.
 *
 *   lattice       what a worker does with staged records           multi-values   a client that sends INSERT … VALUES
 *   psql          the same COPY and merge from bytes made before: the ceiling of Postgres with our statements
 *
 * FLUSH writes the jsonb copy of each value, as the server does when nobody sets anything; FLUSH-BYTES is LATTICE_PG_JSON=off, and what
 * the bounds were taken from. All rows are new; the table is emptied and the pages are written out before each run. A run after which the
 * table does not hold exactly the rows that were sent is void.
 */
import { chmodSync } from 'node:fs';
import { PgClient } from '../../workers/postgres/connection.ts';
import { type EmbeddedPostgres, startEmbedded } from '../../workers/postgres/embedded.ts';
import { migrate } from '../../workers/postgres/schema.ts';
import { withFolder } from '../disk-folder.ts';
import { generated } from '../harness.ts';
import type { RunSettings } from '../ingest.bench.ts';
import { type Figures, ScenarioResult } from '../result.ts';
import { median } from '../statistics.ts';
import { voidBecause } from '../void-run.ts';
import type { FlushPlan, FlushReport } from './flush-load.ts';
import { expectedDigest, TABLE_DIGEST } from './flush-rows.ts';
import { type FlushWriterName, psqlMissing } from './flush-writers.ts';

const BATCH_ROWS = 5000;
const WRITERS: readonly FlushWriterName[] = ['lattice', 'multi-values', 'psql'];
const STATEMENT_DEADLINE_MS = 60_000;

const SCENARIOS = [
  { name: 'FLUSH', title: '5000 new rows a transaction, JSON copies included', json: true },
  { name: 'FLUSH-BYTES', title: '5000 new rows a transaction, without JSON copies', json: false },
] as const;
export const FLUSH_SCENARIOS: readonly string[] = SCENARIOS.map(({ name }) => name);

export async function* runFlush(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  const wanted = SCENARIOS.filter(({ name }) => settings.scenarios?.has(name) ?? true);
  if (wanted.length === 0) return;
  const results: ScenarioResult[] = [];
  await withPostgres(async (database) => {
    for (const { name, title, json } of wanted) {
      const ceilings = Object.fromEntries(WRITERS.map((writer) => [writer, 'multi-values']));
      const result = new ScenarioResult({ scenario: name, title, ceilings });
      const noPsql = psqlMissing();
      if (noPsql !== undefined) result.notMeasured('psql', noPsql);
      const writers = WRITERS.filter((writer) => writer !== 'psql' || noPsql === undefined);
      for (let run = 1; run <= settings.runs; run++)
        for (const writer of writers) {
          const outcome = await database.measure(writer, json, settings).catch(voidBecause);
          if (typeof outcome === 'string') result.addVoid(writer, outcome);
          else result.add(writer, outcome);
          settings.progress(`${name} run ${run}/${settings.runs} ${writer}: ${progressText(outcome)}`);
        }
      results.push(result);
    }
  });
  yield* results;
}

/** Runs `body` beside a Postgres of its own, which syncs as in production. */
async function withPostgres(body: (database: FlushDatabase) => Promise<void>): Promise<void> {
  await withFolder('flush', async (folder) => {
    chmodSync(folder, 0o711); // Postgres runs as another user when this is root
    const server = await startEmbedded({ dataDir: folder, log: () => {} });
    const client = new PgClient({ target: server.connection, applicationName: 'lattice bench set-up' });
    try {
      await client.run(STATEMENT_DEADLINE_MS, (session) => session.transaction('', () => migrate(session)));
      await body(new FlushDatabase(server, client));
    } finally {
      await client.close();
      await server.stop();
    }
  });
}

class FlushDatabase {
  readonly #server: EmbeddedPostgres;
  readonly #client: PgClient;

  constructor(server: EmbeddedPostgres, client: PgClient) {
    this.#server = server;
    this.#client = client;
  }

  /** Figures of one run into the empty table, or why it is void. */
  async measure(writer: FlushWriterName, json: boolean, { quick, pinning }: RunSettings): Promise<Figures | string> {
    const [warmUpBatches, batches] = quick ? [1, 3] : [3, 12];
    await this.#run('truncate lattice.lww');
    await this.#run('checkpoint');
    const report = await withFolder(`flush-${writer}`, (folder) => {
      const { connection: target, pid: postgresPid } = this.#server;
      const plan = { writer, target, json, rows: BATCH_ROWS, folder, postgresPid, warmUpBatches, batches };
      return generated<FlushPlan, FlushReport>('./flush/flush-process', plan, pinning);
    });
    const wrong = reasonDiffers(await this.#run(TABLE_DIGEST), (warmUpBatches + batches) * BATCH_ROWS, json);
    return wrong ?? flushFigures(report, batches * BATCH_ROWS);
  }

  #run(statement: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    return this.#client.run(STATEMENT_DEADLINE_MS, async (session) => (await session.script(statement))[0]);
  }
}

/** Why the run is void: the table does not hold exactly the rows that were sent. */
export function reasonDiffers(
  table: Readonly<Record<string, unknown>> | undefined,
  rowsSent: number,
  json: boolean,
): string | undefined {
  const expected = expectedDigest(rowsSent, json);
  const rows = Number(table?.rows);
  if (rows !== expected.rows) return `void: ${rowsSent} rows sent, ${rows} in the table`;
  return table?.digest === expected.digest ? undefined : `void: ${rows} rows in the table, but not those that were sent`;
}

export function flushFigures({ wallMs, clientCpuMs, postgresCpuMs, batchMs }: FlushReport, rows: number): Figures {
  return {
    opsPerSecond: (rows * 1000) / wallMs,
    clientUsPerRow: (clientCpuMs * 1000) / rows,
    postgresUsPerRow: (postgresCpuMs * 1000) / rows,
    batchMs: median(batchMs),
  };
}

function progressText(outcome: Figures | string): string {
  if (typeof outcome === 'string') return outcome;
  const { opsPerSecond = 0, clientUsPerRow, postgresUsPerRow } = outcome;
  const rate = Math.round(opsPerSecond).toLocaleString('en');
  return `${rate} rows/s, client ${clientUsPerRow?.toFixed(1)} µs/row, Postgres ${postgresUsPerRow?.toFixed(1)} µs/row`;
}
