/** Faults injected into a whole grid: rings that lose and delay, a Postgres that fails, threads that die at random. */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../engine/config.ts';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import { opAck, payloadOf } from './testing/client-fields.ts';
import { eventually, startGrid, type TestGrid, testStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { put } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

/** Threads that must have died before the test of it ends. */
const DEATHS = 6;

const ON: Partial<Config> = { faultInjection: true, logLevel: 'silent' };

/** What began last ends first: a grid before the database that it flushes to. */
function endings(t: TestContext): (end: () => Promise<void>) => void {
  const ends: (() => Promise<void>)[] = [];
  t.after(async () => {
    for (const end of ends.reverse()) await end();
  });
  return (end) => void ends.push(end);
}

async function faultyGrid(t: TestContext, overrides: Partial<Config>): Promise<TestGrid> {
  const node = await startGrid({ ...ON, ...overrides });
  t.after(async () => {
    await node.grid.stop();
    assert.deepEqual(node.fatal, []);
  });
  return node;
}

function newClient(t: TestContext, port: number, nodeId: string, ...maps: readonly string[]): TopGunClient {
  const client = new TopGunClient({ port, nodeId, reconnectDelayMs: 20 });
  for (const map of maps) client.lww(map);
  t.after(() => client.close());
  return client.online();
}

/** As `settled`, by a client that is tired of waiting for an answer that was lost, and connects anew. */
async function settledAfterAll(client: TopGunClient): Promise<void> {
  for (let attempt = 0; attempt < 30; attempt++) {
    try {
      return await client.settled(1000);
    } catch {
      client.drop();
    }
  }
  await client.settled();
}

/** Resolves when all hold the same in both maps. */
async function converged(clients: readonly TopGunClient[], map: string, or: string): Promise<void> {
  await eventually(async () => {
    for (const client of clients) {
      client.sync.beginAll();
      await settledAfterAll(client);
    }
    for (const client of clients) {
      assert.equal(client.root(map), clients[0]?.root(map));
      assert.equal(client.root(or), clients[0]?.root(or));
    }
  }, 40_000);
}

test('writes, questions and acknowledgements that are lost in rings are told at the deadline and come again: nothing is lost', async (t) => {
  const later = endings(t);
  const storage = await testStorage();
  later(() => storage.close());
  const node = await startGrid({
    ...ON,
    ...storage.config,
    store: 'write-behind',
    workerThreads: 2,
    gatewayThreads: 2,
    opTimeoutMs: 300,
    faultRingDropPermille: 50,
  });
  later(() => node.grid.stop());
  const clients = ['a0f0', 'b0f0', 'c0f0'].map((nodeId) => newClient(t, node.port, nodeId, 'lossy'));
  for (const client of clients) {
    client.or('lossy-or');
    await client.connected();
  }
  const cutOff = (): number => clients.flatMap(({ closes }) => closes).filter(({ code }) => code === 1013).length;
  for (let round = 0; round < 60 || cutOff() === 0; round++) {
    for (const client of clients) {
      if (client.log.size > 50) continue;
      client.set('lossy', `${client.nodeId}-${round}`, { round });
      client.set('lossy', `shared-${round % 7}`, round);
      if (round % 5 === 0) client.remove('lossy', `${client.nodeId}-${round}`);
      if (round % 3 === 0) client.add('lossy-or', `k${round % 4}`, round);
    }
    await delay(5);
  }
  for (const client of clients) await eventually(() => assert.equal(client.log.size, 0, 'all is acknowledged'), 30_000);
  t.diagnostic(`${cutOff()} times a client was told that an op is late`);
  for (const client of clients) client.offline();
  await node.grid.stop();
  assert.deepEqual(node.fatal, []);

  const calm = await startGrid({ ...storage.config, store: 'write-behind' });
  later(() => calm.grid.stop());
  const fresh = newClient(t, calm.port, 'f0f0', 'lossy');
  fresh.or('lossy-or');
  await fresh.settled();
  const roots = [fresh.root('lossy'), fresh.root('lossy-or')];
  for (const client of clients) {
    client.online(calm.port);
    await client.settled();
    assert.deepEqual([client.root('lossy'), client.root('lossy-or')], roots);
  }
  await fresh.resynced();
  assert.deepEqual([fresh.root('lossy'), fresh.root('lossy-or')], roots, 'they brought nothing that was not there');
});

test('an op that is always lost is never acknowledged: the client is told at the deadline and cut off', async (t) => {
  const node = await faultyGrid(t, { opTimeoutMs: 200, faultRingDropPermille: 1000 });
  const session = await WireSession.open({ port: node.port });
  t.after(() => session.socket.terminate());
  session.sendOps(put('1', 'gone', 'k', 1));
  assert.equal(payloadOf(await session.next('ERROR')).code, 504);
  await session.closed;
  assert.deepEqual(session.take('OP_ACK'), []);
});

test('rings that delay shift the answers and not their order', async (t) => {
  const node = await faultyGrid(t, { workerThreads: 2, faultRingDelayMs: 15 });
  const [writer, reader] = [await WireSession.open({ port: node.port }), await WireSession.open({ port: node.port })];
  t.after(() => {
    for (const session of [writer, reader]) session.socket.terminate();
  });
  const writes = 60;
  for (let id = 1; id <= writes; id++) {
    writer.sendOps(put(String(id), 'late', 'k', id));
    if (id % 10 === 0) await delay(10);
  }
  const lastIds: number[] = [];
  while (lastIds.at(-1) !== writes) lastIds.push(Number(opAck(payloadOf(await writer.next('OP_ACK'))).lastId));
  assert.deepEqual(
    lastIds,
    [...lastIds].sort((left, right) => left - right),
  );
  const values: unknown[] = [];
  while (values.at(-1) !== writes) {
    await eventually(() => assert.ok(reader.messages.length > 0));
    for (const message of reader.messages.splice(0)) values.push(...valuesOf(message));
  }
  assert.deepEqual(
    values,
    Array.from({ length: writes }, (_, index) => index + 1),
  );
});

test('a Postgres that is slow and fails half of the commits gets everything in the end', async (t) => {
  const later = endings(t);
  const storage = await testStorage();
  later(() => storage.close());
  const faults = { faultPostgresErrorPermille: 500, faultPostgresDelayMs: 30 };
  const node = await startGrid({ ...ON, ...storage.config, ...faults, store: 'write-behind', shutdownStorageMs: 60_000 });
  later(() => node.grid.stop());
  const ann = newClient(t, node.port, 'a0f1', 'bad');
  for (let index = 0; index < 300; index++) ann.set('bad', `k${index % 100}`, index);
  await ann.settled();
  ann.offline();
  await node.grid.stop();
  assert.deepEqual(node.fatal, []);
  const calm = await startGrid({ ...storage.config, store: 'write-behind' });
  later(() => calm.grid.stop());
  const fresh = newClient(t, calm.port, 'f0f1', 'bad');
  await fresh.settled();
  assert.equal(fresh.root('bad'), ann.root('bad'));
});

test('threads that die at random, in every way, are replaced again and again while clients write', async (t) => {
  const later = endings(t);
  const storage = await testStorage();
  later(() => storage.close());
  const overrides: Partial<Config> = { ...ON, ...storage.config, store: 'write-behind', workerThreads: 2, opTimeoutMs: 1000 };
  const node = await startGrid({ ...overrides, faultWorkerKillMs: 700 }, { heartbeatStillMs: 1000, workerHeapMb: 128 });
  // A thread that died while it stopped is reported; what it had not flushed is in the log.
  const stop = (): Promise<void> => node.grid.stop().catch(() => {});
  later(stop);
  const clients = ['a0f2', 'b0f2'].map((nodeId) => newClient(t, node.port, nodeId, 'deadly'));
  for (const client of clients) client.or('deadly-or');
  const births = new Set<string>();
  for (let round = 0; births.size < 2 + DEATHS; round++) {
    for (const worker of [0, 1]) births.add(`${worker} ${startedAtMs(node, worker)}`);
    for (const client of clients) if (client.log.size < 30) client.set('deadly', `${client.nodeId}-${round % 200}`, round);
    await delay(5);
  }
  for (const client of clients) await settledAfterAll(client);
  await converged(clients, 'deadly', 'deadly-or');
  const root = clients[0]?.root('deadly');
  for (const client of clients) client.offline();
  assert.deepEqual(node.fatal, []);
  await stop();
  const calm = await startGrid({ ...storage.config, store: 'write-behind' });
  later(() => calm.grid.stop());
  const fresh = newClient(t, calm.port, 'f0f2', 'deadly');
  await fresh.settled();
  assert.equal(fresh.root('deadly'), root, 'everything acknowledged is there');
});

test('a disk that is full now and then, and slow, makes clients come again: all that was acknowledged is in the log', async (t) => {
  const later = endings(t);
  const storage = await testStorage();
  later(() => storage.close());
  const faults = { faultWriteErrorPermille: 100, faultWriteDelayMs: 3, faultSyncDelayMs: 20 };
  const overrides: Partial<Config> = { ...storage.config, store: 'write-behind', workerThreads: 2, shutdownStorageMs: 300 };
  const node = await startGrid({ ...ON, ...overrides, ...faults, logLevel: 'silent' });
  later(() => node.grid.stop().catch(() => {}));
  const ann = newClient(t, node.port, 'a0f3', 'full');
  await ann.connected();
  storage.proxy.cut(); // from here on nothing reaches Postgres
  const cutOff = (): number => ann.closes.filter(({ code }) => code === 1013).length;
  for (let round = 0; round < 100 || cutOff() === 0; round++) {
    ann.set('full', `k${round % 60}`, { round });
    await delay(5);
  }
  await eventually(() => assert.equal(ann.log.size, 0, 'all is acknowledged'), 30_000);
  ann.offline();
  await assert.rejects(node.grid.stop(), 'something could not be flushed');
  storage.proxy.restore();
  const calm = await startGrid({ ...overrides, shutdownStorageMs: 30_000 });
  later(() => calm.grid.stop());
  const fresh = newClient(t, calm.port, 'f0f3', 'full');
  await fresh.settled();
  assert.equal(fresh.root('full'), ann.root('full'));
});

test('when a sync of the log fails nothing is acknowledged as persisted or taken in any more, and reads go on', async (t) => {
  const later = endings(t);
  const storage = await testStorage();
  later(() => storage.close());
  const overrides: Partial<Config> = { ...storage.config, store: 'write-behind' };
  const node = await startGrid({ ...ON, ...overrides, faultSyncErrorPermille: 1000 });
  later(() => node.grid.stop().catch(() => {}));
  const session = await WireSession.open({ port: node.port });
  t.after(() => session.socket.terminate());
  session.send({ type: 'OP_BATCH', payload: { ops: [put('1', 'io', 'k', 1)], writeConcern: 'PERSISTED' } });
  const { results } = opAck(payloadOf(await session.next('OP_ACK')));
  assert.equal(results.find(({ opId }) => opId === '1')?.success, false);
  const second = await WireSession.open({ port: node.port });
  t.after(() => second.socket.terminate());
  second.sendOps(put('2', 'io', 'k', 2));
  assert.match(String(payloadOf(await second.next('ERROR')).message), /READ_ONLY/);
  const reader = newClient(t, node.port, 'a0f4', 'io');
  await reader.settled();
  assert.equal(reader.get('io', 'k'), 1);

  const before = startedAtMs(node, 0);
  assert.ok(node.grid.crashWorker(0));
  await eventually(() => assert.notEqual(startedAtMs(node, 0), before));
  const third = await WireSession.open({ port: node.port });
  t.after(() => third.socket.terminate());
  third.sendOps(put('3', 'io', 'k', 3));
  assert.match(String(payloadOf(await third.next('ERROR')).message), /READ_ONLY/, 'nor by a worker that takes over its files');
});

/** When the worker's thread began; another time means another thread. */
function startedAtMs(node: TestGrid, worker: number): number {
  const { threadCounters, gateways } = node.grid.memory;
  return new CounterRow(threadCounters, THREAD_COUNTERS, gateways + worker).get('startedAtMs');
}

/** Values of the events in a message, in their order. */
function valuesOf(message: Readonly<Record<string, unknown>>): unknown[] {
  if (message.type === 'SERVER_BATCH_EVENT') {
    const { events } = payloadOf(message);
    assert.ok(Array.isArray(events));
    return events.map(({ record }: { record: { value: unknown } }) => record.value);
  }
  if (message.type !== 'SERVER_EVENT') return [];
  const { record } = payloadOf(message);
  assert.ok(typeof record === 'object' && record !== null && 'value' in record);
  return [record.value];
}
