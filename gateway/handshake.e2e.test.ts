/** Who may come in, and what a connection may do before: authentication, devices, deadlines, origins. */
import assert from 'node:assert/strict';
import { get } from 'node:http';
import test, { after, before, describe } from 'node:test';
import { SignJWT } from 'jose';
import type { Message } from './testing/client-codec.ts';
import { opAck, payloadOf, textIn } from './testing/client-fields.ts';
import { RawWebSocket, UpgradeRefused } from './testing/raw-websocket.ts';
import { eventually, startGrid, type TestGrid } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { orAdd, put } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const SECRET = 'a secret that is long enough to be one';
const AUTH_DEADLINE_MS = 700;
const IDLE_MS = 1500;

let open: TestGrid;
let guarded: TestGrid;
const sessions: WireSession[] = [];
const clients: TopGunClient[] = [];

before(async () => {
  [open, guarded] = await Promise.all([
    startGrid({ idleTimeoutMs: IDLE_MS, trustedOrigins: ['https://app.example.com'] }),
    startGrid({ jwtSecret: SECRET, authDeadlineMs: AUTH_DEADLINE_MS }),
  ]);
});

after(async () => {
  for (const session of sessions) session.socket.terminate();
  for (const client of clients) client.close();
  await Promise.all([open.grid.stop(), guarded.grid.stop()]);
  assert.deepEqual([...open.fatal, ...guarded.fatal], []);
});

async function wire(node: TestGrid): Promise<WireSession> {
  const session = await WireSession.open({ port: node.port });
  sessions.push(session);
  return session;
}

function newClient(node: TestGrid, nodeId: string, token?: string): TopGunClient {
  const client = new TopGunClient({ port: node.port, nodeId, token });
  clients.push(client);
  return client;
}

function token(options: { sub?: string; expiresS?: number; secret?: string } = {}): Promise<string> {
  const { sub = 'ann', expiresS = 600, secret = SECRET } = options;
  const claims = new SignJWT({ roles: ['user'] }).setProtectedHeader({ alg: 'HS256' }).setSubject(sub);
  return claims.setExpirationTime(Math.floor(Date.now() / 1000) + expiresS).sign(new TextEncoder().encode(secret));
}

function unsignedToken(): string {
  const part = (fields: object): string => Buffer.from(JSON.stringify(fields)).toString('base64url');
  return `${part({ alg: 'none', typ: 'JWT' })}.${part({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 600 })}.`;
}

describe('a server without authentication', () => {
  test('says nothing by itself and answers DEVICE_HELLO with a device and its token', async () => {
    const session = await wire(open);
    session.send({ type: 'DEVICE_HELLO' });
    const ack = await session.next('DEVICE_ACK');
    assert.deepEqual(Object.keys(ack).sort(), ['deviceId', 'deviceToken', 'type']);
    assert.deepEqual(session.messages, [], 'nothing came before it');
  });

  test('serves a client that never shakes hands', async () => {
    const session = await wire(open);
    session.sendOps(put('1', 'm', 'k', 1));
    assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).lastId, '1');
  });

  test('knows a device again by its token, without a new token, also on a second connection at once', async () => {
    const [first, second] = [await wire(open), await wire(open)];
    first.send({ type: 'DEVICE_HELLO' });
    const { deviceId, deviceToken } = await first.next('DEVICE_ACK');
    second.send({ type: 'DEVICE_HELLO', deviceToken });
    assert.deepEqual(await second.next('DEVICE_ACK'), { type: 'DEVICE_ACK', deviceId });
    second.send({ type: 'DEVICE_HELLO' });
    await Promise.all([first.barrier(), second.barrier()]);
    assert.deepEqual(second.take('DEVICE_ACK'), [], 'a device is bound once');
  });

  test('gives a forged device token a new device', async () => {
    const session = await wire(open);
    session.send({ type: 'DEVICE_HELLO', deviceToken: 'd4c7.0123456789abcdef' });
    const ack = await session.next('DEVICE_ACK');
    assert.notEqual(textIn(ack, 'deviceToken'), '');
  });

  test('acknowledges the token of a client that has one, so that it goes on', async () => {
    const client = newClient(open, 'a001', 'any token');
    await client.connected();
    client.set('m', 'k', 1);
    await client.settled();
    assert.equal(client.received.get('AUTH_ACK'), 1);
  });

  test('echoes the timestamp of a PING', async () => {
    const session = await wire(open);
    for (const timestamp of [1_700_000_000_123, 0, 1.5]) {
      session.send({ type: 'PING', timestamp });
      const pong = await session.next('PONG');
      assert.equal(pong.timestamp, timestamp);
      assert.ok(Math.abs(Number(pong.serverTime) - Date.now()) < 10_000);
    }
  });

  test('closes a connection that is silent for too long, and not one that pings', async () => {
    const [silent, alive] = [await wire(open), newClient(open, 'a002')];
    const pinging = new TopGunClient({ port: open.port, nodeId: 'b002', pingIntervalMs: 300 });
    clients.push(pinging);
    await Promise.all([alive.connected(), pinging.connected()]);
    assert.deepEqual(await silent.closed, { code: 1000, reason: 'idle timeout' });
    await eventually(() => assert.equal(alive.closes.length, 1)); // pings each 5 s only
    assert.equal(pinging.closes.length, 0);
    assert.ok((pinging.received.get('PONG') ?? 0) >= 3);
  });

  const foreign: readonly (readonly [string, Record<string, string>, number])[] = [
    ['a foreign Origin', { Origin: 'https://evil.example' }, 403],
    ['a sandboxed page', { Origin: 'null' }, 403],
    ['a Host that is not loopback (DNS rebinding)', { Host: 'evil.example:8080' }, 403],
    ['a loopback Origin under a foreign Host', { Host: 'evil.example', Origin: 'http://localhost:3000' }, 403],
    ['a loopback Origin', { Origin: 'http://localhost:3000' }, 101],
    ['the IPv6 loopback as Host', { Host: '[::1]:8080' }, 101],
    ['an Origin that is trusted by option', { Origin: 'https://app.example.com' }, 101],
  ];
  for (const [what, headers, status] of foreign) {
    test(`answers ${what} with ${status}, on the WebSocket and on HTTP alike`, async () => {
      for (const path of ['/', '/ws']) assert.equal(await upgradeStatus(open.port, path, headers), status);
      for (const path of ['/health', '/metrics'])
        assert.equal(await httpStatus(open.port, path, headers), status === 101 ? 200 : status);
    });
  }
});

describe('a server with authentication', () => {
  test('asks for it first, within the 500 ms that a client without a token waits', async () => {
    const session = await wire(guarded);
    assert.deepEqual(await session.next('AUTH_REQUIRED'), { type: 'AUTH_REQUIRED' });
  });

  test('acts on nothing but AUTH before: every other frame is dropped without an answer', async () => {
    const before: readonly Message[] = [
      { type: 'DEVICE_HELLO' },
      { type: 'PING', timestamp: 1 },
      { type: 'OP_BATCH', payload: { ops: [put('1', 'before', 'k', 1), orAdd('2', 'before', 'k', 1)] } },
      { type: 'CLIENT_OP', payload: put('3', 'before', 'k', 1) },
      { type: 'SYNC_INIT', mapName: 'before', lastSyncTimestamp: 0 },
      { type: 'ORMAP_SYNC_INIT', mapName: 'before', rootHash: 0, bucketHashes: {}, lastSyncTimestamp: 0 },
      { type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'before', path: '' } },
      { type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'before', entries: [{ key: 'k', records: [], tombstones: ['1:0:a'] }] } },
      { type: 'QUERY_SUB', payload: { queryId: 'q', mapName: 'before', query: {} } },
      { type: 'SQL_QUERY', payload: { sql: 'select 1', queryId: 'q' } },
      { type: 'LOCK_REQUEST', payload: { requestId: 'l', name: 'lock', ttl: 1000 } },
      { type: 'TOPIC_PUB', payload: { topic: 't', data: 1 } },
      { type: 'JOURNAL_READ', requestId: 'j', fromSequence: '0' },
      { type: 'AUTH' },
      { type: 'AUTH', token: 7 },
    ];
    const session = await wire(guarded);
    await session.next('AUTH_REQUIRED');
    for (const message of before) session.send(message);
    session.send({ type: 'AUTH', token: await token() });
    await session.next('AUTH_ACK');
    await session.barrier();
    assert.deepEqual(session.messages, []);
    session.send({ type: 'SYNC_INIT', mapName: 'before', lastSyncTimestamp: 0 });
    assert.equal(payloadOf(await session.next('SYNC_RESP_ROOT')).rootHash, 0, 'nothing was written');
  });

  test('answers a good token with the user and a device', async () => {
    const session = await wire(guarded);
    session.send({ type: 'AUTH', token: await token({ sub: 'bob' }) });
    const ack = await session.next('AUTH_ACK');
    assert.equal(ack.userId, 'bob');
    assert.equal(ack.protocolVersion, 1);
    assert.equal(typeof ack.deviceToken, 'string');
  });

  test('answers the AUTH that the client sends twice once', async () => {
    const client = newClient(guarded, 'a003', await token());
    await client.connected();
    client.set('twice', 'k', 1);
    await client.settled();
    assert.equal(client.received.get('AUTH_REQUIRED'), 1);
    assert.equal(client.received.get('AUTH_ACK'), 1);
    assert.equal(client.userId, 'ann');
  });

  test('serves a client that parks until it is given its token', async () => {
    const client = newClient(guarded, 'a004');
    client.online();
    await eventually(() => assert.equal(client.received.get('AUTH_REQUIRED'), 1));
    assert.equal(client.state, 'authenticating');
    client.setToken(await token());
    await client.settled();
    assert.equal(client.received.get('DEVICE_ACK'), undefined, 'DEVICE_HELLO is not answered before AUTH');
  });

  test('keeps writes made before the login and shows them to others afterwards', async () => {
    const [ann, bob] = [newClient(guarded, 'a005', await token()), newClient(guarded, 'b005', await token({ sub: 'bob' }))];
    bob.lww('login');
    await bob.connected();
    ann.set('login', 'k', 'written offline');
    await ann.connected();
    await ann.settled();
    await eventually(() => assert.equal(bob.get('login', 'k'), 'written offline'));
  });

  const bad: readonly (readonly [string, () => string | Promise<string>])[] = [
    ['expired', () => token({ expiresS: -120 })],
    ['signed with another secret', () => token({ secret: 'another secret that is long enough too' })],
    ['not signed (alg none)', unsignedToken],
    ['without a subject', () => token({ sub: '' })],
    ['no token at all', () => 'nonsense'],
    ['empty', () => ''],
  ];
  for (const [what, make] of bad) {
    test(`answers a token that is ${what} with AUTH_FAIL and closes`, async () => {
      const session = await wire(guarded);
      session.send({ type: 'AUTH', token: await make() });
      const fail = await session.next('AUTH_FAIL');
      assert.equal(fail.error, 'Authentication failed', 'why stays in the log');
      assert.deepEqual(await session.closed, { code: 1000, reason: 'authentication failed' });
    });
  }

  test('accepts a token that expired within the leeway of a minute', async () => {
    const session = await wire(guarded);
    session.send({ type: 'AUTH', token: await token({ expiresS: -20 }) });
    await session.next('AUTH_ACK');
  });

  test('closes a connection that does not authenticate in time, whatever it sends', async () => {
    const session = await wire(guarded);
    const startedMs = performance.now();
    const chatter = setInterval(() => session.send({ type: 'PING', timestamp: 1 }), 50);
    const closed = await session.closed;
    clearInterval(chatter);
    assert.deepEqual(closed, { code: 1000, reason: 'authentication timeout' });
    assert.ok(performance.now() - startedMs >= AUTH_DEADLINE_MS * 0.9);
  });

  test('sends no events to connections that are not authenticated', async () => {
    const [stranger, ann] = [await wire(guarded), newClient(guarded, 'a006', await token())];
    await ann.connected();
    ann.set('private', 'k', 'secret');
    await ann.settled();
    await stranger.closed;
    assert.deepEqual(stranger.messages, [{ type: 'AUTH_REQUIRED' }]);
  });

  test('lets a page of any origin try its token', async () => {
    assert.equal(await upgradeStatus(guarded.port, '/ws', { Origin: 'https://evil.example', Host: 'lattice.example' }), 101);
  });
});

async function upgradeStatus(port: number, path: string, headers: Record<string, string>): Promise<number> {
  try {
    (await RawWebSocket.open({ port, path, headers })).terminate();
    return 101;
  } catch (error) {
    if (error instanceof UpgradeRefused) return error.status;
    throw error;
  }
}

function httpStatus(port: number, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('error', reject);
  });
}
