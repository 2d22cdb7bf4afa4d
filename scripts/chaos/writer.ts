/**
 * One writing connection: writes as fast as its window lets it, notes every acknowledgement, reconnects until it is told
 * to stop. After a lost connection it sends everything without an acknowledgement again, in one batch, as the real client
 * does; or it gives it up, and nobody will ever know.
 *
 *   begin ─▶ connecting ─▶ [send again] ─▶ writing ◀─▶ window full
 *               ▲                             │ closed, or no answer in time
 *               └──── pause ◀─────────────────┘                             stop ─▶ idle
 */
import { setTimeout as delay } from 'node:timers/promises';
import { decodeFrame, encodeFrame, isMessage, type Message } from '../../gateway/testing/client-codec.ts';
import { opAck, type OpAck, payloadOf } from '../../gateway/testing/client-fields.ts';
import { RawWebSocket } from '../../gateway/testing/raw-websocket.ts';
import type { Random } from '../../gateway/testing/random.ts';
import type { Ledger } from './ledger.ts';
import type { Target } from './doors/door.ts';
import { APPLIED, levelOf, PERSISTED } from './levels.ts';
import type { LoadWriter } from './load.ts';
import { type PendingOp, type SharedTags, WriteMix } from './write-mix.ts';

/** Ops without an acknowledgement, above which nothing new is written. */
const WINDOW_OPS = 48;
const RECONNECT_MS_MAX = 40;
/** The server answers or refuses after 5 s; after that the connection is worth nothing. */
const SILENCE_MS_MAX = 8000;

/** What all writers of a run count together. */
export interface WriterCounts {
  sent: number;
  resent: number;
  givenUp: number;
  /** Acknowledged ops by the level that was stated. */
  readonly acknowledged: number[];
  /** Refusals and errors by code and first word: `507 DISK_FULL`. */
  readonly refused: Map<string, number>;
  /** What was done at the other doors, by what it is. */
  readonly doors: Map<string, number>;
  /** Answers that contradict themselves. */
  readonly contradictions: string[];
}

export interface WriterOptions {
  readonly nodeId: string;
  readonly random: Random;
  readonly ledger: Ledger;
  readonly tags: SharedTags;
  readonly counts: WriterCounts;
  /** True when every plain acknowledgement is behind a sync. */
  readonly persistsAlways: boolean;
  /** Longest pause between two batches; each is drawn anew. */
  readonly pauseMsMax: number;
}

export class Writer implements LoadWriter {
  readonly #options: WriterOptions;
  readonly #mix: WriteMix;
  readonly #pending = new Map<number, PendingOp>();
  #socket: RawWebSocket | undefined;
  #run: Promise<void> = Promise.resolve();
  #isStopped = true;
  /** False: it only sends again and waits, and writes nothing new. */
  #isWriting = false;
  #lastAnswerMs = 0;
  #wake: () => void = () => {};

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#mix = new WriteMix(options.nodeId, options.random, options.ledger, options.tags);
  }

  get pending(): number {
    return this.#pending.size;
  }

  begin({ port }: Target): void {
    this.#isStopped = false;
    this.#isWriting = true;
    this.#run = this.#live(port);
  }

  pause(): void {
    this.#isWriting = false;
  }

  async stop(givesUp: boolean): Promise<void> {
    this.#isStopped = true;
    this.#isWriting = false;
    this.#socket?.terminate();
    this.#wake();
    await this.#run;
    if (!givesUp) return;
    this.#options.counts.givenUp += this.#pending.size;
    this.#pending.clear();
  }

  async #live(port: number): Promise<void> {
    while (!this.#isStopped) {
      try {
        const socket = await RawWebSocket.open({ port, path: '/ws?events=interest' });
        this.#socket = socket;
        socket.onMessage = (frame) => this.#take(socket, frame);
        void socket.closed.then(() => this.#wake());
        this.#lastAnswerMs = performance.now();
        this.#sendAgain(socket);
        while (socket.isOpen && !this.#isStopped) await this.#step(socket);
        socket.terminate();
      } catch {
        // Not there yet, or not any more.
      }
      if (!this.#isStopped) await this.#sleep(this.#options.random.below(RECONNECT_MS_MAX));
    }
  }

  async #step(socket: RawWebSocket): Promise<void> {
    const isSilent = this.#pending.size > 0 && performance.now() - this.#lastAnswerMs > SILENCE_MS_MAX;
    if (isSilent) return socket.terminate();
    if (this.#isWriting && this.#pending.size < WINDOW_OPS) this.#sendNew(socket);
    await this.#sleep(this.#options.random.below(this.#options.pauseMsMax));
  }

  #sendNew(socket: RawWebSocket): void {
    if (this.#pending.size === 0) this.#lastAnswerMs = performance.now();
    const { ops, concern } = this.#mix.batch();
    for (const op of ops) this.#pending.set(op.id, op);
    this.#options.counts.sent += ops.length;
    send(socket, ops, concern);
  }

  #sendAgain(socket: RawWebSocket): void {
    if (this.#pending.size === 0) return;
    this.#options.counts.resent += this.#pending.size;
    send(socket, [...this.#pending.values()], undefined);
  }

  #take(socket: RawWebSocket, frame: Uint8Array): void {
    if (socket !== this.#socket) return;
    const message = decodeFrame(frame);
    if (!isMessage(message)) return;
    this.#lastAnswerMs = performance.now();
    if (message.type === 'OP_ACK') this.#acknowledge(opAck(payloadOf(message)));
    else if (message.type === 'ERROR') this.#refused(payloadOf(message), 'message');
    else if (message.type === 'OP_REJECTED') this.#refused(payloadOf(message), 'reason');
  }

  /** Ops named in `results` got what is said there; the others up to `lastId` got the level of the whole answer. */
  #acknowledge(ack: OpAck): void {
    for (const { opId, success, achievedLevel, error } of ack.results) {
      const op = this.#pending.get(Number(opId));
      if (op === undefined) continue;
      const level = levelOf(achievedLevel);
      const asked = levelOf(op.concern);
      if (success && asked > level)
        this.#options.counts.contradictions.push(`asked for ${op.concern}, told success at ${achievedLevel}`);
      if (!success) this.#count(error ?? 'no reason');
      this.#settle(op, level);
    }
    for (const op of [...this.#pending.values()]) {
      if (op.id <= Number(ack.lastId)) this.#settle(op, this.#plainLevel(op, levelOf(ack.achievedLevel)));
    }
  }

  /** An answer may cover ops of earlier batches, which asked for less than its own did. */
  #plainLevel({ concern }: PendingOp, level: number): number {
    return level === PERSISTED && concern !== 'PERSISTED' && !this.#options.persistsAlways ? APPLIED : level;
  }

  #settle(op: PendingOp, level: number): void {
    const { acknowledged } = this.#options.counts;
    op.reach(level);
    this.#pending.delete(op.id);
    acknowledged[level] = (acknowledged[level] ?? 0) + 1;
  }

  #refused(payload: Message, field: string): void {
    this.#count(`${String(payload.code)} ${String(payload[field])}`);
  }

  #count(reason: string): void {
    const { refused } = this.#options.counts;
    const [code = ''] = /^(\d+ )?\w+/.exec(reason) ?? [];
    refused.set(code, (refused.get(code) ?? 0) + 1);
  }

  /** Sleeps, at most until the connection is lost or the writer stopped. */
  async #sleep(ms: number): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (ms === 0) await new Promise((resolve) => setImmediate(resolve));
    else await Promise.race([delay(ms), woken]);
  }
}

function send(socket: RawWebSocket, ops: readonly PendingOp[], writeConcern: string | undefined): void {
  const payload = { ops: ops.map(({ message }) => message), ...(writeConcern === undefined ? {} : { writeConcern }) };
  socket.send(encodeFrame({ type: 'OP_BATCH', payload }));
}
