/** The journal over real sockets: order over gateways and workers, replays, restarts, the death of a worker. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, describe } from 'node:test';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import { packageFolder } from '../workers/package-folder.ts';
import { testFolder } from '../workers/postgres/test-postgres.ts';
import { isMessage, type Message } from './testing/client-codec.ts';
import { payloadOf } from './testing/client-fields.ts';
import { endProcesses, NodeProcess } from './testing/node-process.ts';
import { ackOf, SharedNode } from './testing/shared-node.ts';
import { eventually, metricOf, startGrid, testStorage } from './testing/test-grid.ts';
import { put, uniqueName } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

after(endProcesses);

interface Event {
  readonly sequence: bigint;
  readonly type: unknown;
  readonly key: unknown;
  readonly value: unknown;
  readonly previousValue: unknown;
}

function eventIn(event: unknown): Event {
  assert.ok(isMessage(event));
  const { sequence, type, key, value, previousValue } = event;
  assert.equal(typeof sequence, 'string');
  return { sequence: BigInt(String(sequence)), type, key, value, previousValue };
}

async function nextEvents(session: WireSession, count: number): Promise<Event[]> {
  const events: Event[] = [];
  while (events.length < count) events.push(eventIn((await session.next('JOURNAL_EVENT')).event));
  return events;
}

async function read(session: WireSession, fromSequence: string, rest: Message = {}): Promise<Message> {
  const requestId = uniqueName('read');
  session.send({ type: 'JOURNAL_READ', requestId, fromSequence, ...rest });
  return session.next('JOURNAL_READ_RESPONSE', (message) => message.requestId === requestId);
}

function eventsOf(answer: Message): Event[] {
  assert.ok(Array.isArray(answer.events));
  return answer.events.map(eventIn);
}

function assertRising(events: readonly Event[]): void {
  for (const [index, { sequence }] of events.entries()) {
    if (index > 0) assert.ok(sequence > (events[index - 1]?.sequence ?? 0n), 'sequences rise');
  }
}

describe('the journal', () => {
  const node = new SharedNode({ gatewayThreads: 2, workerThreads: 3, journalEventsMax: 100_000 });

  test('brings all changes of concurrent writers to subscribers of every gateway, in one order', {
    timeout: 60_000,
  }, async () => {
    const map = uniqueName('order');
    const readers = await Promise.all(Array.from({ length: 4 }, () => node.wire('/ws?events=interest')));
    for (const reader of readers) {
      reader.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 'all', mapName: map });
      await reader.barrier();
    }
    const writers = await Promise.all(Array.from({ length: 4 }, () => node.wire('/ws?events=interest')));
    const ROUNDS = 40;
    await Promise.all(
      writers.map(async (writer, index) => {
        for (let round = 0; round < ROUNDS; round++) {
          await ackOf(writer, ...[0, 1, 2, 3, 4].map((key) => put(`${round * 5 + key + 1}`, map, `w${index}k${key}`, round)));
        }
      }),
    );
    const late = await node.wire('/ws?events=interest');
    late.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 'late', mapName: map, fromSequence: '0' });
    const total = writers.length * ROUNDS * 5;
    const lists = await Promise.all([...readers, late].map((reader) => nextEvents(reader, total)));
    for (const list of lists) {
      assertRising(list);
      assert.deepEqual(list, lists[0]);
      const versions = new Map<unknown, unknown>();
      for (const { key, value, previousValue, type } of list) {
        assert.equal(previousValue, versions.get(key), 'what it was is what it became before');
        assert.equal(type, versions.has(key) ? 'UPDATE' : 'PUT');
        versions.set(key, value);
      }
      assert.equal(versions.size, 20);
    }
    const answer = await read(late, '0', { mapName: map, limit: 1000 });
    assert.deepEqual(eventsOf(answer), lists[0]?.slice(0, 1000));
    assert.ok((await metricOf(node.port, 'lattice_journal_recorded_total')) >= total);
  });

  test('has what a client was told is written: a read behind an acknowledgement finds it', async () => {
    const map = uniqueName('acked');
    const [writer, reader] = [await node.wire(), await node.wire()];
    await read(reader, '0', { mapName: map });
    for (let round = 1; round <= 30; round++) {
      await ackOf(writer, put(String(round), map, `k${round}`, round));
      assert.equal(eventsOf(await read(reader, '0', { mapName: map })).length, round);
    }
  });

  test('takes the golden subscription, whose sequence is none: it means from now on', async () => {
    const [session, writer] = [await node.wire(), await node.wire()];
    session.socket.send(readFileSync(join(packageFolder(), 'engine/protocol/fixtures/JOURNAL_SUBSCRIBE.msgpack')));
    await session.barrier();
    await ackOf(writer, put('1', 'users', 'k', 1), put('2', 'users', 'k', 2), put('3', 'other', 'k', 2));
    await ackOf(writer, {
      mapName: 'users',
      opType: 'REMOVE',
      key: 'k',
      record: { value: null, timestamp: { millis: Date.now() + 5, counter: 0, nodeId: 'z' } },
      id: '4',
    });
    const [first, second] = await nextEvents(session, 2);
    assert.deepEqual([first?.type, second?.type, second?.previousValue], ['PUT', 'DELETE', 2]);
  });

  test('stops when the client says so, and when it goes', async () => {
    const map = uniqueName('ended');
    const [session, writer] = [await node.wire(), await node.wire()];
    session.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 's', mapName: map });
    await session.barrier();
    await ackOf(writer, put('1', map, 'k', 1));
    await nextEvents(session, 1);
    session.send({ type: 'JOURNAL_UNSUBSCRIBE', subscriptionId: 's' });
    await session.barrier();
    await ackOf(writer, put('2', map, 'k', 2));
    await session.barrier();
    assert.deepEqual(session.take('JOURNAL_EVENT'), []);
    const subscriptions = (): Promise<number> => metricOf(node.port, 'lattice_journal_subscriptions');
    for (let index = 0; index < 50; index++) session.send({ type: 'JOURNAL_SUBSCRIBE', requestId: `t${index}` });
    await session.barrier();
    await eventually(async () => assert.ok((await subscriptions()) >= 50));
    await session.close();
    await eventually(async () => assert.ok((await subscriptions()) < 50, 'those of the other tests are few'));
  });
});

test('sequences go on behind those of before a kill -9, and what was before is a gap that is told', {
  timeout: 120_000,
}, async () => {
  const node = new NodeProcess(await testFolder());
  await node.start({ LATTICE_JOURNAL: 'on' });
  const first = await node.wire();
  await ackOf(first, put('1', 'm', 'a', 1), put('2', 'm', 'b', 2));
  const before = eventsOf(await read(first, '0'));
  assert.equal(before.length, 2);
  await node.kill();
  await node.start({ LATTICE_JOURNAL: 'on' });
  const second = await node.wire();
  const last = before.at(-1)?.sequence ?? 0n;
  second.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 's', fromSequence: String(last + 1n) });
  const gap = payloadOf(await second.next('ERROR'));
  assert.match(JSON.stringify(gap), /JOURNAL_GAP/);
  await ackOf(second, put('3', 'm', 'a', 3));
  const [event] = await nextEvents(second, 1);
  assert.ok((event?.sequence ?? 0n) > last);
  assert.deepEqual([event?.type, event?.previousValue], ['UPDATE', 1], 'the record itself survived');
  const answer = await read(second, String(last + 1n));
  assert.ok(isMessage(answer.gap));
  assert.equal(eventsOf(answer).length, 1);
  await node.kill('SIGTERM');
});

test('a worker that dies takes its history along, which is told; subscribers go on in order', { timeout: 60_000 }, async (t) => {
  const storage = await testStorage();
  const node = await startGrid({
    ...storage.config,
    store: 'write-behind',
    flushDelayMs: 60_000,
    workerThreads: 2,
    journal: 'on',
    logLevel: 'silent',
  });
  t.after(async () => {
    await node.grid.stop();
    await storage.close();
    assert.deepEqual(node.fatal, []);
  });
  const [writer, reader] = [await WireSession.open({ port: node.port }), await WireSession.open({ port: node.port })];
  t.after(() => {
    for (const session of [writer, reader]) session.socket.terminate();
  });
  reader.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 's' });
  await reader.barrier();
  await ackOf(writer, ...Array.from({ length: 20 }, (_, index) => put(String(index + 1), 'm', `k${index}`, 1)));
  const before = await nextEvents(reader, 20);
  const row = new CounterRow(node.grid.memory.threadCounters, THREAD_COUNTERS, node.grid.memory.gateways);
  const bornAtMs = row.get('startedAtMs');
  assert.equal(node.grid.crashWorker(0, 'throw'), true);
  await eventually(() => assert.notEqual(row.get('startedAtMs'), bornAtMs));
  await eventually(async () => assert.equal((await fetch(`http://127.0.0.1:${node.port}/health/ready`)).status, 200));
  await ackOf(writer, ...Array.from({ length: 20 }, (_, index) => put(String(index + 21), 'm', `k${index}`, 2)));
  const behind = await nextEvents(reader, 20);
  assertRising([...before, ...behind]);
  assert.deepEqual(new Set(behind.map(({ type }) => type)), new Set(['UPDATE']));
  assert.deepEqual(reader.take('ERROR'), [], 'the subscriber missed nothing');
  const answer = await read(writer, '0', { limit: 1000 });
  assert.ok(isMessage(answer.gap), 'the events of the dead thread are gone');
  const kept = eventsOf(answer);
  assert.ok(kept.length < 40 && kept.length >= 20);
});
