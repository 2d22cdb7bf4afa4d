/**
 * Batches that wait until what they wrote is persisted, in a queue per worker.
 *
 *   ack of worker w, sequence n ─┬─ n is persisted ─────────────────────────────────────▶ nothing to wait for
 *                                └─ queue w  … n ─┬─ PERSISTED up to n or beyond ───────▶ worker done; the last one answers
 *                                                 ├─ PERSISTED, and no more will be ────▶ answered: READ_ONLY
 *                                                 ├─ the time of an op is up ───────────▶ the op is told: LEVEL_TIMEOUT
 *                                                 ├─ that of the last one, too ─────────▶ answered: LEVEL_TIMEOUT
 *                                                 └─ the worker was replaced ───────────▶ not answered: must come again
 *
 * A worker's acks come in the order of their sequences, so a queue is in order by itself and PERSISTED takes from its
 * front. An entry whose call is over (its session left) is passed over, and thrown out by the next sweep: the queues hold
 * no more than the call table plus what came since. The call's own deadline ends with the last ack, since it is applied.
 */
import type { AckLevels } from '../engine/protocol/ack-level.ts';
import { ERROR_CODES } from '../engine/protocol/errors.ts';
import { CONCERN_PERSISTED } from '../engine/protocol/op-index.ts';
import type { CounterRow } from '../workers/counters.ts';
import type { WorkerCounter } from '../workers/worker-counters.ts';
import type { AskedLevels, Proof } from './asked-levels.ts';
import type { BatchAnswers } from './batch-answers.ts';
import type { CallTable } from './call-table.ts';
import type { GatewayCounters } from './gateway-counters.ts';
import type { Session } from './session.ts';

interface Waiter {
  readonly levels: AskedLevels;
  readonly sequence: number;
}

export interface PersistedWaitsOptions {
  readonly calls: CallTable;
  readonly answers: BatchAnswers;
  readonly levels: AckLevels;
  /** What each worker publishes: sequences for the proof. */
  readonly workers: readonly CounterRow<WorkerCounter>[];
  readonly counters: Pick<GatewayCounters, 'levelTimeouts'>;
  /** The batch cannot be answered and must come again. */
  readonly onRefused: (session: Session, reason: string) => void;
}

export class PersistedWaits {
  readonly #options: PersistedWaitsOptions;
  readonly #queues: Waiter[][];
  /** Highest sequence of each worker that is known to be persisted. */
  readonly #persisted: Float64Array;

  constructor(options: PersistedWaitsOptions) {
    this.#options = options;
    this.#queues = options.workers.map(() => []);
    this.#persisted = new Float64Array(options.workers.length);
  }

  /** Batches that stand in the queues; those of sessions that left count until the next sweep. */
  get waiting(): number {
    return this.#queues.reduce((sum, queue) => sum + queue.length, 0);
  }

  /** A worker has handled its part of the batch, for the first time. */
  acked(levels: AskedLevels, worker: number, sequence: number, isPersisted: boolean): void {
    levels.acks.push({ worker, sequence });
    if (isPersisted) this.#raise(worker, sequence);
    if (!levels.persists || sequence <= (this.#persisted[worker] as number)) return;
    levels.missing |= 1 << worker;
    this.#queues[worker]?.push({ levels, sequence });
  }

  /** All workers have handled their parts: answers the batch, now or when it is persisted. */
  applied(levels: AskedLevels): void {
    if (levels.isSettled) this.#answer(levels);
    else this.#options.calls.deadlineMs[levels.slot] = Number.POSITIVE_INFINITY;
  }

  /** All of the worker's sequences up to this one are persisted; with an error number, what lies above never will be. */
  persisted(worker: number, sequence: number, error: number): void {
    this.#raise(worker, sequence);
    const queue = this.#queues[worker] ?? [];
    let done = 0;
    for (; done < queue.length && (queue[done] as Waiter).sequence <= sequence; done++) {
      const { levels } = queue[done] as Waiter;
      levels.missing &= ~(1 << worker);
      this.#answerIfSettled(levels);
    }
    queue.splice(0, done);
    const code = ERROR_CODES[error];
    if (code === 'UNAVAILABLE') this.workerReplaced(worker);
    else if (code !== undefined) for (const { levels } of queue.splice(0)) this.#fail(levels, code);
  }

  /** The worker's sequences may begin anew, and what it had not made safe may be gone: nobody is told that it is there. */
  workerReplaced(worker: number): void {
    const { calls, onRefused } = this.#options;
    this.#persisted[worker] = 0;
    for (const { levels } of this.#queues[worker]?.splice(0) ?? []) {
      const session = this.#isOpen(levels) ? calls.sessions[levels.slot] : undefined;
      if (session === undefined) continue;
      calls.release(levels.slot);
      onRefused(session, 'UNAVAILABLE');
    }
  }

  /** Answers what has waited long enough, and forgets what nobody waits for. */
  sweep(nowMs: number): void {
    for (const queue of this.#queues) {
      let kept = 0;
      for (const waiter of queue) {
        if (this.#isOver(waiter.levels, nowMs)) continue;
        queue[kept++] = waiter;
      }
      queue.length = kept;
    }
  }

  /** True when the batch is answered: before, or now because its time is up. One that is not applied keeps its call's deadline. */
  #isOver(levels: AskedLevels, nowMs: number): boolean {
    if (!this.#isOpen(levels)) return true;
    if (levels.deadlineMs >= nowMs || this.#options.calls.waiting[levels.slot] !== 0) return false;
    if (!levels.isDue(nowMs)) {
      this.#tell(levels, nowMs);
      return false;
    }
    this.#options.counters.levelTimeouts += 1;
    this.#fail(levels, 'LEVEL_TIMEOUT');
    return true;
  }

  /** Tells the ops whose time is up; the batch goes on waiting for the others. */
  #tell(levels: AskedLevels, nowMs: number): void {
    const due = levels.takeDue(nowMs);
    if (due.some((op) => levels.reachedBy(op) !== CONCERN_PERSISTED)) this.#options.counters.levelTimeouts += 1;
    levels.proof = this.#proofsOf(levels);
    this.#options.answers.tell(levels, due);
  }

  #fail(levels: AskedLevels, code: AskedLevels['failure']): void {
    levels.failure ??= code;
    this.#answerIfSettled(levels);
  }

  #answerIfSettled(levels: AskedLevels): void {
    if (this.#isOpen(levels) && levels.isSettled && this.#options.calls.waiting[levels.slot] === 0) this.#answer(levels);
  }

  #answer(levels: AskedLevels): void {
    levels.proof = this.#proofsOf(levels);
    this.#options.answers.settle(levels.slot);
  }

  #proofsOf({ acks }: AskedLevels): Proof[] {
    return acks.map(({ worker, sequence }) => this.#proofOf(worker, sequence)).sort((a, b) => a.worker - b.worker);
  }

  /** The worker publishes on a rhythm; what it said of PERSISTED may be newer. */
  #proofOf(worker: number, wal: number): Proof {
    const row = this.#options.workers[worker];
    const known = this.#persisted[worker] as number;
    const synced = Math.max(known, row?.get('logSyncedSequence') ?? 0);
    const postgres = row?.get('logFlushedSequence') ?? 0;
    return { worker, wal, synced, postgres: this.#options.levels.hasLog ? postgres : Math.max(known, postgres) };
  }

  #raise(worker: number, sequence: number): void {
    if (sequence > (this.#persisted[worker] as number)) this.#persisted[worker] = sequence;
  }

  /** False when the batch was answered, given up, or its session left; its slot may have been used again. */
  #isOpen(levels: AskedLevels): boolean {
    return this.#options.calls.details[levels.slot]?.levels === levels;
  }
}
