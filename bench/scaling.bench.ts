/**
 * How cost grows: with threads, with keys, with connections. All without log and Postgres, so that only what is asked about grows.
 *
 *   SCALE-THREADS   one and two workers and gateways, or fused    SCALE-KEYS    merges into maps that hold 10 000 to 5 000 000 keys
 *   SCALE-CONNS     20 000 ops/s on a schedule, spread over 100 to 10 000 connections
 *
 * Each size is a variant; of connections the raw server has the same sizes, in the same turns. Every op wins its merge, and the server's count of those must have risen by the ops sent. The maps of all
 * sizes are filled first, each in a server of its own that is idle while others are measured; each run begins with another size. Sizes
 * of keys that would not fit into half of the memory that is free by then are named and left out.
 */
import { freemem } from 'node:os';
import { readApplied, reasonVoid } from './applied-ops.ts';
import { productExists, type RunningServer, runGenerator, startServer, type Variant } from './harness.ts';
import { load, loadFigures, type RunSettings, runScenarios } from './ingest.bench.ts';
import type { LoadPlan, LoadReport } from './load.ts';
import { loadLattice } from './memory.bench.ts';
import { note, withServer } from './merge-ingest.bench.ts';
import { mixedKey } from './op-mix.ts';
import { type Figures, ScenarioResult } from './result.ts';
import { rotated } from './run-order.ts';
import { reasonUnmeasured, voidBecause } from './void-run.ts';

export const SCALING_SCENARIOS = ['SCALE-THREADS', 'SCALE-KEYS', 'SCALE-CONNS'] as const;
const THREADS: readonly Variant[] = ['w1-g1', 'w1-g1-fused', 'w2-g1', 'w1-g2', 'w2-g2', 'raw'];
const KEYS = [10_000, 100_000, 1_000_000, 5_000_000];
const QUICK_KEYS = [10_000, 50_000];
/** A gateway takes 10 000 at the most; a few are left for those who look on. */
const CONNECTIONS = [100, 1000, 9_990];
const QUICK_CONNECTIONS = [100, 1000];
/** Records, their index, the growth of both, and what the run adds. */
const BYTES_PER_KEY = 800;
const PREFIX = 'scale-';
const A_DAY_MS = 86_400_000;

/** A server with a map of one size, and what is sent to it. */
interface FilledServer {
  readonly name: string;
  readonly server: RunningServer;
  readonly plan: LoadPlan;
}

export async function* runScaling(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  if (!productExists()) return;
  const title = '10 ops a batch, 50 connections × 32 in flight, by threads: workers (w) and gateways (g), both in one (fused)';
  yield* runScenarios([{ ...load('SCALE-THREADS', title, 50, 10, 32, 33_000, THREADS), ceiling: 'w1-g1' }], settings);
  if (isWanted('SCALE-KEYS', settings)) yield await runKeys(settings);
  if (isWanted('SCALE-CONNS', settings)) yield await runConnections(settings);
}

function isWanted(name: string, { scenarios }: RunSettings): boolean {
  return scenarios?.has(name) ?? true;
}

async function runKeys(settings: RunSettings): Promise<ScenarioResult> {
  const sizes = settings.quick ? QUICK_KEYS : KEYS;
  const names = sizes.map((keys) => `${keys}-keys`);
  const result = sizesResult('SCALE-KEYS', 'merges that all win, into a map of so many keys, 10 ops a batch, 50 × 16', names);
  const filled: FilledServer[] = [];
  try {
    for (const [place, keys] of sizes.entries()) {
      const name = names[place] as string;
      if (keys * BYTES_PER_KEY <= freemem() / 2) filled.push(await startFilled(name, keys, settings));
      else result.notMeasured(name, `${keys} keys may take more than half of the free memory`);
    }
    for (const { server, plan } of filled) await verified(server, plan, settings).catch(() => {}); // compiles its code
    for (let run = 1; run <= settings.runs; run++) {
      for (const { name, server, plan } of rotated(filled, run)) {
        const outcome = await verified(server, plan, settings).catch(voidBecause);
        note(result, settings, `${run}/${settings.runs}`, name, outcome);
      }
    }
  } finally {
    for (const { server } of filled) await server.stop();
  }
  return result;
}

async function startFilled(name: string, keys: number, settings: RunSettings): Promise<FilledServer> {
  settings.progress(`SCALE-KEYS fills a map with ${keys} keys`);
  const server = await startServer('alone', settings.pinning);
  try {
    await loadLattice(server.port, keys, Date.now() - A_DAY_MS, (record) => mixedKey(PREFIX, record));
  } catch (cause) {
    await server.stop();
    throw cause;
  }
  const plan = { ...basePlan(server, settings), connections: 50, keys: 50 * 10 * 64, mix: 'rising', hotKeys: keys } as const;
  return { name, server, plan };
}

async function runConnections(settings: RunSettings): Promise<ScenarioResult> {
  const sizes = settings.quick ? QUICK_CONNECTIONS : CONNECTIONS;
  const names = sizes.map((connections) => `${connections}-connections`);
  const title = '20 000 ops/s on a schedule, spread over so many connections, 10 ops a batch';
  const result = sizesResult('SCALE-CONNS', title, names, names.map(rawName));
  const raw = await startServer('raw', settings.pinning);
  await withServer('alone', settings, async (server) => {
    await verified(server, { ...basePlan(server, settings), connections: 50, keys: 50 * 10 * 64 }, settings).catch(() => {});
    for (let run = 1; run <= settings.runs; run++) {
      for (const [place, connections] of sizes.entries()) {
        const name = names[place] as string;
        const load = { connections, keys: connections * 10 * 4, window: 4, opsPerSecond: 20_000 };
        const outcome = await verified(server, { ...basePlan(server, settings), ...load }, settings).catch(voidBecause);
        note(result, settings, `${run}/${settings.runs}`, name, outcome);
        const plan: LoadPlan = { ...basePlan(raw, settings), ...load, ackRule: 'counted' };
        const ceiling = await runGenerator(plan, settings.pinning).then(figuresOf).catch(voidBecause);
        note(result, settings, `${run}/${settings.runs}`, rawName(name), ceiling);
      }
    }
  }).finally(() => raw.stop());
  return result;
}

function rawName(name: string): string {
  return `raw-${name}`;
}

/** @param sides names of one side each, of which the first is what the others are divided by */
function sizesResult(scenario: string, title: string, ...sides: readonly (readonly string[])[]): ScenarioResult {
  const ceilings = Object.fromEntries(sides.flatMap((names) => names.map((name) => [name, names[0] as string])));
  return new ScenarioResult({ scenario, title, ceilings });
}

function basePlan({ port, pid }: RunningServer, { quick }: RunSettings): Omit<LoadPlan, 'connections' | 'keys'> {
  return {
    port,
    path: '/ws?events=interest',
    serverPid: pid,
    opsPerFrame: 10,
    window: 16,
    mapName: 'bench',
    keyPrefix: PREFIX,
    ackRule: 'lastId',
    warmUpMs: quick ? 300 : 1000,
    measureMs: quick ? 700 : 2000,
  };
}

/** Figures of one run, or why it is void: every op must have won its merge. */
async function verified(server: RunningServer, plan: LoadPlan, settings: RunSettings): Promise<Figures | string> {
  const before = await readApplied(server.port);
  const report = await runGenerator(plan, settings.pinning);
  return (await reasonVoid(server.port, before, report.opsSent)) ?? figuresOf(report);
}

function figuresOf(report: LoadReport): Figures | string {
  return reasonUnmeasured(report.opsMeasured) ?? loadFigures(report);
}
