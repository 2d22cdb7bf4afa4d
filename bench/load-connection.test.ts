/** What a server may do wrong under load: none of it passes for work that was done. */
import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { type LoadPlan, type LoadReport, runLoad } from './load.ts';
import { ackFrame } from './losing-server.ts';

const UPGRADED = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n';
/** Of the last op of the fifth frame: four are in flight. */
const FIFTH_FRAME = '100000000049';

test('an ack of a frame that was not sent fails the run, and so does one more than frames were sent', async () => {
  const named = webSocketServer((socket) => socket.write(ackFrame(FIFTH_FRAME)));
  await assert.rejects(run(named), /^Error: ack of 100000000049, which was not sent$/);
  const counted = webSocketServer((socket) => socket.write(Buffer.concat(Array.from({ length: 50 }, () => ackFrame('0')))));
  await assert.rejects(run(counted, { ackRule: 'counted' }), /^Error: ack of 0, which was not sent$/);
});

test('a connection that the server closes fails the run, under load and idle', async () => {
  const ended = webSocketServer((socket) => socket.end());
  await assert.rejects(run(ended), /^Error: the server closed the connection$/);
  let opened = 0;
  const idle = webSocketServer(
    () => {},
    (socket) => {
      opened += 1;
      if (opened === 3) setTimeout(() => socket.end(), 10);
    },
  );
  await assert.rejects(run(idle, { connections: 3, window: 0, keys: 0 }), /^Error: the server closed the connection$/);
});

test('a run that the server ends with a word fails with it, and with what was said before', async () => {
  const error = Buffer.from(encode({ type: 'ERROR', payload: { message: 'slow down' } }));
  const close = Buffer.concat([Uint8Array.of(0x03, 0xf5), Buffer.from('busy')]);
  const server = webSocketServer((socket) => socket.write(Buffer.concat([frame(0x82, error), frame(0x88, close)])));
  await assert.rejects(run(server), /^Error: the server closed with 1013 busy; it had said: .*ERROR.*slow down/);
});

test('an upgrade that is refused fails the run', async () => {
  const server = createServer((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 503 Service Unavailable\r\n\r\n'));
  });
  await assert.rejects(run(server), /^Error: the upgrade was answered with HTTP\/1.1 503 Service Unavailable$/);
});

test('a run of Redis is valid when each command has its reply', async () => {
  const server = redisServer(() => ':3\r\n');
  const report = await run(server, { ackRule: 'lines' });
  assert.ok(report.opsMeasured > 0 && report.opsSent >= report.opsMeasured);
});

test('an error among the replies of Redis fails the run, and so does a reply too many', async () => {
  const refuses = redisServer((command) => (command === 25 ? '-ERR no\r\n' : ':3\r\n'));
  await assert.rejects(run(refuses, { ackRule: 'lines' }), /^Error: a reply is -ERR no$/);
  const repeats = redisServer((command) => (command === 25 ? ':3\r\n:3\r\n' : ':3\r\n'));
  await assert.rejects(run(repeats, { ackRule: 'lines' }), /^Error: there are more replies than commands$/);
});

/** Takes each upgrade; what it does then, and on each read of frames, is said by the test. */
function webSocketServer(onFrames: (socket: Socket) => void, onUpgraded: (socket: Socket) => void = () => {}): Server {
  return createServer((socket) => {
    socket.once('data', () => {
      socket.write(UPGRADED);
      onUpgraded(socket);
      socket.on('data', () => onFrames(socket));
    });
  });
}

/** Answers each command, by its number. */
function redisServer(replyOf: (command: number) => string): Server {
  let commands = 0;
  return createServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      const begun = chunk.toString('latin1').split('*').length - 1; // nothing else in them has a star
      socket.write(Array.from({ length: begun }, () => replyOf(commands++)).join(''));
    });
  });
}

/** A run of one connection with four frames of ten ops in flight, against a server that is closed behind it. */
async function run(server: Server, of: Partial<LoadPlan> = {}): Promise<LoadReport> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    return await runLoad({
      port: (server.address() as AddressInfo).port,
      path: '/ws',
      serverPid: process.pid,
      connections: 1,
      opsPerFrame: 10,
      window: 4,
      keys: 400,
      mapName: 'bench',
      keyPrefix: 'k-',
      ackRule: 'lastId',
      warmUpMs: 50,
      measureMs: 100,
      drainDeadlineMs: 1000,
      ...of,
    });
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

/** A short frame of a server. */
function frame(head: number, payload: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(head, payload.length), payload]);
}
