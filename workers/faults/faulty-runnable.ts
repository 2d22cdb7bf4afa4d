/**
 * A thread whose rings lose records and hold batches up.
 *
 *   worker     OPS and REQUEST may be lost before they are handled, and a batch waits before it is logged and answered
 *   gateway    ACKS, RESULT and PERSISTED may be lost on their way back
 *
 * What is lost has a deadline at which its caller is told, so nothing hangs. Interest, events and what a worker is told without a
 * call have none: they are never lost. A call that comes in parts is lost whole.
 *
 * While a batch waits there are no ticks: a flush would take records to Postgres that are merged and not logged yet.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Faults } from '../../engine/faults.ts';
import {
  CALL_NONE,
  ENVELOPE,
  RECORD_ACKS,
  RECORD_OPS,
  RECORD_PERSISTED,
  RECORD_REQUEST,
  RECORD_RESULT,
} from '../../engine/protocol/envelope.ts';
import type { RingConsumer } from '../ring.ts';
import type { Runnable } from '../runnable.ts';

/** Records that may be lost, by the end that reads them. */
const LOST_BY_WORKER: ReadonlyMap<number, string> = new Map([
  [RECORD_OPS, 'a batch of writes'],
  [RECORD_REQUEST, 'a question'],
]);
const LOST_BY_GATEWAY: ReadonlyMap<number, string> = new Map([
  [RECORD_ACKS, 'an acknowledgement'],
  [RECORD_RESULT, 'a result'],
  [RECORD_PERSISTED, 'word that writes are persisted'],
]);

export class FaultyRunnable implements Runnable {
  readonly tickIntervalMs: number;
  readonly #inner: Runnable;
  readonly #faults: Faults;
  readonly #isWorker: boolean;
  #waiting = false;

  private constructor(inner: Runnable, faults: Faults, isWorker: boolean) {
    this.tickIntervalMs = inner.tickIntervalMs;
    this.#inner = inner;
    this.#faults = faults;
    this.#isWorker = isWorker;
  }

  static ofWorker(inner: Runnable, faults: Faults): FaultyRunnable {
    return new FaultyRunnable(inner, faults, true);
  }

  static ofGateway(inner: Runnable, faults: Faults): FaultyRunnable {
    return new FaultyRunnable(inner, faults, false);
  }

  onRecord(ring: RingConsumer, at: number, bytes: number): void {
    if (!this.#loses(ring, at >> 2)) this.#inner.onRecord(ring, at, bytes);
  }

  onBatchEnd(): Promise<void> | void {
    const delayMs = this.#isWorker ? this.#faults.ringDelayMs() : 0;
    return delayMs === 0 ? this.#inner.onBatchEnd() : this.#endLater(delayMs);
  }

  onTick(nowMs: number): void {
    if (!this.#waiting) this.#inner.onTick(nowMs);
  }

  shutdown(): Promise<void> {
    return this.#inner.shutdown();
  }

  async #endLater(delayMs: number): Promise<void> {
    this.#waiting = true;
    await delay(delayMs);
    this.#waiting = false;
    await this.#inner.onBatchEnd();
  }

  #loses(ring: RingConsumer, word: number): boolean {
    const what = (this.#isWorker ? LOST_BY_WORKER : LOST_BY_GATEWAY).get(ring.words[word + ENVELOPE.TYPE] as number);
    if (what === undefined) return false;
    if (!this.#isWorker) return this.#faults.losesRecord(what);
    const call = ring.words[word + ENVELOPE.CALL] as number;
    return call !== CALL_NONE && this.#faults.losesCall(ring.index, call, what);
  }
}
