import assert from 'node:assert/strict';
import test from 'node:test';
import { PRIORITIES, type Priority } from '../engine/operation/priority.ts';
import { OneThreadNode, type TestClient } from './testing/one-thread-node.ts';
import { PlayedNode, type SentOps } from './testing/played-node.ts';
import { RedisEnd } from './testing/subject-doors.ts';

const ON = { priorities: true, sessionBufferBytesMax: 256 << 20, opTimeoutMs: 600_000, requestTimeoutMs: 600_000 };
const VALUE = 'x'.repeat(400);

/** A frame of `ops` writes of one key. */
function write(client: TestClient, key: string, ops = 1): void {
  const timestamp = { millis: 1_700_000_000_000, counter: 0, nodeId: 'node-a' };
  client.write(
    ...Array.from({ length: ops }, () => ({ mapName: 'todos', opType: 'PUT', key, record: { value: VALUE, timestamp } })),
  );
}

/** What the worker takes in one turn; then those who wait are looked at again. */
function turn(node: PlayedNode, worker = 0): SentOps[] {
  const sent = node.received(worker);
  node.gateway.retry();
  node.ack(worker, 1, ...sent.map(({ callId }) => callId));
  return sent;
}

/** As many turns as bring `frames` frames. */
function take(node: PlayedNode, frames: number): SentOps[] {
  const taken: SentOps[] = [];
  while (taken.length < frames) {
    const sent = turn(node);
    assert.ok(sent.length > 0, `nothing more came after ${taken.length} frames`);
    taken.push(...sent);
  }
  return taken;
}

function countOf(sent: readonly SentOps[], client: TestClient): number {
  return sent.filter(({ session }) => session === client.session.id).length;
}

test('under saturation classes are served 3:2:1, and each session in its order', async () => {
  const node = await PlayedNode.create({ config: ON });
  const clients = PRIORITIES.map((priority) => node.client(priority));
  const frames = 1500;
  for (let frame = 0; frame < frames; frame++) for (const client of clients) write(client, 'a', 1 + (frame % 3));
  const begun = take(node, 200); // what was in the ring before anybody waited
  const sent = take(node, 2000);
  const [high = 0, normal = 0, low = 0] = clients.map((client) => countOf(sent, client));
  assert.ok(Math.abs(high / low - 3) <= 0.3, `high ${high}, low ${low}`);
  assert.ok(Math.abs(normal / low - 2) <= 0.2, `normal ${normal}, low ${low}`);
  const all = [...begun, ...sent, ...take(node, 3 * frames - begun.length - sent.length)];
  for (const client of clients) {
    const ops = all.filter(({ session }) => session === client.session.id).map((record) => record.ops);
    assert.deepEqual(
      ops,
      Array.from({ length: frames }, (_, frame) => 1 + (frame % 3)),
    );
  }
});

test('the sessions of a class take turns', async () => {
  const node = await PlayedNode.create({ config: ON });
  const [first, second] = [node.client('low'), node.client('low')];
  for (let frame = 0; frame < 300; frame++) write(first, 'a');
  for (let frame = 0; frame < 300; frame++) write(second, 'a');
  const sent = take(node, 200).slice(100);
  assert.ok(Math.abs(countOf(sent, first) - countOf(sent, second)) <= 2);
});

test('a request of high priority passes a flood of low ones: at most a window is served before it', async () => {
  const node = await PlayedNode.create({ config: ON });
  const [flood, calm] = [node.client('low'), node.client('high')];
  for (let frame = 0; frame < 3000; frame++) write(flood, 'a');
  write(calm, 'a');
  const ahead = turn(node);
  assert.equal(countOf(ahead, calm), 0);
  assert.ok(ahead.length < 40, `${ahead.length} frames were ahead`);
  assert.equal(turn(node)[0]?.session, calm.session.id);
});

test('commands of Redis wait for their turn as frames do, and get it while others wait', async () => {
  const node = await OneThreadNode.create({ config: { ...ON, sessionBufferBytesMax: 16 << 20 }, takesRedis: true });
  const [flood, redis] = [node.client(), new RedisEnd(node, undefined)];
  for (let frame = 0; frame < 3000; frame++) write(flood, 'a');
  redis.say('SET', 'b', '1');
  for (let step = 0; step < 3; step++) {
    await node.drainWorker(0);
    node.drainGateway(0);
    node.gateways[0]?.retry();
  }
  assert.equal(redis.heard(), '+OK\r\n');
  assert.ok(flood.session.held.length > 1000, `${flood.session.held.length} frames wait`);
  for (let command = 0; command < 20; command++) redis.say('INCR', 'b');
  await node.pump();
  assert.equal(redis.heard(), Array.from({ length: 20 }, (_, command) => `:${command + 2}\r\n`).join(''));
  assert.equal(flood.session.held.length, 0);
});

test('without priorities frames are served in the order in which sessions began to wait', async () => {
  const node = await PlayedNode.create({ config: { ...ON, priorities: false } });
  node.state.setWorkerState(0, 'loading');
  const [low, high] = [node.client('low'), node.client('high')];
  for (let frame = 0; frame < 3; frame++) write(low, 'a');
  for (let frame = 0; frame < 3; frame++) write(high, 'a');
  node.state.setWorkerState(0, 'ready');
  node.gateway.retry();
  const order = node.received().map(({ session }) => (session === low.session.id ? 'low' : 'high'));
  assert.deepEqual(order, ['low', 'low', 'low', 'high', 'high', 'high']);
});

test('a class that is full refuses its own frames by name, and no others', async () => {
  const node = await PlayedNode.create({ config: { ...ON, priorityFramesMax: 5 } });
  node.state.setWorkerState(0, 'loading');
  const clients = PRIORITIES.map((priority) => node.client(priority));
  const [, , low] = clients as [TestClient, TestClient, TestClient];
  for (const client of clients) for (let frame = 0; frame < (client === low ? 6 : 5); frame++) write(client, 'a');
  const refusals = clients.map((client) => client.heardOf('ERROR').map(({ payload }) => payload));
  const message = 'OVERLOADED: too many requests of priority low wait, try again later';
  assert.deepEqual(refusals, [[], [], [{ code: 429, message }]]);
  assert.deepEqual(
    clients.map(({ closes }) => closes.map(({ code }) => code)),
    [[], [], [1013]],
  );
  node.pass(0);
  assert.deepEqual([node.counters.heldHigh, node.counters.heldNormal, node.counters.heldLow], [5, 5, 0]);
  assert.deepEqual([node.counters.refusedHigh, node.counters.refusedNormal, node.counters.refusedLow], [0, 0, 1]);
  node.state.setWorkerState(0, 'ready');
  node.gateway.retry();
  assert.equal(node.received().length, 10);
  node.pass(0);
  assert.deepEqual([node.counters.servedHigh, node.counters.servedNormal, node.counters.heldHigh], [5, 5, 0]);
});

test('a PING is answered while frames of its session and others wait', async () => {
  const node = await PlayedNode.create({ config: ON });
  const flood = node.client('low');
  for (let frame = 0; frame < 1000; frame++) write(flood, 'a');
  assert.ok(flood.session.held.length > 0);
  flood.say({ type: 'PING', timestamp: 7 });
  assert.equal(flood.heardOf('PONG').length, 1);
});

test('who waits for one worker does not hold up who needs another', async () => {
  const node = await PlayedNode.create({ workers: 2, config: ON });
  const [flood, other] = [node.client('low'), node.client('low')];
  for (let frame = 0; frame < 1000; frame++) write(flood, node.keyOf(0));
  write(other, node.keyOf(1));
  assert.equal(node.received(1).length, 1);
  write(other, node.keyOf(0));
  assert.equal(other.session.held.length, 1);
  flood.leave();
  assert.ok(turn(node).length > 0);
  assert.equal(other.session.held.length, 0);
});

test('a class is what the connection asks for, as far as it may', async () => {
  const node = await PlayedNode.create({ config: ON });
  const asked: Priority[] = ['high', 'normal', 'low'];
  assert.deepEqual(
    asked.map((priority) => node.client(priority).session.priority),
    asked,
  );
});

test('connections of Redis that wait for more than their door may hold get their turn while others wait', async () => {
  const config = { ...ON, sessionBufferBytesMax: 64 << 10 };
  const node = await OneThreadNode.create({ config, takesRedis: true });
  node.state.setWorkerState(0, 'loading');
  const floods = Array.from({ length: 40 }, () => node.client());
  for (const flood of floods) for (let frame = 0; frame < 60; frame++) write(flood, 'a');
  const ends = Array.from({ length: 8 }, () => new RedisEnd(node, undefined));
  for (const [end, redis] of ends.entries()) redis.say('SET', `k${end}`, 'x'.repeat(20_000));
  node.state.setWorkerState(0, 'ready');
  const left = new Set(ends);
  for (let step = 0; step < 500 && left.size > 0; step++) {
    node.gateways[0]?.retry();
    await node.drainWorker(0);
    node.drainGateway(0);
    for (const redis of left) if (redis.heard() === '+OK\r\n') left.delete(redis);
  }
  assert.equal(left.size, 0);
  const waiting = floods.reduce((frames, { session }) => frames + session.held.length, 0);
  assert.ok(waiting > 500, `${waiting} frames wait`);
});
