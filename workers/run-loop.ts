/**
 * Drives one Runnable over the rings that lead to its thread, and gives way to sockets, timers and Postgres in between.
 *
 *            ┌──────────── setImmediate ────────────┐
 *            ▼                                      │ records came, or a few empty polls are left
 *   beat ─ drain ─ onBatchEnd ─ release ─ tick? ────┤
 *            ▲                                      ▼ nothing came
 *            └── doorbell, or the watchdog ──── parked (the thread sleeps in its event loop)
 *
 * It never blocks: fsync, Postgres and sockets complete on the same thread. One timer does three things: it ticks on
 * time while the loop sleeps or waits, it beats the heart, and each `watchdogMs` it looks into every ring, so that a
 * missed wake-up would cost milliseconds and be counted, not hang. That timer is also a handle that keeps the thread alive.
 *
 * A gateway thread runs the same loop over its outbox rings, beside its sockets; one that is fused with its worker runs both
 * (inner-bell.ts).
 */
import { assert } from '../engine/assert.ts';
import { type CounterRow, THREAD_COUNTERS, type ThreadCounter } from './counters.ts';
import type { Heartbeat } from './heartbeat.ts';
import type { RingConsumer } from './ring.ts';
import type { Runnable } from './runnable.ts';

export interface RunLoopOptions {
  /** Records per drain over all rings, 1 to 1024. Raise it: fewer log writes and replies per record. Lower it: sockets wait less. */
  readonly batchRecords?: number;
  /** Turns without a record before the thread sleeps, 0 to 1000. Raise it only where cores are idle: it buys latency with CPU. */
  readonly emptyPolls?: number;
  /**
   * The writers of the rings are in this thread: nothing comes while the loop looks, so it sleeps as soon as the rings are empty, and
   * who writes rings.
   */
  readonly isShared?: boolean;
  /** How often every ring is looked into whatever the bells say, in ms. */
  readonly watchdogMs?: number;
  /** Monotonic clock, in ms. */
  readonly clock?: () => number;
  readonly heartbeat?: Heartbeat;
  /** Where the thread's turns, batches and records are counted. */
  readonly counters?: CounterRow<ThreadCounter>;
}

const BATCH_RECORDS = 100;
const BATCH_RECORDS_MAX = 1024;
const EMPTY_POLLS = 2;
const EMPTY_POLLS_MAX = 1000;
const WATCHDOG_MS = 100;
/** Pause between the two looks of the watchdog, in ms: longer than any bell takes. */
const SECOND_LOOK_MS = 2;
/** Timers fire up to a millisecond early against the clock; without this a tick would take two of them. */
const TIMER_SLACK_MS = 1;

const TURNS = THREAD_COUNTERS.indexOf('turns');
const BATCHES = THREAD_COUNTERS.indexOf('batches');
const RECORDS = THREAD_COUNTERS.indexOf('records');

type State = 'created' | 'running' | 'parked' | 'waiting' | 'finishing' | 'ended';

export class RunLoop {
  readonly #runnable: Runnable;
  readonly #rings: readonly RingConsumer[];
  readonly #batchRecords: number;
  readonly #shareRecords: number;
  readonly #emptyPollsMax: number;
  readonly #isShared: boolean;
  readonly #watchdogMs: number;
  readonly #clock: () => number;
  readonly #heartbeat: Heartbeat | undefined;
  readonly #counters: CounterRow<ThreadCounter> | undefined;
  #state: State = 'created';
  #stopping = false;
  #firstRing = 0;
  #emptyPolls = 0;
  #sawPending = false;
  #tickAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerDelayMs = 0;
  #resolve: () => void = nobody;
  #reject: (error: unknown) => void = nobody;

  constructor(runnable: Runnable, rings: readonly RingConsumer[], options: RunLoopOptions = {}) {
    this.#runnable = runnable;
    this.#rings = rings;
    this.#batchRecords = options.batchRecords ?? BATCH_RECORDS;
    this.#emptyPollsMax = options.emptyPolls ?? EMPTY_POLLS;
    this.#isShared = options.isShared ?? false;
    this.#watchdogMs = options.watchdogMs ?? WATCHDOG_MS;
    this.#clock = options.clock ?? monotonicMs;
    this.#heartbeat = options.heartbeat;
    this.#counters = options.counters;
    this.#shareRecords = Math.max(1, Math.floor(this.#batchRecords / Math.max(1, rings.length)));
    assert(this.#batchRecords >= 1 && this.#batchRecords <= BATCH_RECORDS_MAX, `batch of ${this.#batchRecords} records`);
    assert(this.#emptyPollsMax >= 0 && this.#emptyPollsMax <= EMPTY_POLLS_MAX, `${this.#emptyPollsMax} empty polls`);
    assert(this.#watchdogMs >= 1, `watchdog every ${this.#watchdogMs} ms`);
    assert(runnable.tickIntervalMs >= 1, `tick every ${runnable.tickIntervalMs} ms`);
  }

  /**
   * Runs until `stop`. Resolves after the rings are empty and the runnable has shut down; rejects with the first error of the
   * runnable, whose state is then unknown: the thread should end.
   */
  run(): Promise<void> {
    assert(this.#state === 'created', 'a loop runs once');
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#state = 'running';
      this.#tickAtMs = this.#clock() + this.#runnable.tickIntervalMs;
      this.#setTimer();
      setImmediate(this.#turn);
    });
  }

  /** Ends the loop once the rings are empty. The producers should have stopped before. */
  stop(): void {
    this.#stopping = true;
    this.wake();
  }

  /** Ends the sleep, if there is one. Bound, so that it can be handed to a doorbell. */
  readonly wake = (): void => {
    if (this.#state !== 'parked') return;
    for (const ring of this.#rings) ring.unpark();
    this.#state = 'running';
    this.#sawPending = false;
    this.#emptyPolls = 0;
    this.#turn();
  };

  /**
   * Other work of this thread has begun, and answers to it will come: look into the rings at the end of this turn of the
   * event loop, so that nobody has to ring. Cheap enough to be called for each frame. In a shared thread whoever answers rings.
   */
  nudge(): void {
    if (this.#isShared) return;
    this.#emptyPolls = 0;
    if (this.#state !== 'parked') return;
    for (const ring of this.#rings) ring.unpark();
    this.#state = 'running';
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    if (this.#state !== 'running') return;
    try {
      this.#heartbeat?.beat();
      const records = this.#drain();
      this.#count(records);
      if (records > 0 && this.#batchMustWait()) return;
      this.#next(records);
    } catch (error) {
      this.#fail(error);
    }
  };

  #count(records: number): void {
    const counters = this.#counters;
    if (counters === undefined) return;
    counters.add(TURNS, 1);
    if (records === 0) return;
    counters.add(BATCHES, 1);
    counters.add(RECORDS, records);
  }

  /** Every ring gets its share first; what some did not use goes to the others. The first one changes each time. */
  #drain(): number {
    const rings = this.#rings;
    const count = rings.length;
    this.#firstRing = this.#firstRing + 1 < count ? this.#firstRing + 1 : 0;
    let left = this.#batchRecords;
    for (let pass = 0; pass < 2; pass += 1) {
      for (let step = 0; step < count && left > 0; step += 1) {
        const ring = rings[(this.#firstRing + step) % count] as RingConsumer;
        left -= ring.drain(pass === 0 ? Math.min(this.#shareRecords, left) : left, this.#runnable);
      }
      if (count === 1 || left === this.#batchRecords) break; // nothing more to share out
    }
    return this.#batchRecords - left;
  }

  /** Ends the batch; true when the space goes back later, because the replies wait for somebody. */
  #batchMustWait(): boolean {
    const waiting = this.#runnable.onBatchEnd();
    if (waiting === undefined) {
      this.#release();
      return false;
    }
    this.#state = 'waiting';
    waiting.then(this.#batchEnded, this.#fail);
    return true;
  }

  readonly #batchEnded = (): void => {
    if (this.#state !== 'waiting') return; // a tick failed meanwhile
    this.#state = 'running';
    try {
      this.#release();
      this.#next(1);
    } catch (error) {
      this.#fail(error);
    }
  };

  #release(): void {
    for (const ring of this.#rings) ring.release();
  }

  #next(records: number): void {
    this.#tickIfDue(this.#clock());
    if (this.#isShared && !this.#stopping && this.#park()) return;
    if (records > 0) this.#emptyPolls = 0;
    else if (this.#stopping) {
      this.#finish();
      return;
    } else if (this.#emptyPolls >= this.#emptyPollsMax && this.#park()) return;
    else this.#emptyPolls += 1;
    setImmediate(this.#turn);
  }

  #park(): boolean {
    for (const ring of this.#rings) {
      if (ring.park()) continue;
      for (const parked of this.#rings) parked.unpark();
      return false;
    }
    this.#state = 'parked';
    return true;
  }

  #tickIfDue(nowMs: number): void {
    if (nowMs + TIMER_SLACK_MS < this.#tickAtMs) return;
    const intervalMs = this.#runnable.tickIntervalMs;
    // From the time it was due, so that a rhythm holds; from now, when a whole interval was lost.
    this.#tickAtMs = (nowMs - this.#tickAtMs < intervalMs ? this.#tickAtMs : nowMs) + intervalMs;
    this.#runnable.onTick(nowMs);
  }

  readonly #onTimer = (): void => {
    try {
      this.#heartbeat?.beat();
      if (this.#state === 'parked' || this.#state === 'waiting') this.#tickIfDue(this.#clock());
      if (this.#state === 'parked') this.#lookIntoRings();
    } catch (error) {
      this.#fail(error);
    }
    if (this.#state !== 'ended') this.#setTimer();
  };

  /**
   * Records beside a sleeping loop are usually a bell on its way, so it looks twice before it calls that a missed wake-up.
   */
  #lookIntoRings(): void {
    const pending = this.#rings.filter((ring) => ring.pending);
    if (pending.length === 0 || !this.#sawPending) {
      this.#sawPending = pending.length > 0;
      return;
    }
    for (const ring of pending) ring.countMissedWakeup();
    this.wake();
  }

  #setTimer(): void {
    const untilLookMs = this.#sawPending ? SECOND_LOOK_MS : this.#watchdogMs;
    const untilTickMs = this.#state === 'finishing' ? this.#watchdogMs : this.#tickAtMs - this.#clock();
    const delayMs = Math.max(1, Math.ceil(Math.min(untilTickMs, untilLookMs)));
    if (this.#timer !== undefined && delayMs === this.#timerDelayMs) {
      this.#timer.refresh(); // at idle it is always the same time, and a new timer costs a tenth of a tick
      return;
    }
    clearTimeout(this.#timer);
    this.#timerDelayMs = delayMs;
    this.#timer = setTimeout(this.#onTimer, delayMs);
  }

  #finish(): void {
    this.#state = 'finishing'; // no more turns; the timer goes on beating, for the last flush may take long
    this.#runnable.shutdown().then(() => {
      this.#end();
      this.#resolve();
    }, this.#fail);
  }

  readonly #fail = (error: unknown): void => {
    this.#end();
    this.#reject(error);
  };

  #end(): void {
    this.#state = 'ended';
    clearTimeout(this.#timer);
  }
}

function monotonicMs(): number {
  return performance.now();
}

function nobody(): void {}
