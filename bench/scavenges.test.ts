/**
 * Garbage of the hot path: how often the young generation of each thread is collected over a million writes, in a real server.
 *
 * The young generation is held at 1 MiB, so one scavenge is about 1 MiB of garbage, and one scavenge in a million ops about one byte
 * an op. What there is comes with frames and ticks, not with ops: uWebSockets.js makes an ArrayBuffer for each frame (about 350
 * bytes with what holds it), a worker some objects for each batch of answers. One object or string an op would be 30 to 100 bytes
 * more, and the smallest, an object without properties, 24.
 *
 * Measured: 38 bytes an op in the gateway and 8 in the worker, at 10 ops a frame, of which 35 in the gateway are the frame's. The
 * bounds are not measured but derived from that: 22 and 20 bytes more, less than the smallest object, and enough for a machine so
 * slow that ticks make up three times as much.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RunningServer, runGenerator, startServer } from './harness.ts';
import type { LoadPlan } from './load.ts';

const OPS = 1_000_000;
const GATEWAY_PER_MILLION = 60;
const WORKER_PER_MILLION = 28;
const FLAGS = ['--trace-gc', '--max-semi-space-size=1', '--min-semi-space-size=1'];

test('a million writes make next to no garbage in the gateway and in the worker', async () => {
  const server = await startServer('w1-g1', undefined, FLAGS);
  try {
    const plan = planFor(server);
    await runGenerator(plan); // its code is compiled, its tables have grown
    const tracedBefore = server.stdout().length;
    let ops = 0;
    while (ops < OPS) ops += (await runGenerator(plan)).opsSent;
    const [busiest = 0, ...others] = scavengesByThread(server.stdout().slice(tracedBefore));
    const perMillion = (scavenges: number): number => (scavenges * 1_000_000) / ops;
    const rest = others.reduce((sum, count) => sum + count, 0);
    assert.ok(busiest > 0, 'even frames make some: else nothing was traced');
    assert.ok(perMillion(busiest) <= GATEWAY_PER_MILLION, `${perMillion(busiest)} scavenges a million ops`);
    assert.ok(perMillion(rest) <= WORKER_PER_MILLION, `${perMillion(rest)} scavenges a million ops in the other threads`);
  } finally {
    await server.stop();
  }
});

function planFor({ port, pid }: RunningServer): LoadPlan {
  return {
    port,
    path: '/ws?events=interest',
    serverPid: pid,
    connections: 50,
    opsPerFrame: 10,
    window: 32,
    keys: 50 * 10 * 64,
    mapName: 'bench',
    keyPrefix: 'gc-',
    ackRule: 'lastId',
    warmUpMs: 100,
    measureMs: 1400,
  };
}

/** Scavenges of each thread, most first. A line is `[pid:isolate] … ms: Scavenge … `. */
function scavengesByThread(trace: string): number[] {
  const counts = new Map<string, number>();
  for (const [, isolate = ''] of trace.matchAll(/^\[\d+:(0x[0-9a-f]+)\] .* ms: Scavenge /gm)) {
    counts.set(isolate, (counts.get(isolate) ?? 0) + 1);
  }
  return [...counts.values()].sort((left, right) => right - left);
}
