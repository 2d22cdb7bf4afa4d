/** The proxy does to a connection what it is told, and nothing else. */
import assert from 'node:assert/strict';
import { createServer, connect, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { testFolder } from '../../workers/postgres/test-postgres.ts';
import { FaultyProxy } from './faulty-proxy.ts';

/** A server that sends everything back, behind a proxy. */
async function echo(): Promise<{ proxy: FaultyProxy; close: () => Promise<void> }> {
  const path = join(await testFolder(), 'echo');
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const proxy = await FaultyProxy.open(path);
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy();
    await proxy.close();
    server.close();
  };
  return { proxy, close };
}

class Peer {
  received = '';
  end: 'open' | 'FIN' | 'RST' = 'open';
  readonly socket: Socket;
  readonly ended: Promise<void>;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1' });
    this.socket.setEncoding('utf8').on('data', (text: string) => {
      this.received += text;
    });
    this.socket.on('end', () => {
      this.end = 'FIN';
    });
    this.socket.on('error', () => {
      this.end = 'RST';
    });
    this.ended = new Promise((resolve) => this.socket.once('close', () => resolve()));
  }

  async has(text: string): Promise<void> {
    for (let tries = 0; this.received !== text; tries++) {
      assert.ok(tries < 500, `received ${this.received} instead of ${text}`);
      await delay(10);
    }
  }
}

test('bytes flow, slowly when told so, and keep their order when the latency ends', async () => {
  const { proxy, close } = await echo();
  const peer = new Peer(proxy.port);
  peer.socket.write('one ');
  await peer.has('one ');
  proxy.set('latency', 40);
  peer.socket.write('two ');
  await delay(10);
  peer.socket.write('three ');
  await delay(10);
  proxy.set('pass');
  peer.socket.write('four');
  await peer.has('one two three four');
  await close();
});

test('a cut lets so many bytes through and ends the connection as told; the next one is served', async () => {
  const { proxy, close } = await echo();
  for (const by of ['FIN', 'RST'] as const) {
    proxy.cutAfter(6, by);
    const peer = new Peer(proxy.port);
    peer.socket.write('abcdefghij');
    await peer.ended;
    assert.ok(peer.received.length <= 6);
    if (by === 'FIN') assert.equal(peer.end, 'FIN');
  }
  assert.equal(proxy.cuts, 2);
  const next = new Peer(proxy.port);
  next.socket.write('well');
  await next.has('well');
  await close();
});

test('a black hole moves nothing and ends nothing, and gives everything back afterwards', async () => {
  const { proxy, close } = await echo();
  const peer = new Peer(proxy.port);
  peer.socket.write('before ');
  await peer.has('before ');
  proxy.set('black hole');
  peer.socket.write('inside ');
  const silent = new Peer(proxy.port);
  silent.socket.write('new');
  await delay(60);
  assert.equal(peer.received, 'before ');
  assert.equal(silent.received, '');
  proxy.set('pass');
  await peer.has('before inside ');
  await silent.has('new');
  await close();
});

test('a port that refuses ends what stands and what comes', async () => {
  const { proxy, close } = await echo();
  const peer = new Peer(proxy.port);
  peer.socket.write('x');
  await peer.has('x');
  proxy.set('refuse');
  await peer.ended;
  const next = new Peer(proxy.port);
  await next.ended;
  assert.equal(next.received, '');
  await close();
});
