/** Several grids in a process, several threads in a grid, and a worker that dies. */
import assert from 'node:assert/strict';
import test, { describe, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { opAck, payloadOf } from './testing/client-fields.ts';
import { eventually, healthOf, metricOf, startGrid, type TestGrid, testStorage, type TestStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { put, uniqueName } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

async function connected(t: TestContext, port: number, nodeId: string, ...maps: readonly string[]): Promise<TopGunClient> {
  const client = new TopGunClient({ port, nodeId });
  t.after(() => client.close());
  for (const map of maps) client.lww(map);
  return client.connected();
}

/** A key whose partition belongs to the worker. */
function keyOf(node: TestGrid, worker: number, prefix: string): string {
  const table = new PartitionTable(node.grid.memory.table);
  for (let index = 0; ; index++) {
    const key = `${prefix}-${index}`;
    if (table.ownerOf(partitionOf(fnv1a(key))) === worker) return key;
  }
}

test('two grids in one process do not see each other', async (t) => {
  const [one, two] = await Promise.all([startGrid(), startGrid()]);
  t.after(() => Promise.all([one.grid.stop(), two.grid.stop()]));
  const [ann, bob] = [await connected(t, one.port, 'a001', 'shared'), await connected(t, two.port, 'b001', 'shared')];
  ann.set('shared', 'k', 'of one');
  bob.set('shared', 'k', 'of two');
  await Promise.all([ann.settled(), bob.settled()]);
  await Promise.all([ann.resynced(), bob.resynced()]);
  assert.deepEqual([ann.get('shared', 'k'), bob.get('shared', 'k')], ['of one', 'of two']);
  await one.grid.stop();
  bob.set('shared', 'k', 'still there');
  await bob.settled();
});

describe('two gateways and two workers', () => {
  test('share connections, events, and the leaves of a map', async (t) => {
    const node = await startGrid({ gatewayThreads: 2, workerThreads: 2 });
    t.after(() => node.grid.stop());
    const map = uniqueName('many');
    const clients = await Promise.all(Array.from({ length: 8 }, (_, index) => connected(t, node.port, `c00${index}`, map)));
    await eventually(async () => {
      const lines = (await (await fetch(`http://127.0.0.1:${node.port}/metrics`)).text()).split('\n');
      const perGateway = lines
        .filter((line) => line.startsWith('lattice_connections{'))
        .map((line) => Number(line.split(' ')[1]));
      assert.equal(perGateway.length, 2);
      assert.ok(
        perGateway.every((count) => count >= 2),
        `connections by gateway: ${perGateway}`,
      );
    });
    clients.forEach((client, index) => {
      for (let count = 0; count < 50; count++) client.set(map, `${index}-${count}`, count);
    });
    await Promise.all(clients.map((client) => client.settled()));
    await eventually(() => {
      for (const client of clients) assert.equal(client.lww(map).records.size, 400, 'events cross gateways');
    });
    const fresh = await connected(t, node.port, 'f001', map);
    await fresh.settled();
    assert.equal(fresh.root(map), clients[0]?.root(map), 'sync adds the leaves of both workers');
    await eventually(async () => assert.equal(await metricOf(node.port, 'lattice_records'), 400));
    const interest = await WireSession.open({ port: node.port, path: '/ws?events=interest' });
    t.after(() => interest.socket.terminate());
    interest.send({ type: 'SYNC_INIT', mapName: map, lastSyncTimestamp: 0 });
    await interest.next('SYNC_RESP_ROOT');
    for (const worker of [0, 1]) {
      const key = keyOf(node, worker, 'interest');
      clients[worker]?.set(map, key, 'for all');
      await interest.next('SERVER_EVENT', (message) => payloadOf(message).key === key);
    }
  });
});

test('an op that overtakes an older one is named in the results and not covered by lastId', async (t) => {
  const node = await startGrid({ workerThreads: 2, rateOpsPerSecond: 0 });
  t.after(() => node.grid.stop());
  const session = await WireSession.open({ port: node.port, path: '/ws?events=interest' });
  t.after(() => session.socket.terminate());
  const [slow, quick] = [keyOf(node, 0, 'slow'), keyOf(node, 1, 'quick')];
  let overtook = 0;
  for (let round = 0; round < 10; round++) {
    const first = round * 6000 + 1;
    session.sendOps(...Array.from({ length: 5000 }, (_, index) => put(String(first + index), 'm', slow, index)));
    session.sendOps(put(String(first + 5000), 'm', quick, round));
    const [one, two] = [opAck(payloadOf(await session.next('OP_ACK'))), opAck(payloadOf(await session.next('OP_ACK')))];
    assert.equal(Number(two.lastId), first + 5000, 'in the end all is covered');
    if (one.lastId === String(first + 4999)) continue; // in order this time
    overtook += 1;
    assert.ok(Number(one.lastId) < first, `${one.lastId} covers ops that are not handled`);
    assert.deepEqual(one.results, [{ opId: String(first + 5000), success: true, achievedLevel: 'MEMORY', error: undefined }]);
  }
  t.diagnostic(`${overtook} of 10 overtook`);
});

describe('a worker that crashes', () => {
  async function filled(t: TestContext, map: string): Promise<{ node: TestGrid; storage: TestStorage; ann: TopGunClient }> {
    const storage = await testStorage();
    const node = await startGrid({
      ...storage.config,
      store: 'write-behind',
      gatewayThreads: 2,
      workerThreads: 2,
      flushDelayMs: 5,
    });
    t.after(async () => {
      await node.grid.stop();
      await storage.close();
    });
    const ann = await connected(t, node.port, 'a001', map);
    ann.or(`${map}-or`);
    ann.together(() => {
      for (let index = 0; index < 500; index++) ann.set(map, `k${index}`, { index });
      for (let index = 0; index < 500; index += 5) ann.remove(map, `k${index}`);
      for (let index = 0; index < 100; index++) ann.add(`${map}-or`, `k${index % 10}`, index);
    });
    ann.removeValue(`${map}-or`, 'k3', 3);
    await ann.settled();
    const rows = async (): Promise<number> =>
      (await storage.rows('select from lattice.lww union all select from lattice.or_map')).length;
    await eventually(async () => assert.equal(await rows(), 600, 'all is flushed'));
    return { node, storage, ann };
  }

  async function workerStates(port: number): Promise<string[]> {
    const { workers } = await healthOf(port);
    assert.ok(Array.isArray(workers));
    return workers.map(({ state }) => String(state));
  }

  test('is replaced, with its records back from Postgres, and clients go on', async (t) => {
    const map = uniqueName('crash');
    const { node, ann } = await filled(t, map);
    const bob = await connected(t, node.port, 'b001', map);
    await bob.settled();
    assert.ok(node.grid.crashWorker(0));
    await eventually(async () => assert.equal(await metricOf(node.port, 'lattice_records'), 600));
    await eventually(async () => assert.deepEqual(await workerStates(node.port), ['ready', 'ready']));
    await ann.resynced();
    assert.equal(ann.sync.serverRoots.get(map), ann.root(map));
    assert.equal(ann.sync.serverRoots.get(`${map}-or`), ann.root(`${map}-or`));
    for (const worker of [0, 1]) ann.set(map, keyOf(node, worker, 'after'), worker);
    await ann.settled();
    await eventually(() => assert.equal(bob.root(map), ann.root(map), 'events flow again'));
    assert.deepEqual(node.fatal, []);
  });

  test('under load answers every op, or lets the client send it again', async (t) => {
    const map = uniqueName('load');
    const { node, ann } = await filled(t, map);
    const others = await Promise.all(Array.from({ length: 4 }, (_, index) => connected(t, node.port, `d00${index}`)));
    const crashes = new Map([
      [100, 0],
      [200, 1],
      [300, 0],
    ]);
    for (let round = 0; round < 400; round++) {
      const crash = crashes.get(round);
      if (crash !== undefined) node.grid.crashWorker(crash);
      for (const client of [ann, ...others]) if (client.log.size < 100) client.set(`${map}-${client.nodeId}`, `k${round}`, round);
      await delay(2);
    }
    for (const client of [ann, ...others]) await client.settled();
    await ann.resynced();
    assert.equal(ann.sync.serverRoots.get(map), ann.root(map), 'what was flushed is all there');
    assert.deepEqual(node.fatal, []);
  });

  test('does not disturb the partitions of another worker', async (t) => {
    const map = uniqueName('calm');
    const { node } = await filled(t, map);
    const calm = await WireSession.open({ port: node.port });
    t.after(() => calm.socket.terminate());
    const [lost, kept] = [keyOf(node, 0, 'lost'), keyOf(node, 1, 'kept')];
    // Crashes in a row make the pause before the next start long enough to look into it.
    for (let crash = 0; crash < 6; crash++) {
      await eventually(() => assert.ok(node.grid.crashWorker(0)));
      await delay(5);
    }
    await eventually(async () => assert.equal((await workerStates(node.port))[0], 'down'));
    for (let id = 1; id <= 20; id++) {
      calm.sendOps(put(String(id), map, kept, id));
      assert.equal(opAck(payloadOf(await calm.next('OP_ACK'))).lastId, String(id));
    }
    assert.equal((await workerStates(node.port))[0], 'down', 'all of them were acknowledged while the other was away');
    calm.sendOps(put('21', map, lost, 1));
    assert.equal(opAck(payloadOf(await calm.next('OP_ACK'))).lastId, '21', 'an op for the lost one waits for its successor');
    assert.deepEqual(await workerStates(node.port), ['ready', 'ready']);
  });
});
