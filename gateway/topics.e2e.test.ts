/** Topics over real sockets, between gateway threads, and while a worker dies. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { payloadOf } from './testing/client-fields.ts';
import { eventually, metricOf, startGrid, type TestGrid } from './testing/test-grid.ts';
import { WireSession } from './testing/wire-session.ts';

const MESSAGES = 300;

async function sessionsAt(node: TestGrid, count: number): Promise<WireSession[]> {
  const sessions: WireSession[] = [];
  for (let index = 0; index < count; index++) sessions.push(await WireSession.open({ port: node.port }));
  return sessions;
}

const sub = (session: WireSession, topic: string): void => session.send({ type: 'TOPIC_SUB', payload: { topic } });
const pub = (session: WireSession, topic: string, data: unknown): void =>
  session.send({ type: 'TOPIC_PUB', payload: { topic, data } });
const dataOf = (session: WireSession): unknown[] => session.take('TOPIC_MESSAGE').map((message) => payloadOf(message).data);

/** Resolves when every subscriber is known to the topic's worker: there is no answer that would say so. */
async function allSubscribed(publisher: WireSession, topic: string, subscribers: readonly WireSession[]): Promise<void> {
  const waiting = new Set(subscribers);
  await eventually(() => {
    for (const session of waiting) if (dataOf(session).length > 0) waiting.delete(session);
    if (waiting.size === 0) return;
    pub(publisher, topic, 'are you there?');
    assert.equal(waiting.size, 0);
  });
  await new Promise((resolve) => setTimeout(resolve, 100)); // probes on their way
  for (const session of subscribers) dataOf(session);
}

test('topics reach subscribers of every gateway thread, in the order of each publisher, and not the publisher', async (t) => {
  const node = await startGrid({ gatewayThreads: 2, workerThreads: 2 });
  t.after(() => node.grid.stop());
  const sessions = await sessionsAt(node, 6);
  const [ann, ben, ...others] = sessions;
  assert.ok(ann !== undefined && ben !== undefined);
  for (const session of sessions) sub(session, 'chat/room-1');
  await allSubscribed(ann, 'chat/room-1', [ben, ...others]);
  await allSubscribed(ben, 'chat/room-1', [ann]);
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (const session of sessions) dataOf(session);
  for (let index = 0; index < 20; index++) {
    pub(ann, 'chat/room-1', { from: 'ann', index });
    pub(ben, 'chat/room-1', { from: 'ben', index });
  }
  const twenty = Array.from({ length: 20 }, (_, index) => index);
  const indexesFrom = (heard: readonly unknown[], from: string): unknown[] =>
    heard.flatMap((data) =>
      typeof data === 'object' && data !== null && 'from' in data && data.from === from && 'index' in data ? [data.index] : [],
    );
  const heard = new Map<WireSession, unknown[]>(sessions.map((session) => [session, []]));
  await eventually(() => {
    for (const session of sessions) heard.get(session)?.push(...dataOf(session));
    assert.deepEqual(
      sessions.map((session) => heard.get(session)?.length),
      [20, 20, 40, 40, 40, 40],
    );
  });
  for (const session of others) {
    assert.deepEqual(indexesFrom(heard.get(session) ?? [], 'ann'), twenty);
    assert.deepEqual(indexesFrom(heard.get(session) ?? [], 'ben'), twenty);
    assert.deepEqual(heard.get(session), heard.get(others[0] ?? session), 'all subscribers see one order');
  }
  assert.deepEqual(indexesFrom(heard.get(ann) ?? [], 'ann'), []);
});

test('no message of a topic is lost, repeated or moved when the worker of the topic dies', { timeout: 60_000 }, async (t) => {
  const node = await startGrid({ gatewayThreads: 2, workerThreads: 1, logLevel: 'silent' });
  t.after(() => node.grid.stop());
  const [publisher, ...subscribers] = await sessionsAt(node, 4);
  assert.ok(publisher !== undefined);
  for (const session of subscribers) sub(session, 'ticks');
  await allSubscribed(publisher, 'ticks', subscribers);
  for (let index = 0; index < MESSAGES; index++) {
    pub(publisher, 'ticks', index);
    if (index === MESSAGES / 3) node.grid.crashWorker(0, 'exit');
    if (index % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const heard = subscribers.map((): unknown[] => []);
  await eventually(() => {
    for (const [index, session] of subscribers.entries()) heard[index]?.push(...dataOf(session));
    for (const got of heard) assert.equal(got.length, MESSAGES);
  }, 30_000);
  for (const got of heard)
    assert.deepEqual(
      got,
      Array.from({ length: MESSAGES }, (_, index) => index),
    );
});

test('a subscriber that does not read is closed with a reason, and the others miss nothing', { timeout: 60_000 }, async (t) => {
  const node = await startGrid({ sessionBackpressureBytesMax: 256 << 10, rateOpsPerSecond: 0 });
  t.after(() => node.grid.stop());
  const [publisher, healthy, stuck] = await sessionsAt(node, 3);
  assert.ok(publisher !== undefined && healthy !== undefined && stuck !== undefined);
  for (const session of [healthy, stuck]) sub(session, 'flood');
  await allSubscribed(publisher, 'flood', [healthy, stuck]);
  stuck.socket.pause();
  let sent = 0;
  let got = 0;
  await eventually(async () => {
    for (let index = 0; index < 20; index++) pub(publisher, 'flood', `${sent++}`.padEnd(20_000, '.'));
    await publisher.barrier();
    got += dataOf(healthy).length;
    assert.equal(await metricOf(node.port, 'lattice_slow_consumers_closed_total'), 1);
  }, 30_000);
  await eventually(() => {
    got += dataOf(healthy).length;
    assert.equal(got, sent);
  });
  stuck.socket.resume();
  assert.deepEqual(await stuck.closed, { code: 1013, reason: 'too much unread data, reconnect to catch up' });
});

test('publications above the rate limit are refused with ERROR 429, and the connection lives', async (t) => {
  const node = await startGrid({ rateOpsPerSecond: 1, rateBurstOps: 5 });
  t.after(() => node.grid.stop());
  const [session] = await sessionsAt(node, 1);
  assert.ok(session !== undefined);
  for (let index = 0; index < 8; index++) pub(session, 't', index);
  assert.equal(payloadOf(await session.next('ERROR')).code, 429);
  await session.barrier();
  assert.ok(session.socket.isOpen);
});
