/**
 * W5: 64 connections count: all one hot counter, or 10 000 cold ones.
 *
 *   lattice-pn      PN counters over WebSocket, in the log. Whoever counts watches: an increment of the hot counter is told to 63 others
 *   lattice-resp    INCR at the door for clients of Redis, in the log
 *   raw             uWebSockets.js with nothing behind it, which answers each increment with a state as long, and tells nobody else
 *   redis-no, redis-everysec, redis-always     INCR, by when its append-only file is synced
 *
 * `lattice` syncs its log each 10 ms, which stands between everysec and always. After each run the counters must say what was sent.
 */
import { untilFlushed } from '../applied-ops.ts';
import { generated, productExists, startServer } from '../harness.ts';
import type { RunSettings } from '../ingest.bench.ts';
import { note } from '../merge-ingest.bench.ts';
import { freePort, RedisPeer, redisMissing } from '../redis-peer.ts';
import { type Figures, ScenarioResult } from '../result.ts';
import { reasonUnmeasured, voidBecause } from '../void-run.ts';
import type { CounterPlan, CounterReport } from './counter-load.ts';
import { type CounterHeat, type CounterProtocol, counterNames } from './counter-speakers.ts';
import { sumOf } from './counter-sums.ts';

const HEATS: Readonly<Record<string, CounterHeat>> = { 'W5-HOT': 'hot', 'W5-COLD': 'cold' };
const TITLES: Readonly<Record<CounterHeat, string>> = {
  hot: '64 connections count one counter',
  cold: '64 connections count 10 000 counters, each its share',
};
export const COUNTER_SCENARIOS: readonly string[] = Object.keys(HEATS);
const REDIS_SYNCS = ['no', 'everysec', 'always'] as const;

/** Something that counts. */
interface Counting {
  readonly name: string;
  readonly protocol: CounterProtocol;
  readonly port: number;
  readonly pid: number;
  /** Waits until it has done what it does later: the next run must not pay for it. */
  settle(): Promise<void>;
}

let rooms = 0;

export async function* runCounterPart(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  const wanted = COUNTER_SCENARIOS.filter((name) => settings.scenarios?.has(name) ?? true);
  if (wanted.length === 0) return;
  const { counting, missing, stop } = await start(settings);
  try {
    for (const scenario of wanted) {
      const heat = HEATS[scenario] as CounterHeat;
      const ceilings = Object.fromEntries(counting.map(({ name }) => [name, 'redis-everysec']));
      const result = new ScenarioResult({ scenario, title: TITLES[heat], ceilings });
      for (const [variant, reason] of missing) result.notMeasured(variant, reason);
      for (let run = 1; run <= settings.runs; run++) {
        for (const each of counting) {
          const settled = runOnce(each, heat, settings).finally(() => each.settle());
          const outcome = await settled.catch(voidBecause);
          note(result, settings, `${run}/${settings.runs}`, each.name, outcome);
        }
      }
      yield result;
    }
  } finally {
    await stop();
  }
}

async function start(settings: RunSettings): Promise<{
  counting: Counting[];
  missing: [variant: string, reason: string][];
  stop: () => Promise<void>;
}> {
  const counting: Counting[] = [];
  const missing: [string, string][] = [];
  const stops: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const each of stops) await each();
  };
  try {
    if (productExists()) {
      const respPort = await freePort();
      process.env.LATTICE_RESP_PORT = String(respPort);
      const server = await startServer('lattice', settings.pinning).finally(() => delete process.env.LATTICE_RESP_PORT);
      stops.push(() => server.stop());
      const settle = (): Promise<void> => untilFlushed(server.port);
      counting.push({ name: 'lattice-pn', protocol: 'pn', port: server.port, pid: server.pid, settle });
      counting.push({ name: 'lattice-resp', protocol: 'incr', port: respPort, pid: server.pid, settle });
    }
    const raw = await startServer('raw', settings.pinning);
    stops.push(() => raw.stop());
    counting.push({ name: 'raw', protocol: 'raw', port: raw.port, pid: raw.pid, settle: async () => {} });
    const noRedis = redisMissing();
    for (const sync of REDIS_SYNCS) {
      if (noRedis !== undefined) missing.push([`redis-${sync}`, noRedis]);
      else {
        const redis = await RedisPeer.start(['--appendonly', 'yes', '--appendfsync', sync], settings.pinning);
        stops.push(() => redis.stop());
        const settle = async (): Promise<void> => {};
        counting.push({ name: `redis-${sync}`, protocol: 'incr', port: redis.port, pid: redis.pid, settle });
      }
    }
    return { counting, missing, stop };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

async function runOnce(counting: Counting, heat: CounterHeat, settings: RunSettings): Promise<Figures | string> {
  rooms += 1;
  const { protocol, port, pid } = counting;
  const room = `c${rooms}`;
  const times = { warmUpMs: settings.quick ? 300 : 1000, measureMs: settings.quick ? 700 : 2000 };
  const plan: CounterPlan = { protocol, heat, room, port, serverPid: pid, ...times };
  const report = await generated<CounterPlan, CounterReport>('./counters/counter-generator', plan, settings.pinning);
  return (await reasonMiscounted(plan, report)) ?? figuresOf(report);
}

/** Why the run is void: the counters do not say what was sent, or nothing was measured. */
export async function reasonMiscounted(
  { protocol, port, heat, room }: Pick<CounterPlan, 'protocol' | 'port' | 'heat' | 'room'>,
  { sent, measured }: Pick<CounterReport, 'sent' | 'measured'>,
): Promise<string | undefined> {
  const sum = protocol === 'raw' ? sent : await sumOf(protocol, port, counterNames(heat, room));
  if (sum !== sent) return `void: ${sent} increments sent, the counters say ${sum}`;
  return reasonUnmeasured(measured);
}

function figuresOf(report: CounterReport): Figures {
  return {
    opsPerSecond: (report.measured * 1000) / report.windowMs,
    opsPerCpuSecond: (report.measured * 1000) / report.serverCpuMs,
    p50Us: report.p50Us,
    p99Us: report.p99Us,
    serverCores: report.serverCpuMs / report.windowMs,
    childrenCores: report.childrenCpuMs / report.windowMs,
    generatorCores: report.generatorCpuMs / report.windowMs,
    rssMb: report.serverRssBytes / 1e6,
  };
}
