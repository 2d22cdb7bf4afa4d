/** The load counts every reply and believes none. */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { test } from 'node:test';
import { ReplyChecker } from './resp-commands.ts';
import { type RespLoadPlan, runRespLoad } from './resp-load.ts';

test('replies are counted however they are cut, and a wrong one is found', () => {
  const get = new ReplyChecker('GET');
  const bytes = Buffer.from('$3\r\nxxx\r\n'.repeat(3));
  let replies = 0;
  for (const byte of bytes) replies += get.count(Buffer.of(byte));
  assert.equal(replies, 3);
  assert.throws(() => get.count(Buffer.from('$-1\r\n')), /wrong/);
  const incr = new ReplyChecker('INCR');
  assert.equal(incr.count(Buffer.from(':1\r\n:2')) + incr.count(Buffer.from('3\r\n')), 2);
  assert.throws(() => incr.count(Buffer.from('-ERR no\r\n')), /wrong/);
});

/** Answers each SET, save for the last that it is told to leave out. */
async function withServer(reply: (number: number) => string, use: (port: number) => Promise<void>): Promise<void> {
  let number = 0;
  const server: Server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      const commands = chunk.toString('latin1').split('*3\r\n').length - 1;
      let text = '';
      for (let index = 0; index < commands; index++) text += reply(number++);
      socket.write(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  try {
    await use(typeof address === 'object' && address !== null ? address.port : 0);
  } finally {
    server.close();
  }
}

function planFor(port: number): RespLoadPlan {
  const plan = { command: 'SET', connections: 3, pipeline: 4, keys: 1000, warmUpMs: 50, measureMs: 100 } as const;
  return { ...plan, port, serverPid: process.pid };
}

test('a run reports what was answered', () =>
  withServer(
    () => '+OK\r\n',
    async (port) => {
      const report = await runRespLoad(planFor(port));
      assert.ok(report.measured > 0 && report.sent >= report.measured && report.sent % 4 === 0);
      assert.ok(report.p50Us > 0 && report.p99Us >= report.p50Us);
    },
  ));

test('a wrong reply, and one too many, leave no report', async () => {
  await withServer(
    (number) => (number === 10 ? '-ERR no\r\n' : '+OK\r\n'),
    async (port) => assert.rejects(runRespLoad(planFor(port)), /a reply is wrong/),
  );
  await withServer(
    (number) => (number === 10 ? '+OK\r\n+OK\r\n' : '+OK\r\n'),
    async (port) => assert.rejects(runRespLoad(planFor(port)), /more replies than commands/),
  );
});
