/**
 * W4: a thousand live queries, `owner = i AND done = false ORDER BY ts LIMIT 50`, while rows change. How long until a write is in the
 * view that shows it, and what it costs.
 *
 *   lattice   as it starts      lattice-index   with a hash index of `owner`: first results look at the rows of one owner each
 *   raw       a uWebSockets.js server that is told which bytes go to which connection
 *
 * `per second` counts QUERY_UPDATEs; beside each write's updates its event goes to all 20 connections, since who queries a map gets
 * its changes. A run at whose start or end one view is not what the rows say, or that shows a row twice, is void.
 */
import { untilFlushed } from '../applied-ops.ts';
import { generated, productExists, type RunningServer, startServer, type Variant } from '../harness.ts';
import type { RunSettings } from '../ingest.bench.ts';
import { type Figures, ScenarioResult } from '../result.ts';
import { voidBecause } from '../void-run.ts';
import type { LiveQueryPlan, LiveQueryReport } from './live-query-load.ts';

interface Contender {
  readonly name: string;
  readonly server: Variant;
  readonly index?: string;
}

const CONTENDERS: readonly Contender[] = [
  { name: 'lattice', server: 'lattice' },
  { name: 'lattice-index', server: 'lattice', index: 'owner' },
  { name: 'raw', server: 'raw-query' },
];
const WRITES_PER_SECOND = 500;
const CONNECTIONS = 20;

let maps = 0;

export async function* runLiveQueryPart(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  if (settings.scenarios?.has('W4') === false) return;
  const size = settings.quick ? { owners: 200, rows: 20_000 } : { owners: 1000, rows: 100_000 };
  const result = new ScenarioResult({
    scenario: 'W4',
    title: `${size.owners} live queries of 50 rows, ${size.rows.toLocaleString('en')} rows, ${WRITES_PER_SECOND} updates a second`,
    ceilings: { lattice: 'raw', 'lattice-index': 'raw' },
  });
  const servers = new Map<Variant, RunningServer>();
  try {
    for (let run = 1; run <= settings.runs; run++) {
      for (const contender of CONTENDERS) {
        if (contender.server === 'lattice' && !productExists()) continue;
        const outcome = await runOnce(contender, size, servers, settings).catch(voidBecause);
        if (typeof outcome === 'string') result.addVoid(contender.name, outcome);
        else result.add(contender.name, outcome);
        settings.progress(`W4 run ${run}/${settings.runs} ${contender.name}: ${textOf(outcome)}`);
      }
    }
  } finally {
    for (const server of servers.values()) await server.stop();
  }
  yield result;
}

async function runOnce(
  { server: variant, index }: Contender,
  size: { readonly owners: number; readonly rows: number },
  servers: Map<Variant, RunningServer>,
  settings: RunSettings,
): Promise<Figures | string> {
  const server = servers.get(variant) ?? (await startServer(variant, settings.pinning));
  servers.set(variant, server);
  maps += 1;
  const plan: LiveQueryPlan = {
    target: variant === 'lattice' ? 'lattice' : 'raw',
    port: server.port,
    serverPid: server.pid,
    mapName: `w4-${maps}`,
    ...(index === undefined ? {} : { index }),
    ...size,
    connections: CONNECTIONS,
    writesPerSecond: WRITES_PER_SECOND,
    warmUpMs: settings.quick ? 500 : 2000,
    measureMs: settings.quick ? 2000 : 6000,
  };
  try {
    const report = await generated<LiveQueryPlan, LiveQueryReport>('./live-query/live-query-generator', plan, settings.pinning);
    return report.reason ?? figuresOf(report);
  } finally {
    if (plan.target === 'lattice') await untilFlushed(server.port); // its flushes are not the next one's cost
  }
}

function figuresOf(report: LiveQueryReport): Figures {
  return {
    opsPerSecond: (report.updates * 1000) / report.windowMs,
    opsPerCpuSecond: (report.updates * 1000) / report.serverCpuMs,
    p50Us: report.p50Us,
    p99Us: report.p99Us,
    serverCores: report.serverCpuMs / report.windowMs,
    childrenCores: report.childrenCpuMs / report.windowMs,
    generatorCores: report.generatorCpuMs / report.windowMs,
    firstResultsMs: report.subscribeMs,
    wrongViews: report.wrongViews,
  };
}

function textOf(outcome: Figures | string): string {
  if (typeof outcome === 'string') return outcome;
  const { opsPerSecond, p50Us, p99Us, serverCores, firstResultsMs } = outcome;
  return `${opsPerSecond?.toFixed(0)} updates/s, ${serverCores?.toFixed(2)} cores, p50 ${p50Us?.toFixed(0)} µs, p99 ${p99Us?.toFixed(0)} µs, first results ${firstResultsMs?.toFixed(0)} ms`;
}
