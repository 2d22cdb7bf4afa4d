/** A worker thread dies in each of the ways in which threads die: it is replaced, and the other partitions do not notice. */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { DEATH_WAYS } from '../engine/faults.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import { GridState } from '../workers/grid-state.ts';
import { opAck, payloadOf } from './testing/client-fields.ts';
import { eventually, healthOf, startGrid, type TestGrid, testStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { put } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const HEARTBEAT_STILL_MS = 1000;
const WORKER_HEAP_MB = 96;

async function deadlyGrid(t: TestContext): Promise<TestGrid> {
  const storage = await testStorage();
  const node = await startGrid(
    // Postgres gets nothing for a while: what the successor has is from the log.
    { ...storage.config, store: 'write-behind', flushDelayMs: 60_000, workerThreads: 2, logLevel: 'silent' },
    { heartbeatStillMs: HEARTBEAT_STILL_MS, workerHeapMb: WORKER_HEAP_MB },
  );
  t.after(async () => {
    await node.grid.stop();
    await storage.close();
    assert.deepEqual(node.fatal, []);
  });
  return node;
}

/** A key whose partition belongs to the worker. */
function keyOf(node: TestGrid, worker: number): string {
  const table = new PartitionTable(node.grid.memory.table);
  for (let index = 0; ; index++) {
    const key = `key-${index}`;
    if (table.ownerOf(partitionOf(fnv1a(key))) === worker) return key;
  }
}

async function stateOf(node: TestGrid, worker: number): Promise<string> {
  const { workers } = await healthOf(node.port);
  assert.ok(Array.isArray(workers));
  return String(workers[worker].state);
}

/** When the worker's thread began; another time means another thread. */
function startedAtMs(node: TestGrid, worker: number): number {
  const { threadCounters, gateways } = node.grid.memory;
  return new CounterRow(threadCounters, THREAD_COUNTERS, gateways + worker).get('startedAtMs');
}

test('a stop while a worker is down says that something may be missing: the exit status is not 0', async (t) => {
  const storage = await testStorage();
  t.after(() => storage.close());
  const node = await startGrid({ ...storage.config, store: 'write-behind', workerThreads: 2, logLevel: 'silent' });
  const state = new GridState(node.grid.memory.state);
  assert.equal(node.grid.crashWorker(0), true);
  while (state.workerState(0) !== 'down') await new Promise((resolve) => setImmediate(resolve));
  await assert.rejects(node.grid.stop(), /worker 0 died before the stop/);
});

test('requests by HTTP wait while their worker is replaced, and are answered', { timeout: 60_000 }, async (t) => {
  const node = await deadlyGrid(t);
  const state = new GridState(node.grid.memory.state);
  const key = keyOf(node, 0);
  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${node.port}/maps/${path}`, { headers: { 'content-type': 'application/json' }, ...init });
  assert.equal((await ask(`m/${key}`, { method: 'PUT', body: '1' })).status, 201);
  assert.equal(node.grid.crashWorker(0), true);
  while (state.workerState(0) !== 'down') await new Promise((resolve) => setImmediate(resolve));
  const [put, got, page] = await Promise.all([ask(`m/${key}`, { method: 'PUT', body: '2' }), ask(`m/${key}`), ask('m')]);
  assert.deepEqual([put.status, got.status, page.status], [204, 200, 200]);
  assert.equal(await (await ask(`m/${key}`)).json(), 2);
  await Promise.all([put.text(), got.text(), page.text()]);
});

for (const way of DEATH_WAYS) {
  test(`a worker that ends by ${way} is replaced, and the other one serves meanwhile`, { timeout: 60_000 }, async (t) => {
    const node = await deadlyGrid(t);
    const ann = new TopGunClient({ port: node.port, nodeId: 'a0d0', reconnectDelayMs: 20 });
    t.after(() => ann.close());
    ann.lww('m');
    await ann.connected();
    for (let index = 0; index < 100; index++) ann.set('m', `k${index}`, index);
    await ann.settled();

    const calm = await WireSession.open({ port: node.port });
    t.after(() => calm.socket.terminate());
    const [lost, kept] = [keyOf(node, 0), keyOf(node, 1)];
    const bornAtMs = startedAtMs(node, 0);
    assert.equal(node.grid.crashWorker(0, way), true);
    let id = 0;
    while (startedAtMs(node, 0) === bornAtMs || (await stateOf(node, 0)) !== 'ready') {
      id += 1;
      calm.sendOps(put(String(id), 'm', kept, id));
      assert.equal(opAck(payloadOf(await calm.next('OP_ACK'))).lastId, String(id), 'the other worker answers all along');
    }
    assert.ok(id > 0);
    assert.equal(await stateOf(node, 1), 'ready');
    calm.sendOps(put(String(id + 1), 'm', lost, 'back'));
    assert.equal(opAck(payloadOf(await calm.next('OP_ACK'))).lastId, String(id + 1));
    await eventually(async () => {
      await ann.resynced();
      assert.equal(ann.sync.serverRoots.get('m'), ann.root('m'), 'its records are back');
    });
    for (let index = 0; index < 100; index++)
      if (![lost, kept].includes(`k${index}`)) assert.equal(ann.get('m', `k${index}`), index);
    t.diagnostic(`${id} writes were acknowledged meanwhile`);
  });
}
