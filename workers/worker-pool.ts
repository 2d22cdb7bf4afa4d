/**
 * One never-ending task per thread: Piscina starts, limits and ends the threads, the pinning is ours.
 *
 *   starting ─ ready ─► up ─ error, exit, out of memory, heart stands still ─► down ─ backoff ─► starting ...
 *                        └─ stop() ─► stopping ─► gone
 *
 * A thread that dies shows only as the rejection of its own run. `onCrash` is called at once, so that its partitions
 * can answer UNAVAILABLE, and `onReplaced` when the thread that took its place is ready. The other workers do not notice.
 *
 * A thread in an endless loop answers no message, but its heartbeat in shared memory stands still: its run is aborted,
 * which ends the thread, and replaced like any other.
 */
import { MessageChannel, type ResourceLimits, type Transferable } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { assert } from '../engine/assert.ts';
import { ControlPort } from './control-port.ts';
import { createHeartbeat, HeartbeatWatch } from './heartbeat.ts';
import { execArgvFor } from './threads.ts';
import type { WorkerTask } from './worker-task.ts';

/** What a new thread is given. Ports in `data` stand in `transferList` too; each launch needs new ones. */
export interface WorkerLaunch<Data> {
  readonly data: Data;
  readonly transferList?: readonly Transferable[];
}

export interface WorkerPoolOptions<Data> {
  /** Module whose export `run` was made by `workerTask`. See `moduleBeside` for its extension. */
  readonly module: URL;
  readonly workers: number;
  launch(workerId: number, launch: number): WorkerLaunch<Data>;
  readonly resourceLimits?: ResourceLimits;
  /** A heart that stands still for so long is dead, in ms. Lower it: faster repair, but a long pause may be taken for death. */
  readonly heartbeatStillMs?: number;
  /** How often the hearts are looked at, in ms. */
  readonly heartbeatCheckMs?: number;
  /** Monotonic clock, in ms. */
  readonly clock?: () => number;
}

export interface WorkerPoolEvents<FromWorker> {
  /** The worker's thread is gone, or did not stop when asked. Called before it is replaced. */
  onCrash(workerId: number, error: Error): void;
  /** A new thread of this worker is ready. */
  onReplaced(workerId: number): void;
  onMessage?(workerId: number, message: FromWorker): void;
  /** A thread failed before it had a task. Piscina starts another one, so the worker is late, not lost. */
  onIdleThreadError?(error: Error): void;
}

export const HEARTBEAT_STILL_MS = 10_000;
export const HEARTBEAT_CHECK_MS = 500;
export const STOP_CAP_MS = 30_000;
const RESTART_DELAY_MS_MIN = 20;
const RESTART_DELAY_MS_MAX = 5_000;
/** A worker that lived so long is forgiven its crashes before, in ms. */
const FORGIVEN_AFTER_MS = 30_000;

/** Pause before a worker's thread is started again, after `crashes` crashes in a row: 20 ms doubling to 5 s. */
export function restartDelayMs(crashes: number): number {
  return Math.min(RESTART_DELAY_MS_MAX, RESTART_DELAY_MS_MIN * 2 ** Math.min(crashes - 1, 20));
}

/** One worker, over all the threads that it has had. */
interface Worker<ToWorker, FromWorker> {
  readonly workerId: number;
  launches: number;
  crashesInRow: number;
  startedAtMs: number;
  ready: boolean;
  control: ControlPort<FromWorker, ToWorker> | undefined;
  watch: HeartbeatWatch | undefined;
  abort: AbortController;
  /** Settles, never rejects, when the run of this thread has ended. */
  ended: Promise<void>;
  restart: NodeJS.Timeout | undefined;
}

export class WorkerPool<Data, ToWorker = never, FromWorker = never> {
  readonly #options: WorkerPoolOptions<Data>;
  readonly #events: WorkerPoolEvents<FromWorker>;
  readonly #clock: () => number;
  readonly #workers: Worker<ToWorker, FromWorker>[];
  readonly #piscina: Piscina;
  #state: 'created' | 'starting' | 'up' | 'stopping' | 'gone' = 'created';
  #startFailed: (error: Error) => void = nobody;
  #startReady: () => void = nobody;
  #watchdog: NodeJS.Timeout | undefined;

  constructor(options: WorkerPoolOptions<Data>, events: WorkerPoolEvents<FromWorker>) {
    assert(options.workers >= 1, `${options.workers} workers`);
    this.#options = options;
    this.#events = events;
    this.#clock = options.clock ?? monotonicMs;
    this.#workers = Array.from({ length: options.workers }, (_, workerId) => newWorker(workerId));
    this.#piscina = new Piscina({
      filename: options.module.href,
      name: 'run',
      minThreads: options.workers,
      maxThreads: options.workers,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      atomics: 'disabled', // a blocking wait between tasks would hold up fsync and Postgres of the thread
      ...execArgvFor(options.module),
      ...(options.resourceLimits === undefined ? {} : { resourceLimits: options.resourceLimits }),
    });
    // An idle thread that fails has no run to reject.
    this.#piscina.on('error', (error: Error) => this.#idleThreadFailed(error));
  }

  /** Resolves when all workers are ready; rejects with the error of the first one that is not able to start. */
  async start(): Promise<void> {
    assert(this.#state === 'created', 'a pool starts once');
    this.#state = 'starting';
    const ready = new Promise<void>((resolve, reject) => {
      this.#startReady = resolve;
      this.#startFailed = reject;
    });
    for (const worker of this.#workers) this.#launch(worker);
    try {
      await ready;
    } catch (error) {
      this.#state = 'gone';
      for (const worker of this.#workers) clearTimeout(worker.restart);
      await this.#piscina.destroy();
      throw error;
    }
    this.#state = 'up';
    this.#watchdog = setInterval(() => this.#watchHearts(), this.#options.heartbeatCheckMs ?? HEARTBEAT_CHECK_MS);
  }

  /**
   * Asks every worker to stop (it flushes and returns) and waits for all, at most `capMs`. A worker that fails meanwhile,
   * or is not done by then, is reported by `onCrash`, and its thread is ended.
   */
  async stop(capMs: number = STOP_CAP_MS): Promise<void> {
    if (this.#state === 'gone') return;
    assert(this.#state === 'up', 'a pool stops once, after it has started');
    this.#state = 'stopping';
    clearInterval(this.#watchdog);
    for (const worker of this.#workers) {
      clearTimeout(worker.restart);
      worker.control?.stop();
    }
    if (!(await this.#endedWithin(capMs))) {
      for (const worker of this.#workers) {
        if (worker.control !== undefined)
          this.#events.onCrash(worker.workerId, new Error(`worker ${worker.workerId} did not stop within ${capMs} ms`));
      }
    }
    this.#state = 'gone';
    await this.#piscina.destroy();
  }

  /** False when the worker's thread is down: the message would be lost. */
  send(workerId: number, message: ToWorker, transferList: readonly Transferable[] = []): boolean {
    const worker = this.#workers[workerId];
    assert(worker !== undefined, `no worker ${workerId}`);
    if (!worker.ready) return false;
    worker.control?.send(message, transferList);
    return true;
  }

  isReady(workerId: number): boolean {
    return this.#workers[workerId]?.ready === true;
  }

  #launch(worker: Worker<ToWorker, FromWorker>): void {
    const { workerId } = worker;
    const launch = this.#options.launch(workerId, worker.launches);
    const { port1, port2 } = new MessageChannel();
    const heartbeat = createHeartbeat();
    const control = new ControlPort<FromWorker, ToWorker>(port1);
    control.listen({
      onReady: () => this.#workerReady(worker),
      onMessage: (message) => this.#events.onMessage?.(workerId, message),
    });
    worker.control = control;
    worker.watch = new HeartbeatWatch(heartbeat);
    worker.abort = new AbortController();
    worker.startedAtMs = this.#clock();
    const task: WorkerTask<Data> = { workerId, launch: worker.launches, heartbeat, control: port2, data: launch.data };
    worker.launches += 1;
    const run = this.#piscina.run(task, {
      transferList: [port2, ...(launch.transferList ?? [])] as never, // Piscina's type lacks some of Node's transferables
      signal: worker.abort.signal,
    });
    worker.ended = run.then(
      () => this.#ended(worker, undefined),
      (error: unknown) => this.#ended(worker, toError(error)),
    );
  }

  #workerReady(worker: Worker<ToWorker, FromWorker>): void {
    worker.ready = true;
    if (this.#state === 'starting') {
      if (this.#workers.every(({ ready }) => ready)) this.#startReady();
    } else if (this.#state === 'up') this.#events.onReplaced(worker.workerId);
  }

  /** The run of a worker's thread has ended. It should do so only when it was asked to stop. */
  #ended(worker: Worker<ToWorker, FromWorker>, error: Error | undefined): void {
    const asked = this.#state === 'stopping' || this.#state === 'gone';
    worker.control?.close();
    worker.control = undefined;
    worker.watch = undefined;
    const wasReady = worker.ready;
    worker.ready = false;
    if (this.#state === 'gone' || (asked && error === undefined)) return;
    const abortReason: unknown = worker.abort.signal.reason;
    const reason = abortReason instanceof Error ? abortReason : error;
    this.#crashed(worker, wasReady, reason ?? new Error(`worker ${worker.workerId} ended without being asked to`));
  }

  /** A worker that cannot start fails the start. One that was ready is replaced, though others are not yet. */
  #crashed(worker: Worker<ToWorker, FromWorker>, wasReady: boolean, error: Error): void {
    if (this.#state === 'starting' && !wasReady) {
      this.#startFailed(error);
      return;
    }
    this.#events.onCrash(worker.workerId, error);
    if (this.#state !== 'up' && this.#state !== 'starting') return;
    const forgiven = this.#clock() - worker.startedAtMs >= FORGIVEN_AFTER_MS;
    worker.crashesInRow = forgiven ? 1 : worker.crashesInRow + 1;
    worker.restart = setTimeout(() => this.#launch(worker), restartDelayMs(worker.crashesInRow));
  }

  #watchHearts(): void {
    const stillMsMax = this.#options.heartbeatStillMs ?? HEARTBEAT_STILL_MS;
    const nowMs = this.#clock();
    for (const worker of this.#workers) {
      const stillMs = worker.watch?.stillMs(nowMs) ?? 0;
      if (stillMs <= stillMsMax || worker.abort.signal.aborted) continue;
      worker.abort.abort(new Error(`worker ${worker.workerId}: no heartbeat for ${Math.round(stillMs)} ms`));
    }
  }

  #idleThreadFailed(error: Error): void {
    if (this.#state === 'starting') this.#startFailed(error);
    else this.#events.onIdleThreadError?.(error);
  }

  /** True when all runs have ended; false after `capMs`. */
  async #endedWithin(capMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const capped = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), capMs);
    });
    const ended = Promise.all(this.#workers.map((worker) => worker.ended)).then(() => true);
    const inTime = await Promise.race([ended, capped]);
    clearTimeout(timer);
    return inTime;
  }
}

function newWorker<ToWorker, FromWorker>(workerId: number): Worker<ToWorker, FromWorker> {
  return {
    workerId,
    launches: 0,
    crashesInRow: 0,
    startedAtMs: 0,
    ready: false,
    control: undefined,
    watch: undefined,
    abort: new AbortController(),
    ended: Promise.resolve(),
    restart: undefined,
  };
}

function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

function monotonicMs(): number {
  return performance.now();
}

function nobody(): void {}
