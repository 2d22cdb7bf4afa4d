/** Counters between gateways and workers, in one thread. */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Action } from '../engine/domains/security/access.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { SubjectAccess } from './subject-access.ts';
import { type Message, OneThreadNode, type TestClient } from './testing/one-thread-node.ts';

type Side = Readonly<Record<string, number>>;

function wire(positive: Side, negative: Side = {}): object {
  return { positive, negative, p: positive, n: negative };
}

function sync(client: TestClient, name: string, positive: Side, negative: Side = {}): void {
  client.say({ type: 'COUNTER_SYNC', payload: { name, state: { positive, negative } } });
}

function request(client: TestClient, name: string): void {
  client.say({ type: 'COUNTER_REQUEST', payload: { name } });
}

/** What of counters a client heard: type, name and state of each message, errors as their text. */
function heard(client: TestClient): unknown[] {
  return client.heard().map((message) => {
    const payload = payloadOf(message);
    return message.type === 'ERROR' ? payload.message : [message.type, payload.name, payload.state];
  });
}

function payloadOf(message: Message): Readonly<Record<string, unknown>> {
  const { payload } = message;
  assert.ok(typeof payload === 'object' && payload !== null);
  return { ...payload };
}

test('who asks for a counter gets its state, and every later change, at whatever gateway', async () => {
  const node = await OneThreadNode.create({ gateways: 2, workers: 2 });
  const [ann, bob, cid] = [node.client(0), node.client(1), node.client(0)];
  for (const client of [ann, bob, cid]) request(client, 'hits');
  await node.pump();
  for (const client of [ann, bob, cid]) assert.deepEqual(heard(client), [['COUNTER_RESPONSE', 'hits', wire({})]]);
  sync(ann, 'hits', { a: 2.5 }, { a: 0.5 });
  await node.pump();
  for (const client of [ann, bob, cid]) {
    assert.deepEqual(heard(client), [['COUNTER_UPDATE', 'hits', wire({ a: 2.5 }, { a: 0.5 })]], 'once, also to the sender');
  }
  sync(bob, 'hits', { a: 2.5, b: 1 });
  await node.pump();
  for (const client of [ann, bob, cid]) {
    assert.deepEqual(heard(client), [['COUNTER_UPDATE', 'hits', wire({ a: 2.5, b: 1 }, { a: 0.5 })]]);
  }
});

test('who syncs a counter watches it, and counters do not mix', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const [ann, bob] = [node.client(), node.client()];
  sync(ann, 'hits', { a: 1 });
  sync(bob, 'likes', { b: 1 });
  await node.pump();
  heard(ann);
  heard(bob);
  sync(bob, 'hits', { b: 7 });
  await node.pump();
  assert.deepEqual(heard(ann), [['COUNTER_UPDATE', 'hits', wire({ a: 1, b: 7 })]]);
  sync(ann, 'hits', { a: 1, b: 7 });
  await node.pump();
  assert.deepEqual(heard(bob), [['COUNTER_UPDATE', 'hits', wire({ a: 1, b: 7 })]], 'its own answer, and no word of the repeat');
});

test('the node of another device is not raised, and the sender is told', async () => {
  const node = await OneThreadNode.create();
  const [ann, bob] = [node.client(), node.client()];
  for (const client of [ann, bob]) client.say({ type: 'DEVICE_HELLO' });
  sync(ann, 'hits', { a: 1 });
  await node.pump();
  ann.heard();
  bob.heard();
  sync(bob, 'hits', { a: 100, b: 1 });
  await node.pump();
  assert.deepEqual(heard(bob), [
    ['COUNTER_UPDATE', 'hits', wire({ a: 1, b: 1 })],
    'FORBIDDEN: 1 nodes of counter hits belong to other devices',
  ]);
  assert.deepEqual(heard(ann), [['COUNTER_UPDATE', 'hits', wire({ a: 1, b: 1 })]]);
});

test('the same device goes on in another connection, and sessions without a device are kept apart', async () => {
  const node = await OneThreadNode.create();
  const first = node.client();
  first.say({ type: 'DEVICE_HELLO' });
  const deviceToken = first.heard()[0]?.deviceToken;
  sync(first, 'hits', { a: 1 });
  await node.pump();
  first.leave();
  const again = node.client();
  again.say({ type: 'DEVICE_HELLO', deviceToken });
  again.heard();
  sync(again, 'hits', { a: 2 });
  await node.pump();
  assert.deepEqual(heard(again), [['COUNTER_UPDATE', 'hits', wire({ a: 2 })]]);
  const [guest, other] = [node.client(), node.client()];
  sync(guest, 'hits', { g: 1 });
  sync(guest, 'hits', { g: 2 });
  sync(other, 'hits', { g: 9 });
  await node.pump();
  assert.ok(heard(other).includes('FORBIDDEN: 1 nodes of counter hits belong to other devices'));
});

test('who is gone hears nothing, and a counter that nobody wrote or watches makes room', async () => {
  const node = await OneThreadNode.create({ domains: { maxCounters: 2 } });
  const [ann, bob] = [node.client(), node.client()];
  request(ann, 'one');
  request(ann, 'two');
  request(bob, 'three');
  await node.pump();
  assert.deepEqual(heard(bob), ['TOO_MANY_COUNTERS: counter three']);
  ann.leave();
  await node.pump();
  request(bob, 'three');
  sync(bob, 'three', { b: 1 });
  await node.pump();
  assert.deepEqual(heard(bob), [
    ['COUNTER_RESPONSE', 'three', wire({})],
    ['COUNTER_UPDATE', 'three', wire({ b: 1 })],
  ]);
  assert.deepEqual(ann.frames.length, 2);
});

test('while the worker of a counter takes nothing, what is for it is held, and comes in its order', async () => {
  const node = await OneThreadNode.create();
  const client = node.client();
  node.state.setWorkerState(0, 'loading');
  sync(client, 'hits', { a: 1 });
  request(client, 'hits');
  assert.equal(client.session.held.length, 2, 'in the bytes that a session may have held');
  await node.pump();
  assert.deepEqual(heard(client), []);
  node.state.setWorkerState(0, 'ready');
  await node.pump();
  assert.deepEqual(heard(client), [
    ['COUNTER_UPDATE', 'hits', wire({ a: 1 })],
    ['COUNTER_RESPONSE', 'hits', wire({ a: 1 })],
  ]);
});

test('names are 1 to 256 bytes, and a session watches so many counters and no more', async () => {
  const node = await OneThreadNode.create({ domains: { maxCounters: 2000 } });
  const ann = node.client();
  for (const name of ['', 'ü'.repeat(129), '\ud800']) request(ann, name);
  assert.equal(heard(ann).length, 3);
  request(ann, 'ü'.repeat(128));
  for (let index = 1; index < 1000; index++) {
    request(ann, `c${index}`);
    if (index % 50 === 0) await node.pump();
  }
  await node.pump();
  assert.equal(ann.heardOf('COUNTER_RESPONSE').length, 1000);
  request(ann, 'one more');
  request(ann, 'c7');
  await node.pump();
  assert.deepEqual(heard(ann), [
    'TOO_MANY_COUNTERS: a connection watches up to 1000 counters',
    ['COUNTER_RESPONSE', 'c7', wire({})],
  ]);
});

test('a worker that was replaced is told what is watched, and tells its state', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const ann = node.client();
  for (const name of ['a', 'b', 'c', 'd']) {
    request(ann, name);
    sync(ann, name, { [name]: 1 });
  }
  await node.pump();
  heard(ann);
  for (const worker of [0, 1]) node.gateways[0]?.workerReplaced(worker);
  await node.pump();
  const states = heard(ann);
  assert.deepEqual(
    new Set(states.map((state) => JSON.stringify(state))),
    new Set(['a', 'b', 'c', 'd'].map((name) => JSON.stringify(['COUNTER_UPDATE', name, wire({ [name]: 1 })]))),
  );
  assert.equal(states.length, 4);
});

test('who may not read a counter is told nothing of it, and who may not write it changes nothing', async () => {
  const node = await OneThreadNode.create();
  const [ann, writer, reader, nobody] = [node.client(), node.client(), node.client(), node.client()];
  writer.session.access = new PlayedAccess(['writeCounter']);
  reader.session.access = new PlayedAccess(['readCounter']);
  nobody.session.access = new PlayedAccess([]);
  request(ann, 'hits');
  request(reader, 'hits');
  request(nobody, 'hits');
  sync(nobody, 'hits', { n: 1 });
  sync(writer, 'hits', { w: 2 });
  sync(reader, 'hits', { r: 3 });
  await node.pump();
  sync(ann, 'hits', { a: 4 });
  await node.pump();
  const all = wire({ w: 2, a: 4 });
  assert.deepEqual(heard(ann).at(-1), ['COUNTER_UPDATE', 'hits', all]);
  assert.deepEqual(heard(writer), [], 'its write counts, and it sees nothing');
  assert.deepEqual(heard(reader).at(-1), ['COUNTER_UPDATE', 'hits', all]);
  assert.deepEqual(heard(nobody), ['FORBIDDEN: counter hits', 'FORBIDDEN: counter hits']);
  reader.session.access = new PlayedAccess([]);
  sync(ann, 'hits', { a: 5 });
  await node.pump();
  assert.deepEqual(heard(reader), [], 'a right that was taken away ends at once');
});

/** A subject that may do these things with every counter. */
class PlayedAccess extends SubjectAccess {
  readonly #actions: readonly Action[];

  constructor(actions: readonly Action[]) {
    super({ version: 0, scopeOf: () => undefined, numberOf: () => 0 }, undefined);
    this.#actions = actions;
  }

  override may(action: Action): boolean {
    return this.#actions.includes(action);
  }
}

test('a counter waits for its own worker, whichever other takes nothing', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const client = node.client();
  const ownerOf = (name: string): number => node.table.ownerOf(partitionOf(fnv1a(name)));
  const name = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].find((one) => ownerOf(one) === 1);
  assert.ok(name !== undefined);
  for (const worker of [0, 1]) node.state.setWorkerState(worker, 'loading');
  sync(client, name, { a: 1 });
  assert.equal(client.session.heldFor, 1);
  node.state.setWorkerState(1, 'ready');
  node.gateways[0]?.retry();
  await node.pump();
  assert.deepEqual(heard(client), [['COUNTER_UPDATE', name, wire({ a: 1 })]]);
});
