/**
 * W7: Postgres behind W2 at full speed. How many rows a second it takes, how far it falls behind, and what clients notice of it.
 *
 *   alone       neither log nor Postgres            lattice        as it starts: log synced each 10 ms, flushes
 *   log-off     Postgres, no log                    fsync-off      log, synced when the system likes
 *   flushing    flushes without pauses              fsync-always   log synced before each answer
 *
 * log-off beside alone is what flushes cost, lattice beside fsync-off what syncs cost, flushing beside lattice whether haste does. With
 * keys of their own every write is a row; of hot keys only the newest is flushed. Each server is new, so a run does not pay for
 * the rows of another. Ticks that drop tombstones run in all of them: there is no option without.
 */
import { type ProductVariant, productExists } from './harness.ts';
import type { RunSettings } from './ingest.bench.ts';
import { FlushWatch } from './flush-watch.ts';
import { type MergeScenario, note, runMerges, voidBecause, withServer } from './merge-ingest.bench.ts';
import { ScenarioResult } from './result.ts';

export const WRITE_BEHIND_SCENARIOS: readonly MergeScenario[] = [
  { name: 'W7-UNIQUE', title: '100 connections write keys of their own, Postgres behind', mix: 'unique', connections: 100 },
  { name: 'W7-HOT', title: '100 connections write 1000 hot keys, Postgres behind', mix: 'hot', connections: 100 },
];
const VARIANTS: readonly ProductVariant[] = ['alone', 'log-off', 'fsync-off', 'lattice', 'fsync-always', 'flushing'];

export async function* runWriteBehind(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  for (const scenario of WRITE_BEHIND_SCENARIOS.filter(({ name }) => settings.scenarios?.has(name) ?? true)) {
    const { name, title } = scenario;
    const ceilings = Object.fromEntries(VARIANTS.map((variant) => [variant, 'alone']));
    const result = new ScenarioResult({ scenario: name, title, ceilings });
    for (let run = 1; run <= settings.runs && productExists(); run++) {
      for (const variant of VARIANTS) await runVariant(scenario, variant, `${run}/${settings.runs}`, result, settings);
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
    await runMerges(server, { ...scenario, mix: 'hot' }, settings).catch(() => {}); // compiles its code, leaves few rows
    const watch = new FlushWatch(server.port);
    const outcome = await runMerges(server, scenario, settings).catch(voidBecause);
    const waited = await watch.stop();
    note(result, settings, run, variant, typeof outcome === 'string' ? outcome : { ...outcome, ...waited });
  });
}
