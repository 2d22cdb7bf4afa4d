/**
 * Ingest: OP_BATCH frames over real sockets into the product, and into references on the same machine meanwhile.
 *
 *   for each scenario:  for each run:  for each variant:  one generator process, warm-up, measured window, check
 *
 * Runs of the variants alternate, so a noisy minute hits all of them. After each run of the product, its own count
 * of merges that won must have risen by the ops sent. A run is void when nothing was acknowledged in its window, an idle one when
 * not all of its connections stayed open. `lattice` is the product with its defaults: write-ahead log on, forced
 * to the disk each 10 ms; `log-off` is without, acknowledged from memory; `fused` has gateway and
 * worker in one thread. All connections ask for `events=interest`: writes are not
 * told to 49 other connections that did not ask, here as in the references.
 */
import { readApplied, reasonVoid, untilFlushed } from './applied-ops.ts';
import { diskFolder, fileSystemOf } from './disk-folder.ts';
import { isProduct, productExists, type RunningServer, runGenerator, startServer, type Variant } from './harness.ts';
import type { LoadPlan, LoadReport } from './load.ts';
import { flushedFigures, logFigures, readLogUse, reasonMisnamed } from './log-use.ts';
import type { Pinning } from './pinning.ts';
import { type Figures, ScenarioResult } from './result.ts';
import { reasonClosed, reasonUnmeasured, voidBecause } from './void-run.ts';

/** How long and how often. */
export interface RunSettings {
  readonly runs: number;
  readonly quick: boolean;
  readonly pinning: Pinning | undefined;
  /** Names of scenarios to run; undefined: all. */
  readonly scenarios: ReadonlySet<string> | undefined;
  /** Told what is going on. */
  readonly progress: (line: string) => void;
}

/** What a run needs to know of the server that it measures. */
export type MeasuredServer = Pick<RunningServer, 'variant' | 'port' | 'pid'>;

/** One row of load, and who gets it. */
export interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly connections: number;
  readonly opsPerFrame: number;
  readonly window: number;
  readonly keys: number;
  readonly variants: readonly Variant[];
  /** The variant that the others are divided by; `raw` when not given. */
  readonly ceiling?: Variant;
}

const SCENARIOS: readonly Scenario[] = [
  load('F1', '1 op a batch, 50 connections × 64 in flight', 50, 1, 64, 18_000, ['lattice', 'log-off', 'raw', 'naive']),
  load('F10', '10 ops a batch, 50 connections × 32 in flight', 50, 10, 32, 33_000, ['lattice', 'log-off', 'raw', 'naive', 'pm']),
  load('F10c', '10 ops a batch, 330 000 keys, 50 × 32', 50, 10, 32, 330_000, ['lattice', 'log-off', 'raw']),
  load('F100', '100 ops a batch, 50 connections × 4 in flight', 50, 100, 4, 45_000, ['lattice', 'log-off', 'raw', 'naive']),
  load('F10x200', '10 ops a batch, 200 connections × 8 in flight', 200, 10, 8, 33_000, ['lattice', 'raw']),
  load('W50', '10 ops a batch, 50 connections wait for each ack', 50, 10, 1, 33_000, ['lattice', 'fused', 'raw']),
  load('W200', '10 ops a batch, 200 connections wait for each ack', 200, 10, 1, 33_000, ['lattice', 'raw']),
  load('W1', '10 ops a batch, 1 connection waits for each ack', 1, 10, 1, 33_000, ['lattice', 'fused', 'raw']),
  load('IDLE', '200 open connections, nothing sent', 200, 1, 0, 0, ['lattice', 'fused', 'raw']),
];

export function load(
  name: string,
  title: string,
  connections: number,
  opsPerFrame: number,
  window: number,
  keys: number,
  variants: readonly Variant[],
): Scenario {
  return { name, title, connections, opsPerFrame, window, keys, variants };
}

export function runIngest(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  return runScenarios(SCENARIOS, settings);
}

/** Runs the wanted ones of the scenarios one after the other and yields each result when it is complete. */
export async function* runScenarios(scenarios: readonly Scenario[], settings: RunSettings): AsyncGenerator<ScenarioResult> {
  const wanted = scenarios.filter((scenario) => settings.scenarios?.has(scenario.name) ?? true);
  if (wanted.length > 0) settings.progress(`data and log are kept in ${diskFolder()} (${fileSystemOf(diskFolder())})`);
  const servers = new Map<Variant, RunningServer>();
  try {
    for (const scenario of wanted) {
      const variants = scenario.variants.filter((variant) => !isProduct(variant) || productExists());
      await startMissing(servers, variants, settings);
      yield await runScenario(scenario, variants, servers, settings);
    }
  } finally {
    for (const server of servers.values()) await server.stop();
  }
}

async function startMissing(
  servers: Map<Variant, RunningServer>,
  variants: readonly Variant[],
  settings: RunSettings,
): Promise<void> {
  for (const variant of variants) {
    if (servers.has(variant)) continue;
    settings.progress(`starting ${variant}`);
    servers.set(variant, await startServer(variant, settings.pinning));
  }
}

async function runScenario(
  scenario: Scenario,
  variants: readonly Variant[],
  servers: Map<Variant, RunningServer>,
  settings: RunSettings,
): Promise<ScenarioResult> {
  const ceilings = Object.fromEntries(variants.map((variant) => [variant, scenario.ceiling ?? 'raw']));
  const result = new ScenarioResult({ scenario: scenario.name, title: scenario.title, ceilings });
  for (let run = 1; run <= settings.runs; run++) {
    for (const variant of variants) {
      const server = servers.get(variant) ?? (await startServer(variant, settings.pinning));
      servers.set(variant, server);
      const outcome = await runOnce(scenario, server, settings);
      if (typeof outcome !== 'string') {
        result.add(variant, outcome);
        settings.progress(`${scenario.name} run ${run}/${settings.runs} ${variant}: ${progressText(outcome)}`);
        continue;
      }
      result.addVoid(variant, outcome);
      settings.progress(`${scenario.name} run ${run}/${settings.runs} ${variant}: ${outcome}`);
      servers.delete(variant); // whatever went wrong must not reach the next run
      await server.stop();
    }
  }
  return result;
}

/** Figures of one run, or why it is void. */
async function runOnce(scenario: Scenario, server: RunningServer, settings: RunSettings): Promise<Figures | string> {
  try {
    if (isProduct(server.variant)) return await runVerified(scenario, server, settings);
    return outcomeOf(scenario, await runGenerator(planOf(scenario, server, settings.quick), settings.pinning));
  } catch (cause) {
    return voidBecause(cause);
  }
}

/** The product must have applied what it was sent, and logged it as its variant says. */
export async function runVerified(scenario: Scenario, server: MeasuredServer, settings: RunSettings): Promise<Figures | string> {
  const { port, variant } = server;
  const appliedBefore = await readApplied(port);
  const before = await readLogUse(port);
  const report = await runGenerator(planOf(scenario, server, settings.quick), settings.pinning);
  const lost = await reasonVoid(port, appliedBefore, report.opsSent);
  const after = await readLogUse(port);
  await untilFlushed(port);
  const reason = lost ?? (report.opsSent > 0 ? reasonMisnamed(variant, before, after) : undefined);
  const outcome = reason ?? outcomeOf(scenario, report);
  if (typeof outcome !== 'string')
    return { ...outcome, ...logFigures(before, after, report.opsSent), ...flushedFigures(before, after) };
  return report.otherFrames === 0
    ? outcome
    : `${outcome}; ${report.otherFrames} other answers, first: ${report.otherText.slice(0, 300)}`;
}

/** Figures of what a generator reports, or why they say nothing: connections were closed, or nothing came within the window. */
export function outcomeOf(scenario: Scenario, report: LoadReport): Figures | string {
  if (scenario.window === 0) return reasonClosed(scenario.connections, report.openConnections) ?? idleFigures(report);
  return reasonUnmeasured(report.opsMeasured) ?? loadFigures(report);
}

function planOf(scenario: Scenario, server: MeasuredServer, quick: boolean): LoadPlan {
  const idle = scenario.window === 0;
  return {
    port: server.port,
    path: '/ws?events=interest',
    serverPid: server.pid,
    connections: scenario.connections,
    opsPerFrame: scenario.opsPerFrame,
    window: scenario.window,
    keys: scenario.keys,
    mapName: 'bench',
    keyPrefix: `${scenario.name.split('-')[0]?.toLowerCase()}-`, // F10-WAL has the keys of F10
    ackRule: server.variant === 'raw' ? 'counted' : 'lastId',
    warmUpMs: idle ? 2000 : quick ? 500 : 1000,
    measureMs: idle ? 5000 : quick ? 1000 : 2000,
  };
}

export function loadFigures(report: LoadReport): Figures {
  return {
    opsPerSecond: (report.opsMeasured * 1000) / report.windowMs,
    opsPerCpuSecond: (report.opsMeasured * 1000) / report.serverCpuMs,
    p50Us: report.p50Us,
    p99Us: report.p99Us,
    serverCores: report.serverCpuMs / report.windowMs,
    busiestThreadCores: (report.serverThreads[0]?.cpuMs ?? 0) / report.windowMs,
    secondThreadCores: (report.serverThreads[1]?.cpuMs ?? 0) / report.windowMs,
    childrenCores: report.childrenCpuMs / report.windowMs,
    generatorCores: report.generatorCpuMs / report.windowMs,
    rssMb: report.serverRssBytes / 1e6,
  };
}

function idleFigures(report: LoadReport): Figures {
  return {
    cpuPercent: (100 * report.serverRunMs) / report.windowMs,
    voluntarySwitchesPerSecond: (report.serverVoluntarySwitches * 1000) / report.windowMs,
    childrenCpuPercent: (100 * report.childrenCpuMs) / report.windowMs,
    rssMb: report.serverRssBytes / 1e6,
  };
}

function progressText(figures: Figures): string {
  const { opsPerSecond, serverCores, p50Us, cpuPercent } = figures;
  if (opsPerSecond === undefined) return `${(cpuPercent ?? 0).toFixed(2)} % of a core`;
  return `${Math.round(opsPerSecond).toLocaleString('en')} ops/s, ${serverCores?.toFixed(2)} cores, p50 ${p50Us?.toFixed(0)} µs`;
}
