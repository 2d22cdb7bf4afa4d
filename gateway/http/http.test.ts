import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { App, type TemplatedApp, us_socket_local_port } from 'uWebSockets.js';
import { GridError } from '../../engine/protocol/errors.ts';
import { createGridMemory } from '../../workers/grid-memory.ts';
import { GridState } from '../../workers/grid-state.ts';
import { GATEWAY_COUNTERS, GatewayCounters } from '../gateway-counters.ts';
import { type HttpReply, textReply } from './http-reply.ts';
import { httpOptions } from './http-options.ts';
import { endpoint, type Route } from './route.ts';
import { serveHttp } from './serve-http.ts';
import { UnreadAnswers } from './unread-answers.ts';
import { doorWithoutGrid } from '../testing/door-without-grid.ts';
import { testConfig } from '../testing/test-grid.ts';
import { originRefusal } from '../origin.ts';
import { serveWebSocket } from '../websocket.ts';

/** More than sockets hold. */
const LARGE_BYTES = 32 << 20;
const NOW_MS = 1_700_000_000_000;

const door = await doorWithoutGrid({
  now: () => ({ millis: NOW_MS, counter: 0, nodeId: 'node' }),
  remembersSinceMs: () => NOW_MS,
});

function listen(app: TemplatedApp): Promise<number> {
  return new Promise((resolve, reject) => {
    app.listen('127.0.0.1', 0, (socket) => {
      if (socket === false) reject(new Error('no port'));
      else resolve(us_socket_local_port(socket));
    });
  });
}

/** Sends bytes as they are, which fetch does not for Host, and resolves with all that comes back. */
function exchange(port: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      answer += text;
      if (answer.includes('\r\n\r\n')) socket.end();
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

const refusesStrangers = (origin: string, host: string): string | undefined =>
  originRefusal({ origin, host }, []) === undefined ? undefined : '403 Forbidden';

describe('the endpoints', () => {
  const sizes = { gateways: 2, workers: 1, ringBytes: 1024, messageBytesMax: 0 };
  const memory = createGridMemory({ ...sizes, gatewayCounterNames: GATEWAY_COUNTERS });
  const state = new GridState(memory.state);
  const app = App();
  let port = 0;

  before(async () => {
    const nobody = { opened: () => undefined, message: () => {}, drained: () => {}, closed: () => {} };
    const limits = { frameBytesMax: 65_536, unreadBytesMax: 65_536, idleTimeoutMs: 60_000, isSecure: false };
    serveWebSocket(app, { ...limits, refuses: refusesStrangers }, nobody);
    const parts = { memory, version: '1.2.3', refuses: refusesStrangers, onFailure: assert.fail, nowMs: () => NOW_MS };
    serveHttp(app, httpOptions(testConfig({}), { ...parts, door: () => door }));
    port = await listen(app);
    state.lifecycle = 'ready';
    state.startedMs = NOW_MS - 12_345;
    state.setWorkerState(0, 'ready');
    for (const [gateway, connections, ops] of [
      [0, 2, 100],
      [1, 1, 50],
    ] as const) {
      const counters = new GatewayCounters(memory.gatewayCounters, gateway);
      counters.connections = connections;
      counters.ops = ops;
      counters.publish();
    }
  });
  after(() => app.close());

  const get = (path: string, options?: RequestInit): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`, options);

  test('/health answers with the whole node, and with plain headers', async () => {
    const response = await get('/health');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8');
    assert.equal(response.headers.get('cache-control'), 'no-store');
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
    const { workers, ...document } = Object(await response.json());
    assert.deepEqual(
      workers.map(({ id, state, records, partitions }: Record<string, unknown>) => [id, state, records, partitions]),
      [[0, 'ready', 0, 271]],
    );
    assert.deepEqual(document, {
      state: 'ready',
      connections: 3,
      in_flight: 0,
      uptime_secs: 12,
      version: '1.2.3',
      ready: true,
      writable: true,
      degraded: [],
      reasons: [],
      gateways: 2,
      storage: { state: 'normal', stagedBytes: 0, stagedRecords: 0, lagMs: 0 },
      log: { state: 'open', bytes: 0, syncedAgeMs: 0, damagedPartitions: 0 },
      memory: { bytes: 0, bytesMax: 0 },
    });
  });

  test('/health stays 200 while the node is not ready, /health/ready and /healthz turn 503 with an empty body', async () => {
    for (const lifecycle of ['starting', 'draining'] as const) {
      state.lifecycle = lifecycle;
      const health = await get('/health');
      assert.equal(health.status, 200);
      assert.match(await health.text(), new RegExp(`"state":"${lifecycle}"`));
      for (const path of ['/health/ready', '/healthz']) {
        const response = await get(path);
        assert.equal(response.status, 503);
        assert.equal(await response.text(), '');
      }
      assert.equal((await get('/health/live')).status, 200);
    }
    state.lifecycle = 'ready';
  });

  for (const path of ['/health/live', '/health/ready', '/healthz']) {
    test(`${path} is 200 with an empty body on a ready node`, async () => {
      const response = await get(path);
      assert.equal(response.status, 200);
      assert.equal(await response.text(), '');
    });
  }

  test('/metrics is Prometheus text of all gateways', async () => {
    const response = await get('/metrics');
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
    const text = await response.text();
    assert.match(text, /^lattice_ops_total\{gateway="0"\} 100$/m);
    assert.match(text, /^lattice_ops_total\{gateway="1"\} 50$/m);
    assert.match(text, /^topgun_active_connections 3$/m);
  });

  test('/api/status and /api/auth/status answer as the protocol says', async () => {
    assert.deepEqual(await (await get('/api/status')).json(), {
      configured: true,
      version: '1.2.3',
      mode: 'normal',
      connections: 3,
      uptimeSeconds: 12,
      totalOperations: 150,
    });
    assert.deepEqual(await (await get('/api/auth/status')).json(), { authRequired: false });
  });

  test('/ without an upgrade says what the endpoint is for, and with one still upgrades', async () => {
    const response = await get('/');
    assert.equal(response.status, 200);
    assert.match(await response.text(), /WebSocket endpoint/);
    const upgrade =
      `GET / HTTP/1.1\r\nHost: localhost:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';
    assert.match(await exchange(port, upgrade), /^HTTP\/1\.1 101 /);
  });

  test('an unknown path is 404 with code, name and message', async () => {
    for (const [path, method] of [
      ['/nowhere', 'GET'],
      ['/health/', 'GET'],
      ['/metrics/more', 'GET'],
      ['/nowhere', 'DELETE'],
    ] as const) {
      const response = await get(path, { method });
      assert.equal(response.status, 404, path);
      const message = `no such endpoint: ${method} ${path}`;
      assert.deepEqual(await response.json(), { code: 404, error: 'NOT_FOUND', message, retryable: false });
    }
  });

  test('a known path with another method is 405 and says which methods there are', async () => {
    for (const [path, method] of [
      ['/health', 'POST'],
      ['/', 'DELETE'],
      ['/maps/todos', 'PUT'],
    ] as const) {
      const response = await get(path, { method });
      assert.equal(response.status, 405, path);
      assert.equal(response.headers.get('allow'), 'GET, HEAD, OPTIONS');
      assert.equal(Object(await response.json()).error, 'METHOD_NOT_ALLOWED');
    }
    const options = await get('/maps/todos/k', { method: 'OPTIONS' });
    assert.equal(options.status, 204);
    assert.equal(options.headers.get('allow'), 'GET, PUT, DELETE, HEAD, OPTIONS');
  });

  test('HEAD has the headers of GET and no body', async () => {
    const [head, whole] = [await get('/health', { method: 'HEAD' }), await get('/health')];
    assert.equal(head.status, 200);
    assert.equal(head.headers.get('content-length'), String((await whole.arrayBuffer()).byteLength));
    assert.equal(await head.text(), '');
  });

  test('a request under another name than a loopback one is refused on every path', async () => {
    for (const path of ['/', '/health', '/metrics', '/nowhere']) {
      const answer = await exchange(port, `GET ${path} HTTP/1.1\r\nHost: evil.com\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 403 Forbidden\r\n/);
      assert.match(answer, /\{"code":403,"error":"FORBIDDEN","message":"refused: Forbidden","retryable":false\}$/);
    }
  });

  test('a page of another site is refused', async () => {
    const response = await get('/health', { headers: { origin: 'https://evil.com' } });
    assert.equal(response.status, 403);
  });
});

describe('a route', () => {
  const app = App();
  const impatient = App();
  const failures: unknown[] = [];
  let port = 0;
  let impatientPort = 0;
  let arrived = (): void => {};
  let answer = (_: HttpReply): void => {};
  let refuse = (_: Error): void => {};

  const held = (): Promise<HttpReply> => {
    const reply = new Promise<HttpReply>((resolve, reject) => {
      answer = resolve;
      refuse = reject;
    });
    arrived();
    return reply;
  };

  const route = (path: string, answer: () => HttpReply | Promise<HttpReply>): Route => ({
    path,
    summary: path,
    methods: { get: endpoint({ summary: path, access: 'open', answers: {}, answer }) },
  });

  before(async () => {
    const memory = createGridMemory({
      gateways: 1,
      workers: 1,
      ringBytes: 1024,
      messageBytesMax: 0,
      gatewayCounterNames: GATEWAY_COUNTERS,
    });
    const parts = { memory, version: '1', refuses: () => undefined, door: () => undefined };
    const options = httpOptions(testConfig({}), { ...parts, onFailure: (error) => failures.push(error) });
    const overloaded = new GridError('OVERLOADED', 'too much at once');
    const routes = [
      route('/well', () => textReply(200, 'well')),
      route('/throws', () => assert.fail('a bug')),
      route('/rejects', () => Promise.reject(new Error('a later bug'))),
      route('/overloaded', () => Promise.reject(overloaded)),
      route('/held', held),
      route('/large', () => textReply(200, 'x'.repeat(LARGE_BYTES))),
    ];
    serveHttp(app, { ...options, routes, unread: new UnreadAnswers(2.5 * LARGE_BYTES) });
    serveHttp(impatient, { ...options, routes: [route('/never', () => new Promise<HttpReply>(() => {}))], deadlineMs: 10 });
    impatientPort = await listen(impatient);
    port = await listen(app);
  });
  after(() => {
    app.close();
    impatient.close();
  });

  const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`);

  const livesOn = async (): Promise<void> => assert.equal(await (await get('/well')).text(), 'well');

  for (const path of ['/throws', '/rejects']) {
    test(`whose handler fails (${path}) answers 500 without the error's text, reports it, and the process lives`, async () => {
      failures.length = 0;
      const response = await get(path);
      assert.equal(response.status, 500);
      const error = { code: 500, error: 'INTERNAL', message: 'internal error', retryable: false };
      assert.deepEqual(await response.json(), error);
      assert.match(String(failures[0]), /bug/);
      assert.equal(failures.length, 1);
      await livesOn();
    });
  }

  test('answers a GridError with its status and message', async () => {
    const response = await get('/overloaded');
    assert.equal(response.status, 429);
    assert.equal(response.headers.get('retry-after'), '1');
    const error = { code: 429, error: 'OVERLOADED', message: 'too much at once', retryable: true };
    assert.deepEqual(await response.json(), error);
  });

  test('whose large answers nobody reads is answered for until they are read, or never will be', async () => {
    const sleepers = await Promise.all(
      [1, 2].map(async () => {
        const socket = connect(port, '127.0.0.1', () => socket.write('GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n'));
        socket.on('error', () => {});
        await once(socket, 'readable'); // its answer has begun
        return socket;
      }),
    );
    let response = await get('/large');
    for (let tries = 0; response.status === 200 && tries < 50; tries++) {
      assert.equal((await response.text()).length, LARGE_BYTES, 'it comes whole');
      response = await get('/large');
    }
    assert.equal(response.status, 429);
    await livesOn();
    for (const socket of sleepers) socket.destroy();
    for (let tries = 0; response.status === 429 && tries < 50; tries++) {
      await response.text();
      response = await get('/large');
    }
    assert.equal((await response.text()).length, LARGE_BYTES);
  });

  test('that does not answer by the deadline is answered for', async () => {
    assert.equal((await fetch(`http://127.0.0.1:${impatientPort}/never`)).status, 504);
  });

  for (const [outcome, settle] of [
    ['answers', () => answer(textReply(200, 'too late'))],
    ['fails', () => refuse(new Error('too late'))],
  ] as const) {
    test(`whose client has gone before it ${outcome} writes nothing, and the process lives`, async () => {
      const arrival = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      const client = connect(port, '127.0.0.1');
      client.write('GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n');
      await arrival;
      const closed = new Promise((resolve) => client.once('close', resolve));
      client.resetAndDestroy();
      await closed;
      await livesOn(); // a turn of the server's loop later it knows that the client has gone
      settle();
      await livesOn();
    });
  }
});
