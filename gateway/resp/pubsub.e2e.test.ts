/** Topics of the grid as channels of Redis, over real sockets. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { payloadOf } from '../testing/client-fields.ts';
import { freePort } from '../testing/redis-server.ts';
import { RespClient } from '../testing/resp-client.ts';
import { signedToken, TEST_SECRET } from '../testing/signed-token.ts';
import { eventually, metricOf, startGrid, type TestGrid } from '../testing/test-grid.ts';
import { WireSession } from '../testing/wire-session.ts';

const BACKPRESSURE_BYTES = 256 << 10;
const ONLY = 'only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context';

let port = 0;
let node: TestGrid;
let guardedPort = 0;
let guarded: TestGrid;
const clients: RespClient[] = [];
const sessions: WireSession[] = [];

before(async () => {
  [port, guardedPort] = [await freePort(), await freePort()];
  const bounds = { sessionBackpressureBytesMax: BACKPRESSURE_BYTES, topicsPerSession: 10, topicMessageBytesMax: 256 << 10 };
  node = await startGrid({ respPort: port, gatewayThreads: 2, workerThreads: 2, ...bounds });
  guarded = await startGrid({ respPort: guardedPort, jwtSecret: TEST_SECRET });
  for (const [id, pattern, actions] of [
    ['news', 'news.*', ['subscribe', 'publish']],
    ['ads', 'ads', ['subscribe']],
  ] as const)
    await guarded.grid.policies.put({ id, pattern, actions, effect: 'allow' }, 'test', 0);
});

after(async () => {
  for (const client of clients) client.close();
  for (const session of sessions) session.socket.terminate();
  await node.grid.stop();
  await guarded.grid.stop();
  assert.deepEqual([...node.fatal, ...guarded.fatal], []);
});

async function open(at = port): Promise<RespClient> {
  const client = await RespClient.open(at);
  clients.push(client);
  return client;
}

async function wire(): Promise<WireSession> {
  const session = await WireSession.open({ port: node.port });
  sessions.push(session);
  return session;
}

function frame(type: '*' | '>', ...parts: readonly (string | number)[]): string {
  const texts = parts.map((part) => (typeof part === 'number' ? `:${part}\r\n` : `$${Buffer.byteLength(part)}\r\n${part}\r\n`));
  return `${type}${parts.length}\r\n${texts.join('')}`;
}

async function next(client: RespClient): Promise<string> {
  return (await client.reply()).toString();
}

/** Resolves when so many subscribers of the topic are known to its worker. */
async function subscribers(topic: string, count: number): Promise<void> {
  const client = await open();
  await eventually(async () =>
    assert.equal(await client.text('PUBSUB', 'NUMSUB', topic), `*2\r\n$${topic.length}\r\n${topic}\r\n:${count}\r\n`),
  );
  client.close();
}

test('a subscriber that speaks RESP2 gets arrays, and may do nothing else', async () => {
  const [client, publisher] = [await open(), await open()];
  assert.equal(await client.text('SUBSCRIBE', 'a', 'a', 'b'), frame('*', 'subscribe', 'a', 1));
  assert.equal(await next(client), frame('*', 'subscribe', 'a', 1));
  assert.equal(await next(client), frame('*', 'subscribe', 'b', 2));
  assert.equal(await client.text('GET', 'x'), `-ERR Can't execute 'get': ${ONLY}\r\n`);
  assert.equal(await client.text('client', 'ID'), `-ERR Can't execute 'client|id': ${ONLY}\r\n`);
  assert.equal(await client.text('HELLO', '3'), `-ERR Can't execute 'hello': ${ONLY}\r\n`);
  assert.equal(await client.text('FOO'), "-ERR unknown command 'FOO', with args beginning with: \r\n");
  assert.equal(await client.text('PING'), frame('*', 'pong', ''));
  assert.equal(await client.text('PING', 'hi'), frame('*', 'pong', 'hi'));
  assert.equal(await publisher.text('PUBLISH', 'a', 'one'), ':1\r\n');
  assert.equal(await next(client), frame('*', 'message', 'a', 'one'));
  assert.match(await publisher.text('CLIENT', 'LIST', 'TYPE', 'pubsub'), / flags=P .* sub=2 psub=0 /);
  assert.equal(await client.text('UNSUBSCRIBE', 'a', 'none'), frame('*', 'unsubscribe', 'a', 1));
  assert.equal(await next(client), frame('*', 'unsubscribe', 'none', 1));
  assert.equal(await client.text('PSUBSCRIBE', 'n[e-g]*'), frame('*', 'psubscribe', 'n[e-g]*', 2));
  assert.equal(await publisher.text('PUBLISH', 'a', 'two'), ':0\r\n');
  assert.equal(await publisher.text('PUBLISH', 'news', 'three'), ':1\r\n');
  assert.equal(await next(client), frame('*', 'pmessage', 'n[e-g]*', 'news', 'three'));
  assert.equal(await client.text('UNSUBSCRIBE'), frame('*', 'unsubscribe', 'b', 1));
  assert.equal(await client.text('PUNSUBSCRIBE'), frame('*', 'punsubscribe', 'n[e-g]*', 0));
  assert.equal(await client.text('UNSUBSCRIBE'), '*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n');
  assert.equal(await client.text('GET', 'x'), '$-1\r\n', 'a client like any other again');
});

test('a subscriber that speaks RESP3 gets pushes among its other replies', async () => {
  const client = await open();
  await client.command('HELLO', '3');
  assert.equal(await client.text('SUBSCRIBE', 'self'), frame('>', 'subscribe', 'self', 1));
  const heard = [await client.text('PUBLISH', 'self', 'x'), await next(client)];
  assert.deepEqual(heard.sort(), [':1\r\n', frame('>', 'message', 'self', 'x')]);
  assert.equal(await client.text('SET', 'p3', 'v'), '+OK\r\n');
  assert.equal(await client.text('PING'), '+PONG\r\n');
  assert.equal(await client.text('RESET'), '+RESET\r\n');
  assert.equal(await client.text('PUBLISH', 'self', 'y'), ':0\r\n', 'RESET has ended the subscription');
});

test('PUBSUB tells channels, subscribers and patterns of all gateways', async () => {
  const [client, asker, session] = [await open(), await open(), await wire()];
  await client.command('SUBSCRIBE', 'told:1');
  await client.command('PSUBSCRIBE', 'told:*');
  session.send({ type: 'TOPIC_SUB', payload: { topic: 'told:1' } });
  session.send({ type: 'TOPIC_SUB', payload: { topic: 'told:2' } });
  await subscribers('told:2', 1);
  await subscribers('told:1', 2);
  const channels = (await asker.text('PUBSUB', 'CHANNELS', 'told:*')).split('\r\n').filter((line) => line.startsWith('told:'));
  assert.deepEqual(channels.sort(), ['told:1', 'told:2']);
  assert.equal(await asker.text('PUBSUB', 'NUMSUB', 'told:1', 'nobody'), '*4\r\n$6\r\ntold:1\r\n:2\r\n$6\r\nnobody\r\n:0\r\n');
  assert.equal(await asker.text('PUBSUB', 'NUMSUB'), '*0\r\n');
  assert.equal(await asker.text('PUBSUB', 'NUMPAT'), ':1\r\n');
  assert.equal(await asker.text('PUBSUB', 'FOO'), "-ERR unknown subcommand 'FOO'. Try PUBSUB HELP.\r\n");
  assert.equal(await asker.text('PUBLISH', 'told:1', 'x'), ':3\r\n');
  client.close();
  await subscribers('told:1', 1);
  await eventually(async () => assert.equal(await asker.text('PUBSUB', 'NUMPAT'), ':0\r\n'));
});

test('WebSocket clients and Redis clients hear each other, objects as JSON and back', async () => {
  const [client, publisher] = [await open(), await open()];
  const many = await Promise.all(Array.from({ length: 4 }, wire)); // at both gateway threads
  await client.command('SUBSCRIBE', 'room');
  for (const session of many) session.send({ type: 'TOPIC_SUB', payload: { topic: 'room' } });
  await subscribers('room', 5);
  many[0]?.send({ type: 'TOPIC_PUB', payload: { topic: 'room', data: { from: 'Ämy', list: [1, null] } } });
  assert.equal(await next(client), frame('*', 'message', 'room', '{"from":"Ämy","list":[1,null]}'));
  many[0]?.send({ type: 'TOPIC_PUB', payload: { topic: 'room', data: 'plain' } });
  assert.equal(await next(client), frame('*', 'message', 'room', 'plain'));
  for (const text of ['{"a":[1,2]}', '007', 'text']) assert.equal(await publisher.text('PUBLISH', 'room', text), ':5\r\n');
  for (const session of many) {
    const heard: unknown[] = [];
    await eventually(() => {
      heard.push(...session.take('TOPIC_MESSAGE').map((message) => payloadOf(message).data));
      assert.deepEqual(heard.slice(-3), [{ a: [1, 2] }, '007', 'text']);
    });
  }
  for (const text of ['{"a":[1,2]}', '007', 'text']) assert.equal(await next(client), frame('*', 'message', 'room', text));
  const bytes = Buffer.from([0xff, 0x00, 0x0d, 0x0a]);
  await publisher.command('PUBLISH', 'room', bytes);
  assert.deepEqual((await client.reply()).subarray(-6, -2), bytes);
});

test('a pipeline of publications keeps its order, and the writes before them are done when they are heard', async () => {
  const [client, publisher, reader] = [await open(), await open(), await open()];
  await client.command('SUBSCRIBE', 'order');
  const lines: string[] = [];
  for (let index = 0; index < 300; index++) lines.push(`PUBLISH order ${index}\r\n`);
  lines.push('SET order:done 1\r\nPUBLISH order done\r\nGET order:done\r\n');
  publisher.send(lines.join(''));
  for (let index = 0; index < 300; index++) assert.equal(await next(client), frame('*', 'message', 'order', String(index)));
  assert.equal(await next(client), frame('*', 'message', 'order', 'done'));
  assert.equal(await reader.text('GET', 'order:done'), '$1\r\n1\r\n');
  for (let index = 0; index < 300; index++) assert.equal(await next(publisher), ':1\r\n');
  assert.deepEqual([await next(publisher), await next(publisher), await next(publisher)], ['+OK\r\n', ':1\r\n', '$1\r\n1\r\n']);
});

test('PUBLISH in a transaction is done with it', async () => {
  const [client, publisher] = [await open(), await open()];
  await client.command('SUBSCRIBE', 'tx');
  publisher.send('MULTI\r\nSET tx:a 1\r\nPUBLISH tx hello\r\nPUBSUB NUMSUB tx\r\nSHUTDOWN\r\nDISCARD\r\n');
  for (const reply of ['+OK', '+QUEUED', '+QUEUED', '+QUEUED', '-ERR Command not allowed inside a transaction', '+OK'])
    assert.equal(await next(publisher), `${reply}\r\n`);
  publisher.send('MULTI\r\nSET tx:a 1\r\nPUBLISH tx hello\r\nPUBSUB NUMSUB tx\r\nEXEC\r\n');
  for (let index = 0; index < 4; index++) await next(publisher);
  assert.equal(await next(publisher), '*3\r\n+OK\r\n:1\r\n*2\r\n$2\r\ntx\r\n:1\r\n');
  assert.equal(await next(client), frame('*', 'message', 'tx', 'hello'));
});

test('subscriptions of a connection are bounded, and names are those that a text can hold', async () => {
  const client = await open();
  await client.command('HELLO', '3');
  const names = Array.from({ length: 12 }, (_, index) => `bound:${index}`);
  client.send(`SUBSCRIBE ${names.join(' ')}\r\n`);
  for (let index = 0; index < 10; index++) assert.equal(await next(client), frame('>', 'subscribe', `bound:${index}`, index + 1));
  for (let index = 0; index < 2; index++)
    assert.equal(await next(client), '-TRYAGAIN OVERLOADED a connection has at most 10 subscriptions\r\n');
  assert.equal(await client.text('PUBLISH', Buffer.from([0xff]), 'x'), '-ERR the name of a channel is UTF-8\r\n');
  assert.match(
    await client.text('PUBLISH', 'bound:1', 'x'.repeat(257 << 10)),
    /^-ERR BAD_REQUEST a message of a topic has at most/,
  );
  await client.command('UNSUBSCRIBE', 'bound:0');
  assert.match(await client.text('SUBSCRIBE', ''), /^-ERR BAD_REQUEST a topic or pattern has 1 to/);
});

test('a subscriber that does not read is closed, and the others miss nothing', async () => {
  const [slow, quick, publisher] = [await open(), await open(), await open()];
  const before = await metricOf(node.port, 'lattice_slow_consumers_closed_total');
  for (const client of [slow, quick]) await client.command('SUBSCRIBE', 'flood');
  slow.pause();
  const text = 'x'.repeat(250_000);
  await eventually(async () => {
    for (let index = 0; index < 20; index++) {
      await publisher.command('PUBLISH', 'flood', text);
      await next(quick);
    }
    assert.equal(await metricOf(node.port, 'lattice_slow_consumers_closed_total'), before + 1);
  });
  await subscribers('flood', 1);
  assert.equal(await publisher.text('PUBLISH', 'flood', 'still'), ':1\r\n');
  assert.equal(await next(quick), frame('*', 'message', 'flood', 'still'));
});

test('who may not subscribe or publish is told so, patterns bring what is allowed, and the end of a token ends it', async () => {
  const noChannel = '-NOPERM this user has no permissions to access one of the channels used as arguments\r\n';
  const [client, publisher] = [await open(guardedPort), await open(guardedPort)];
  for (const each of [client, publisher]) await each.command('AUTH', await signedToken({ sub: 'ann' }));
  assert.equal(await client.text('SUBSCRIBE', 'news.a', 'secret'), noChannel);
  assert.equal(await client.text('PUBLISH', 'ads', 'x'), noChannel);
  await client.command('PSUBSCRIBE', '*');
  await client.command('SUBSCRIBE', 'ads');
  await publisher.command('PUBLISH', 'news.a', 'x');
  assert.equal(await next(client), frame('*', 'pmessage', '*', 'news.a', 'x'));
  const admin = { id: 'secret', pattern: 'secret', actions: ['publish'], effect: 'allow' };
  await guarded.grid.policies.put(admin, 'test', 0);
  await eventually(async () =>
    assert.equal(await publisher.text('PUBLISH', 'secret', 'x'), ':0\r\n', 'who may not hear is not told how many did'),
  );
  assert.equal(await publisher.text('PUBLISH', 'news.b', 'y'), ':1\r\n');
  assert.equal(await next(client), frame('*', 'pmessage', '*', 'news.b', 'y'), 'nothing of what is secret');
  const brief = await open(guardedPort);
  await brief.command('AUTH', await signedToken({ sub: 'ben', expiresS: 1 }));
  await brief.command('SUBSCRIBE', 'news.c');
  await eventually(async () => {
    await publisher.command('PUBLISH', 'news.c', 'z');
    assert.ok(brief.isClosed);
  });
});

for (const RESP of [2, 3] as const) {
  test(`node-redis subscribes by name and pattern in RESP${RESP}, and again after its connection was lost`, async () => {
    const [subscriber, publisher] = [2, 3].map(() => createClient({ RESP, socket: { port, host: '127.0.0.1' } }));
    assert.ok(subscriber !== undefined && publisher !== undefined);
    const heard: string[] = [];
    for (const client of [subscriber, publisher]) {
      client.on('error', () => {});
      await client.connect();
    }
    await subscriber.subscribe(`chat${RESP}`, (message, topic) => void heard.push(`${topic} ${message}`));
    await subscriber.pSubscribe(`cha*${RESP}`, (message, topic) => void heard.push(`${topic} by pattern ${message}`));
    assert.equal(await publisher.publish(`chat${RESP}`, 'one'), 2);
    await eventually(() => assert.deepEqual(heard.sort(), [`chat${RESP} by pattern one`, `chat${RESP} one`]));
    if (RESP === 3) assert.equal(await subscriber.set('while', 'subscribed'), 'OK');
    await publisher.sendCommand(['CLIENT', 'KILL', 'TYPE', 'pubsub']);
    heard.length = 0;
    await eventually(async () => {
      await publisher.publish(`chat${RESP}`, 'again');
      assert.ok(heard.includes(`chat${RESP} again`) && heard.includes(`chat${RESP} by pattern again`));
    });
    await subscriber.unsubscribe();
    await subscriber.pUnsubscribe();
    assert.equal(await publisher.publish(`chat${RESP}`, 'nobody'), 0);
    await subscriber.close();
    await publisher.close();
  });
}

test('ioredis subscribes, hears messages and patterns, and subscribes again by itself', async () => {
  const [subscriber, publisher] = [new Redis({ port, host: '127.0.0.1' }), new Redis({ port, host: '127.0.0.1' })];
  const heard: string[] = [];
  subscriber.on('message', (topic, message) => void heard.push(`${topic} ${message}`));
  subscriber.on('pmessage', (pattern, topic, message) => void heard.push(`${pattern} ${topic} ${message}`));
  assert.equal(await subscriber.subscribe('io:1', 'io:2'), 2);
  assert.equal(await subscriber.psubscribe('io:?'), 3);
  assert.equal(await publisher.publish('io:2', 'x'), 2);
  await eventually(() => assert.deepEqual(heard.sort(), ['io:2 x', 'io:? io:2 x']));
  await publisher.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
  heard.length = 0;
  await eventually(async () => {
    await publisher.publish('io:1', 'again');
    assert.ok(heard.includes('io:1 again') && heard.includes('io:? io:1 again'));
  });
  subscriber.disconnect();
  publisher.disconnect();
});
