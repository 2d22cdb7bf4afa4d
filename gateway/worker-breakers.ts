/**
 * A circuit breaker for each worker, as this gateway sees it: a worker that answers nothing in time is not asked any more,
 * until one call has got an answer or the worker was replaced.
 *
 *   deadline passed, nothing heard ─▶ a failure ─ so many in a row ─▶ OPEN: refused at once ─▶ HALF_OPEN: one call probes
 *   anything heard                 ─▶ CLOSED
 *
 * A worker that answers something is not silent, so single lost answers never open it. One that is being replaced is not
 * silent either: what is for it is held. While all is well nothing here is asked: `troubled` is false.
 */
import { assert } from '../engine/assert.ts';
import { type BreakerOptions, type BreakerState, CircuitBreaker } from '../engine/operation/circuit-breaker.ts';

export interface WorkerBreakersOptions extends BreakerOptions {
  /** The gateway's clock. */
  readonly nowMs: () => number;
  /** How long a call may take: a worker that said nothing for so long is silent, a probe that was not heard of has failed. */
  readonly callMs: number;
  readonly isReady: (worker: number) => boolean;
  /** Publishes the state of a worker's breaker. */
  readonly onState: (worker: number, state: BreakerState) => void;
}

interface Line {
  readonly breaker: CircuitBreaker;
  heardMs: number;
  probedMs: number;
}

export class WorkerBreakers {
  /** True when a breaker is not closed, or is on its way to open. */
  troubled = false;
  readonly #options: WorkerBreakersOptions;
  readonly #lines: readonly Line[];

  constructor(workers: number, options: WorkerBreakersOptions) {
    this.#options = options;
    this.#lines = Array.from({ length: workers }, () => ({
      breaker: new CircuitBreaker(options),
      heardMs: Number.NEGATIVE_INFINITY,
      probedMs: 0,
    }));
  }

  /** The first of the workers in these bits that must not be asked now; -1 when all may be. Asking may begin a probe. */
  firstRefused(workers: number): number {
    if (!this.troubled) return -1;
    for (let worker = 0; worker < this.#lines.length; worker++) {
      if ((workers & (1 << worker)) !== 0 && this.#options.isReady(worker) && !this.#admits(worker)) return worker;
    }
    return -1;
  }

  /** The workers in these bits have said something. Call it for each batch of answers. */
  heard(workers: number): void {
    const now = this.#options.nowMs();
    for (let worker = 0, left = workers; left !== 0; worker++, left >>>= 1) {
      if ((left & 1) === 0) continue;
      this.#line(worker).heardMs = now;
      if (this.troubled) this.#closed(worker);
    }
  }

  /** A call has ended by its deadline without an answer of the workers in these bits. */
  silent(workers: number): void {
    const now = this.#options.nowMs();
    for (let worker = 0; worker < this.#lines.length; worker++) {
      if ((workers & (1 << worker)) === 0 || !this.#options.isReady(worker)) continue;
      const { heardMs, breaker } = this.#line(worker);
      if (now - heardMs < this.#options.callMs || breaker.state === 'OPEN') continue;
      breaker.failed(now);
      this.#publish(worker);
    }
  }

  /** The worker is another one now. */
  replaced(worker: number): void {
    this.#closed(worker);
  }

  #closed(worker: number): void {
    this.#line(worker).breaker.succeeded();
    this.#publish(worker);
  }

  #admits(worker: number): boolean {
    const { breaker, probedMs } = this.#line(worker);
    const now = this.#options.nowMs();
    if (breaker.state === 'HALF_OPEN' && now - probedMs > this.#options.callMs) breaker.failed(now);
    if (breaker.state === 'CLOSED') return true;
    const admits = breaker.admits(now);
    if (admits) this.#line(worker).probedMs = now;
    this.#publish(worker);
    return admits;
  }

  #publish(worker: number): void {
    this.troubled = this.#lines.some(({ breaker }) => breaker.state !== 'CLOSED' || breaker.hasFailed);
    this.#options.onState(worker, this.#line(worker).breaker.state);
  }

  #line(worker: number): Line {
    const line = this.#lines[worker];
    assert(line !== undefined, `worker ${worker}`);
    return line;
  }
}
