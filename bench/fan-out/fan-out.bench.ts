/**
 * FAN: one writer, many subscribers of which every tenth reads slowly. How long until everybody has each write, and what it costs.
 *
 *   lattice-event   changes of a map        lattice-query   the same as updates of a live query each       lattice-topic   messages
 *   raw             a uWebSockets.js server that publishes the same bytes        raw-joined   those of a turn in one frame
 *   and the peers that are installed
 *
 * Scenarios are named by subscribers and writes a second. `per second` counts deliveries. A run in which somebody misses a write, or
 * gets one twice, is void; so is one that is not done in time, because the rate is beyond what the server can do here. Peers other
 * than Redis are left out above 500 000 deliveries a second, where the fastest of them is seconds late already. GUN loses some
 * writes where the rate is more than it can do; its row is what its relay does with puts of this form.
 */
import { generated, productExists, startServer, type Variant } from '../harness.ts';
import type { RunSettings } from '../ingest.bench.ts';
import { reasonMissing } from '../peer-packages.ts';
import { RedisPeer, redisMissing } from '../redis-peer.ts';
import { type Figures, ScenarioResult } from '../result.ts';
import { voidBecause } from '../void-run.ts';
import type { FanOutPlan, FanOutReport } from './fan-out-load.ts';
import type { FanOutWireName } from './fan-out-wires.ts';

interface Contender {
  readonly name: string;
  readonly wire: FanOutWireName;
  /** What serves it; Redis is started by redis-peer.ts. */
  readonly server: Variant | 'redis';
  /** Package that it needs. */
  readonly needs?: string;
}

const CONTENDERS: readonly Contender[] = [
  { name: 'lattice-event', wire: 'event', server: 'lattice' },
  { name: 'lattice-query', wire: 'query', server: 'lattice' },
  { name: 'lattice-topic', wire: 'topic', server: 'lattice' },
  { name: 'raw', wire: 'raw', server: 'raw-fan-out' },
  { name: 'raw-joined', wire: 'raw-joined', server: 'raw-fan-out' },
  { name: 'redis-pubsub', wire: 'redis', server: 'redis' },
  { name: 'socket.io', wire: 'socket.io', server: 'socket.io', needs: 'socket.io' },
  { name: 'y-websocket', wire: 'y-websocket', server: 'y-websocket', needs: 'y-websocket/bin/utils' },
  { name: 'hocuspocus', wire: 'hocuspocus', server: 'hocuspocus', needs: '@hocuspocus/server' },
  { name: 'gun', wire: 'gun', server: 'gun', needs: 'gun' },
];
const PEER_DELIVERIES_MAX = 500_000;
/** Who fails so often in a scenario is not tried again in it, nor in larger ones: a rate that is too high stays so, and a try takes long. */
const VOID_RUNS_MAX = 2;

interface FanOutScenario {
  readonly name: string;
  readonly subscribers: number;
  readonly writesPerSecond: number;
}

const SCENARIOS: readonly FanOutScenario[] = [100, 1000, 5000].flatMap((subscribers) =>
  [50, 500, 2000].map((writesPerSecond) => ({ name: `FAN-${subscribers}x${writesPerSecond}`, subscribers, writesPerSecond })),
);
export const FAN_OUT_SCENARIOS: readonly string[] = SCENARIOS.map(({ name }) => name);

/** A server that contenders share, by the name of what serves them. */
interface Served {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

/** A contender, and where it failed. */
interface Defeat {
  readonly contender: string;
  readonly scenario: FanOutScenario;
}

let rooms = 0;

export async function* runFanOutPart(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  const wanted = SCENARIOS.filter(({ name }) => settings.scenarios?.has(name) ?? true);
  const servers = new Map<string, Served>();
  const defeats: Defeat[] = [];
  try {
    for (const scenario of wanted) yield await runScenario(scenario, servers, defeats, settings);
  } finally {
    for (const server of servers.values()) await server.stop();
  }
}

async function runScenario(
  scenario: FanOutScenario,
  servers: Map<string, Served>,
  defeats: Defeat[],
  settings: RunSettings,
): Promise<ScenarioResult> {
  const { name, subscribers, writesPerSecond } = scenario;
  const title = `${subscribers.toLocaleString('en')} subscribers, ${writesPerSecond.toLocaleString('en')} writes a second`;
  const ceilings = Object.fromEntries(CONTENDERS.map((contender) => [contender.name, 'raw-joined']));
  const result = new ScenarioResult({ scenario: name, title, ceilings });
  const contenders = await present(scenario, defeats, result);
  for (let run = 1; run <= settings.runs; run++) {
    for (const contender of contenders) {
      if (isDefeated(contender, result, settings)) continue;
      const outcome = await runOnce(scenario, contender, servers, settings).catch(voidBecause);
      if (typeof outcome === 'string') {
        result.addVoid(contender.name, outcome);
        await servers.get(contender.server)?.stop(); // whatever went wrong must not reach the next run
        servers.delete(contender.server);
      } else result.add(contender.name, outcome);
      settings.progress(`${name} run ${run}/${settings.runs} ${contender.name}: ${progressText(outcome)}`);
    }
  }
  for (const contender of contenders)
    if (isDefeated(contender, result, settings)) defeats.push({ contender: contender.name, scenario });
  return result;
}

function isDefeated({ name }: Contender, { voidRuns }: ScenarioResult, { runs }: RunSettings): boolean {
  return voidRuns.filter(({ variant }) => variant === name).length >= Math.min(VOID_RUNS_MAX, runs);
}

/** The contenders that can run here; why the others do not is noted. */
async function present(scenario: FanOutScenario, defeats: readonly Defeat[], result: ScenarioResult): Promise<Contender[]> {
  const here: Contender[] = [];
  for (const contender of CONTENDERS) {
    const reason =
      reasonHopeless(contender, scenario, defeats) ??
      (await reasonAbsent(contender, scenario.subscribers * scenario.writesPerSecond));
    if (reason === undefined) here.push(contender);
    else result.notMeasured(contender.name, reason);
  }
  return here;
}

/** Why a contender need not try: it could not do less. */
function reasonHopeless({ name }: Contender, scenario: FanOutScenario, defeats: readonly Defeat[]): string | undefined {
  const { subscribers, writesPerSecond } = scenario;
  const defeat = defeats.find(
    (less) =>
      less.contender === name && less.scenario.subscribers <= subscribers && less.scenario.writesPerSecond <= writesPerSecond,
  );
  return defeat === undefined ? undefined : `it could not do ${defeat.scenario.name}`;
}

async function reasonAbsent({ server, needs }: Contender, deliveriesPerSecond: number): Promise<string | undefined> {
  if (server === 'lattice') return productExists() ? undefined : 'it is not built';
  if (server === 'raw-fan-out') return undefined;
  if (server === 'redis') return redisMissing();
  if (deliveriesPerSecond > PEER_DELIVERIES_MAX) return `${deliveriesPerSecond} deliveries a second are asked for`;
  return needs === undefined ? undefined : reasonMissing(needs);
}

async function runOnce(
  scenario: FanOutScenario,
  { wire, server: serverName }: Contender,
  servers: Map<string, Served>,
  settings: RunSettings,
): Promise<Figures | string> {
  const server = servers.get(serverName) ?? (await start(serverName, settings));
  servers.set(serverName, server);
  rooms += 1;
  const plan: FanOutPlan = {
    wire,
    room: `fan-${rooms}`,
    port: server.port,
    serverPid: server.pid,
    subscribers: scenario.subscribers,
    writesPerSecond: scenario.writesPerSecond,
    warmUpMs: settings.quick ? 300 : 700,
    measureMs: settings.quick ? 1000 : 2000,
  };
  const report = await generated<FanOutPlan, FanOutReport>('./fan-out/fan-out-generator', plan, settings.pinning);
  return report.reason ?? figuresOf(report);
}

async function start(name: Variant | 'redis', settings: RunSettings): Promise<Served> {
  settings.progress(`starting ${name}`);
  if (name === 'redis') return RedisPeer.start([], settings.pinning);
  return startServer(name, settings.pinning);
}

function figuresOf(report: FanOutReport): Figures {
  return {
    opsPerSecond: (report.deliveries * 1000) / report.windowMs,
    opsPerCpuSecond: (report.deliveries * 1000) / report.serverCpuMs,
    p50Us: report.p50Us,
    p99Us: report.p99Us,
    slowP50Us: report.slowP50Us,
    serverCores: report.serverCpuMs / report.windowMs,
    generatorCores: report.generatorCpuMs / report.windowMs,
    rssMb: report.serverRssBytes / 1e6,
    behindMs: report.behindMs,
    slowClosed: report.slowClosed,
  };
}

function progressText(outcome: Figures | string): string {
  if (typeof outcome === 'string') return outcome;
  const { opsPerSecond, p50Us, p99Us, serverCores } = outcome;
  const rate = Math.round(opsPerSecond ?? 0).toLocaleString('en');
  return `${rate} deliveries/s, ${serverCores?.toFixed(2)} cores, p50 ${p50Us?.toFixed(0)} µs, p99 ${p99Us?.toFixed(0)} µs`;
}
