/**
 * W7: Postgres behind W2 at full speed. How many rows a second it takes, how far it falls behind, and what clients notice of it.
 *
 *   alone       neither log nor Postgres            lattice        as it starts: log synced each 10 ms, flushes
 *   log-off     Postgres, no log                    fsync-off      log, synced when the system likes
 *   flushing    flushes without pauses              fsync-always   log synced before each answer
 *   alone-gc    as alone, ticks busy collecting     lattice-gc     as lattice, ticks busy collecting
 *
 *   raw         uWebSockets.js with nothing behind it
 *
 * log-off beside alone is what flushes cost, lattice beside fsync-off what syncs cost, flushing beside lattice whether haste does, -gc
 * beside its namesake what ticks cost that have as much to expire and to prune as they can take in (garbage.ts); else they find
 * nothing to do. With keys of their own every write is a row; of hot keys only the newest is flushed. W7-PACED leaves the server room, so that
 * its p99 shows pauses and not queues. Each server is new, so a run does not pay for the rows of another.
 *
 * A server that did not log, sync and flush as its name says makes the run void (log-use.ts). Rows a second are those of the
 * measured window; the longest lag is that of the whole run, up to the last flush.
 */
import { collectedFigures, type Garbage, readMergedOps, reasonIdle, stageGarbage, untilExpired } from './garbage.ts';
import { type ProductVariant, productExists } from './harness.ts';
import type { MeasuredServer, RunSettings } from './ingest.bench.ts';
import { flushFigures } from './flush-watch.ts';
import { type MergeScenario, note, runMerges, runRaw, withServer } from './merge-ingest.bench.ts';
import type { MeasuredWindow, MetricsSample } from './metrics-watch.ts';
import { type Figures, ScenarioResult } from './result.ts';
import { voidBecause } from './void-run.ts';

export const WRITE_BEHIND_SCENARIOS: readonly MergeScenario[] = [
  { name: 'W7-UNIQUE', title: '100 connections write keys of their own, Postgres behind', mix: 'unique', connections: 100 },
  {
    name: 'W7-PACED',
    title: '20 000 ops/s on a schedule into keys of their own, 100 connections, Postgres behind',
    mix: 'unique',
    connections: 100,
    opsPerSecond: 20_000,
  },
  { name: 'W7-HOT', title: '100 connections write 1000 hot keys, Postgres behind', mix: 'hot', connections: 100 },
];
const VARIANTS: readonly ProductVariant[] = [
  'alone',
  'alone-gc',
  'log-off',
  'fsync-off',
  'lattice',
  'lattice-gc',
  'fsync-always',
  'flushing',
];
/** More than a worker expires and prunes until the measured window is over, so that its ticks are never without work. */
const GARBAGE: Garbage = { expiring: 100_000, removed: 20_000, leadMs: 5000 };
const GARBAGE_QUICK: Garbage = { expiring: 25_000, removed: 10_000, leadMs: 4000 };

export async function* runWriteBehind(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  for (const scenario of WRITE_BEHIND_SCENARIOS.filter(({ name }) => settings.scenarios?.has(name) ?? true)) {
    const { name, title } = scenario;
    const ceilings = Object.fromEntries([...VARIANTS, 'raw'].map((variant) => [variant, 'alone']));
    const result = new ScenarioResult({ scenario: name, title, ceilings });
    for (let run = 1; run <= settings.runs && productExists(); run++) {
      for (const variant of VARIANTS) await runVariant(scenario, variant, `${run}/${settings.runs}`, result, settings);
      note(result, settings, `${run}/${settings.runs}`, 'raw', await runRaw(scenario, settings).catch(voidBecause));
    }
    yield result;
  }
}

async function runVariant(
  scenario: MergeScenario,
  variant: ProductVariant,
  run: string,
  result: ScenarioResult,
  settings: RunSettings,
): Promise<void> {
  await withServer(variant, settings, async (server) => {
    const { name, title, connections } = scenario;
    await runMerges(server, { name, title, connections, mix: 'hot' }, settings).catch(() => {}); // compiles its code, leaves few rows
    const garbage = settings.quick ? GARBAGE_QUICK : GARBAGE;
    const collected = variant.endsWith('-gc') ? garbage : undefined;
    const outcome = await runWatched(scenario, server, settings, collected).catch(voidBecause);
    note(result, settings, run, variant, outcome);
  });
}

/**
 * Figures of a run, with what was flushed and collected meanwhile, or why it is void.
 *
 * @param garbage is staged, and must last for the whole of the measured window
 */
export async function runWatched(
  scenario: MergeScenario,
  server: MeasuredServer,
  settings: RunSettings,
  garbage: Garbage | undefined,
): Promise<Figures | string> {
  let idle: string | undefined;
  const watched = (samples: readonly MetricsSample[], window: MeasuredWindow): Figures => {
    if (garbage === undefined) return flushFigures(samples, window);
    idle = reasonIdle(samples, window, garbage);
    return { ...flushFigures(samples, window), ...collectedFigures(samples, window) };
  };
  const stage = async (): Promise<void> => {
    if (garbage !== undefined) await stageGarbage(server.port, garbage); // until it is flushed it would expire, too
  };
  const onLoaded = async (): Promise<void> => {
    if (garbage !== undefined) await untilExpired(server.port, garbage);
  };
  const outcome = await runMerges(server, scenario, settings, {
    stage,
    onLoaded,
    readMerged: readMergedOps,
    isFlushed: true,
    watched,
  });
  return typeof outcome === 'string' ? outcome : (idle ?? outcome);
}
