/** HTTP with authentication: tokens, policies, rates, and pages of other sites. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import test, { after, before, describe } from 'node:test';
import { signedToken, TEST_SECRET, type TokenClaims } from '../testing/signed-token.ts';
import { startGrid, type TestGrid } from '../testing/test-grid.ts';

const OWN = { op: 'eq', attribute: 'owner', valueRef: 'auth.id' };
const POLICIES = [
  { id: 'notes', pattern: 'notes', actions: ['read', 'write', 'remove'], effect: 'allow', condition: OWN },
  { id: 'open', pattern: 'open', actions: ['all'], effect: 'allow' },
  { id: 'news', pattern: 'news', actions: ['read'], effect: 'allow' },
];

let guarded: TestGrid;
let loose: TestGrid;
let open: TestGrid;

before(async () => {
  const origins = { trustedOrigins: ['https://app.example.com'] };
  guarded = await startGrid({ jwtSecret: TEST_SECRET, policyBypassSubjects: ['root'], ...origins });
  for (const policy of POLICIES) await guarded.grid.policies.put(policy, 'test', 0);
  loose = await startGrid({ jwtSecret: TEST_SECRET, httpAnonymous: true });
  open = await startGrid({ rateOpsPerSecond: 1, rateBurstOps: 5, ...origins });
});

after(async () => {
  for (const node of [guarded, loose, open]) {
    await node.grid.stop();
    assert.deepEqual(node.fatal, []);
  }
});

interface Options {
  readonly claims?: TokenClaims;
  readonly token?: string;
  readonly headers?: Record<string, string>;
}

async function ask(node: TestGrid, method: string, path: string, body?: unknown, options: Options = {}): Promise<Response> {
  const token = options.claims === undefined ? options.token : await signedToken(options.claims);
  const headers = new Headers({ 'content-type': 'application/json', ...options.headers });
  if (token !== undefined) headers.set('authorization', `Bearer ${token}`);
  const json = body === undefined ? {} : { body: JSON.stringify(body) };
  return fetch(`http://127.0.0.1:${node.port}${path}`, { method, headers, ...json });
}

const as = (sub: string): Options => ({ claims: { sub } });

describe('with authentication', () => {
  test('who has no token, or a bad one, gets 401 and how to ask, save for health', async () => {
    const stale = await signedToken({ sub: 'ann', expiresS: -600 });
    for (const [token, message] of [
      [undefined, 'authentication required'],
      ['', 'authentication required'],
      ['x.y.z', 'Authentication failed'],
      [stale, 'Authentication failed'],
    ] as const) {
      for (const path of ['/maps/open/k', '/maps/open', '/metrics', '/api/status', '/api/openapi.json']) {
        const response = await ask(guarded, 'GET', path, undefined, token === undefined ? {} : { token });
        assert.equal(response.status, 401, path);
        assert.equal(response.headers.get('www-authenticate'), 'Bearer realm="lattice"');
        assert.deepEqual(await response.json(), { code: 401, error: 'UNAUTHENTICATED', message, retryable: false });
      }
    }
    for (const path of ['/', '/health', '/health/live', '/health/ready', '/healthz', '/api/auth/status'])
      assert.equal((await ask(guarded, 'GET', path)).status, 200, path);
  });

  test('a body is not read before its sender is known', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      let text = '';
      const head =
        'PUT /maps/open/k HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x.y.z\r\nContent-Length: 1000000\r\n\r\n';
      const socket = connect(guarded.port, '127.0.0.1', () => socket.write(`${head}"`)); // and no more of it
      socket.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        socket.destroy();
      });
      socket.on('close', () => resolve(text)).on('error', reject);
    });
    assert.match(answer, /^HTTP\/1\.1 401 /);
  });

  test('a good token opens what the policies allow, and nothing else', async () => {
    assert.equal((await ask(guarded, 'PUT', '/maps/open/k', 1, as('ann'))).status, 201);
    assert.equal((await ask(guarded, 'GET', '/metrics', undefined, as('ann'))).status, 200);
    const refused = await ask(guarded, 'PUT', '/maps/news/k', 1, as('ann'));
    assert.equal(refused.status, 403);
    assert.equal(Object(await refused.json()).message, 'write access denied for map: news');
    assert.equal((await ask(guarded, 'GET', '/maps/secret/k', undefined, as('ann'))).status, 403);
    assert.equal((await ask(guarded, 'DELETE', '/maps/news/k', undefined, as('ann'))).status, 403);
    assert.equal((await ask(guarded, 'PUT', '/maps/secret/k', 1, as('root'))).status, 201);
  });

  test('rows of others are not there for whoever has row rules', async () => {
    assert.equal((await ask(guarded, 'PUT', '/maps/notes/a', { owner: 'ann', text: 'hi' }, as('ann'))).status, 201);
    assert.equal((await ask(guarded, 'PUT', '/maps/notes/b', { owner: 'bob', text: 'ho' }, as('bob'))).status, 201);
    assert.equal((await ask(guarded, 'GET', '/maps/notes/b', undefined, as('ann'))).status, 404);
    assert.equal((await ask(guarded, 'DELETE', '/maps/notes/b', undefined, as('ann'))).status, 404);
    assert.equal((await ask(guarded, 'PUT', '/maps/notes/b', { owner: 'ann' }, as('ann'))).status, 403);
    assert.equal((await ask(guarded, 'PUT', '/maps/notes/c', { owner: 'bob' }, as('ann'))).status, 403);
    const { entries } = Object(await (await ask(guarded, 'GET', '/maps/notes', undefined, as('ann'))).json());
    assert.deepEqual(
      entries.map(({ key }: { key: string }) => key),
      ['a'],
    );
    const { entries: keys } = Object(await (await ask(guarded, 'GET', '/maps/notes?keys=on', undefined, as('ann'))).json());
    assert.deepEqual(
      keys.map(({ key }: { key: string }) => key),
      ['a'],
      'nor by their keys',
    );
  });

  test('a condition finds what its subject may see, and says nothing of the rest', async () => {
    for (const policy of [
      { id: 'staff', pattern: 'staff', actions: ['read'], effect: 'allow' },
      { id: 'no-pay', pattern: 'staff', actions: ['read'], effect: 'deny', fields: ['pay'] },
      { id: 'todo', pattern: 'todo', actions: ['read'], effect: 'allow', condition: OWN },
    ])
      await guarded.grid.policies.put(policy, 'test', 0);
    for (const [key, owner] of [
      ['a', 'ann'],
      ['b', 'bob'],
    ] as const) {
      assert.equal((await ask(guarded, 'PUT', `/maps/todo/${key}`, { owner, n: 1 }, as('root'))).status, 201);
      assert.equal((await ask(guarded, 'PUT', `/maps/staff/${key}`, { name: owner, pay: 5 }, as('root'))).status, 201);
    }
    const found = async (map: string, parameters: Record<string, string>, sub: string): Promise<unknown> => {
      const path = `/maps/${map}?${new URLSearchParams(parameters)}`;
      return Object(await (await ask(guarded, 'GET', path, undefined, as(sub))).json()).entries;
    };
    const where = JSON.stringify({ n: 1 });
    assert.deepEqual(await found('todo', { where }, 'ann'), [{ key: 'a', value: { owner: 'ann', n: 1 } }]);
    assert.deepEqual(await found('todo', { where, keys: 'on' }, 'eve'), []);
    assert.deepEqual(await found('staff', { sort: 'name', limit: '1' }, 'ann'), [{ key: 'a', value: { name: 'ann' } }]);
    assert.deepEqual(await found('staff', { where: '{"pay":5}' }, 'ann'), [], 'nor by asking for it');
    assert.deepEqual(Object(await found('staff', { where: '{"pay":5}' }, 'root')).length, 2);
    assert.equal((await ask(guarded, 'GET', '/maps/secret?sort=n', undefined, as('ann'))).status, 403);
    assert.equal((await ask(guarded, 'GET', '/maps/todo?sort=n')).status, 401);
  });

  test('and httpAnonymous, who has no token or a bad one is nobody in particular', async () => {
    assert.equal((await ask(loose, 'PUT', '/maps/open/k', 1)).status, 201);
    assert.equal((await ask(loose, 'GET', '/maps/open/k', undefined, { token: 'x.y.z' })).status, 200);
    const stream = await ask(loose, 'GET', '/events?map=open');
    assert.equal(stream.status, 200);
    await stream.body?.cancel();
  });
});

describe('a page of another site', () => {
  const from = (origin: string, more: Record<string, string> = {}): Options => ({ headers: { origin, ...more } });

  test('may read the answers when its origin is trusted, and asks before it writes', async () => {
    const preflight = await ask(
      guarded,
      'OPTIONS',
      '/maps/open/k',
      undefined,
      from('https://app.example.com', {
        'access-control-request-method': 'PUT',
        'access-control-request-headers': 'authorization,if-match',
      }),
    );
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get('access-control-allow-origin'), 'https://app.example.com');
    assert.match(preflight.headers.get('access-control-allow-methods') ?? '', /PUT/);
    assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /Authorization.*If-Match/);
    const answer = await ask(guarded, 'GET', '/maps/open/k', undefined, { ...as('ann'), ...from('https://app.example.com') });
    assert.equal(answer.headers.get('access-control-allow-origin'), 'https://app.example.com');
    assert.match(answer.headers.get('access-control-expose-headers') ?? '', /ETag/);
    assert.equal(answer.headers.get('vary'), 'Origin');
    assert.equal(answer.headers.get('access-control-allow-credentials'), null);
  });

  test('may read nothing when it is not, and without authentication is not served at all', async () => {
    const answer = await ask(guarded, 'GET', '/health', undefined, from('https://evil.com'));
    assert.equal(answer.headers.get('access-control-allow-origin'), null);
    const loopback = await ask(guarded, 'GET', '/health', undefined, from('http://localhost:3000'));
    assert.equal(loopback.headers.get('access-control-allow-origin'), null, 'where tokens decide, loopback is no reason');
    assert.equal((await ask(open, 'GET', '/health', undefined, from('https://evil.com'))).status, 403);
    const local = await ask(open, 'GET', '/health', undefined, from('http://localhost:3000'));
    assert.equal(local.headers.get('access-control-allow-origin'), 'http://localhost:3000');
  });

  test('may read a stream by the same rules', async () => {
    assert.equal((await ask(open, 'GET', '/events?map=m', undefined, from('https://evil.com'))).status, 403);
    for (const [origin, allowed] of [
      ['https://app.example.com', 'https://app.example.com'],
      ['https://evil.com', null],
    ] as const) {
      const stream = await ask(guarded, 'GET', '/events?map=open', undefined, { ...as('ann'), ...from(origin) });
      assert.equal(stream.status, 200);
      assert.equal(stream.headers.get('access-control-allow-origin'), allowed);
      await stream.body?.cancel();
    }
  });
});

describe('the rate limit', () => {
  test('counts by address where there are no subjects, and says when to come again', async () => {
    const statuses: number[] = [];
    for (let n = 0; n < 8; n++) statuses.push((await ask(open, 'GET', '/maps/m/k')).status);
    assert.deepEqual(statuses.slice(0, 5), [404, 404, 404, 404, 404]);
    const limited = await ask(open, 'GET', '/maps/m/k');
    assert.equal(limited.status, 429);
    assert.equal(limited.headers.get('retry-after'), '1');
    assert.equal(Object(await limited.json()).retryable, true);
    assert.equal((await ask(open, 'GET', '/health')).status, 200, 'health costs nothing');
  });
});
