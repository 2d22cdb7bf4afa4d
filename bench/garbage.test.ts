import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metricSum, readMerged } from './applied-ops.ts';
import { collectedFigures, type Garbage, readMergedOps, reasonIdle, stageGarbage, untilExpired } from './garbage.ts';
import { startServer } from './harness.ts';
import type { RunSettings } from './ingest.bench.ts';
import type { MergeScenario } from './merge-ingest.bench.ts';
import { MetricsWatch, type MetricsSample, wallClockMs } from './metrics-watch.ts';
import { runWatched } from './write-behind.bench.ts';

const SETTINGS: RunSettings = { quick: true, runs: 1, progress: () => {}, scenarios: undefined, pinning: undefined };
const SCENARIO: MergeScenario = { name: 'W7-UNIQUE2', title: '', mix: 'unique', connections: 2 };

test('what is staged is collected from the moment that was said, is no op, and makes a run void that outlasts it', async () => {
  const garbage: Garbage = { expiring: 3000, removed: 1500, leadMs: 1500 };
  const server = await startServer('alone-gc');
  try {
    const watch = new MetricsWatch(server.port);
    await stageGarbage(server.port, garbage);
    const beganMs = wallClockMs() - 300; // nothing is due yet
    const written = await readMerged(server.port);
    await untilPruned(server.port);
    await untilExpired(server.port, garbage);
    const endedMs = wallClockMs();
    await new Promise((resolve) => setTimeout(resolve, 500)); // an answer lies behind it
    const { expiredPerSecond = 0, prunedPerSecond = 0 } = collectedFigures(await watch.stop(), { beganMs, endedMs });
    assert.ok(expiredPerSecond >= 0 && prunedPerSecond > 0, `${expiredPerSecond} ${prunedPerSecond}`);
    assert.equal(await readMergedOps(server.port), 4500);
    assert.ok((await readMerged(server.port)) >= written);
    const outcome = await runWatched(SCENARIO, server, SETTINGS, { expiring: 100, removed: 50, leadMs: 500 });
    assert.match(String(outcome), /^void: (all 100 records had expired|\S+ records a second expired and \S+ tombstones)/);
  } finally {
    await server.stop();
  }
});

test('a run in which nothing was collected, or all of it before the end of the window, is void', () => {
  assert.match(String(judged([100, 10], [100, 20])), /^void: 0 records a second expired and 10 tombstones/);
  assert.match(String(judged([100, 10], [150, 10])), /^void: 50 records a second expired and 0 tombstones/);
  assert.match(String(judged([100, 10], [1000, 20])), /^void: all 1000 records had expired/);
  assert.match(String(judged([100, 10], [999, 500])), /^void: all 500 tombstones were pruned/);
  assert.equal(judged([100, 10], [999, 499]), undefined);
});

test('a server that is too slow for what is staged is told so', async () => {
  const server = await startServer('alone-gc');
  try {
    await assert.rejects(stageGarbage(server.port, { expiring: 3000, removed: 1, leadMs: 1 }), /took \d+.* ms, not 1/);
  } finally {
    await server.stop();
  }
});

type Counts = readonly [expired: number, pruned: number];

/** What is said of a window of a second at whose begin and end the metrics say these. */
function judged(begin: Counts, end: Counts): string | undefined {
  const sample = (atMs: number, [expired, pruned]: Counts): MetricsSample => ({
    atMs,
    text: `lattice_expired_total ${expired}\nlattice_tombstones_pruned_total ${pruned}\n`,
  });
  const samples = [sample(0, begin), sample(200, begin), sample(1000, end), sample(1200, end)];
  return reasonIdle(samples, { beganMs: 100, endedMs: 1100 }, { expiring: 1000, removed: 500, leadMs: 0 });
}

async function untilPruned(port: number): Promise<void> {
  const givenUpMs = performance.now() + 20_000;
  for (let pruned = 0; !(pruned > 0) && performance.now() < givenUpMs; ) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    pruned = metricSum(text, 'lattice_tombstones_pruned_total', {});
  }
}
