/** PN counters over real sockets: several gateways and workers, restarts, kill -9, the death of a worker. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, describe } from 'node:test';
import { PnCounter, readCounterState } from '../engine/crdt/pn-counter.ts';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import { packageFolder } from '../workers/package-folder.ts';
import { testFolder } from '../workers/postgres/test-postgres.ts';
import type { Message } from './testing/client-codec.ts';
import { payloadOf } from './testing/client-fields.ts';
import { endProcesses, NodeProcess } from './testing/node-process.ts';
import { SharedNode } from './testing/shared-node.ts';
import { eventually, metricOf, startGrid, testStorage } from './testing/test-grid.ts';
import { uniqueName } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

after(endProcesses);

/** A counter handle as the real client has it: sends its whole state, joins what it hears. */
class Handle {
  readonly counter = new PnCounter();
  /** What the server has said. */
  readonly heard = new PnCounter();
  readonly session: WireSession;
  readonly name: string;
  readonly node: string;

  constructor(session: WireSession, name: string, node: string) {
    this.session = session;
    this.name = name;
    this.node = node;
  }

  async request(): Promise<void> {
    this.session.send({ type: 'COUNTER_REQUEST', payload: { name: this.name } });
    this.#join(await this.session.next('COUNTER_RESPONSE', (message) => payloadOf(message).name === this.name));
  }

  add(amount: number): void {
    this.counter.add(this.node, amount);
    const { positive, negative } = this.counter.toWire();
    this.session.send({
      type: 'COUNTER_SYNC',
      payload: { name: this.name, state: { positive: { ...positive }, negative: { ...negative } } },
    });
  }

  /** Joins what comes, and resolves when that is the value by what the server says. */
  async reaches(value: number): Promise<void> {
    while (this.heard.value !== value) {
      this.#join(await this.session.next('COUNTER_UPDATE', (message) => payloadOf(message).name === this.name));
    }
  }

  #join(message: Message): void {
    const state = readCounterState(payloadOf(message).state);
    assert.ok(state !== null);
    this.counter.merge(state);
    this.heard.merge(state);
  }
}

/** A connection whose device has said hello. */
async function device(session: WireSession, deviceToken?: string): Promise<string> {
  session.send({ type: 'DEVICE_HELLO', ...(deviceToken === undefined ? {} : { deviceToken }) });
  return String((await session.next('DEVICE_ACK')).deviceToken ?? deviceToken);
}

describe('counters', () => {
  const node = new SharedNode({ gatewayThreads: 2 });

  test('converge between clients of several gateways and workers', async () => {
    const names = Array.from({ length: 6 }, () => uniqueName('count'));
    const sessions = await Promise.all(Array.from({ length: 6 }, () => node.wire()));
    for (const session of sessions) await device(session);
    for (const name of names) {
      const handles = sessions.map((session, index) => new Handle(session, name, `node-${index}`));
      await Promise.all(handles.map((handle) => handle.request()));
      for (let round = 0; round < 20; round++) {
        for (const [index, handle] of handles.entries()) handle.add(round % 3 === 0 ? -0.25 : index);
      }
      // Each node: 13 rounds that add its index, 7 that subtract a quarter.
      await Promise.all(handles.map((handle) => handle.reaches(13 * 15 - 6 * 7 * 0.25)));
    }
  });

  test('the golden messages are served: a state in the other spelling comes back in both', async () => {
    const session = await node.wire();
    const fixture = (type: string): Buffer => readFileSync(join(packageFolder(), 'engine/protocol/fixtures', `${type}.msgpack`));
    session.socket.send(fixture('COUNTER_REQUEST'));
    assert.deepEqual(payloadOf(await session.next('COUNTER_RESPONSE')).name, 'page-views');
    session.socket.send(fixture('COUNTER_SYNC'));
    const { name, state } = payloadOf(await session.next('COUNTER_UPDATE'));
    assert.equal(name, 'page-views');
    assert.deepEqual(JSON.parse(JSON.stringify(state)), { positive: { 'node-1': 10 }, negative: {}, p: { 'node-1': 10 }, n: {} });
  });

  test('a device does not write the node of another one, also after it reconnects', async () => {
    const name = uniqueName('owned');
    const [ann, bob] = [await node.wire(), await node.wire()];
    const token = await device(ann);
    await device(bob);
    const own = new Handle(ann, name, 'ann');
    own.add(5);
    await own.reaches(5);
    bob.send({ type: 'COUNTER_SYNC', payload: { name, state: { positive: { ann: 500, bob: 1 }, negative: { ann: 9 } } } });
    const { state } = payloadOf(await bob.next('COUNTER_UPDATE'));
    assert.deepEqual(JSON.parse(JSON.stringify(state)).p, { ann: 5, bob: 1 });
    assert.match(String(payloadOf(await bob.next('ERROR')).message), /^FORBIDDEN: 1 nodes/);
    await ann.close();
    const again = await node.wire();
    assert.equal(await device(again, token), token);
    const handle = new Handle(again, name, 'ann');
    await handle.request();
    handle.add(1);
    await handle.reaches(7);
    await eventually(async () => assert.ok((await metricOf(node.port, 'lattice_counter_refusals_total')) >= 1));
  });

  test('come to Postgres, where people can read them', async () => {
    const name = uniqueName('stored');
    const session = await node.wire();
    const handle = new Handle(session, name, 'n');
    handle.add(2.5);
    handle.add(-1);
    await handle.reaches(1.5);
    await eventually(async () => {
      const rows = await node.storage.rows(`select value, nodes::int from lattice.counter_value where name = '${name}'`);
      assert.deepEqual(
        rows.map((row) => ({ ...row })),
        [{ value: 1.5, nodes: 1 }],
      );
    });
  });
});

test('a counter survives kill -9 by the log, another number of workers, and a stop', { timeout: 120_000 }, async () => {
  const node = new NodeProcess(await testFolder());
  const names = Array.from({ length: 20 }, (_, index) => `kept-${index}`);
  await node.start();
  const first = await node.wire();
  const token = await device(first);
  for (const name of names) {
    const handle = new Handle(first, name, 'n');
    handle.add(10.5);
    handle.add(-2);
    await handle.reaches(8.5);
  }
  await node.kill();

  await node.start({ LATTICE_WORKER_THREADS: '3' });
  const second = await node.wire();
  assert.equal(await device(second, token), token);
  for (const name of names) {
    const handle = new Handle(second, name, 'n');
    await handle.request();
    assert.equal(handle.counter.value, 8.5, name);
    handle.add(1);
    await handle.reaches(9.5);
  }
  const stranger = await node.wire();
  stranger.send({ type: 'COUNTER_SYNC', payload: { name: 'kept-0', state: { positive: { n: 1e6 } } } });
  assert.match(String(payloadOf(await stranger.next('ERROR')).message), /^FORBIDDEN/, 'whose the node is survives, too');
  await node.kill('SIGTERM');

  await node.start({ LATTICE_WORKER_THREADS: '1' });
  const third = await node.wire();
  for (const name of names) {
    const handle = new Handle(third, name, 'n');
    await handle.request();
    assert.equal(handle.counter.value, 9.5, name);
  }
  await node.kill('SIGTERM');
});

for (const env of [{ LATTICE_STORE: 'write-through' }, { LATTICE_WAL_FSYNC: 'always' }]) {
  test(`what a client is told of a counter survives kill -9 with ${JSON.stringify(env)}`, { timeout: 120_000 }, async () => {
    const node = new NodeProcess(await testFolder(), env);
    await node.start();
    const session = await node.wire();
    const handle = new Handle(session, 'kept', 'n');
    for (const [amount, value] of [
      [3, 3],
      [-1, 2],
      [0.5, 2.5],
    ] as const) {
      handle.add(amount);
      await handle.reaches(value);
    }
    await node.kill();
    await node.start();
    const back = new Handle(await node.wire(), 'kept', 'm');
    await back.request();
    assert.equal(back.counter.value, 2.5);
    await node.kill('SIGTERM');
  });
}

test('a worker that dies loses no sum, and who watches goes on hearing', { timeout: 60_000 }, async (t) => {
  const storage = await testStorage();
  const node = await startGrid({
    ...storage.config,
    store: 'write-behind',
    flushDelayMs: 60_000,
    workerThreads: 2,
    logLevel: 'silent',
  });
  t.after(async () => {
    await node.grid.stop();
    await storage.close();
    assert.deepEqual(node.fatal, []);
  });
  const [ann, bob] = [await WireSession.open({ port: node.port }), await WireSession.open({ port: node.port })];
  const names = Array.from({ length: 8 }, (_, index) => `deadly-${index}`);
  const handles = names.map((name) => [new Handle(ann, name, 'ann'), new Handle(bob, name, 'bob')] as const);
  for (const [mine, other] of handles) {
    await other.request();
    mine.add(1);
    await mine.reaches(1);
    await other.reaches(1);
  }
  for (const worker of [0, 1]) {
    const { threadCounters, gateways } = node.grid.memory;
    const row = new CounterRow(threadCounters, THREAD_COUNTERS, gateways + worker);
    const bornAtMs = row.get('startedAtMs');
    assert.equal(node.grid.crashWorker(worker, 'throw'), true);
    await eventually(() => assert.notEqual(row.get('startedAtMs'), bornAtMs));
    await eventually(async () => assert.equal((await fetch(`http://127.0.0.1:${node.port}/health/ready`)).status, 200));
  }
  for (const [mine, other] of handles) {
    mine.add(2);
    await mine.reaches(3);
    await other.reaches(3);
  }
  for (const session of [ann, bob]) session.socket.terminate();
});
