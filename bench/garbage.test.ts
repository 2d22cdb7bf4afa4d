import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { readMerged } from './applied-ops.ts';
import { Collection, type Garbage, readMergedOps, stageGarbage } from './garbage.ts';
import { startServer } from './harness.ts';
import type { RunSettings } from './ingest.bench.ts';
import type { MergeScenario } from './merge-ingest.bench.ts';
import { runWatched } from './write-behind.bench.ts';

const SETTINGS: RunSettings = { quick: true, runs: 1, progress: () => {}, scenarios: undefined, pinning: undefined };
const SCENARIO: MergeScenario = { name: 'W7-UNIQUE2', title: '', mix: 'unique', connections: 2 };

test('what is staged is collected from the moment that was said, is no op, and makes a run void that outlasts it', async () => {
  const garbage: Garbage = { expiring: 3000, removed: 1500, leadMs: 1500 };
  const server = await startServer('alone-gc');
  try {
    await stageGarbage(server.port, garbage);
    const written = await readMerged(server.port);
    const collection = await Collection.begin(server.port);
    const givenUpMs = performance.now() + 20_000;
    do {
      await new Promise((resolve) => setTimeout(resolve, 100));
      await collection.end();
    } while (!((collection.figures().prunedPerSecond ?? 0) > 0) && performance.now() < givenUpMs);
    await collection.untilOver(garbage);
    const { prunedPerSecond = 0 } = collection.figures();
    assert.ok(prunedPerSecond > 0);
    assert.equal(await readMergedOps(server.port), 4500);
    assert.ok((await readMerged(server.port)) >= written);
    const outcome = await runWatched(SCENARIO, server, SETTINGS, { expiring: 100, removed: 50, leadMs: 500 });
    assert.match(String(outcome), /^void: (all 100 records had expired|\d+ records expired and \d+ tombstones)/);
  } finally {
    await server.stop();
  }
});

test('a run in which nothing was collected, or all of it before the end, is void', async () => {
  assert.match(String(await judged([100, 10], [100, 20])), /^void: 0 records expired and 10 tombstones/);
  assert.match(String(await judged([100, 10], [150, 10])), /^void: 50 records expired and 0 tombstones/);
  assert.match(String(await judged([100, 10], [1000, 20])), /^void: all 1000 records had expired/);
  assert.match(String(await judged([100, 10], [999, 500])), /^void: all 500 tombstones were pruned/);
  assert.equal(await judged([100, 10], [999, 499]), undefined);
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

/** What is said of a run at whose begin and end the metrics say these. */
async function judged(...counts: readonly [Counts, Counts]): Promise<string | undefined> {
  const left = [...counts];
  const server = createServer((_, response) => {
    const [expired, pruned] = left.shift() ?? [0, 0];
    response.end(`lattice_expired_total ${expired}\nlattice_tombstones_pruned_total ${pruned}\n`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const collection = await Collection.begin((server.address() as AddressInfo).port);
    await collection.end();
    return collection.reasonIdle({ expiring: 1000, removed: 500, leadMs: 0 });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
