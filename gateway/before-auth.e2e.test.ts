/**
 * Nothing before authentication, over real ports: of every type of message, every route of the document, and
 * every command of the Redis door.
 *
 * What there is is asked from the server itself, so that nothing new can be forgotten here. Messages one by one: before-auth.test.ts.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EVERY_TYPE, samplesOf } from './testing/every-message.ts';
import { RespClient } from './testing/resp-client.ts';
import { signedToken, TEST_SECRET } from './testing/signed-token.ts';
import { startGrid, type TestGrid } from './testing/test-grid.ts';
import { WireSession } from './testing/wire-session.ts';

/** What a session hears when somebody else acted. */
const HEARD = ['SERVER_EVENT', 'SERVER_BATCH_EVENT', 'TOPIC_MESSAGE', 'COUNTER_UPDATE', 'JOURNAL_EVENT', 'QUERY_UPDATE'];
const METHODS = ['get', 'put', 'post', 'delete'] as const;
/** Where the door itself stands, and what load balancers ask. */
const OPEN_ROUTES = [
  'get /',
  'get /api/auth/status',
  'get /health',
  'get /health/live',
  'get /health/ready',
  'get /healthz',
  'post /api/auth/login',
];
const OPEN_COMMANDS = ['auth', 'hello', 'quit', 'reset'];

let node: TestGrid;
let respPort = 0;

before(async () => {
  respPort = 21_000 + Math.floor(Math.random() * 10_000);
  node = await startGrid({ jwtSecret: TEST_SECRET, respPort, adminPassword: 'a long enough password', journal: 'on' });
});

after(async () => {
  await node.grid.stop();
  assert.deepEqual(node.fatal, []);
});

test('of a session that has not authenticated nothing long is looked at, not even an AUTH', async () => {
  const token = await signedToken({ sub: 'ann' });
  const session = await WireSession.open({ port: node.port });
  session.send({ type: 'AUTH', token, padding: 'x'.repeat(40_000) });
  session.send({ type: 'AUTH', token: 'none', protocolVersion: 1 });
  await session.next('AUTH_FAIL');
  assert.deepEqual(session.take('AUTH_ACK'), []);
});

test('every message of a session that has not authenticated is passed over, and it may still do that', async () => {
  const token = await signedToken({ sub: 'ann' });
  const witness = await WireSession.open({ port: node.port });
  witness.send({ type: 'AUTH', token });
  await witness.next('AUTH_ACK');
  witness.send({ type: 'TOPIC_SUB', payload: { topic: 'before' } });
  witness.send({ type: 'COUNTER_REQUEST', payload: { name: 'before' } });
  witness.send({ type: 'QUERY_SUB', payload: { queryId: 'w', mapName: 'before', query: {} } });
  witness.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 'w' });
  await witness.next('QUERY_RESP');
  await witness.barrier();
  const stranger = await WireSession.open({ port: node.port });
  await stranger.next('AUTH_REQUIRED');
  for (const type of EVERY_TYPE) {
    if (type === 'AUTH') continue; // the one that is acted on
    for (const sample of samplesOf(type)) stranger.send(sample);
  }
  stranger.send({ type: 'AUTH', token });
  await stranger.next('AUTH_ACK');
  assert.deepEqual(stranger.messages, [], 'no answer to any of them');
  await stranger.barrier();
  await witness.barrier();
  assert.deepEqual(
    witness.messages.filter(({ type }) => HEARD.includes(String(type))),
    [],
  );
  const headers = { authorization: `Bearer ${token}` };
  const { entries } = Object(await (await fetch(`http://127.0.0.1:${node.port}/maps/before`, { headers })).json());
  assert.deepEqual(entries, []);
  for (const session of [witness, stranger]) session.socket.terminate();
});

test('every route refuses who has no token, save for those that open the door or tell how the server is', async () => {
  const base = `http://127.0.0.1:${node.port}`;
  const authorization = `Bearer ${await signedToken({ sub: 'ann' })}`;
  const document = await (await fetch(`${base}/api/openapi.json`, { headers: { authorization } })).json();
  const paths: Record<string, object> = Object(document).paths;
  const open: string[] = [];
  let refused = 0;
  for (const [path, item] of Object.entries(paths)) {
    for (const method of METHODS.filter((one) => Object.hasOwn(item, one))) {
      for (const headers of [{}, { authorization: 'Bearer x.y.z' }]) {
        const response = await fetch(base + path.replaceAll(/\{\w+\}/g, 'x'), {
          method,
          headers: { 'content-type': 'application/json', ...headers },
          ...(method === 'get' ? {} : { body: '{}' }),
        });
        const text = await response.text();
        if (OPEN_ROUTES.includes(`${method} ${path}`)) {
          if (!open.includes(`${method} ${path}`)) open.push(`${method} ${path}`);
          continue;
        }
        assert.equal(response.status, 401, `${method} ${path}: ${text}`);
        assert.equal(JSON.parse(text).error, 'UNAUTHENTICATED', `${method} ${path}`);
        refused += 1;
      }
    }
  }
  assert.deepEqual(open.sort(), OPEN_ROUTES.filter((route) => Object.hasOwn(paths, route.split(' ')[1] ?? '')).sort());
  assert.ok(refused >= 40, `${refused} refusals`);
});

test('every command refuses who has not given AUTH, save for those that open the door', async () => {
  const knower = await RespClient.open(respPort);
  assert.equal(await knower.text('AUTH', await signedToken({ sub: 'ann' })), '+OK\r\n');
  const names = [...(await knower.text('COMMAND', 'LIST')).matchAll(/\$\d+\r\n(.+)\r\n/g)].map(([, name]) => name ?? '');
  assert.ok(names.length > 80, `${names.length} commands`);
  const client = await RespClient.open(respPort);
  for (const name of names) {
    if (OPEN_COMMANDS.includes(name)) continue;
    const [, arity = '0'] = /:(-?\d+)\r\n/.exec(await knower.text('COMMAND', 'INFO', name)) ?? [];
    const words = Array.from({ length: Math.max(0, Math.abs(Number(arity)) - 1) }, () => 'x');
    assert.equal(await client.text(name, ...words), '-NOAUTH Authentication required.\r\n', name);
  }
  assert.equal(await knower.text('DBSIZE'), ':0\r\n', 'and nothing was done');
  for (const one of [knower, client]) one.close();
});
