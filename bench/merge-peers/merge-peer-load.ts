/**
 * The writers of one run against a peer: so many connections, each with so many batches under way, until all are sent and merged.
 *
 *   frames made ─▶ connections opened ─▶ batch, ping, batch, ping … ─▶ all pongs ─▶ the document stays as it is ─▶ its state compared
 *                                        └──────────────── measured, up to its last change ────────────────┘
 *
 * Peers do not say when a batch is merged, so there are no latencies: what is measured is from the first batch to the last change, or
 * to the last pong when that comes later. What they send to those who write (each change, for the most part) is read and dropped.
 */
import { ByteStream } from '../fan-out/byte-stream.ts';
import { descendantsCpuMs, sampleProcess } from '../process-stats.ts';
import { type MergePeerName, type MergeWire, openMergeWire } from './merge-wire.ts';
import { BATCH_OPS, type MixedRun } from './mixed-writes.ts';
import { PING_FRAME, PONG_FRAME, PongCounter } from './pong-counter.ts';

/** What one run does. Plain data: it crosses from the harness. */
export interface MergePeerPlan extends MixedRun {
  readonly peer: MergePeerName;
  readonly room: string;
  readonly port: number;
  readonly serverPid: number;
  /** Batches under way on a connection. */
  readonly window: number;
  /** From the last connection to the first batch: servers that greet are done with it then. */
  readonly settleMs: number;
  /** For sending and merging. */
  readonly deadlineMs: number;
}

/** What one run measured, or why it is void. */
export interface MergePeerReport {
  readonly reason: string | undefined;
  readonly ops: number;
  readonly windowMs: number;
  readonly serverCpuMs: number;
  readonly serverRssBytes: number;
  readonly generatorCpuMs: number;
}

const OPENING_MAX = 50;
const POLL_MS = 25;
/** A document that has not changed for so long, all batches sent, is compared with what it must be. */
const QUIET_MS = 400;

export async function runMergePeer(plan: MergePeerPlan): Promise<MergePeerReport> {
  const name = await ask<string>(plan, 'open', plan.room);
  const wire = await openMergeWire(plan.peer, name, plan);
  const writers = Array.from({ length: plan.connections }, (_, place) => new Writer(wire.frames(place), plan.window));
  try {
    for (let from = 0; from < writers.length; from += OPENING_MAX)
      await Promise.all(writers.slice(from, from + OPENING_MAX).map((writer, at) => writer.open(plan.port, wire, from + at)));
    await sleep(plan.settleMs);
    return await measured(plan, name, wire, writers);
  } finally {
    for (const writer of writers) writer.close();
  }
}

async function measured(
  plan: MergePeerPlan,
  name: string,
  wire: MergeWire,
  writers: readonly Writer[],
): Promise<MergePeerReport> {
  const ops = plan.connections * plan.batchesPerConnection * BATCH_OPS;
  const cpuBefore = process.cpuUsage();
  const serverBeforeMs = serverMs(plan.serverPid);
  const startedMs = nowMs();
  for (const writer of writers) writer.start();
  const endedMs = await merged(plan, name, writers, startedMs + plan.deadlineMs);
  const { user, system } = process.cpuUsage(cpuBefore);
  const report = {
    ops,
    windowMs: endedMs - startedMs,
    serverCpuMs: serverMs(plan.serverPid) - serverBeforeMs,
    serverRssBytes: sampleProcess(plan.serverPid)?.rssBytes ?? Number.NaN,
    generatorCpuMs: (user + system) / 1000,
  };
  const late = writers.filter(({ isDone }) => !isDone).length;
  const state = new Map(await ask<[string, string][]>(plan, 'state', name));
  return { ...report, reason: reasonDiffers(state, wire.expected()) ?? reasonUnmeasured(late, report.windowMs) };
}

/** Resolves with the time of the last change or pong, once all is sent and the document has been quiet for a while, or it is too late. */
async function merged(plan: MergePeerPlan, name: string, writers: readonly Writer[], givenUpMs: number): Promise<number> {
  for (;;) {
    await sleep(POLL_MS);
    const lost = writers.find(({ ended }) => ended !== undefined);
    if (lost !== undefined) throw new Error(`a connection was closed: ${lost.ended}`);
    if (nowMs() < givenUpMs && writers.some(({ isDone }) => !isDone)) continue;
    const changedMs = await ask<number>(plan, 'changed', name);
    const endedMs = Math.max(changedMs, ...writers.map(({ lastPongMs }) => lastPongMs));
    if (nowMs() - endedMs >= QUIET_MS || nowMs() > givenUpMs) return endedMs;
  }
}

/** One connection: its batches, each with a ping behind it. */
class Writer {
  lastPongMs = 0;
  ended: string | undefined;
  readonly #frames: readonly Uint8Array[];
  readonly #window: number;
  readonly #pongs = new PongCounter();
  #stream: ByteStream | undefined;
  #sent = 0;
  #isStarted = false;

  constructor(frames: readonly Uint8Array[], window: number) {
    this.#frames = frames.map((frame) => Buffer.concat([frame, PING_FRAME]));
    this.#window = window;
  }

  get isDone(): boolean {
    return this.#pongs.pongs >= this.#frames.length;
  }

  async open(port: number, wire: MergeWire, connection: number): Promise<void> {
    const stream = await ByteStream.open(port, wire.steps(connection));
    stream.onBytes = (chunk) => this.#take(chunk);
    stream.onClosed = (reason) => {
      this.ended = reason;
    };
    this.#stream = stream;
  }

  start(): void {
    this.#isStarted = true;
    this.#send();
  }

  close(): void {
    this.#stream?.close();
  }

  #take(chunk: Buffer): boolean {
    const { pongs: before, pings } = this.#pongs;
    this.#pongs.take(chunk);
    for (let ping = pings; ping < this.#pongs.pings; ping++) this.#stream?.write(PONG_FRAME);
    if (this.#pongs.isClosed) this.ended = 'the server said so';
    if (this.#isStarted && this.#pongs.pongs > before) {
      this.lastPongMs = nowMs();
      this.#send();
    }
    return true;
  }

  #send(): void {
    const end = Math.min(this.#frames.length, this.#pongs.pongs + this.#window);
    for (; this.#sent < end; this.#sent++) this.#stream?.write(this.#frames[this.#sent] as Uint8Array);
  }
}

/** Why the run is void, or undefined when the document holds exactly what it must. */
export function reasonDiffers(state: ReadonlyMap<string, string>, expected: ReadonlyMap<string, string>): string | undefined {
  const wrong = [...expected].filter(([key, title]) => state.get(key) !== title);
  const [first] = wrong;
  if (first !== undefined)
    return `void: ${wrong.length} of ${expected.size} keys are wrong: ${first[0]} has ${state.get(first[0])}, not ${first[1]}`;
  return state.size === expected.size ? undefined : `void: ${state.size} keys, not ${expected.size}`;
}

/**
 * Why nothing can be said of how fast the peer is, or undefined.
 *
 * @param late connections of which pongs were still out at the deadline
 * @param windowMs from the first batch to the last change or pong
 */
export function reasonUnmeasured(late: number, windowMs: number): string | undefined {
  if (late > 0) return `void: ${late} connections were not done in time`;
  return windowMs > 0 ? undefined : 'void: nothing changed';
}

async function ask<Answer>({ port }: MergePeerPlan, question: string, room: string): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${port}/${question}?room=${encodeURIComponent(room)}`);
  return (await response.json()) as Answer; // written by merge-peer-server.ts
}

function serverMs(pid: number): number {
  const { userMs = Number.NaN, systemMs = Number.NaN } = sampleProcess(pid) ?? {};
  return userMs + systemMs + descendantsCpuMs(pid);
}

function nowMs(): number {
  return performance.timeOrigin + performance.now();
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
