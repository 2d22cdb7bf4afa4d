/** Topics through gateways and workers over real rings, in one thread. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FULL_ACCESS } from '../engine/domains/security/access.ts';
import { decode, encode } from '../engine/protocol/codec.ts';
import { OneThreadNode, type TestClient } from './testing/one-thread-node.ts';
import type { TopicListener, TopicMessage } from './topic-desk.ts';

interface Heard {
  readonly topic: string;
  readonly data: unknown;
  readonly publisherId: string;
}

function messagesOf(client: TestClient): Heard[] {
  return client.heardOf('TOPIC_MESSAGE').map(({ payload }) => payload as Heard);
}

const dataOf = (client: TestClient): unknown[] => messagesOf(client).map(({ data }) => data);
const sub = (client: TestClient, topic: string): void => client.say({ type: 'TOPIC_SUB', payload: { topic } });
const unsub = (client: TestClient, topic: string): void => client.say({ type: 'TOPIC_UNSUB', payload: { topic } });
const pub = (client: TestClient, topic: string, data?: unknown): void =>
  client.say({ type: 'TOPIC_PUB', payload: { topic, data } });

class Listener implements TopicListener {
  access = FULL_ACCESS;
  readonly got: [pattern: string | undefined, topic: string, data: unknown][] = [];

  received({ topic, pattern, data }: TopicMessage): void {
    this.got.push([pattern, topic, decode(data)]);
  }
}

test('subscribers at every gateway get each message of a topic once, in the order of its publisher, and the publisher does not', async () => {
  const node = await OneThreadNode.create({ gateways: 2, workers: 2 });
  const publisher = node.client(0);
  const [near, far, deaf] = [node.client(0), node.client(1), node.client(1)];
  for (const client of [publisher, near, far]) for (const topic of ['a', 'b']) sub(client, topic);
  sub(deaf, 'c');
  await node.pump();
  for (let index = 0; index < 10; index++) for (const topic of ['a', 'b']) pub(publisher, topic, index);
  await node.pump();
  for (const client of [near, far]) {
    const heard = messagesOf(client);
    for (const topic of ['a', 'b']) {
      assert.deepEqual(
        heard.filter((message) => message.topic === topic).map(({ data }) => data),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
      );
    }
    assert.equal(heard.length, 20);
  }
  assert.deepEqual([dataOf(publisher), dataOf(deaf)], [[], []]);
});

test('any payload is delivered, and the absent one as null', async () => {
  const node = await OneThreadNode.create();
  const [ann, ben] = [node.client(), node.client()];
  sub(ben, 't');
  const payloads = [null, 0, false, '', 'text', 1.5, [1, [2]], { deep: { a: null } }];
  for (const payload of payloads) pub(ann, 't', payload);
  ann.say({ type: 'TOPIC_PUB', payload: { topic: 't' } });
  await node.pump();
  assert.deepEqual(dataOf(ben), [...payloads, null]);
});

test('a subscription ends by TOPIC_UNSUB and with its connection, and made twice it is one', async () => {
  const node = await OneThreadNode.create();
  const [ann, ben, cleo] = [node.client(), node.client(), node.client()];
  for (const client of [ben, cleo]) {
    sub(client, 't');
    sub(client, 't');
  }
  pub(ann, 't', 1);
  await node.pump();
  assert.deepEqual([dataOf(ben), dataOf(cleo)], [[1], [1]]);
  unsub(ben, 't');
  unsub(ben, 'never');
  cleo.leave();
  pub(ann, 't', 2);
  await node.pump();
  assert.deepEqual(dataOf(ben), []);
  assert.equal(node.gateways[0]?.topics.subscriptions, 0);
});

test('names, payloads and the number of topics are bounded, and what passes a bound is refused by type', async () => {
  const node = await OneThreadNode.create({ config: { topicsPerSession: 2, topicMessageBytesMax: 1024 } });
  const client = node.client();
  client.heard();
  for (const topic of ['', 'white space', 'x'.repeat(257), 'ümlaut']) sub(client, topic);
  pub(client, 'no good!', 1);
  pub(client, 't', 'x'.repeat(1024));
  for (const topic of ['t1', 't2', 't3']) sub(client, topic);
  const errors = client.heardOf('ERROR').map(({ payload }) => payload as { code: number; message: string });
  assert.deepEqual(
    errors.map(({ code }) => code),
    [400, 400, 400, 400, 400, 400, 429],
  );
  await node.pump();
  assert.equal(node.gateways[0]?.topics.subscriptions, 2);
});

test('a door without sessions subscribes by name and by pattern, publishes, and learns how many got it', async () => {
  const node = await OneThreadNode.create({ gateways: 2, workers: 2 });
  const [here, there] = [node.gateways[0], node.gateways[1]];
  assert.ok(here !== undefined && there !== undefined);
  const listener = new Listener();
  const settled = async <Value>(promise: Promise<Value>): Promise<Value> => {
    await node.pump();
    return promise;
  };
  await settled(here.topics.subscribe(listener, 'user:1'));
  await settled(here.topics.subscribePattern(listener, 'user:*'));
  const client = node.client(1);
  sub(client, 'user:1');
  await node.pump();
  const publish = (topic: string, text: string): Promise<number> =>
    settled(there.topics.publish(topic, encode(text).slice(), 'redis'));
  assert.equal(await publish('user:1', 'a'), 3);
  assert.equal(await publish('user:2', 'b'), 1);
  assert.equal(await publish('nobody', 'c'), 0);
  assert.deepEqual(listener.got, [
    [undefined, 'user:1', 'a'],
    ['user:*', 'user:1', 'a'],
    ['user:*', 'user:2', 'b'],
  ]);
  const [message] = messagesOf(client);
  assert.deepEqual([message?.topic, message?.data, message?.publisherId], ['user:1', 'a', 'redis']);
  here.topics.unsubscribe(listener, 'user:1');
  here.topics.unsubscribePattern(listener, 'user:*');
  await node.pump();
  assert.equal(await publish('user:1', 'd'), 1);
  assert.equal(listener.got.length, 3);
});

test('a door is refused what is no name, too large, or one pattern too many', async () => {
  const node = await OneThreadNode.create({ config: { topicMessageBytesMax: 16 } });
  const topics = node.gateways[0]?.topics;
  assert.ok(topics !== undefined);
  const listener = new Listener();
  const refused = { code: 'BAD_REQUEST' };
  await assert.rejects(topics.subscribe(listener, ''), refused);
  await assert.rejects(topics.subscribe(listener, 'x'.repeat(1025)), refused);
  await assert.rejects(topics.publish('\ud800', encode(1).slice(), 'p'), refused);
  await assert.rejects(topics.publish('t', encode('x'.repeat(17)).slice(), 'p'), refused);
  const patterns = Array.from({ length: 1000 }, (_, index) => topics.subscribePattern(listener, `p${index}*`));
  await assert.rejects(topics.subscribePattern(listener, 'one-more*'), { code: 'OVERLOADED' });
  await node.pump();
  await Promise.all(patterns);
  const known = topics.subscribePattern(new Listener(), 'p0*');
  await node.pump();
  await known; // it is no new one
});

test('a message that a replaced worker pushes again is not delivered again', async () => {
  const node = await OneThreadNode.create();
  const [ann, ben] = [node.client(), node.client()];
  sub(ben, 't');
  const pushed: Uint8Array[] = [];
  const topics = node.gateways[0]?.topics;
  assert.ok(topics !== undefined);
  const original = topics.pushed.bind(topics);
  topics.pushed = (worker, session, kind, body) => {
    pushed.push(body.slice());
    original(worker, session, kind, body);
  };
  for (const data of [1, 2, 3]) pub(ann, 't', data);
  await node.pump();
  for (const body of pushed) original(0, undefined, 20, body);
  await node.pump();
  assert.deepEqual(dataOf(ben), [1, 2, 3]);
});

test('a listener of another door hears what it may subscribe to when the message comes, by name and by pattern', async () => {
  const node = await OneThreadNode.create();
  const { topics } = node.gateways[0] ?? assert.fail('a gateway');
  const listener = new Listener();
  const subscribed = Promise.all([topics.subscribe(listener, 'chat.a'), topics.subscribePattern(listener, 'chat.*')]);
  await node.pump();
  await subscribed;
  listener.access = { ...FULL_ACCESS, may: (action, name) => action === 'subscribe' && name !== 'chat.a' };
  pub(node.client(), 'chat.a', 'hidden');
  pub(node.client(), 'chat.b', 'seen');
  await node.pump();
  assert.deepEqual(listener.got, [['chat.*', 'chat.b', 'seen']]);
});
