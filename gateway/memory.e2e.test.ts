/** More values than memory: cold ones are dropped, and every one of them is there when somebody asks. */
import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { testFolder } from '../workers/postgres/test-postgres.ts';
import { payloadOf } from './testing/client-fields.ts';
import { ServerProcess } from './testing/server-process.ts';
import { eventually, metricOf } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { put, uniqueName } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const MIB = 1024 * 1024;
/** The smallest share of a worker is 32 MiB; this is more than the process takes already, so it gets that. */
const MAX_MEMORY = String(96 * MIB);
const KEYS = 12_000;
const VALUE_BYTES = 4000;
const BATCH = 250;

const processes: ServerProcess[] = [];

after(async () => {
  for (const server of processes) await server.end();
});

async function start(dataDir: string): Promise<number> {
  const env = { LATTICE_MAX_MEMORY: MAX_MEMORY, LATTICE_FLUSH_DELAY_MS: '0', LATTICE_WORKER_THREADS: '1' };
  const server = new ServerProcess(['--port', '0', '--data-dir', dataDir], env);
  processes.push(server);
  return server.port();
}

/** Writes the batch until it is taken: while all values wait for Postgres the server refuses, and says so. */
async function writeBatch(port: number, map: string, first: number): Promise<number> {
  for (let refusals = 0; ; refusals++) {
    const session = await WireSession.open({ port, path: '/ws' });
    session.sendOps(
      ...Array.from({ length: BATCH }, (_, index) => put(String(index + 1), map, `k${first + index}`, valueAt(first + index))),
    );
    try {
      assert.equal(payloadOf(await session.next('OP_ACK')).lastId, String(BATCH));
      session.socket.terminate();
      return refusals;
    } catch (error) {
      const refused = session.take('ERROR').map((message) => String(payloadOf(message).message));
      if (!refused.some((text) => text.startsWith('OUT_OF_MEMORY'))) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function valueAt(key: number): string {
  return `${key}`.padEnd(VALUE_BYTES, '.');
}

async function assertAllThere(port: number, map: string): Promise<void> {
  const reader = new TopGunClient({ port, nodeId: 'fe01' });
  reader.lww(map);
  await reader.connected();
  await reader.resynced();
  for (let key = 0; key < KEYS; key++) assert.equal(reader.get(map, `k${key}`), valueAt(key));
  reader.close();
}

test('values beyond the bound are dropped and read back, also by a server that starts with more than fits', async () => {
  const dataDir = await testFolder();
  const map = uniqueName('large');
  let port = await start(dataDir);
  for (let first = 0; first < KEYS; first += BATCH) await writeBatch(port, map, first);
  await eventually(async () => assert.ok((await metricOf(port, 'lattice_evicted_total')) > 1000));
  const reserved = await metricOf(port, 'lattice_slab_reserved_bytes');
  assert.ok(reserved < (KEYS * VALUE_BYTES) / 1.4, `${reserved} bytes reserved`);
  await assertAllThere(port, map);
  assert.ok((await metricOf(port, 'lattice_value_loads_total')) > 1000);
  assert.equal(await metricOf(port, 'lattice_values_missing_total'), 0);
  processes.at(-1)?.signal('SIGTERM');
  assert.deepEqual(await processes.at(-1)?.exited, { code: 0, signal: null });
  port = await start(dataDir);
  assert.ok((await metricOf(port, 'lattice_slab_reserved_bytes')) < (KEYS * VALUE_BYTES) / 1.4);
  await assertAllThere(port, map);
});
