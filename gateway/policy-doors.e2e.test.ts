/** Policies at the doors beside the WebSocket: HTTP and Redis; and what needs a node, journal and counters. */
import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';
import { payloadOf } from './testing/client-fields.ts';
import { freePort } from './testing/redis-server.ts';
import { RespClient } from './testing/resp-client.ts';
import { signedToken, TEST_SECRET, type TokenClaims } from './testing/signed-token.ts';
import { eventually, startGrid, type TestGrid } from './testing/test-grid.ts';
import { nextStamp, put } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const OWN = { op: 'eq', attribute: 'owner', valueRef: 'auth.id' };
const POLICIES = [
  { id: 'notes', pattern: 'notes.*', actions: ['read', 'write', 'remove'], effect: 'allow', condition: OWN },
  { id: 'box', pattern: 'box', actions: ['write', 'remove'], effect: 'allow' },
  { id: 'open', pattern: 'open.*', actions: ['all'], effect: 'allow' },
  { id: 'pay', pattern: 'open.staff', actions: ['read'], effect: 'deny', roles: ['intern'], fields: ['salary'] },
  { id: 'keys', pattern: 'db0', actions: ['read', 'write', 'remove'], effect: 'allow' },
  { id: 'hash', pattern: 'user:1', actions: ['read', 'write', 'remove'], effect: 'allow' },
  { id: 'look', pattern: 'db1', actions: ['read'], effect: 'allow' },
  { id: 'count', pattern: 'hits', actions: ['readCounter', 'writeCounter'], effect: 'allow', roles: ['counter'] },
];

let node: TestGrid;
let respPort = 0;
const sessions: WireSession[] = [];

before(async () => {
  respPort = await freePort();
  const secrets = { jwtSecret: TEST_SECRET, respPassword: 'secret', respSubject: 'cache' };
  node = await startGrid({ ...secrets, respPort, workerThreads: 2, policyBypassSubjects: ['root'], journal: 'on' });
  for (const policy of POLICIES) await node.grid.policies.put(policy, 'test', 0);
});

after(async () => {
  for (const session of sessions) session.socket.terminate();
  await node.grid.stop();
  assert.deepEqual(node.fatal, []);
});

async function wire(claims: TokenClaims): Promise<WireSession> {
  const session = await WireSession.open({ port: node.port });
  sessions.push(session);
  session.send({ type: 'AUTH', token: await signedToken(claims) });
  await session.next('AUTH_ACK');
  session.take('AUTH_REQUIRED');
  return session;
}

interface Answer {
  readonly status: number;
  readonly etag: string | null;
  readonly body: unknown;
}

/** Asks as somebody; `token` instead of claims is sent as it is. */
async function ask(
  who: TokenClaims | string,
  method: string,
  path: string,
  body?: unknown,
  headers: object = {},
): Promise<Answer> {
  const token = typeof who === 'string' ? who : await signedToken(who);
  const answer = await fetch(`http://127.0.0.1:${node.port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, etag: answer.headers.get('etag'), body: text === '' ? undefined : JSON.parse(text) };
}

const ROOT = { sub: 'root' };
const ANN = { sub: 'ann' };
const BOB = { sub: 'bob' };

describe('records over HTTP', () => {
  test('are read, written and removed by whom they belong to; to others there are none', async () => {
    assert.equal((await ask(ANN, 'PUT', '/maps/notes.h/a', { owner: 'ann', n: 1 })).status, 201);
    assert.deepEqual((await ask(ANN, 'GET', '/maps/notes.h/a')).body, { owner: 'ann', n: 1 });
    const [hidden, absent] = [await ask(BOB, 'GET', '/maps/notes.h/a'), await ask(BOB, 'GET', '/maps/notes.h/b')];
    assert.deepEqual([hidden.status, hidden.etag], [404, null]);
    assert.deepEqual(JSON.stringify(hidden.body), JSON.stringify(absent.body).replaceAll('record b', 'record a'));
    for (const key of ['a', 'b']) {
      const { status, etag } = await ask(BOB, 'DELETE', `/maps/notes.h/${key}`);
      assert.deepEqual([status, etag], [404, null], key);
      const conditional = await ask(BOB, 'PUT', `/maps/notes.h/${key}`, { owner: 'bob' }, { 'if-match': '*' });
      assert.deepEqual([conditional.status, conditional.etag], [412, null], key);
    }
    assert.equal((await ask(BOB, 'PUT', '/maps/notes.h/a', { owner: 'bob' })).status, 403, 'over another');
    assert.equal((await ask(BOB, 'PUT', '/maps/notes.h/c', { owner: 'ann' })).status, 403, 'for another');
    assert.deepEqual((await ask(ANN, 'GET', '/maps/notes.h/a')).body, { owner: 'ann', n: 1 });
    assert.equal((await ask(ANN, 'DELETE', '/maps/notes.h/a')).status, 204);
  });

  test('come page by page without those of others, however many there are between', async () => {
    for (let index = 0; index < 20; index++)
      await ask(ROOT, 'PUT', `/maps/notes.p/k${index}`, { owner: index % 10 === 0 ? 'ann' : 'bob' });
    const keys: unknown[] = [];
    let cursor = '';
    do {
      const { body } = await ask(ANN, 'GET', `/maps/notes.p?limit=1${cursor}`);
      const page: { entries?: { key: string; value: unknown }[]; cursor?: string } = Object(body);
      for (const { key, value } of page.entries ?? []) keys.push([key, value]);
      cursor = page.cursor === undefined ? '' : `&cursor=${page.cursor}`;
    } while (cursor !== '');
    assert.deepEqual(keys.sort(), [
      ['k0', { owner: 'ann' }],
      ['k10', { owner: 'ann' }],
    ]);
  });

  test('lack the fields that are hidden, which a write leaves as they are', async () => {
    const intern = { sub: 'ida', roles: ['intern'] };
    await ask(ROOT, 'PUT', '/maps/open.staff/ida', { name: 'Ida', salary: 7 });
    assert.deepEqual((await ask(intern, 'GET', '/maps/open.staff/ida')).body, { name: 'Ida' });
    assert.equal((await ask(intern, 'PUT', '/maps/open.staff/ida', { name: 'I.', salary: 99 })).status, 204);
    assert.deepEqual((await ask(ROOT, 'GET', '/maps/open.staff/ida')).body, { name: 'I.', salary: 7 });
  });

  test('of a map that may not be read are not written either, since answers tell what was there', async () => {
    await ask(ROOT, 'PUT', '/maps/box/a', 1);
    for (const key of ['a', 'b']) {
      for (const [method, body] of [
        ['PUT', 1],
        ['DELETE', undefined],
        ['GET', undefined],
      ] as const) {
        const { status, etag } = await ask(ANN, method, `/maps/box/${key}`, body);
        assert.deepEqual([status, etag], [403, null], `${method} ${key}`);
      }
    }
    assert.deepEqual((await ask(ANN, 'GET', '/maps/box')).status, 403);
    assert.deepEqual((await ask(ROOT, 'GET', '/maps/box/a')).body, 1);
  });

  test('are refused to who has no token, or one that has ended', async () => {
    const ended = await signedToken({ sub: 'ann', expiresS: -120 });
    for (const token of ['', 'none', ended]) assert.equal((await ask(token, 'GET', '/maps/open.x/k')).status, 401);
  });
});

describe('the Redis door', () => {
  async function redis(password: string | TokenClaims): Promise<RespClient> {
    const client = await RespClient.open(respPort);
    const secret = typeof password === 'string' ? password : await signedToken(password);
    assert.equal(await client.text('AUTH', secret), '+OK\r\n');
    return client;
  }

  test('speaks for the subject of the password, or of the token', async () => {
    const [cache, root] = [await redis('secret'), await redis(ROOT)];
    await node.grid.policies.put(
      { id: 'cache', pattern: 'db2', actions: ['read', 'write'], effect: 'allow', subjects: ['cache'] },
      'test',
    );
    await eventually(async () => {
      await cache.text('SELECT', '2');
      assert.equal(await cache.text('SET', 'k', '1'), '+OK\r\n');
    });
    const ann = await redis(ANN);
    await ann.text('SELECT', '2');
    assert.match(await ann.text('GET', 'k'), /^-NOPERM/);
    await root.text('SELECT', '2');
    assert.equal(await root.text('GET', 'k'), '$1\r\n1\r\n');
    await node.grid.policies.remove('cache', 'test');
    await eventually(async () => assert.match(await cache.text('GET', 'k'), /^-NOPERM/));
    for (const client of [cache, root, ann]) client.close();
  });

  test('runs no command that reaches into a database which the subject may not use so', async () => {
    const [ann, root] = [await redis(ANN), await redis(ROOT)];
    await root.text('SELECT', '3');
    await root.text('SET', 'there', '1');
    assert.equal(await ann.text('SET', 'a', '1'), '+OK\r\n');
    for (const words of [
      ['COPY', 'a', 'b', 'DB', '3'],
      ['COPY', 'a', 'b', 'REPLACE', 'db', '1'],
      ['MOVE', 'a', '3'],
      ['SWAPDB', '0', '3'],
      ['FLUSHALL'],
    ])
      assert.match(await ann.text(...words), /^-NOPERM/, words.join(' '));
    await ann.text('SELECT', '1');
    for (const words of [['SET', 'a', '1'], ['GETDEL', 'a'], ['FLUSHDB']])
      assert.match(await ann.text(...words), /^-NOPERM/, words.join(' '));
    assert.equal(await ann.text('GET', 'a'), '$-1\r\n');
    await ann.text('SELECT', '3');
    for (const words of [['GET', 'there'], ['DBSIZE'], ['KEYS', '*'], ['RANDOMKEY'], ['SCAN', '0'], ['EXISTS', 'there']])
      assert.match(await ann.text(...words), /^-NOPERM/, words.join(' '));
    const keyspace = await ann.text('INFO', 'keyspace');
    assert.ok(keyspace.includes('db0:') && !keyspace.includes('db3:'), keyspace);
    assert.ok((await root.text('INFO', 'keyspace')).includes('db3:'));
    assert.equal(await root.text('GET', 'there'), '$1\r\n1\r\n');
    for (const client of [ann, root]) client.close();
  });

  test('guards a map as a hash by its own name: it is not told, and not emptied by DEL', async () => {
    const [ann, root] = [await redis(ANN), await redis(ROOT)];
    // Enough of them that every worker has some: only then a name is a hash to its owner.
    for (const name of ['user:1', 'user:2'])
      for (let field = 0; field < 40; field++) await root.text('HSET', name, field === 0 ? 'f' : `f${field}`, '1');
    assert.equal(await ann.text('HGET', 'user:1', 'f'), '$1\r\n1\r\n');
    for (const words of [
      ['HGET', 'user:2', 'f'],
      ['HGETALL', 'user:2'],
      ['HSCAN', 'user:2', '0'],
      ['HSET', 'user:2', 'f', '2'],
      ['HDEL', 'user:2', 'f'],
    ])
      assert.match(await ann.text(...words), /^-NOPERM/, words.join(' '));
    await ann.text('SET', 'plain', '1');
    for (const name of ['DEL', 'UNLINK']) assert.match(await ann.text(name, 'plain', 'user:2'), /^-WRONGTYPE/);
    assert.equal(await root.text('HGET', 'user:2', 'f'), '$1\r\n1\r\n');
    const askedOfMaps = [
      ['EXISTS', 'user:2', 'plain'],
      ['TOUCH', 'user:2', 'plain'],
      ['TYPE', 'user:2'],
      ['TYPE', 'plain'],
    ];
    const told = async (client: RespClient) => Promise.all(askedOfMaps.map((words) => client.text(...words)));
    assert.deepEqual(await told(ann), [':1\r\n', ':1\r\n', '+none\r\n', '+string\r\n']);
    assert.deepEqual(await told(root), [':2\r\n', ':2\r\n', '+hash\r\n', '+string\r\n']);
    assert.equal(await ann.text('TYPE', 'user:1'), '+hash\r\n', 'who may read the map is told');
    const keys = await ann.text('KEYS', '*');
    assert.ok(!keys.includes('user:') && !keys.includes('notes'), keys);
    assert.ok((await root.text('KEYS', '*')).includes('user:2'));
    let scanned = '';
    for (let cursor = '0', isFirst = true; isFirst || cursor !== '0'; isFirst = false) {
      const reply: string = await ann.text('SCAN', cursor, 'COUNT', '1000');
      scanned += reply;
      cursor = reply.split('\r\n')[2] ?? '0';
    }
    assert.ok(!scanned.includes('user:') && !scanned.includes('notes'), scanned);
    await ann.text('SET', 'plain', '1');
    assert.equal(await ann.text('DEL', 'plain', 'none'), ':1\r\n');
    assert.equal(await ann.text('DEL', 'user:1'), ':1\r\n', 'who may remove all of it may');
    for (const client of [ann, root]) client.close();
  });

  test('watches no key that may not be read, neither when it is asked nor when it is told', async () => {
    const [ann, root] = [await redis(ANN), await redis(ROOT)];
    await ann.text('SELECT', '4');
    assert.match(await ann.text('WATCH', 'k'), /^-NOPERM .*'db4'/);
    await node.grid.policies.put({ id: 'four', pattern: 'db4', actions: ['read'], effect: 'allow' }, 'test');
    await eventually(async () => assert.equal(await ann.text('WATCH', 'k'), '+OK\r\n'));
    await root.text('SELECT', '4');
    await root.text('SET', 'k', '1');
    await node.grid.policies.remove('four', 'test');
    await eventually(async () => assert.match(await ann.text('GET', 'k'), /^-NOPERM/));
    assert.equal(await ann.text('MULTI'), '+OK\r\n');
    assert.equal(await ann.text('PING'), '+QUEUED\r\n');
    assert.match(await ann.text('EXEC'), /^-NOPERM .*'db4'/, 'nil would tell that it was changed');
    assert.equal(await ann.text('SELECT', '0'), '+OK\r\n');
    assert.equal(await ann.text('WATCH', 'k'), '+OK\r\n');
    for (const client of [ann, root]) client.close();
  });

  test('runs nothing of a transaction that was allowed when it was queued only', async () => {
    const [ann, root] = [await redis(ANN), await redis(ROOT)];
    const policy = { id: 'five', pattern: 'user:5', actions: ['read', 'write', 'remove'], effect: 'allow' };
    await node.grid.policies.put(policy, 'test');
    for (let field = 0; field < 40; field++) await root.text('HSET', 'user:5', `f${field}`, '1');
    await eventually(async () => assert.equal(await ann.text('HGET', 'user:5', 'f1'), '$1\r\n1\r\n'));
    await ann.text('SET', 'plain:5', '1');
    const open = await redis(ANN);
    for (const [client, words] of [
      [ann, ['DEL', 'user:5', 'plain:5']],
      [open, ['HDEL', 'user:5', 'f1']],
    ] as const) {
      await client.text('MULTI');
      assert.equal(await client.text(...words), '+QUEUED\r\n');
    }
    await node.grid.policies.remove('five', 'test');
    const other = await redis(ANN);
    await eventually(async () => assert.match(await other.text('HGET', 'user:5', 'f1'), /^-NOPERM/));
    assert.match(await open.text('EXEC'), /^-NOPERM/);
    assert.match(await ann.text('EXEC'), /WRONGTYPE/);
    assert.equal(await root.text('HLEN', 'user:5'), ':40\r\n');
    for (const client of [ann, root, open, other]) client.close();
  });

  test('tells of others, and of the server as a whole, to administrators only', async () => {
    const [ann, bob, admin] = [await redis(ANN), await redis(BOB), await redis({ sub: 'ada', roles: ['admin'] })];
    await bob.text('CLIENT', 'SETNAME', 'bob-s');
    assert.match(await admin.text('CLIENT', 'LIST'), / name=bob-s .* user=bob /);
    const list = await ann.text('CLIENT', 'LIST');
    assert.ok(list.includes('user=ann') && !list.includes('bob'), list);
    assert.equal(await admin.text('CONFIG', 'SET', 'slowlog-log-slower-than', '0'), '+OK\r\n');
    assert.equal(await bob.text('GET', 'slow'), '$-1\r\n');
    assert.ok((await admin.text('SLOWLOG', 'GET')).includes('bob-s'));
    assert.ok(!(await ann.text('SLOWLOG', 'GET')).includes('bob-s'));
    assert.ok((await bob.text('SLOWLOG', 'GET')).includes('bob-s'));
    for (const words of [
      ['SLOWLOG', 'RESET'],
      ['LATENCY', 'RESET'],
      ['CONFIG', 'RESETSTAT'],
    ]) {
      assert.match(await ann.text(...words), /^-NOPERM/, words.join(' '));
      assert.doesNotMatch(await admin.text(...words), /^-/, words.join(' '));
    }
    assert.equal(await admin.text('CONFIG', 'SET', 'slowlog-log-slower-than', '10000'), '+OK\r\n');
    for (const client of [ann, bob, admin]) client.close();
  });

  test('tells how many hear a topic to who may hear it', async () => {
    const [ann, root] = [await redis(ANN), await redis(ROOT)];
    await root.command('SUBSCRIBE', 'secret.topic', 'open.topic');
    const counts = await ann.text('PUBSUB', 'NUMSUB', 'secret.topic', 'open.topic', 'none.topic');
    assert.deepEqual(counts.match(/:\d+/g), [':0', ':1', ':0']);
    for (const client of [ann, root]) client.close();
  });

  test('is closed for maps of which rows or fields are hidden', async () => {
    const [ann, intern] = [await redis(ANN), await redis({ sub: 'ida', roles: ['intern'] })];
    await ask(ANN, 'PUT', '/maps/notes.r/a', { owner: 'ann' });
    for (const words of [
      ['HGET', 'notes.r', 'a'],
      ['HLEN', 'notes.r'],
      ['HSET', 'notes.r', 'a', '{"owner":"ann"}'],
    ])
      assert.match(await ann.text(...words), /^-NOPERM/, words.join(' '));
    for (const words of [
      ['HGETALL', 'open.staff'],
      ['HSET', 'open.staff', 'x', '1'],
    ])
      assert.match(await intern.text(...words), /^-NOPERM/, words.join(' '));
    assert.equal(await intern.text('HSET', 'open.other', 'x', '1'), ':1\r\n');
    for (const client of [ann, intern]) client.close();
  });
});

describe('the journal', () => {
  test('has for each subject what it may see, live and read back, also when the policies change', async () => {
    const [ann, root] = [await wire(ANN), await wire(ROOT)];
    ann.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 's' });
    ann.send({ type: 'JOURNAL_SUBSCRIBE', requestId: 'no', mapName: 'box' });
    assert.match(String(payloadOf(await ann.next('ERROR')).message), /^FORBIDDEN/);
    await ann.barrier();
    const end = nextStamp();
    root.sendOps(
      put('1', 'box', 'j', 1),
      put('2', 'notes.j', 'a', { owner: 'ann' }),
      put('3', 'notes.j', 'b', { owner: 'bob' }),
      put('4', 'notes.j', 'b', null),
      put('5', 'notes.j', 'a', null),
      put('6', 'open.j', 'end', 1, end),
    );
    await root.next('OP_ACK');
    // The keys have workers of their own, each with a journal of its own order.
    const seen = ['DELETE notes.j a', 'PUT notes.j a', 'PUT open.j end'];
    await eventually(() =>
      assert.ok(
        seen.every((event) => journaled(ann).includes(event)),
        journaled(ann).join(),
      ),
    );
    assert.deepEqual(journaled(ann), seen);
    ann.send({ type: 'JOURNAL_READ', requestId: 'r', fromSequence: '0', limit: 1000 });
    const { events } = await ann.next('JOURNAL_READ_RESPONSE');
    const maps = new Set((Array.isArray(events) ? events : []).map(({ mapName }) => mapName));
    assert.ok(maps.has('notes.j') && !maps.has('box') && !maps.has('user:2'), [...maps].join());
    await node.grid.policies.put({ id: 'open-j', pattern: 'open.j', actions: ['read'], effect: 'deny' }, 'test', 0);
    await eventually(async () => assert.equal((await ask(ANN, 'GET', '/maps/open.j')).status, 403));
    ann.take('JOURNAL_EVENT');
    root.sendOps(put('7', 'open.j', 'late', 1), put('8', 'open.k', 'end', 1));
    await eventually(() => assert.deepEqual(journaled(ann), ['PUT open.k end']));
  });
});

function journaled(session: WireSession): string[] {
  const events = session.messages.filter(({ type }) => type === 'JOURNAL_EVENT').map(({ event }) => Object(event));
  return events.map(({ type, mapName, key }) => `${type} ${mapName} ${key}`).sort();
}

describe('counters', () => {
  test('are told to who may read them, as long as that holds', async () => {
    const [counter, other] = [await wire({ sub: 'cid', roles: ['counter'] }), await wire({ sub: 'eve' })];
    const root = await wire(ROOT);
    const state = (n: number): object => ({ p: { root: n }, n: {} });
    counter.send({ type: 'COUNTER_REQUEST', payload: { name: 'hits' } });
    await counter.next('COUNTER_RESPONSE');
    for (const type of ['COUNTER_REQUEST', 'COUNTER_SYNC']) other.send({ type, payload: { name: 'hits', state: state(9) } });
    await other.next('ERROR');
    await other.next('ERROR');
    root.send({ type: 'COUNTER_SYNC', payload: { name: 'hits', state: state(1) } });
    await counter.next('COUNTER_UPDATE');
    await node.grid.policies.remove('count', 'test');
    await eventually(async () => {
      counter.send({ type: 'COUNTER_REQUEST', payload: { name: 'hits' } });
      await counter.barrier();
      assert.equal(counter.take('ERROR').length, 1);
    });
    counter.take('COUNTER_UPDATE');
    root.send({ type: 'COUNTER_SYNC', payload: { name: 'hits', state: state(2) } });
    await root.next('COUNTER_UPDATE', (message) => JSON.stringify(message).includes('2'));
    await counter.barrier();
    assert.deepEqual([counter.take('COUNTER_UPDATE'), other.take('COUNTER_UPDATE')], [[], []]);
  });
});
