/**
 * MERGE: the product's record store beside a Map of objects, each in a process of its own, run by run.
 *
 * The Map gets the first fifth of the merges, in which more keys are new: five million of them take it a minute. Figures are per merge, and RSS per key that is there at the end. A run is void for both when they have
 * not kept and refused as many of the merges that both of them did.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { RunSettings } from './ingest.bench.ts';
import type { MergePlan, MergeReport } from './merge-process.ts';
import { type Figures, ScenarioResult } from './result.ts';

const SCRIPT = fileURLToPath(new URL(`./merge-process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url));

export async function runMerge(settings: RunSettings): Promise<ScenarioResult> {
  const keys = settings.quick ? 200_000 : 1_000_000;
  const title = `${keys.toLocaleString('en')} keys, ${(5 * keys).toLocaleString('en')} merges (map: ${keys.toLocaleString('en')})`;
  const result = new ScenarioResult({ scenario: 'MERGE', title, ceilings: { 'record-store': 'map' } });
  for (let run = 1; run <= settings.runs; run++) {
    const plans = [
      { store: 'record-store', keys, merges: 5 * keys, compared: keys },
      { store: 'map', keys, merges: keys, compared: keys },
    ] as const;
    const [product, map] = [await runProcess(plans[0]), await runProcess(plans[1])] as const;
    const reason = reasonDisagree(product, map);
    for (const [plan, report] of [[plans[0], product] as const, [plans[1], map] as const]) {
      const figures = figuresOf(report, plan.merges);
      if (reason === undefined) result.add(plan.store, figures);
      else result.addVoid(plan.store, reason);
      const text = reason ?? `${figures.nsPerMerge?.toFixed(0)} ns of CPU per merge`;
      settings.progress(`MERGE run ${run}/${settings.runs} ${plan.store}: ${text}`);
    }
  }
  return result;
}

type Compared = Pick<MergeReport, 'comparedApplied' | 'comparedRecords'>;

/** Why the run is void, or undefined: both must have kept and refused as many of the merges that they have in common. */
export function reasonDisagree(product: Compared, map: Compared): string | undefined {
  const { comparedApplied: applied, comparedRecords: records } = product;
  if (applied > 0 && applied === map.comparedApplied && records === map.comparedRecords) return undefined;
  return `void: the product applied ${applied} and has ${records} records, the map ${map.comparedApplied} and ${map.comparedRecords}`;
}

function figuresOf(report: MergeReport, merges: number): Figures {
  return {
    opsPerSecond: (merges * 1000) / report.wallMs,
    opsPerCpuSecond: (merges * 1000) / report.cpuMs,
    nsPerMerge: (report.cpuMs * 1e6) / merges,
    stallMaxMs: report.stallMaxMs,
    rssBytesPerKey: report.rssGrowthBytes / report.records,
    appliedPercent: (100 * report.applied) / merges,
  };
}

function runProcess(plan: MergePlan): Promise<MergeReport> {
  return new Promise((resolve, reject) => {
    const child = fork(SCRIPT);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the ${plan.store} process ended with ${code} and without a report`)));
    child.once('message', (report: MergeReport) => resolve(report));
    child.send(plan);
  });
}
