/** The administration over HTTP, on a real grid with real tokens. */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { SignJWT } from 'jose';
import { SharedNode } from '../testing/shared-node.ts';
import { eventually } from '../testing/test-grid.ts';
import { uniqueName } from '../testing/wire-ops.ts';

const SECRET = 'a secret that is long enough to be one';
const PASSWORD = 'correct horse battery';
const node = new SharedNode({ slowOperationMs: 1, jwtSecret: SECRET, adminUsername: 'root', adminPassword: PASSWORD });

function tokenOf(sub: string, roles: readonly string[] = []): Promise<string> {
  const claims = new SignJWT({ roles: [...roles] }).setProtectedHeader({ alg: 'HS256' }).setSubject(sub);
  return claims.setExpirationTime('10m').sign(new TextEncoder().encode(SECRET));
}

interface Answer {
  readonly status: number;
  readonly etag: string | null;
  readonly body: Record<string, unknown>;
}

async function ask(
  method: string,
  path: string,
  options: { token?: string | undefined; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const { token, body, headers = {} } = options;
  const response = await fetch(`http://127.0.0.1:${node.port}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: response.status, etag: response.headers.get('etag'), body: Object(await response.json()) };
}

let admin: string | undefined;

/** Of one login for all tests: tries to log in are slowed down. */
async function adminToken(): Promise<string> {
  admin ??= await login();
  return admin;
}

async function login(): Promise<string> {
  const { body } = await ask('POST', '/api/auth/login', { body: { username: 'root', password: PASSWORD } });
  assert.equal(typeof body.token, 'string');
  return String(body.token);
}

const READ_PATHS = [
  'maps',
  'sessions',
  'partitions',
  'workers',
  'audit',
  'schemas',
  'policies',
  'indexes',
  'settings',
  'slow-operations',
  'cluster/status',
].map((name) => `/api/admin/${name}`);

describe('who may administer', () => {
  test('nobody without a token, nobody without the role, and the role by whoever signs', async () => {
    for (const path of READ_PATHS) {
      assert.equal((await ask('GET', path)).status, 401, path);
      assert.equal((await ask('GET', path, { token: await tokenOf('ann', ['editor']) })).status, 403, path);
      assert.equal((await ask('GET', path, { token: await tokenOf('eve', ['admin']) })).status, 200, path);
    }
    const body = { mode: 'strict', schema: {} };
    assert.equal((await ask('PUT', '/api/admin/schemas/m', { body })).status, 401);
    assert.equal((await ask('PUT', '/api/admin/schemas/m', { body, token: await tokenOf('ann') })).status, 403);
    const index = { map: 'm', attribute: 'a', kind: 'hash' };
    for (const [path, asked] of [
      ['indexes', index],
      ['explain', { map: 'm' }],
    ]) {
      assert.equal((await ask('POST', `/api/admin/${String(path)}`, { body: asked })).status, 401);
      assert.equal((await ask('POST', `/api/admin/${String(path)}`, { body: asked, token: await tokenOf('ann') })).status, 403);
    }
  });

  test('a login with the right password answers a token that administers, a wrong one does not say which part is wrong', async () => {
    const wrong = [
      await ask('POST', '/api/auth/login', { body: { username: 'root', password: 'wrong password' } }),
      await ask('POST', '/api/auth/login', { body: { username: 'nobody', password: PASSWORD } }),
    ];
    assert.deepEqual(
      wrong.map(({ status, body }) => [status, body.message]),
      [
        [401, 'wrong name or password'],
        [401, 'wrong name or password'],
      ],
    );
    assert.equal((await ask('POST', '/api/auth/login', { body: '{"username":' })).status, 400);
    assert.equal((await ask('GET', '/api/admin/workers', { token: await adminToken() })).status, 200);
  });
});

describe('schemas', () => {
  test('a registered schema holds for the writes of clients, is versioned, and is gone when it is removed', async () => {
    const map = uniqueName('todos');
    const path = `/api/admin/schemas/${map}`;
    const token = await adminToken();
    const schema = { type: 'object', properties: { title: { type: 'string' } }, required: ['title'] };
    const created = await ask('PUT', path, { token, body: { mode: 'strict', schema }, headers: { 'if-none-match': '*' } });
    assert.deepEqual([created.status, created.etag], [201, '"1"']);
    assert.deepEqual(created.body, { map, version: 1, mode: 'strict', schema });
    assert.equal(
      (await ask('PUT', path, { token, body: { mode: 'warn', schema }, headers: { 'if-none-match': '*' } })).status,
      409,
    );

    const writer = await tokenOf('ann');
    const write = (value: unknown): Promise<number> =>
      fetch(`http://127.0.0.1:${node.port}/maps/${map}/a`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${writer}`, 'content-type': 'application/json' },
        body: JSON.stringify(value),
      }).then(({ status }) => status);
    await eventually(async () => assert.equal(await write({ title: 7 }), 422));
    assert.equal(await write({ title: 'milk', unknown: true }), 201);

    const changed = await ask('PUT', path, { token, body: { mode: 'off', schema }, headers: { 'if-match': '"1"' } });
    assert.deepEqual([changed.status, changed.body.version], [200, 2]);
    await eventually(async () => assert.equal(await write({ title: 7 }), 204));
    assert.equal((await ask('DELETE', path, { token, headers: { 'if-match': '"1"' } })).status, 409);
    assert.equal((await ask('DELETE', path, { token })).status, 200);
    assert.equal((await ask('GET', path, { token })).status, 404);
    const { body } = await ask('GET', `${path}/history`, { token });
    const history = body.history as { version: number; changedBy: string; removed: boolean }[];
    assert.deepEqual(
      history.map(({ version, changedBy, removed }) => [version, changedBy, removed]),
      [
        [3, 'root', true],
        [2, 'root', false],
        [1, 'root', false],
      ],
    );
  });

  test('what cannot be held to is refused by what is wrong with it, and changes nothing', async () => {
    const token = await adminToken();
    const map = uniqueName('m');
    const path = `/api/admin/schemas/${map}`;
    const refused: [unknown, RegExp][] = [
      ['{', /no JSON/],
      [{ mode: 'strict' }, /field 'schema'/],
      [{ mode: 'loud', schema: {} }, /field 'mode'/],
      [{ mode: 'strict', schema: { type: 'string', pattern: '(a+)+$' } }, /'pattern' at/],
      [{ mode: 'strict', schema: { type: 'nonsense' } }, /cannot be used/],
      [{ mode: 'strict', schema: {}, extra: 1 }, /Unrecognized key/],
    ];
    for (const [body, why] of refused) {
      const answer = await ask('PUT', path, { token, body });
      assert.equal(answer.status, 400);
      assert.match(String(answer.body.message), why);
    }
    assert.equal((await ask('GET', path, { token })).status, 404);
    assert.equal((await ask('PUT', '/api/admin/schemas/_lattice_x', { token, body: { mode: 'off', schema: {} } })).status, 403);
  });
});

describe('how the node is', () => {
  test('maps with their entries, workers, partitions and sessions are told', async () => {
    const token = await adminToken();
    const map = uniqueName('counted');
    const writer = await tokenOf('bob');
    for (const key of ['a', 'b', 'c']) {
      const headers = { authorization: `Bearer ${writer}`, 'content-type': 'application/json' };
      await fetch(`http://127.0.0.1:${node.port}/maps/${map}/${key}`, { method: 'PUT', headers, body: '1' });
    }
    const session = await node.wire();
    await session.next('AUTH_REQUIRED');
    session.send({ type: 'AUTH', token: writer, protocolVersion: 1 });
    await session.next('AUTH_ACK');

    const maps = (await ask('GET', '/api/admin/maps', { token })).body.maps as {
      name: string;
      entryCount: number;
      bytes: number;
    }[];
    const counted = maps.find(({ name }) => name === map);
    assert.equal(counted?.entryCount, 3);
    assert.ok((counted?.bytes ?? 0) > 0);

    const sessions = (await ask('GET', '/api/admin/sessions', { token })).body.sessions as { subject: string | null }[];
    assert.ok(sessions.some(({ subject }) => subject === 'bob'));
    const partitions = (await ask('GET', '/api/admin/partitions', { token })).body.partitions as {
      worker: number;
      state: string;
    }[];
    assert.equal(partitions.length, 271);
    assert.deepEqual([...new Set(partitions.map(({ worker, state }) => `${worker} ${state}`))].sort(), ['0 OWNED', '1 OWNED']);
    const workers = (await ask('GET', '/api/admin/workers', { token })).body.workers as { state: string; partitions: number }[];
    assert.deepEqual(
      workers.map(({ state }) => state),
      ['ready', 'ready'],
    );
    assert.equal(
      workers.reduce((sum, worker) => sum + worker.partitions, 0),
      271,
    );
  });

  test('the configuration is told without its secrets, and the one node that there is', async () => {
    const token = await adminToken();
    const { body } = await ask('GET', '/api/admin/settings', { token });
    assert.deepEqual(
      [body.jwtSecret, body.adminPassword, body.databaseUrl, body.slowOperationMs],
      ['(set)', '(set)', '(set)', 1],
    );
    const status = await ask('GET', '/api/admin/cluster/status', { token });
    const [only] = status.body.nodes as { state: string; workersReady: number; partitions: number }[];
    assert.deepEqual([only?.state, only?.workersReady, only?.partitions], ['ready', 2, 271]);
    const slow = (await ask('GET', '/api/admin/slow-operations', { token })).body.slowOperations;
    assert.ok(Array.isArray(slow));
  });

  test('every change stands in the audit with who made it and how it ended, also the refused ones', async () => {
    const token = await adminToken();
    const map = uniqueName('audited');
    await ask('PUT', `/api/admin/schemas/${map}`, { token, body: { mode: 'off', schema: {} } });
    await ask('DELETE', `/api/admin/schemas/${map}`, { token, headers: { 'if-match': '"9"' } });
    const { body } = await ask('GET', '/api/admin/audit?limit=50', { token });
    const entries = body.entries as { subject: string; action: string; target: string; outcome: string; address: string }[];
    assert.deepEqual(
      entries.filter(({ target }) => target === map).map(({ subject, action, outcome }) => [subject, action, outcome]),
      [
        ['root', 'DELETE schema', 'CONFLICT'],
        ['root', 'PUT schema', 'done'],
      ],
    );
    assert.equal((await ask('GET', '/api/admin/audit?limit=0', { token })).status, 400);
  });
});

/** The last of the file: from the first policy on nothing is allowed that no policy allows. */
describe('policies', () => {
  test('are made, changed by their version, and removed; they hold for data from then on, not for the administration', async () => {
    const token = await adminToken();
    const path = '/api/admin/policies';
    const map = uniqueName('notes');
    const read = async (sub: string): Promise<number> =>
      (await ask('GET', `/maps/${map}/a`, { token: await tokenOf(sub) })).status;
    assert.equal(await read('ann'), 404);
    const policy = { id: 'ann-reads', pattern: map, action: 'read', effect: 'allow', subjects: ['ann'] };
    const created = await ask('POST', path, { token, body: policy });
    assert.deepEqual([created.status, created.etag, created.body.id], [201, '"1"', 'ann-reads']);
    await eventually(async () => assert.deepEqual([await read('ann'), await read('bob')], [404, 403]));

    const changed = await ask('PUT', `${path}/ann-reads`, {
      token,
      body: { ...policy, subjects: ['bob'] },
      headers: { 'if-match': '"1"' },
    });
    assert.deepEqual([changed.status, changed.etag], [200, '"2"']);
    await eventually(async () => assert.deepEqual([await read('ann'), await read('bob')], [403, 404]));
    assert.equal((await ask('DELETE', `${path}/ann-reads`, { token, headers: { 'if-match': '"1"' } })).status, 409);
    assert.equal((await ask('DELETE', `${path}/ann-reads`, { token })).status, 200);
    await eventually(async () => assert.equal(await read('bob'), 403));
    const history = (await ask('GET', `${path}/ann-reads/history`, { token })).body.history as { version: number }[];
    assert.deepEqual(
      history.map(({ version }) => version),
      [3, 2, 1],
    );
    assert.equal((await ask('GET', '/api/admin/maps', { token })).status, 200);
  });

  test('a policy that makes no sense is refused by what is wrong with it', async () => {
    const token = await adminToken();
    const body = { id: 'x', pattern: 'm', effect: 'allow', action: 'fly' };
    const answer = await ask('POST', '/api/admin/policies', { token, body });
    assert.equal(answer.status, 400);
    assert.match(String(answer.body.message), /no action fly/);
  });
});
