/**
 * RESP-<command>-P<n>: Redis commands, n in flight on each of 50 connections, as redis-benchmark sends them.
 *
 *   lattice         the product as it starts: log forced to the disk each 10 ms      beside  redis-everysec
 *   alone           without log and Postgres                                        beside  redis (appendonly no)
 *   raw             uWebSockets.js with nothing behind it: each pipeline is a WebSocket frame, and so are its replies
 *   raw-net         Node's own sockets with nothing behind them, which the door stands on: uWebSockets.js speaks no plain TCP
 *
 * Runs of all variants alternate. Every reply is compared with what it must be, and behind a run of INCR the counters together
 * must have risen by the commands that were sent; else the run is void, as it is when no reply came in its window. Redis takes part
 * where it is on PATH.
 */
import { freePort } from '../../gateway/testing/redis-server.ts';
import { untilFlushed } from '../applied-ops.ts';
import { generated, type RunningServer, startServer } from '../harness.ts';
import type { RunSettings } from '../ingest.bench.ts';
import { rawRedisPath } from '../raw-answers.ts';
import { RedisPeer, redisMissing } from '../redis-peer.ts';
import { type Figures, ScenarioResult } from '../result.ts';
import { reasonUnmeasured, voidBecause } from '../void-run.ts';
import { fill, sumOfCounters } from './resp-client.ts';
import { COMMAND_NAMES, type CommandName, PIPELINES } from './resp-commands.ts';
import type { RespLoadPlan, RespLoadReport } from './resp-load.ts';

const CONNECTIONS = 50;
const KEYS = 100_000;
const REDIS_WORDS = {
  redis: ['--appendonly', 'no'],
  'redis-everysec': ['--appendonly', 'yes', '--appendfsync', 'everysec'],
} as const;
type RedisVariant = keyof typeof REDIS_WORDS;
const CEILINGS = { lattice: 'redis-everysec', alone: 'redis', raw: 'redis', 'raw-net': 'redis' };

interface RespScenario {
  readonly name: string;
  readonly command: CommandName;
  readonly pipeline: number;
}

const SCENARIOS: readonly RespScenario[] = PIPELINES.flatMap((pipeline) =>
  COMMAND_NAMES.map((command) => ({ name: `RESP-${command}-P${pipeline}`, command, pipeline })),
);

export const RESP_SCENARIOS: readonly string[] = SCENARIOS.map(({ name }) => name);

/** A server of either kind. */
interface Peer {
  readonly variant: string;
  readonly port: number;
  readonly pid: number;
  /** It keeps nothing: no keys to fill, no counters to read. */
  readonly isRaw: boolean;
  /** Waits until it has done what it does later. */
  settle(): Promise<void>;
  stop(): Promise<void>;
}

export async function* runResp(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  const wanted = SCENARIOS.filter(({ name }) => settings.scenarios === undefined || settings.scenarios.has(name));
  if (wanted.length === 0) return;
  const missing = redisMissing();
  const peers: Peer[] = [];
  try {
    for (const variant of ['lattice', 'alone'] as const) peers.push(await startProduct(variant, settings));
    if (missing === undefined)
      for (const variant of ['redis', 'redis-everysec'] as const) peers.push(await startPeer(variant, settings));
    for (const variant of ['raw', 'raw-net'] as const) peers.push(await startRaw(variant, settings));
    const keys = settings.quick ? KEYS / 10 : KEYS;
    for (const peer of peers.filter(({ isRaw }) => !isRaw)) {
      await fill(peer.port, keys);
      await peer.settle();
    }
    for (const scenario of wanted) yield await measured(scenario, peers, keys, missing, settings);
  } finally {
    for (const peer of peers) await peer.stop();
  }
}

async function measured(
  scenario: RespScenario,
  peers: readonly Peer[],
  keys: number,
  missing: string | undefined,
  settings: RunSettings,
): Promise<ScenarioResult> {
  const { name, command, pipeline } = scenario;
  const title = `${command}, ${CONNECTIONS} connections × ${pipeline} in flight`;
  const result = new ScenarioResult({ scenario: name, title, ceilings: CEILINGS });
  if (missing !== undefined) for (const variant of Object.keys(REDIS_WORDS)) result.notMeasured(variant, missing);
  for (let run = 1; run <= settings.runs; run++) {
    for (const peer of peers) {
      const settled = runOnce(scenario, peer, keys, settings).finally(() => peer.settle());
      const outcome = await settled.catch(voidBecause);
      if (typeof outcome === 'string') result.addVoid(peer.variant, outcome);
      else result.add(peer.variant, outcome);
      const told = typeof outcome === 'string' ? outcome : `${Math.round(outcome.opsPerSecond ?? 0)} commands/s`;
      settings.progress(`${name} run ${run}/${settings.runs} ${peer.variant}: ${told}`);
    }
  }
  return result;
}

/** Figures of one run, or why it is void. */
export async function runOnce(
  { command, pipeline }: Pick<RespScenario, 'command' | 'pipeline'>,
  peer: Pick<Peer, 'variant' | 'port' | 'pid' | 'isRaw'>,
  keys: number,
  settings: RunSettings,
): Promise<Figures | string> {
  const isCounted = command === 'INCR' && !peer.isRaw;
  const before = isCounted ? await sumOfCounters(peer.port, keys) : 0;
  const plan: RespLoadPlan = {
    port: peer.port,
    serverPid: peer.pid,
    command,
    connections: CONNECTIONS,
    pipeline,
    keys,
    ...(peer.variant === 'raw' ? { path: rawRedisPath(command, pipeline) } : {}),
    warmUpMs: settings.quick ? 300 : 1000,
    measureMs: settings.quick ? 700 : 2000,
  };
  const report = await generated<RespLoadPlan, RespLoadReport>('./resp/resp-generator', plan, settings.pinning);
  const reason = isCounted ? reasonMiscounted(report.sent, before, await sumOfCounters(peer.port, keys)) : undefined;
  return reason ?? outcomeOf(report);
}

/** Why a run of INCR is void, or undefined: the sum of all counters rose by other than what was sent. */
export function reasonMiscounted(sent: number, sumBefore: number, sumAfter: number): string | undefined {
  const counted = sumAfter - sumBefore;
  return counted === sent ? undefined : `void: ${sent} INCR sent, the counters rose by ${counted}`;
}

/** Figures of what a generator reports, or why they say nothing. */
export function outcomeOf(report: RespLoadReport): Figures | string {
  return reasonUnmeasured(report.measured) ?? figuresOf(report);
}

function figuresOf(report: RespLoadReport): Figures {
  return {
    opsPerSecond: (report.measured * 1000) / report.windowMs,
    opsPerCpuSecond: (report.measured * 1000) / report.serverRunMs,
    p50Us: report.p50Us,
    p99Us: report.p99Us,
    serverCores: report.serverRunMs / report.windowMs,
    childrenCores: report.childrenCpuMs / report.windowMs,
    generatorCores: report.generatorCpuMs / report.windowMs,
  };
}

async function startProduct(variant: 'lattice' | 'alone', { pinning }: RunSettings): Promise<Peer> {
  const respPort = await freePort();
  process.env.LATTICE_RESP_PORT = String(respPort);
  try {
    const server: RunningServer = await startServer(variant, pinning);
    const settle = (): Promise<void> => untilFlushed(server.port);
    return { variant, port: respPort, pid: server.pid, isRaw: false, settle, stop: () => server.stop() };
  } finally {
    delete process.env.LATTICE_RESP_PORT;
  }
}

async function startPeer(variant: RedisVariant, { pinning }: RunSettings): Promise<Peer> {
  const peer = await RedisPeer.start(REDIS_WORDS[variant], pinning);
  return { variant, port: peer.port, pid: peer.pid, isRaw: false, settle: async () => {}, stop: () => peer.stop() };
}

async function startRaw(variant: 'raw' | 'raw-net', { pinning }: RunSettings): Promise<Peer> {
  const { port, pid, stop } = await startServer(variant, pinning);
  return { variant, port, pid, isRaw: true, settle: async () => {}, stop };
}
