/**
 * The one partition worker of a fused node, as its owner holds it: it lives in the gateway's thread and dies with it.
 *
 *   owner   start ── task, with the worker's end of the control port ──► host's thread: runShared(task)
 *           (resolves) ◄──────────── ready ─────────────────────────────  loaded, serves
 *           stop ──────────────────── stop ────────────────────────────►  flushes, closes the port, and that is heard
 *
 * It stands where a WorkerPool stands otherwise. There is no replacing it: a thread with sockets cannot be ended from outside, and
 * what the gateway holds of calls under way would not survive. So its owner is told once, ends the process, and the next one
 * replays the log.
 */
import { MessageChannel, type Transferable } from 'node:worker_threads';
import { assert } from '../engine/assert.ts';
import { ControlPort } from './control-port.ts';
import { createHeartbeat, HeartbeatWatch } from './heartbeat.ts';
import { HEARTBEAT_CHECK_MS, HEARTBEAT_STILL_MS, STOP_CAP_MS } from './worker-pool.ts';
import type { WorkerTask } from './worker-task.ts';

/** What a grid needs of its workers, wherever they run. */
export interface Workers<ToWorker> {
  /** Resolves when all are ready; rejects with the error of the first one that is not able to start. */
  start(): Promise<void>;
  /** Asks all to stop (they flush and return) and waits, at most `capMs`. */
  stop(capMs?: number): Promise<void>;
  /** False when the worker is down: the message would be lost. */
  send(workerId: number, message: ToWorker): boolean;
}

export interface HostedWorkerOptions<Data> {
  readonly data: Data;
  /** Takes the task to the thread that runs it. */
  host(task: WorkerTask<Data>, transferList: readonly Transferable[]): void;
  /** A heart that stands still for so long is dead, in ms. */
  readonly heartbeatStillMs?: number;
}

export interface HostedWorkerEvents<FromWorker> {
  /** It has failed, or did not stop when asked; its thread is ending, or stuck. Called once. */
  onCrash(error: Error): void;
  onMessage(message: FromWorker): void;
}

export class HostedWorker<Data, ToWorker, FromWorker> implements Workers<ToWorker> {
  readonly #options: HostedWorkerOptions<Data>;
  readonly #events: HostedWorkerEvents<FromWorker>;
  readonly #heartbeat = createHeartbeat();
  readonly #watch = new HeartbeatWatch(this.#heartbeat);
  readonly #control: ControlPort<FromWorker, ToWorker>;
  readonly #task: WorkerTask<Data>;
  /** Settles when its body has returned, or is known not to. */
  readonly #ended: Promise<void>;
  #state: 'created' | 'starting' | 'up' | 'stopping' | 'gone' = 'created';
  #watchdog: NodeJS.Timeout | undefined;
  #onReady: () => void = nobody;
  #onStartFailed: (error: Error) => void = nobody;
  #onEnded: () => void = nobody;

  constructor(options: HostedWorkerOptions<Data>, events: HostedWorkerEvents<FromWorker>) {
    this.#options = options;
    this.#events = events;
    const { port1, port2 } = new MessageChannel();
    this.#control = new ControlPort(port1);
    this.#task = { workerId: 0, launch: 0, heartbeat: this.#heartbeat, control: port2, data: options.data };
    this.#ended = new Promise((resolve) => {
      this.#onEnded = resolve;
    });
    port1.once('close', this.#onEnded);
  }

  start(): Promise<void> {
    assert(this.#state === 'created', 'a worker starts once');
    this.#state = 'starting';
    this.#control.listen({ onReady: () => this.#ready(), onMessage: (message) => this.#events.onMessage(message) });
    return new Promise((resolve, reject) => {
      this.#onReady = resolve;
      this.#onStartFailed = reject;
      this.#options.host(this.#task, [this.#task.control]);
    });
  }

  async stop(capMs: number = STOP_CAP_MS): Promise<void> {
    if (this.#state === 'gone') return;
    assert(this.#state === 'up', 'a worker stops once, after it has started');
    this.#state = 'stopping';
    clearInterval(this.#watchdog);
    this.#control.stop();
    const late = setTimeout(() => this.died(new Error(`the worker did not stop within ${capMs} ms`)), capMs);
    await this.#ended;
    clearTimeout(late);
    this.#end();
  }

  send(_workerId: number, message: ToWorker): boolean {
    if (this.#state !== 'up') return false;
    this.#control.send(message);
    return true;
  }

  /** Its thread has ended, or is taken for dead. */
  died(error: Error): void {
    if (this.#state === 'gone') return;
    const wasStarting = this.#state === 'starting';
    this.#end();
    if (wasStarting) this.#onStartFailed(error);
    else this.#events.onCrash(error);
  }

  #ready(): void {
    if (this.#state !== 'starting') return;
    this.#state = 'up';
    this.#watchdog = setInterval(() => this.#watchHeart(), HEARTBEAT_CHECK_MS);
    this.#onReady();
  }

  #watchHeart(): void {
    const stillMs = this.#watch.stillMs(performance.now());
    if (stillMs > (this.#options.heartbeatStillMs ?? HEARTBEAT_STILL_MS))
      this.died(new Error(`worker 0, and the gateway with it: no heartbeat for ${Math.round(stillMs)} ms`));
  }

  #end(): void {
    this.#state = 'gone';
    clearInterval(this.#watchdog);
    this.#control.close();
    this.#onEnded();
  }
}

function nobody(): void {}
