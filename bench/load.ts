/**
 * One run of load: opens the connections, warms up, measures a window, waits until all is acknowledged.
 *
 *   connect ─▶ warm up ─▶ │ sample ─── measured window ─── sample │ ─▶ drain ─▶ linger ─▶ report
 *
 * CPU of the server is sampled here, at the very ends of the window, so that no message between processes blurs it.
 */
import { type AckRule, type Frames, LoadConnection } from './load-connection.ts';
import { type ExpectedState, expectedState } from './merge-oracle.ts';
import type { MeasuredWindow } from './metrics-watch.ts';
import { type MixName, OpMix } from './op-mix.ts';
import { descendantsCpuMs, type ProcessSample, sampleProcess, useBetween } from './process-stats.ts';
import { LatencyHistogram } from './statistics.ts';
import { RedisSlice } from './redis-frames.ts';
import { FrameSlice } from './write-frames.ts';

const DRAIN_DEADLINE_MS = 20_000;
const OPEN_DEADLINE_MS = 60_000;
/** Connections that are opened at a time: more would wait in a queue of the kernel. */
const OPENING_MAX = 200;
const POLL_MS = 5;
const PUMP_MS = 1;
/** Until the first frames of an open loop are due. */
const LEAD_US = 20_000;

/** What one run does. Plain data: it crosses from the harness to the generator's process. */
export interface LoadPlan {
  readonly port: number;
  readonly path: string;
  readonly serverPid: number;
  readonly connections: number;
  readonly opsPerFrame: number;
  /** Frames in flight per connection; 1 waits for each ack; 0 opens the connections and sends nothing. */
  readonly window: number;
  /** Distinct keys, shared out among the connections. */
  readonly keys: number;
  readonly mapName: string;
  readonly keyPrefix: string;
  readonly ackRule: AckRule;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** How long acknowledgements may stay out after the window; 20 s when not given. */
  readonly drainDeadlineMs?: number;
  /** How long connections stay open behind the last acknowledgement, for what the server still tells them; 0 when not given. */
  readonly lingerMs?: number;
  /** Keys and clocks of the ops; when not given, each connection goes round its share of `keys` and wins each merge. */
  readonly mix?: MixName;
  /** Keys of the mixes `hot` and `rising`; 1000 when not given. With it nothing is expected of the map: it may have been filled before. */
  readonly hotKeys?: number;
  /** Durability level that each batch asks for. */
  readonly writeConcern?: string;
  /** Ops a second of all connections together, sent when they are due (an open loop). When not given: as fast as the windows let them. */
  readonly opsPerSecond?: number;
}

/** What one run measured. */
export interface LoadReport {
  /** Ops sent since the start, warm-up included; every one was acknowledged. */
  readonly opsSent: number;
  /** Ops acknowledged in the window. */
  readonly opsMeasured: number;
  readonly windowMs: number;
  /** When that was: to be compared with what the harness saw meanwhile. */
  readonly measuredWindow: MeasuredWindow;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly serverCpuMs: number;
  /** As `serverCpuMs`, at ns precision. */
  readonly serverRunMs: number;
  readonly serverVoluntarySwitches: number;
  readonly serverRssBytes: number;
  readonly serverThreads: readonly { readonly name: string; readonly cpuMs: number }[];
  /** Processes that the server started (embedded Postgres). */
  readonly childrenCpuMs: number;
  readonly generatorCpuMs: number;
  readonly frameBytes: number;
  /** Connections that were open at the end; with none closed, those of the plan. */
  readonly openConnections: number;
  /** Server frames that were no acks, and the first one's text. */
  readonly otherFrames: number;
  readonly otherText: string;
  /** What the map must hold afterwards, where there is a mix and a map. */
  readonly expected: ExpectedState | undefined;
}

interface Snapshot {
  readonly atMs: number;
  readonly ackedFrames: number;
  readonly server: ProcessSample | undefined;
  readonly childrenCpuMs: number;
  readonly generatorCpuMs: number;
}

/** Runs a plan. Rejects when a connection fails or acknowledgements stay out. */
export async function runLoad(plan: LoadPlan): Promise<LoadReport> {
  const latencies = new LatencyHistogram();
  let fail: (reason: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {}); // it is raced below; a failure between two races is no unhandled one
  const firstMillis = Date.now();
  const connections = openConnections(plan, firstMillis, latencies, fail);
  let pump: NodeJS.Timeout | undefined;
  try {
    await Promise.race([failed, deadline(openAll(connections), OPEN_DEADLINE_MS, 'the connections did not open')]);
    if (plan.opsPerSecond !== undefined)
      pump = pumpWhenDue(connections, plan.opsPerSecond / plan.opsPerFrame, performance.now() * 1000 + LEAD_US);
    else if (plan.window > 0) for (const connection of connections) connection.start();
    await Promise.race([failed, sleep(plan.warmUpMs)]);
    latencies.clear();
    const before = snapshot(plan, connections);
    await Promise.race([failed, sleep(plan.measureMs)]);
    const after = snapshot(plan, connections);
    const inWindow = [latencies.quantile(0.5), latencies.quantile(0.99)] as const;
    for (const connection of connections) connection.stopSending();
    await Promise.race([failed, drained(connections, plan.drainDeadlineMs ?? DRAIN_DEADLINE_MS)]);
    if (plan.lingerMs !== undefined) await Promise.race([failed, sleep(plan.lingerMs)]);
    // On a schedule, what was due in the window and came after it counts, too: those are the late ones.
    const isPaced = plan.opsPerSecond !== undefined;
    const [p50Us, p99Us] = isPaced ? [latencies.quantile(0.5), latencies.quantile(0.99)] : inWindow;
    const { mix, hotKeys, keyPrefix, opsPerFrame, ackRule } = plan;
    const opsSent = connections.map(({ sent }) => sent * opsPerFrame);
    const hasMap = mix !== undefined && hotKeys === undefined && ackRule !== 'counted'; // who only counts keeps nothing
    const expected = hasMap ? expectedState(mix, keyPrefix, firstMillis, opsSent) : undefined;
    return { ...reportOf(plan, connections, before, after), p50Us, p99Us, expected };
  } finally {
    clearInterval(pump);
    for (const connection of connections) connection.close();
  }
}

function openConnections(
  plan: LoadPlan,
  firstMillis: number,
  latencies: LatencyHistogram,
  onFailure: (reason: Error) => void,
): LoadConnection[] {
  const frames = Math.floor(plan.keys / plan.connections / plan.opsPerFrame);
  const connections: LoadConnection[] = [];
  for (let place = 0; place < plan.connections; place++) {
    const slice = plan.window === 0 ? undefined : sliceOf(plan, frames, place, firstMillis);
    const { port, path, ackRule } = plan;
    const window = Math.min(plan.window, frames);
    connections.push(new LoadConnection({ port, path, slice, window, ackRule, firstMillis, latencies }, onFailure));
  }
  return connections;
}

function sliceOf(plan: LoadPlan, frames: number, place: number, firstMillis: number): Frames {
  const { mapName, keyPrefix, opsPerFrame, writeConcern } = plan;
  const mix = plan.mix === undefined ? undefined : new OpMix(plan.mix, place, firstMillis, plan.hotKeys, plan.connections);
  if (plan.ackRule === 'lines')
    return new RedisSlice(keyPrefix, frames, opsPerFrame, mix ?? new OpMix('unique', place, firstMillis));
  return new FrameSlice({ mapName, keyPrefix, firstKey: place * frames * opsPerFrame, frames, opsPerFrame, mix, writeConcern });
}

async function openAll(connections: readonly LoadConnection[]): Promise<void> {
  for (let from = 0; from < connections.length; from += OPENING_MAX) {
    await Promise.all(connections.slice(from, from + OPENING_MAX).map((connection) => connection.open()));
  }
}

/** Connections take turns, so that what is due is spread evenly. Each is told when it is its turn. */
function pumpWhenDue(connections: readonly LoadConnection[], framesPerSecond: number, startUs: number): NodeJS.Timeout {
  connections.forEach((connection, place) => {
    const ownPerSecond = framesPerSecond / connections.length;
    connection.start({ framesPerSecond: ownPerSecond, firstDueUs: startUs + (place * 1e6) / framesPerSecond });
  });
  let turns = 0;
  return setInterval(() => {
    const due = Math.floor(((performance.now() * 1000 - startUs) * framesPerSecond) / 1e6) + 1;
    for (; turns < due; turns++) connections[turns % connections.length]?.pump();
  }, PUMP_MS);
}

function snapshot(plan: LoadPlan, connections: readonly LoadConnection[]): Snapshot {
  const own = process.cpuUsage();
  return {
    atMs: performance.now(),
    ackedFrames: sum(connections, (connection) => connection.acked),
    server: sampleProcess(plan.serverPid),
    childrenCpuMs: descendantsCpuMs(plan.serverPid),
    generatorCpuMs: (own.user + own.system) / 1000,
  };
}

function reportOf(
  plan: LoadPlan,
  connections: readonly LoadConnection[],
  before: Snapshot,
  after: Snapshot,
): Omit<LoadReport, 'p50Us' | 'p99Us' | 'expected'> {
  const use = before.server !== undefined && after.server !== undefined ? useBetween(before.server, after.server) : undefined;
  const frameBytes = plan.window === 0 ? 0 : sliceOf(plan, 1, 0, 0).frameBytes;
  return {
    opsSent: sum(connections, (connection) => connection.sent) * plan.opsPerFrame,
    opsMeasured: (after.ackedFrames - before.ackedFrames) * plan.opsPerFrame,
    windowMs: after.atMs - before.atMs,
    measuredWindow: { beganMs: performance.timeOrigin + before.atMs, endedMs: performance.timeOrigin + after.atMs },
    serverCpuMs: use?.cpuMs ?? Number.NaN,
    serverRunMs: use?.runMs ?? Number.NaN,
    serverVoluntarySwitches: use?.voluntarySwitches ?? Number.NaN,
    serverRssBytes: after.server?.rssBytes ?? Number.NaN,
    serverThreads: use?.threads ?? [],
    childrenCpuMs: after.childrenCpuMs - before.childrenCpuMs,
    generatorCpuMs: after.generatorCpuMs - before.generatorCpuMs,
    frameBytes,
    openConnections: connections.filter(({ isOpen }) => isOpen).length,
    otherFrames: sum(connections, (connection) => connection.otherFrames),
    otherText: connections.find((connection) => connection.otherText !== '')?.otherText ?? '',
  };
}

async function drained(connections: readonly LoadConnection[], deadlineMs: number): Promise<void> {
  const givenUpMs = performance.now() + deadlineMs;
  for (;;) {
    const missing = sum(connections, (connection) => connection.sent - connection.acked);
    if (missing === 0) return;
    if (performance.now() > givenUpMs) throw new Error(`${missing} frames were never acknowledged`);
    await sleep(POLL_MS);
  }
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function deadline<T>(work: Promise<T>, ms: number, message: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(message)), ms).unref(); // who has failed does not wait for it
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
