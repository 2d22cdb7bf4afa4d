/** Requests that no library sends, over a bare socket, by whom nobody knows: each is refused by its status, and the server goes on. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import test, { after, before } from 'node:test';
import { signedToken, TEST_SECRET } from '../testing/signed-token.ts';
import { startGrid, type TestGrid } from '../testing/test-grid.ts';

let node: TestGrid;
let authorization = '';

before(async () => {
  node = await startGrid({ jwtSecret: TEST_SECRET, adminPassword: 'a long enough password' });
  authorization = `Authorization: Bearer ${await signedToken({ sub: 'ann', roles: ['admin'] })}\r\n`;
});

after(async () => {
  await node.grid.stop();
  assert.deepEqual(node.fatal, []);
});

/** Status and body of the answer to these bytes; status 0 for an end without an answer. */
async function answerTo(bytes: string): Promise<{ readonly status: number; readonly body: string }> {
  const socket = connect(node.port, '127.0.0.1');
  let text = '';
  socket.setEncoding('utf8').on('error', () => {});
  socket.write(bytes);
  socket.on('data', (part: string) => {
    text += part;
    const head = text.indexOf('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
    if (head >= 0 && text.length >= head + 4 + length) socket.destroy();
  });
  await once(socket, 'close');
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), body: text.slice(text.indexOf('\r\n\r\n') + 4) };
}

const head = (method: string, path: string, ...headers: readonly string[]): string =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost:1\r\nContent-Type: application/json\r\n${headers.map((line) => `${line}\r\n`).join('')}`;

function written(method: string, path: string, body: string): string {
  return `${head(method, path, `Content-Length: ${Buffer.byteLength(body)}`)}${authorization}\r\n${body}`;
}

test('a second Content-Length, which uWS does not look at, is refused: before authentication, too', async () => {
  for (const second of ['abc', '-1', '1e9', '9'.repeat(30), '']) {
    const lines = ['Content-Length: 2', `Content-Length: ${second}`];
    for (const path of ['/maps/m/k', '/api/auth/login', '/sync']) {
      const method = path.startsWith('/maps') ? 'PUT' : 'POST';
      for (const who of ['', 'Authorization: Bearer x.y.z\r\n', authorization]) {
        const { status } = await answerTo(`${head(method, path, ...lines)}${who}\r\n{}`);
        assert.ok(status === 400 || status === 401 || status === 0, `${method} ${path} ${second}: ${status}`);
      }
    }
  }
});

test('lengths, chunks and heads that are too much or none are refused', async () => {
  const put = (...lines: readonly string[]): string => `${head('PUT', '/maps/m/k', ...lines)}${authorization}\r\n1`;
  const cases: [number, string][] = [
    [413, put('Content-Length: 99999999999999')],
    [400, put('Content-Length: abc')],
    [400, put('Content-Length: -1')],
    [400, put('Content-Length: 0x1')],
    [400, put('Content-Length: 1', 'Transfer-Encoding: chunked')],
    [431, `${head('GET', '/health', ...Array.from({ length: 1000 }, (_, index) => `x-${index}: 1`))}\r\n`],
    [431, `${head('GET', '/health', `x: ${'y'.repeat(100_000)}`)}\r\n`],
    [401, `${head('GET', `/maps/${'y'.repeat(3000)}`)}\r\n`],
    [413, written('POST', '/api/auth/login', `"${'a'.repeat(5000)}"`)],
  ];
  for (const [status, bytes] of cases) assert.equal((await answerTo(bytes)).status, status, bytes.slice(0, 200));
});

test('bodies that are nested without end are refused as such by every route that takes one', async () => {
  const array = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
  const object = (name: string): string => [`{"${name}":`.repeat(20_000), '{}', '}'.repeat(20_000)].join('');
  const timestamp = '{"millis":1,"counter":0,"nodeId":"a"}';
  const op = `{"id":"1","mapName":"m","key":"k","record":{"value":${array},"timestamp":${timestamp}}}`;
  const cases: [string, string, string][] = [
    ['PUT', '/maps/m/k', array],
    ['PUT', '/maps/m/k', object('a')],
    ['POST', '/sync', array],
    ['POST', '/sync', `{"clientId":"a","clientHlc":${timestamp},"operations":[${op}]}`],
    ['PUT', '/api/admin/schemas/m', `{"type":"object","properties":{"a":${object('items')}}}`],
    ['PUT', '/api/admin/policies/p', `{"pattern":"m","actions":["read"],"effect":"allow","condition":${object('child')}}`],
  ];
  for (const [method, path, body] of cases) {
    const { status, body: told } = await answerTo(written(method, path, body));
    assert.ok(status >= 400 && status < 500, `${method} ${path} ${body.slice(0, 60)}: ${status} ${told}`);
    assert.ok(told.length < 2000, `${told.length} characters are told`);
  }
});

test('names of what objects inherit are names like others, and change no object', async () => {
  const value = '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}';
  for (const path of ['/maps/__proto__/__proto__', '/maps/constructor/prototype', '/maps/m/toString']) {
    assert.equal((await answerTo(written('PUT', path, value))).status, 201, path);
    assert.equal((await answerTo(`${head('GET', path)}${authorization}\r\n`)).body, value);
  }
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
});
