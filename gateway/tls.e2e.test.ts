/** TLS on every port of a server process, and other certificates while it runs. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before, describe } from 'node:test';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { packageFolder } from '../workers/package-folder.ts';
import { payloadOf } from './testing/client-fields.ts';
import { RespClient } from './testing/resp-client.ts';
import { ServerProcess } from './testing/server-process.ts';
import { eventually } from './testing/test-grid.ts';
import { put } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const FIXTURES = join(packageFolder(), 'gateway', 'fixtures', 'tls');
const CERTS = { one: readFileSync(join(FIXTURES, 'one.cert.pem')), two: readFileSync(join(FIXTURES, 'two.cert.pem')) };

const folder = mkdtempSync(join(tmpdir(), 'lattice-tls-'));
const certFile = join(folder, 'cert.pem');
const keyFile = join(folder, 'key.pem');
const environment = {
  LATTICE_STORE: 'none',
  LATTICE_DATA_DIR: join(folder, 'data'),
  LATTICE_TLS_CERT_FILE: certFile,
  LATTICE_TLS_KEY_FILE: keyFile,
};
let server: ServerProcess;
let port = 0;
let respPort = 0;

function install(name: 'one' | 'two'): void {
  copyFileSync(join(FIXTURES, `${name}.key.pem`), keyFile);
  copyFileSync(join(FIXTURES, `${name}.cert.pem`), certFile);
}

/** Who the server says it is to a new connection. */
function subjectAt(at: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connectTls({ host: '127.0.0.1', port: at, servername: 'localhost', ca: [CERTS.one, CERTS.two] });
    socket.on('error', reject);
    socket.on('secureConnect', () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
  });
}

function fetched(path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, servername: 'localhost', ca: [CERTS.one, CERTS.two], agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
    }).on('error', reject);
  });
}

before(async () => {
  install('one');
  respPort = 20_000 + Math.floor(Math.random() * 10_000);
  server = new ServerProcess(
    ['--port', '0', '--gateway-threads', '2', '--worker-threads', '1', '--resp-port', String(respPort)],
    environment,
  );
  port = await server.port();
});

after(async () => {
  server.signal('SIGTERM');
  assert.deepEqual(await server.exited, { code: 0, signal: null });
  rmSync(folder, { recursive: true, force: true });
});

test('the partition map leads its client back by TLS', async () => {
  const session = await WireSession.open({ port, path: '/ws', ca: CERTS.one });
  session.send({ type: 'PARTITION_MAP_REQUEST', payload: { currentVersion: 0 } });
  const { nodes } = payloadOf(await session.next('PARTITION_MAP'));
  assert.match(JSON.stringify(nodes), new RegExp(`"websocket":"wss://[^/]+:${port}/ws","http":"https://[^/]+:${port}"`));
  session.socket.close();
});

test('WebSocket, HTTP and Redis serve one key by TLS, and nothing in the clear', async () => {
  const session = await WireSession.open({ port, ca: CERTS.one });
  session.sendOps(put('1', 'letters', 'k', { sealed: true }));
  assert.equal(payloadOf(await session.next('OP_ACK')).lastId, '1');
  assert.deepEqual(await fetched('/maps/letters/k'), { status: 200, body: '{"sealed":true}' });
  const redis = await RespClient.open(respPort, CERTS.one);
  assert.equal(await redis.text('HGET', 'letters', 'k'), '$15\r\n{"sealed":true}\r\n');
  for (const at of [port, respPort]) {
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      const socket = connect(at, '127.0.0.1', () => socket.write('GET /maps/letters/k HTTP/1.1\r\nHost: localhost\r\n\r\n'));
      socket.setEncoding('latin1').on('data', (part: string) => {
        text += part;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });
    assert.ok(!answer.includes('sealed') && !answer.includes('HTTP/1.1 200'), answer);
  }
  session.socket.close();
  redis.close();
});

test('without TLS there is nothing to read on SIGHUP, and the server goes on', async () => {
  const plain = new ServerProcess(['--port', '0'], { LATTICE_STORE: 'none', LATTICE_DATA_DIR: join(folder, 'plain') });
  const at = await plain.port();
  plain.signal('SIGHUP');
  await eventually(() => assert.match(plain.stderr, /no TLS certificate to be read again/));
  assert.equal((await fetch(`http://127.0.0.1:${at}/health`)).status, 200);
  plain.signal('SIGTERM');
  assert.deepEqual(await plain.exited, { code: 0, signal: null });
});

describe('another certificate', () => {
  test('is served to new connections on SIGHUP, by every thread, and open ones stay', async () => {
    const session = await WireSession.open({ port, ca: CERTS.one });
    const redis = await RespClient.open(respPort, CERTS.one);
    install('two');
    server.signal('SIGHUP');
    await eventually(async () => assert.equal(await subjectAt(port), 'lattice-test-two'));
    for (let connection = 0; connection < 4; connection++) assert.equal(await subjectAt(port), 'lattice-test-two');
    await eventually(async () => assert.equal(await subjectAt(respPort), 'lattice-test-two'));
    session.sendOps(put('1', 'letters', 'k', 2));
    await session.next('OP_ACK');
    assert.equal(await redis.text('HGET', 'letters', 'k'), '$1\r\n2\r\n');
    const newer = await WireSession.open({ port, ca: CERTS.two });
    newer.sendOps(put('1', 'letters', 'k', 3));
    await newer.next('OP_ACK');
    await session.next('SERVER_EVENT', (message) => JSON.stringify(message).includes('3'));
    for (const one of [session, newer]) one.socket.close();
    redis.close();
  });

  test('that is the same is nothing new: nobody who connects meanwhile is turned away', async () => {
    const reads = (): number => server.stderr.split('TLS certificate read').length;
    const before = reads();
    for (let connection = 0; connection < 40; connection++) {
      server.signal('SIGHUP');
      assert.equal(await subjectAt(port), 'lattice-test-two');
    }
    assert.equal(reads(), before);
  });

  test('is taken when its files change, and one that is none is not', async () => {
    writeFileSync(keyFile, 'nonsense');
    await eventually(() => assert.match(server.stderr, /the TLS files were not taken/));
    assert.equal(await subjectAt(port), 'lattice-test-two');
    install('one');
    await eventually(async () => assert.equal(await subjectAt(port), 'lattice-test-one'));
    assert.equal((await fetched('/health')).status, 200);
    assert.ok(!server.stderr.includes('PRIVATE KEY'));
  });
});

test('a server whose files are missing, or do not belong together, does not start and says why', async () => {
  const own = mkdtempSync(join(tmpdir(), 'lattice-tls-'));
  copyFileSync(join(FIXTURES, 'one.cert.pem'), join(own, 'cert.pem'));
  copyFileSync(join(FIXTURES, 'two.key.pem'), join(own, 'key.pem'));
  for (const [cert, key, reason] of [
    ['none.pem', 'key.pem', /tlsCertFile .*none\.pem cannot be read/],
    ['cert.pem', 'none.pem', /tlsKeyFile .*none\.pem cannot be read/],
    ['cert.pem', 'key.pem', /are no certificate and its key in PEM form/],
    ['key.pem', 'key.pem', /are no certificate and its key in PEM form/],
  ] as const) {
    const broken = new ServerProcess(['--port', '0'], {
      ...environment,
      LATTICE_TLS_CERT_FILE: join(own, cert),
      LATTICE_TLS_KEY_FILE: join(own, key),
    });
    assert.equal((await broken.exited).code, 1);
    assert.match(broken.stderr, reason);
    assert.equal(broken.stdout, '');
  }
  const half = new ServerProcess(['--port', '0'], { LATTICE_STORE: 'none', LATTICE_TLS_CERT_FILE: join(own, 'cert.pem') });
  assert.equal((await half.exited).code, 2);
  assert.match(half.stderr, /tlsCertFile and tlsKeyFile need each other/);
  rmSync(own, { recursive: true, force: true });
});
