import assert from 'node:assert/strict';
import { type AddressInfo, createServer } from 'node:net';
import { test } from 'node:test';
import type { Figures } from '../result.ts';
import { outcomeOf, reasonMiscounted, runOnce } from './resp.bench.ts';
import type { RespLoadReport } from './resp-load.ts';

test('a run of INCR is void when the counters rose by more or by less than was sent', () => {
  assert.equal(reasonMiscounted(500, 1000, 1500), undefined);
  assert.equal(reasonMiscounted(500, 1000, 1499), 'void: 500 INCR sent, the counters rose by 499');
  assert.equal(reasonMiscounted(500, 1000, 1501), 'void: 500 INCR sent, the counters rose by 501');
});

test('a run is void when no reply came in its window', () => {
  const times = { windowMs: 1000, serverRunMs: 500, childrenCpuMs: 0, generatorCpuMs: 100, p50Us: 100, p99Us: 200 };
  const report: RespLoadReport = { sent: 500, measured: 400, ...times };
  const figures = outcomeOf(report);
  assert.ok(typeof figures !== 'string' && figures.opsPerSecond === 400, String(figures));
  assert.equal(outcomeOf({ ...report, measured: 0 }), 'void: nothing was acknowledged in the window');
});

test('a run against a server that answers every INCR is void when it forgets one in a hundred', async () => {
  const [whole, lossy] = await Promise.all([runAgainst(0), runAgainst(100)]);
  assert.ok(typeof whole !== 'string' && (whole.opsPerSecond ?? 0) > 0, String(whole));
  assert.match(String(lossy), /^void: \d+ INCR sent, the counters rose by \d+$/);
});

/** A run of INCR at a server that forgets one in `forgetsOneIn` (0: none). Asked for its counters, it answers with their sum. */
async function runAgainst(forgetsOneIn: number): Promise<Figures | string> {
  let answered = 0;
  let sum = 0;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      if (text.includes('MGET')) socket.write(`*1\r\n$${String(sum).length}\r\n${sum}\r\n`);
      else {
        const commands = text.split('*').length - 1;
        for (let command = 0; command < commands; command++) {
          answered += 1;
          if (forgetsOneIn === 0 || answered % forgetsOneIn !== 0) sum += 1;
        }
        socket.write(':1\r\n'.repeat(commands));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const peer = { variant: 'lossy', port: (server.address() as AddressInfo).port, pid: process.pid, isRaw: false };
    const settings = { quick: true, runs: 1, progress: () => {}, scenarios: undefined, pinning: undefined };
    return await runOnce({ command: 'INCR', pipeline: 1 }, peer, 10, settings);
  } finally {
    server.close();
  }
}
