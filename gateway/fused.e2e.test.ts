/** A fused node: one thread from the socket to the log. It promises what every node promises, save that it dies as a whole. */
import assert from 'node:assert/strict';
import test, { after, type TestContext } from 'node:test';
import type { Config } from '../engine/config.ts';
import { type DeathWay, faultsOf } from '../engine/faults.ts';
import { testFolder } from '../workers/postgres/test-postgres.ts';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import { opAck, payloadOf } from './testing/client-fields.ts';
import { endProcesses, NodeProcess } from './testing/node-process.ts';
import { freePort } from './testing/redis-server.ts';
import { RespClient } from './testing/resp-client.ts';
import { eventually, healthOf, startGrid, type TestGrid, testConfig, testStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { put, uniqueName } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

after(endProcesses);

/** Starts one node after another on the same data; the last one is stopped when the test ends. */
async function lastingNode(t: TestContext, overrides: Partial<Config>): Promise<() => Promise<TestGrid>> {
  const storage = await testStorage();
  let last: TestGrid | undefined;
  t.after(async () => {
    await last?.grid.stop();
    await storage.close();
  });
  return async () => {
    last = await startGrid({ ...storage.config, store: 'write-behind', fused: true, ...overrides });
    return last;
  };
}

async function clientOf(t: TestContext, node: TestGrid, nodeId: string, map: string): Promise<TopGunClient> {
  const client = new TopGunClient({ port: node.port, nodeId });
  t.after(() => client.close());
  client.lww(map);
  await client.connected();
  return client;
}

test('what one client writes others see through every door, and the next process finds it', async (t) => {
  const respPort = await freePort();
  const start = await lastingNode(t, { respPort });
  const node = await start();
  const map = uniqueName('fused');
  const [ann, ben] = [await clientOf(t, node, 'a001', map), await clientOf(t, node, 'b001', map)];
  ann.set(map, 'k', 'by WebSocket');
  await eventually(() => assert.equal(ben.get(map, 'k'), 'by WebSocket'));
  const url = `http://127.0.0.1:${node.port}/maps/${map}`;
  assert.equal(await (await fetch(`${url}/k`)).json(), 'by WebSocket');
  const written = await fetch(`${url}/h`, { method: 'PUT', body: '"by HTTP"', headers: { 'content-type': 'application/json' } });
  assert.equal(written.status, 201);
  await eventually(() => assert.equal(ben.get(map, 'h'), 'by HTTP'));
  const redis = await RespClient.open(respPort);
  assert.equal(String(await redis.command('SET', 'r', 'by Redis')), '+OK\r\n');
  assert.equal(String(await redis.command('HGET', map, 'k')), '$12\r\nby WebSocket\r\n');
  redis.close();
  await node.grid.stop();

  const next = await start();
  const eve = await clientOf(t, next, 'e001', map);
  await eve.resynced();
  assert.deepEqual([eve.get(map, 'k'), eve.get(map, 'h')], ['by WebSocket', 'by HTTP']);
  const again = await RespClient.open(respPort);
  assert.equal(String(await again.command('GET', 'r')), '$8\r\nby Redis\r\n');
  again.close();
});

test('it is healthy, sleeps while nothing comes, and counts the heap of its thread once', async (t) => {
  const { grid, port } = await startGrid({ fused: true });
  t.after(() => grid.stop());
  const { state, degraded } = await healthOf(port);
  assert.deepEqual([state, degraded], ['ready', []]);
  const rows = [0, 1].map((row) => new CounterRow(grid.memory.threadCounters, THREAD_COUNTERS, row));
  await eventually(() => assert.ok((rows[0]?.get('heapUsedBytes') ?? 0) > 0));
  assert.equal(rows[1]?.get('heapUsedBytes'), 0);
  await eventually(async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const healthy = [...metrics.matchAll(/^lattice_thread_healthy\{thread="(\S+)"\} 1$/gm)].map(([, thread]) => thread);
    assert.deepEqual(healthy.sort(), ['gateway-0', 'main', 'worker-0'], 'the main thread reports, too');
  });
  const turnsOf = (): number => rows.reduce((sum, row) => sum + row.get('turns'), 0);
  const before = turnsOf();
  await new Promise((resolve) => setTimeout(resolve, 300));
  const turns = turnsOf() - before;
  assert.ok(turns < 30, `${turns} turns without a record: it spins`);
});

test('a bug in it ends the node, which says so, and its log has what was acknowledged', async (t) => {
  const start = await lastingNode(t, { flushDelayMs: 60_000, logLevel: 'silent' }); // Postgres gets nothing
  const node = await start();
  const map = uniqueName('bug');
  const session = await WireSession.open({ port: node.port });
  session.sendOps(...Array.from({ length: 200 }, (_, index) => put(String(index + 1), map, `k${index}`, index)));
  assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).lastId, '200');
  assert.equal(node.grid.crashWorker(0), true);
  await eventually(() => assert.match(node.fatal[0]?.message ?? '', /crash asked for/));
  await session.closed;
  await assert.rejects(node.grid.stop(), /worker 0 died before the stop/);

  const next = await start();
  const reader = await clientOf(t, next, 'b001', map);
  await reader.resynced();
  for (let index = 0; index < 200; index++) assert.equal(reader.get(map, `k${index}`), index);
});

for (const way of ['throw', 'exit'] as const) {
  test(`under load a thread that ends by ${way} ends the process with a failure, and nothing acknowledged is lost`, async () => {
    const node = new NodeProcess(await testFolder(), { LATTICE_FUSED: 'on' });
    const map = uniqueName('dies');
    await node.start({
      LATTICE_FAULT_INJECTION: 'on',
      LATTICE_FAULT_WORKER_KILL_MS: String(KILL_MS),
      LATTICE_FAULT_SEED: String(seedOf(way)),
    });
    const session = await node.wire();
    let acknowledged = 0;
    try {
      for (let id = 1; ; id += 10) {
        session.sendOps(...Array.from({ length: 10 }, (_, index) => put(String(id + index), map, `k${id + index}`, id + index)));
        acknowledged = Number(opAck(payloadOf(await session.next('OP_ACK'))).lastId);
      }
    } catch (error) {
      assert.match(String(error), /closed before OP_ACK/);
    }
    const { code } = await node.ended();
    assert.notEqual(code, 0);
    assert.ok(acknowledged > 0);

    await node.start();
    const reader = new TopGunClient({ port: node.port, nodeId: 'b001' });
    reader.lww(map);
    await reader.connected();
    await reader.resynced();
    for (let id = 1; id <= acknowledged; id++) assert.equal(reader.get(map, `k${id}`), id);
    reader.close();
    await node.kill('SIGTERM');
    assert.equal((await node.ended()).code, 0);
  });
}

const KILL_MS = 1000;

/** Of faults by which the thread of the first worker ends so, neither at once nor late. */
function seedOf(way: DeathWay): number {
  const config = testConfig({ faultInjection: true, faultWorkerKillMs: KILL_MS });
  for (let faultSeed = 0; ; faultSeed++) {
    const faults = faultsOf({ ...config, faultSeed }, 'worker 0', 0, () => {});
    const afterMs = faults?.killAfterMs() ?? 0;
    if (afterMs > 300 && afterMs < 800 && faults?.deathWay() === way) return faultSeed;
  }
}
