/**
 * One run of a fan-out: one writer on a schedule, many subscribers, until everything has been delivered.
 *
 *   open ─▶ write slowly until everybody heard ─▶ │ measured writes, each when it is due │ ─▶ rest comes in ─▶ report
 *                                                 └────────── CPU of the server, RSS ──────────────┘
 *
 * The schedule does not wait for the server (an open loop): what is late is sent at once and counts from when it was due.
 */
import { sampleProcess, useBetween } from '../process-stats.ts';
import { LatencyHistogram } from '../statistics.ts';
import { ByteStream } from './byte-stream.ts';
import { type FanOutWireName, fanOutWire } from './fan-out-wires.ts';
import { openSubscribers, reasonUndelivered, type Schedule, type Subscriber } from './subscribers.ts';

/** Below the idle timeout of servers: subscribers do not ping. */
const DRAIN_DEADLINE_MS = 15_000;
const WARM_UP_DEADLINE_MS = 20_000;
/** Pause between two writes of the warm-up. */
const WARM_UP_PAUSE_MS = 20;
const TICK_MS = 1;
const POLL_MS = 5;

/** What one run does. Plain data: it crosses from the harness to the generator's process. */
export interface FanOutPlan {
  readonly wire: FanOutWireName;
  readonly room: string;
  readonly port: number;
  readonly serverPid: number;
  readonly subscribers: number;
  readonly writesPerSecond: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  /** How long subscribers may hear nothing behind the warm-up; 20 s when not given. */
  readonly warmUpDeadlineMs?: number;
  readonly drainDeadlineMs?: number;
}

/** What one run measured. */
export interface FanOutReport {
  /** Why it is void; undefined when it is not. */
  readonly reason: string | undefined;
  readonly deliveries: number;
  /** From the first measured write to the last delivery. */
  readonly windowMs: number;
  /** From when the last write was due to the last delivery. */
  readonly behindMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  /** Of the subscribers that read slowly. */
  readonly slowP50Us: number;
  readonly serverCpuMs: number;
  readonly serverRssBytes: number;
  readonly generatorCpuMs: number;
  /** Slow subscribers that the server closed. */
  readonly slowClosed: number;
}

export async function runFanOut(plan: FanOutPlan): Promise<FanOutReport> {
  const { subscriber, writer, copies, joinedKeys, writes } = fanOutWire(plan.wire, plan.room);
  const measured = Math.round((plan.writesPerSecond * plan.measureMs) / 1000);
  const warmUpDeadlineMs = plan.warmUpDeadlineMs ?? WARM_UP_DEADLINE_MS;
  const warmUps = Math.ceil((plan.warmUpMs + warmUpDeadlineMs) / WARM_UP_PAUSE_MS);
  const frames = await writes(warmUps + measured);
  const [latencies, slowLatencies] = [new LatencyHistogram(), new LatencyHistogram()];
  const schedule = new WriteSchedule(plan.writesPerSecond);
  const heard = { copies, joinedKeys, schedule, latencies, slowLatencies };
  const options = { port: plan.port, steps: subscriber, writes: frames.length, ...heard };
  const subscribers = await openSubscribers(options, plan.subscribers);
  const stream = await ByteStream.open(plan.port, writer);
  stream.onBytes = () => true; // acknowledgements
  try {
    const first = await warmUp(stream, frames, subscribers, plan.warmUpMs, warmUpDeadlineMs);
    const server = sampleProcess(plan.serverPid);
    const own = process.cpuUsage();
    const beganMs = schedule.begin(first, measured);
    await writeOnTime(stream, frames, schedule);
    await untilDelivered(subscribers, plan.drainDeadlineMs ?? DRAIN_DEADLINE_MS);
    const after = sampleProcess(plan.serverPid);
    const ownUse = process.cpuUsage(own);
    const endedMs = subscribers.reduce((latest, { lastMs }) => Math.max(latest, lastMs), 0);
    return {
      reason: reasonUndelivered(subscribers),
      deliveries: subscribers.reduce((sum, { delivered }) => sum + delivered, 0),
      windowMs: endedMs - beganMs,
      behindMs: endedMs - schedule.dueUs(first + measured - 1) / 1000,
      p50Us: latencies.quantile(0.5),
      p99Us: latencies.quantile(0.99),
      slowP50Us: slowLatencies.quantile(0.5),
      serverCpuMs: server === undefined || after === undefined ? Number.NaN : useBetween(server, after).runMs,
      serverRssBytes: after?.rssBytes ?? Number.NaN,
      generatorCpuMs: (ownUse.user + ownUse.system) / 1000,
      slowClosed: subscribers.filter(({ ended }) => ended !== undefined).length,
    };
  } finally {
    stream.close();
    for (const each of subscribers) each.close();
  }
}

/** When each write is due. */
class WriteSchedule implements Schedule {
  first = Number.POSITIVE_INFINITY;
  end = Number.POSITIVE_INFINITY;
  #beganMs = 0;
  readonly #intervalMs: number;

  constructor(writesPerSecond: number) {
    this.#intervalMs = 1000 / writesPerSecond;
  }

  begin(first: number, count: number): number {
    this.#beganMs = performance.now();
    this.first = first;
    this.end = first + count;
    return this.#beganMs;
  }

  dueUs(number: number): number {
    return (this.#beganMs + (number - this.first) * this.#intervalMs) * 1000;
  }
}

/** Writes slowly until every subscriber has heard one; returns the number of the next write. */
async function warmUp(
  stream: ByteStream,
  frames: readonly Uint8Array[],
  all: readonly Subscriber[],
  ms: number,
  deadlineMs: number,
): Promise<number> {
  const endsMs = performance.now() + ms;
  for (let number = 0; number < frames.length; number++) {
    if (performance.now() >= endsMs && all.every(({ isWarm }) => isWarm)) return number;
    if (performance.now() > endsMs + deadlineMs) break;
    stream.write(frames[number] as Uint8Array);
    await sleep(WARM_UP_PAUSE_MS);
  }
  throw new Error(`${all.filter(({ isWarm }) => !isWarm).length} of ${all.length} subscribers hear nothing`);
}

async function writeOnTime(stream: ByteStream, frames: readonly Uint8Array[], schedule: WriteSchedule): Promise<void> {
  let next = schedule.first;
  while (next < schedule.end) {
    const nowUs = performance.now() * 1000;
    const from = next;
    while (next < schedule.end && schedule.dueUs(next) <= nowUs) next += 1;
    if (next > from) stream.write(Buffer.concat(frames.slice(from, next)));
    await sleep(TICK_MS);
  }
}

/** Everybody reads now. Ends when all have everything, or at the deadline. */
async function untilDelivered(subscribers: readonly Subscriber[], deadlineMs: number): Promise<void> {
  const givenUpMs = performance.now() + deadlineMs;
  for (const subscriber of subscribers) subscriber.hurry();
  let behind = [...subscribers];
  while (performance.now() < givenUpMs) {
    behind = behind.filter(({ isComplete, ended }) => !isComplete && ended === undefined);
    if (behind.length === 0) return;
    await sleep(POLL_MS);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
