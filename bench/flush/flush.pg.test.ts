import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { PgClient } from '../../workers/postgres/connection.ts';
import { migrate } from '../../workers/postgres/schema.ts';
import { testPostgres } from '../../workers/postgres/test-postgres.ts';
import { flushFigures, reasonDiffers } from './flush.bench.ts';
import { runFlushes } from './flush-load.ts';
import { expectedDigest, TABLE_DIGEST } from './flush-rows.ts';
import { type FlushWriterName, psqlMissing } from './flush-writers.ts';

const ROWS = 40;
const BATCHES = 3;

test('every writer leaves exactly the rows that were sent, and a run with one row missing, more or changed is void', async () => {
  const { target, server } = await testPostgres();
  const client = new PgClient({ target, applicationName: 'flush test' });
  const folder = mkdtempSync(join(tmpdir(), 'lattice-flush-test-'));
  const rows = async (statement: string) => client.run(30_000, async (session) => (await session.script(statement))[0]);
  try {
    await client.run(30_000, (session) => session.transaction('', () => migrate(session)));
    const writers: FlushWriterName[] = ['lattice', 'multi-values', ...(psqlMissing() === undefined ? ['psql' as const] : [])];
    for (const json of [true, false])
      for (const writer of writers) {
        await rows('truncate lattice.lww');
        const plan = {
          writer,
          target,
          json,
          rows: ROWS,
          folder,
          postgresPid: server.pid,
          warmUpBatches: 1,
          batches: BATCHES - 1,
        };
        const report = await runFlushes(plan);
        assert.equal(report.batchMs.length, BATCHES - 1);
        assert.equal(reasonDiffers(await rows(TABLE_DIGEST), BATCHES * ROWS, json), undefined, `${writer}, json ${json}`);
        if (json) assert.match(String(reasonDiffers(await rows(TABLE_DIGEST), BATCHES * ROWS, false)), /not those/);
      }
    await rows(`update lattice.lww set value = value || '\\x00' where key = 'k-00000007'`);
    assert.match(String(reasonDiffers(await rows(TABLE_DIGEST), BATCHES * ROWS, false)), /^void: 120 rows .* not those/);
    await rows(`delete from lattice.lww where key = 'k-00000007'`);
    assert.equal(reasonDiffers(await rows(TABLE_DIGEST), BATCHES * ROWS, false), 'void: 120 rows sent, 119 in the table');
    assert.match(String(reasonDiffers(undefined, BATCHES * ROWS, false)), /^void: 120 rows sent, NaN/);
  } finally {
    await client.close();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('figures are per row of the batches that count', () => {
  const figures = flushFigures({ wallMs: 500, clientCpuMs: 30, postgresCpuMs: 140, batchMs: [100, 150, 250] }, 10_000);
  assert.deepEqual(figures, { opsPerSecond: 20_000, clientUsPerRow: 3, postgresUsPerRow: 14, batchMs: 150 });
  assert.deepEqual(expectedDigest(0, true), { rows: 0, digest: '' });
});
