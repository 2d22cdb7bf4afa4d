/**
 * W2: many connections merge batches of 10 into one map: each op its own key, or all into 1000 keys with shuffled clocks.
 *
 *   lattice               asks for no level              lattice-forget … lattice-persisted    ask for it with each batch
 *   lattice-told          every connection is told of every write of the others that won, as the peers below do
 *   redis-hset            the same fields without a merge: last to come wins, answered from memory, nothing on disk
 *   raw                   uWebSockets.js with nothing behind it answers the same frames: the price of sockets, and nothing to verify
 *   y-websocket, tinybase, automerge-repo, gun            merge-peers/merge-peers.bench.ts
 *
 * After each run the server must have merged as many ops as were sent, and the Merkle root of the map (over key and stamp of each
 * record) must be that of an oracle; of up to 1000 keys the values are compared, too. The log must have been synced in groups, or
 * where PERSISTED is asked for, at all. Else the run is void. W2-PACED sends on a schedule, and its latencies run from when a batch
 * was due.
 *
 * Of `lattice-told` the server must have sent exactly one event for each op that won and each connection but its writer, by its own
 * counts, and the connections must have read frames that are no acknowledgements; none may have been closed for reading too slowly.
 * What the events say is not read. `eventsPerSecond` are those sent in the measured window.
 *
 * Of hot keys the variants of a run share a server, and each run begins with another one, since it grows. With keys of their own each has
 * a server to itself: else every variant would wait for the rows of the one before.
 */
import { WireSession } from '../gateway/testing/wire-session.ts';
import { isData } from '../engine/protocol/codec.ts';
import { DELIVERED_METRIC, readMerged, readTold, reasonNotTold, reasonVoid, untilFlushed } from './applied-ops.ts';
import { type ProductVariant, productExists, type RunningServer, runGenerator, startServer } from './harness.ts';
import { loadFigures, type MeasuredServer, type RunSettings } from './ingest.bench.ts';
import type { LoadPlan, LoadReport } from './load.ts';
import { mergePeerMissing, runMergePeerOnce } from './merge-peers/merge-peers.bench.ts';
import { MERGE_PEERS, type MergePeerName } from './merge-peers/merge-wire.ts';
import { logFigures, readLogUse, reasonMisnamed, reasonUnsynced } from './log-use.ts';
import type { ExpectedState } from './merge-oracle.ts';
import { type MeasuredWindow, type MetricsSample, MetricsWatch, ratePerSecond } from './metrics-watch.ts';
import type { MixName } from './op-mix.ts';
import { RedisPeer, redisMissing } from './redis-peer.ts';
import { type Figures, ScenarioResult } from './result.ts';
import { rotated } from './run-order.ts';
import { reasonLost, reasonUnmeasured, voidBecause } from './void-run.ts';

export interface MergeScenario {
  readonly name: string;
  readonly title: string;
  readonly mix: MixName;
  readonly connections: number;
  readonly opsPerSecond?: number;
}

export const MERGE_SCENARIOS: readonly MergeScenario[] = [
  { name: 'W2-UNIQUE100', title: '100 connections, batches of 10, each op its own key', mix: 'unique', connections: 100 },
  { name: 'W2-UNIQUE200', title: '200 connections, batches of 10, each op its own key', mix: 'unique', connections: 200 },
  { name: 'W2-HOT100', title: '100 connections, batches of 10, 1000 hot keys', mix: 'hot', connections: 100 },
  { name: 'W2-HOT200', title: '200 connections, batches of 10, 1000 hot keys', mix: 'hot', connections: 200 },
  {
    name: 'W2-PACED',
    title: '20 000 ops/s on a schedule, 100 connections, batches of 10, 1000 hot keys',
    mix: 'hot',
    connections: 100,
    opsPerSecond: 20_000,
  },
];

/** Who is told only of what was asked for. */
const INTEREST_PATH = '/ws?events=interest';

export interface MergeVariant {
  readonly level?: string;
  readonly path?: string;
  /** Begins when what was written before is flushed. */
  readonly stage?: () => Promise<void>;
  /** Told when the load is over. */
  readonly onLoaded?: () => Promise<void>;
  /** How the server's merges of ops are counted. */
  readonly readMerged?: (port: number) => Promise<number>;
  /** The connections are told of the writes of the others, which is verified. */
  readonly isTold?: boolean;
  /** The run, and what is watched of it, lasts until all of its rows are in Postgres. */
  readonly isFlushed?: boolean;
  /** Figures of what the metrics say during the run; without it they are not asked meanwhile. */
  readonly watched?: (samples: readonly MetricsSample[], window: MeasuredWindow) => Figures;
}

/** A run of which nothing was found wrong. */
interface VerifiedRun {
  readonly report: LoadReport;
  readonly ofLog: Figures;
}

const VARIANTS: Readonly<Record<string, MergeVariant>> = {
  lattice: {},
  'lattice-forget': { level: 'FIRE_AND_FORGET' },
  'lattice-memory': { level: 'MEMORY' },
  'lattice-applied': { level: 'APPLIED' },
  'lattice-persisted': { level: 'PERSISTED' },
  'lattice-told': { path: '/ws', isTold: true, watched: eventFigures },
};
/** Asks for syncs of its own, so that they are no longer those of groups. */
const SYNCING_LEVEL = 'PERSISTED';
/** For events of another gateway, which are not in order with acknowledgements. */
const LINGER_MS = 200;
const FRAMES_PER_CONNECTION = 64;
const WINDOW = 16;
/** Of connections that are told of all that the others write: events of more than that would be too much to have unread. */
const TOLD_WINDOW = 2;
const NO_ACKS = 'it does not say when a write is merged, so nothing can be timed from when it was due';

let maps = 0;

export async function* runMergeIngest(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  for (const scenario of MERGE_SCENARIOS.filter(({ name }) => settings.scenarios?.has(name) ?? true)) {
    yield await runScenario(scenario, settings);
  }
}

async function runScenario(scenario: MergeScenario, settings: RunSettings): Promise<ScenarioResult> {
  const { name, title } = scenario;
  const variants = productExists() ? Object.keys(VARIANTS) : [];
  const rows = [...variants, 'redis-hset', 'raw', ...MERGE_PEERS];
  const ceilings = Object.fromEntries(rows.map((row) => [row, 'redis-hset']));
  const result = new ScenarioResult({ scenario: name, title, ceilings });
  const peers = await presentPeers(scenario, result);
  const noRedis = redisMissing();
  if (noRedis !== undefined) result.notMeasured('redis-hset', noRedis);
  for (let run = 1; run <= settings.runs; run++) {
    for (const turn of turnsOf(scenario, run)) {
      await withServer('lattice', settings, async (server) => {
        await runMerges(server, { ...scenario, mix: 'hot' }, settings).catch(() => {}); // compiles its code, leaves few rows
        for (const [variant, how] of turn) {
          const outcome = await runMerges(server, scenario, settings, how).catch(voidBecause);
          note(result, settings, `${run}/${settings.runs}`, variant, outcome);
        }
      });
    }
    if (noRedis === undefined) {
      const outcome = await runRedis(scenario, settings).catch(voidBecause);
      note(result, settings, `${run}/${settings.runs}`, 'redis-hset', outcome);
    }
    note(result, settings, `${run}/${settings.runs}`, 'raw', await runRaw(scenario, settings).catch(voidBecause));
    for (const peer of peers) {
      const outcome = await runMergePeerOnce(peer, scenario, settings.quick, settings.pinning).catch(voidBecause);
      note(result, settings, `${run}/${settings.runs}`, peer, outcome);
    }
  }
  return result;
}

/** The variants of a run by the server that they share; a million new keys must not weigh on whoever is next. */
function turnsOf({ mix }: MergeScenario, run: number): [string, MergeVariant][][] {
  const turns = rotated(Object.entries(VARIANTS), run);
  return mix === 'hot' ? [turns] : turns.map((turn) => [turn]);
}

/** The peers that can run the scenario here; why the others do not is noted. */
async function presentPeers(scenario: MergeScenario, result: ScenarioResult): Promise<MergePeerName[]> {
  const here: MergePeerName[] = [];
  for (const peer of MERGE_PEERS) {
    const reason = scenario.opsPerSecond === undefined ? await mergePeerMissing(peer) : NO_ACKS;
    if (reason === undefined) here.push(peer);
    else result.notMeasured(peer, reason);
  }
  return here;
}

/** Nobody reads what the server leaves: it is not waited for. */
export async function withServer(
  variant: ProductVariant,
  settings: RunSettings,
  body: (server: RunningServer) => Promise<void>,
): Promise<void> {
  const server = await startServer(variant, settings.pinning);
  try {
    await body(server);
  } finally {
    await server.abandon();
  }
}

export function note(
  result: ScenarioResult,
  { progress }: RunSettings,
  run: string,
  variant: string,
  outcome: Figures | string,
): void {
  if (typeof outcome === 'string') result.addVoid(variant, outcome);
  else result.add(variant, outcome);
  const { opsPerSecond = 0, p50Us, p99Us, serverCores = 0 } = typeof outcome === 'string' ? {} : outcome;
  const rate = `${Math.round(opsPerSecond).toLocaleString('en')} ops/s, ${serverCores.toFixed(2)} cores`;
  const latencies = p99Us === undefined ? '' : `, p50 ${p50Us?.toFixed(0)} µs, p99 ${p99Us.toFixed(0)} µs`;
  const text = typeof outcome === 'string' ? outcome : rate + latencies;
  progress(`${result.scenario} run ${run} ${variant}: ${text}`);
}

/** Figures of one run into a map of its own, or why it is void. Does not reject. */
export async function runMerges(
  server: MeasuredServer,
  scenario: MergeScenario,
  settings: RunSettings,
  how: MergeVariant = {},
): Promise<Figures | string> {
  await untilFlushed(server.port);
  await how.stage?.();
  const watch = how.watched === undefined ? undefined : new MetricsWatch(server.port);
  const outcome = await runVerified(server, scenario, settings, how).catch(voidBecause);
  const samples = (await watch?.stop()) ?? [];
  if (typeof outcome === 'string') return outcome;
  const { report, ofLog } = outcome;
  return { ...loadFigures(report), ...ofLog, ...how.watched?.(samples, report.measuredWindow) };
}

async function runVerified(
  { port, pid, variant }: MeasuredServer,
  scenario: MergeScenario,
  settings: RunSettings,
  how: MergeVariant,
): Promise<VerifiedRun | string> {
  maps += 1;
  const mapName = `merge-${maps}`;
  const read = how.readMerged ?? readMerged;
  const mergedBefore = await read(port);
  const toldBefore = how.isTold === true ? await readTold(port) : undefined;
  const before = await readLogUse(port);
  const plan = { ...planOf(scenario, settings, mapName), ...askedOf(how, scenario), port, serverPid: pid };
  const report = await runGenerator(plan, settings.pinning);
  await how.onLoaded?.();
  const lost = (await reasonVoid(port, mergedBefore, report.opsSent, read)) ?? reasonUnmeasured(report.opsMeasured);
  if (lost !== undefined) return lost;
  const after = await readLogUse(port);
  const misnamed = how.level === SYNCING_LEVEL ? reasonUnsynced(before, after) : reasonMisnamed(variant, before, after);
  if (misnamed !== undefined) return misnamed;
  const { connections } = scenario;
  const untold = toldBefore && (await reasonNotTold(port, toldBefore, connections, report.otherFrames));
  const wrong = untold ?? (report.expected && (await reasonDiffers(port, mapName, report.expected)));
  if (wrong !== undefined) return wrong;
  if (how.isFlushed === true) await untilFlushed(port);
  return { report, ofLog: logFigures(before, after, report.opsSent) };
}

function askedOf({ level, path, isTold }: MergeVariant, { opsPerSecond }: MergeScenario): Partial<LoadPlan> {
  return {
    ...(path === undefined ? {} : { path }),
    ...(level === undefined ? {} : { writeConcern: level }),
    ...(isTold === true ? { lingerMs: LINGER_MS } : {}),
    ...(isTold === true && opsPerSecond === undefined ? { window: TOLD_WINDOW } : {}),
  };
}

function eventFigures(samples: readonly MetricsSample[], window: MeasuredWindow): Figures {
  return { eventsPerSecond: ratePerSecond(samples, DELIVERED_METRIC, window) };
}

export async function runRaw(scenario: MergeScenario, settings: RunSettings): Promise<Figures | string> {
  const { port, pid, stop } = await startServer('raw', settings.pinning);
  try {
    const plan: LoadPlan = { ...planOf(scenario, settings, 'raw'), port, serverPid: pid, ackRule: 'counted' };
    const report = await runGenerator(plan, settings.pinning);
    return reasonUnmeasured(report.opsMeasured) ?? loadFigures(report);
  } finally {
    await stop();
  }
}

/** @param onLoaded is told when the load is over; for tests that lose some. */
export async function runRedis(
  scenario: MergeScenario,
  settings: RunSettings,
  onLoaded: (redis: RedisPeer) => Promise<unknown> = async () => {},
): Promise<Figures | string> {
  const redis = await RedisPeer.start([], settings.pinning);
  try {
    const plan: LoadPlan = { ...planOf(scenario, settings, 'redis'), port: redis.port, serverPid: redis.pid, ackRule: 'lines' };
    const report = await runGenerator(plan, settings.pinning);
    await onLoaded(redis);
    const keys = Number((await redis.run(['DBSIZE'])).slice(1));
    const lost = reasonLost('keys', report.expected?.records ?? Number.NaN, keys);
    return lost ?? reasonUnmeasured(report.opsMeasured) ?? loadFigures(report);
  } finally {
    await redis.stop();
  }
}

function planOf({ mix, connections, opsPerSecond }: MergeScenario, { quick }: RunSettings, mapName: string): LoadPlan {
  return {
    port: 0,
    path: INTEREST_PATH,
    serverPid: 0,
    connections,
    opsPerFrame: 10,
    window: opsPerSecond === undefined ? WINDOW : FRAMES_PER_CONNECTION,
    keys: FRAMES_PER_CONNECTION * 10 * connections,
    mapName,
    keyPrefix: 'w2-',
    ackRule: 'lastId',
    warmUpMs: quick ? 300 : 1000,
    measureMs: quick ? 700 : 2000,
    mix,
    ...(opsPerSecond === undefined ? {} : { opsPerSecond }),
  };
}

/** Why the map is not what the oracle says, or undefined. */
export async function reasonDiffers(port: number, mapName: string, expected: ExpectedState): Promise<string | undefined> {
  const session = await WireSession.open({ port, path: INTEREST_PATH });
  try {
    session.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 });
    const { payload: root } = await session.next('SYNC_RESP_ROOT');
    const rootHash = isData(root) ? root.rootHash : undefined;
    if (rootHash !== expected.root) return `void: the root of the map is ${String(rootHash)}, of the oracle ${expected.root}`;
    const keys = expected.winners.map(([key]) => key);
    const query = { predicate: { op: 'in', attribute: '_key', value: keys } };
    session.send({ type: 'QUERY_SUB', payload: { queryId: 'q', mapName, query } });
    const { payload: answer } = await session.next('QUERY_RESP');
    return reasonValues(isData(answer) ? answer.results : undefined, expected);
  } finally {
    session.socket.terminate();
  }
}

/** Why what a query answered is not what the oracle says, or undefined. */
export function reasonValues(results: unknown, { winners }: ExpectedState): string | undefined {
  if (!Array.isArray(results)) return 'void: the map cannot be queried';
  const rows: unknown[] = results;
  const titles = new Map(rows.filter(isData).map(({ key, value }) => [key, isData(value) ? value.title : undefined]));
  const wrong = winners.find(([key, op]) => titles.get(key) !== `item ${String(op % 1_000_000).padStart(6, '0')}`);
  if (wrong === undefined) return undefined;
  return `void: ${wrong[0]} has the value ${String(titles.get(wrong[0]))}, not that of op ${wrong[1]}`;
}
