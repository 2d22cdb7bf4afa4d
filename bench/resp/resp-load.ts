/**
 * One run of Redis commands: connections that each send a pipeline, wait for all of its replies, and send the next.
 *
 *   connect ─▶ warm up ─▶ │ sample ─── measured window ─── sample │ ─▶ the last replies ─▶ report
 *
 * Every reply is counted and compared with what it must be; one that is missing or wrong ends the run without a report.
 */
import { binaryFrame, upgrade } from '../client-frames.ts';
import { ByteStream } from '../fan-out/byte-stream.ts';
import { FramePayloads } from '../frame-payloads.ts';
import { descendantsCpuMs, sampleProcess, useBetween } from '../process-stats.ts';
import { commandText } from '../redis-peer.ts';
import { LatencyHistogram } from '../statistics.ts';
import { type CommandName, ReplyChecker, wordsOf } from './resp-commands.ts';

const REPLIES_DEADLINE_MS = 20_000;
/** Different pipelines that a connection sends in turn. */
const OWN_PIPELINES = 64;

export interface RespLoadPlan {
  readonly port: number;
  readonly serverPid: number;
  readonly command: CommandName;
  readonly connections: number;
  /** Commands of one write. */
  readonly pipeline: number;
  readonly keys: number;
  /** Of a WebSocket, by which each pipeline and its replies go as one frame; undefined: they go as they are. */
  readonly path?: string;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export interface RespLoadReport {
  /** Commands since the start, warm-up included; each has its right reply. */
  readonly sent: number;
  readonly measured: number;
  readonly windowMs: number;
  readonly serverRunMs: number;
  readonly childrenCpuMs: number;
  readonly generatorCpuMs: number;
  /** From the write of a pipeline to its last reply. */
  readonly p50Us: number;
  readonly p99Us: number;
}

export async function runRespLoad(plan: RespLoadPlan): Promise<RespLoadReport> {
  const latencies = new LatencyHistogram();
  let fail: (reason: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {}); // raced below
  const clients = Array.from({ length: plan.connections }, (_, place) => new PipelineClient(plan, place, latencies, fail));
  try {
    await Promise.race([failed, Promise.all(clients.map((client) => client.open()))]);
    for (const client of clients) client.send();
    await Promise.race([failed, sleep(plan.warmUpMs)]);
    latencies.clear();
    const before = snapshot(plan, clients);
    await Promise.race([failed, sleep(plan.measureMs)]);
    const after = snapshot(plan, clients);
    const [p50Us, p99Us] = [latencies.quantile(0.5), latencies.quantile(0.99)];
    const ended = Promise.all(clients.map((client) => client.end()));
    const late = sleep(REPLIES_DEADLINE_MS).then(() => Promise.reject(new Error('replies are missing')));
    late.catch(() => {});
    await Promise.race([failed, ended, late]);
    return {
      sent: clients.reduce((sum, { sent }) => sum + sent, 0),
      measured: after.replies - before.replies,
      windowMs: after.atMs - before.atMs,
      serverRunMs:
        before.server === undefined || after.server === undefined ? Number.NaN : useBetween(before.server, after.server).runMs,
      childrenCpuMs: after.childrenCpuMs - before.childrenCpuMs,
      generatorCpuMs: after.generatorCpuMs - before.generatorCpuMs,
      p50Us,
      p99Us,
    };
  } finally {
    for (const client of clients) client.close();
  }
}

function snapshot(plan: RespLoadPlan, clients: readonly PipelineClient[]) {
  const { user, system } = process.cpuUsage();
  return {
    atMs: performance.now(),
    replies: clients.reduce((sum, { replies }) => sum + replies, 0),
    server: sampleProcess(plan.serverPid),
    childrenCpuMs: descendantsCpuMs(plan.serverPid),
    generatorCpuMs: (user + system) / 1000,
  };
}

class PipelineClient {
  sent = 0;
  replies = 0;
  readonly #plan: RespLoadPlan;
  readonly #pipelines: readonly Uint8Array[];
  readonly #checker: ReplyChecker;
  readonly #latencies: LatencyHistogram;
  readonly #fail: (reason: Error) => void;
  readonly #frames: FramePayloads | undefined;
  #stream: ByteStream | undefined;
  #next = 0;
  #sentMs = 0;
  #isEnding = false;
  #onEnded: () => void = () => {};

  constructor(plan: RespLoadPlan, place: number, latencies: LatencyHistogram, fail: (reason: Error) => void) {
    this.#plan = plan;
    this.#pipelines = pipelinesOf(plan, place);
    this.#checker = new ReplyChecker(plan.command);
    this.#latencies = latencies;
    this.#fail = fail;
    this.#frames = plan.path === undefined ? undefined : new FramePayloads();
  }

  async open(): Promise<void> {
    const { port, path } = this.#plan;
    this.#stream = await ByteStream.open(port, path === undefined ? [] : [upgrade(path)]);
    this.#stream.onClosed = (reason) => this.#fail(new Error(reason));
    this.#stream.onBytes = (chunk) => {
      this.#received(chunk);
      return true;
    };
  }

  send(): void {
    this.#sentMs = performance.now();
    this.sent += this.#plan.pipeline;
    this.#stream?.write(this.#pipelines[this.#next++ % OWN_PIPELINES] as Uint8Array);
  }

  /** Resolves when nothing is under way any more. */
  end(): Promise<void> {
    this.#isEnding = true;
    if (this.replies === this.sent) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onEnded = resolve;
    });
  }

  close(): void {
    this.#stream?.close();
  }

  #received(chunk: Buffer): void {
    try {
      if (this.#frames === undefined) this.#count(chunk);
      else this.#frames.take(chunk, (piece) => this.#count(piece));
    } catch (cause) {
      return this.#fail(cause instanceof Error ? cause : new Error(String(cause)));
    }
    if (this.replies > this.sent) return this.#fail(new Error('there are more replies than commands'));
    if (this.replies < this.sent) return;
    this.#latencies.record((performance.now() - this.#sentMs) * 1000, 1);
    if (this.#isEnding) this.#onEnded();
    else this.send();
  }

  #count(bytes: Buffer): void {
    this.replies += this.#checker.count(bytes);
  }
}

/** Keys are spread over all, each connection beginning elsewhere. */
function pipelinesOf({ command, pipeline, keys, connections, path }: RespLoadPlan, place: number): Uint8Array[] {
  let number = Math.floor((place * keys) / connections);
  return Array.from({ length: OWN_PIPELINES }, () => {
    let text = '';
    for (let index = 0; index < pipeline; index++) {
      number = (number + STRIDE) % keys;
      text += commandText(wordsOf(command, number));
    }
    return path === undefined ? Buffer.from(text) : binaryFrame(Buffer.from(text));
  });
}

/** A prime, so that keys come in no order that helps a cache. */
const STRIDE = 7919;

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
