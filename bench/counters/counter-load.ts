/** One run of counting: 64 connections, each with some increments in flight, as fast as they are acknowledged. */
import { upgrade } from '../client-frames.ts';
import { ByteStream, type Step } from '../fan-out/byte-stream.ts';
import { descendantsCpuMs, sampleProcess, useBetween } from '../process-stats.ts';
import { rawCountersPath } from '../raw-answers.ts';
import { LatencyHistogram } from '../statistics.ts';
import { messageOf } from '../void-run.ts';
import { CONNECTIONS, type CounterHeat, type CounterProtocol, type Speaker, speakerOf } from './counter-speakers.ts';

const WINDOW = 8;
const DRAIN_DEADLINE_MS = 20_000;
const POLL_MS = 5;

/** What one run does. Plain data: it crosses from the harness to the generator's process. */
export interface CounterPlan {
  readonly protocol: CounterProtocol;
  readonly heat: CounterHeat;
  readonly room: string;
  readonly port: number;
  readonly serverPid: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
  readonly drainDeadlineMs?: number;
}

/** What one run measured. */
export interface CounterReport {
  /** Increments since the start; every one was acknowledged. */
  readonly sent: number;
  readonly measured: number;
  readonly windowMs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly serverCpuMs: number;
  readonly serverRssBytes: number;
  /** Processes that the server started (embedded Postgres). */
  readonly childrenCpuMs: number;
  readonly generatorCpuMs: number;
}

/** Runs a plan. Rejects when a connection ends or acknowledgements stay out. */
export async function runCounters(plan: CounterPlan): Promise<CounterReport> {
  const latencies = new LatencyHistogram();
  const opened = Array.from({ length: CONNECTIONS }, (_, place) => CounterConnection.open(plan, place, latencies));
  const connections = await Promise.all(opened);
  try {
    for (const connection of connections) connection.start();
    await sleep(plan.warmUpMs);
    latencies.clear();
    const server = sampleProcess(plan.serverPid);
    const childrenBeforeMs = descendantsCpuMs(plan.serverPid);
    const own = process.cpuUsage();
    const beganMs = performance.now();
    const ackedBefore = ackedOf(connections);
    await sleep(plan.measureMs);
    const windowMs = performance.now() - beganMs;
    const measured = ackedOf(connections) - ackedBefore;
    const after = sampleProcess(plan.serverPid);
    const childrenCpuMs = descendantsCpuMs(plan.serverPid) - childrenBeforeMs;
    const { user, system } = process.cpuUsage(own);
    const [p50Us, p99Us] = [latencies.quantile(0.5), latencies.quantile(0.99)];
    for (const connection of connections) connection.stop();
    await drained(connections, plan.drainDeadlineMs ?? DRAIN_DEADLINE_MS);
    return {
      ...{ measured, windowMs, p50Us, p99Us, childrenCpuMs },
      sent: connections.reduce((sum, { sent }) => sum + sent, 0),
      serverCpuMs: server === undefined || after === undefined ? Number.NaN : useBetween(server, after).runMs,
      serverRssBytes: after?.rssBytes ?? Number.NaN,
      generatorCpuMs: (user + system) / 1000,
    };
  } finally {
    for (const connection of connections) connection.close();
  }
}

class CounterConnection {
  sent = 0;
  acked = 0;
  failure: string | undefined;
  readonly #stream: ByteStream;
  readonly #speaker: Speaker;
  readonly #latencies: LatencyHistogram;
  readonly #sentAtUs = new Float64Array(WINDOW);
  #counts = false;

  private constructor(stream: ByteStream, speaker: Speaker, latencies: LatencyHistogram) {
    this.#stream = stream;
    this.#speaker = speaker;
    this.#latencies = latencies;
    stream.onBytes = (chunk) => this.#take(chunk);
    stream.onClosed = (reason) => {
      this.failure = reason;
    };
  }

  static async open(plan: CounterPlan, connection: number, latencies: LatencyHistogram): Promise<CounterConnection> {
    const stream = await ByteStream.open(plan.port, stepsOf(plan));
    return new CounterConnection(stream, speakerOf(plan.protocol, { ...plan, connection }), latencies);
  }

  start(): void {
    this.#counts = true;
    this.#fill();
  }

  stop(): void {
    this.#counts = false;
  }

  close(): void {
    this.#stream.close();
  }

  #fill(): void {
    const frames: Uint8Array[] = [];
    const nowUs = performance.now() * 1000;
    while (this.sent < this.acked + WINDOW) {
      this.#sentAtUs[this.sent % WINDOW] = nowUs;
      frames.push(this.#speaker.increment(this.sent));
      this.sent += 1;
    }
    if (frames.length > 0) this.#stream.write(Buffer.concat(frames));
  }

  #take(chunk: Buffer): boolean {
    const nowUs = performance.now() * 1000;
    try {
      const acked = this.#speaker.take(chunk);
      if (acked > this.sent) throw new Error(`${acked} increments acknowledged, ${this.sent} sent`);
      for (; this.acked < acked; this.acked++) this.#latencies.record(nowUs - (this.#sentAtUs[this.acked % WINDOW] as number));
      if (this.#counts) this.#fill();
    } catch (cause) {
      this.failure = messageOf(cause);
      this.#counts = false;
    }
    return true;
  }
}

function stepsOf({ protocol, heat }: CounterPlan): Step[] {
  if (protocol === 'incr') return [{ send: '*1\r\n$4\r\nPING\r\n', expect: '+PONG\r\n' }];
  return [upgrade(protocol === 'raw' ? rawCountersPath(heat) : '/ws?events=interest')];
}

function ackedOf(connections: readonly CounterConnection[]): number {
  return connections.reduce((sum, { acked }) => sum + acked, 0);
}

async function drained(connections: readonly CounterConnection[], deadlineMs: number): Promise<void> {
  const givenUpMs = performance.now() + deadlineMs;
  for (;;) {
    const failed = connections.find(({ failure }) => failure !== undefined);
    if (failed !== undefined) throw new Error(failed.failure);
    const missing = connections.reduce((sum, { sent, acked }) => sum + sent - acked, 0);
    if (missing === 0) return;
    if (performance.now() > givenUpMs) throw new Error(`${missing} increments were never acknowledged`);
    await sleep(POLL_MS);
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
