/**
 * What all threads must know of the node at any moment, in shared memory: one writer per word, any reader.
 *
 *   words    0        lifecycle of the node              main thread
 *            1        database away, seen by the owner   main thread
 *            2        locks granted since the start      the workers, by Atomics.add
 *            3        port of the node                   main thread
 *            16+w     state of worker w                  main thread and worker w, in turn
 *            32+16g   broadcast sessions of gateway g    gateway g (a cache line each)
 *            33+16g   its breakers, two bits a worker    gateway g
 *   floats   of the second half: prune watermark (ms), start of the node (ms), bounds that health judges by
 */

import type { BreakerState } from '../engine/operation/circuit-breaker.ts';

export const LIFECYCLES = ['starting', 'ready', 'draining', 'stopped'] as const;
export type Lifecycle = (typeof LIFECYCLES)[number];

export const WORKER_STATES = ['starting', 'loading', 'ready', 'down'] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

export const BREAKERS: readonly BreakerState[] = ['CLOSED', 'HALF_OPEN', 'OPEN'];
const LIFECYCLE = 0;
const DATABASE_AWAY = 1;
const LOCK_NUMBER = 2;
const PORT = 3;
const WORKERS = 16;
const GATEWAYS = 32;
const LINE_WORDS = 16;
const GATEWAYS_MAX = 16;
const FLOATS_AT = (GATEWAYS + GATEWAYS_MAX * LINE_WORDS) * 4;
const PRUNE_WATERMARK = 0;
const STARTED = 1;
const FLUSH_LAG_MAX = 2;
const WORKER_MEMORY_MAX = 3;
const MEMORY_OVER = 4;
const FLOATS = 8;

export class GridState {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #floats: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(FLOATS_AT + FLOATS * 8)) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, FLOATS_AT / 4);
    this.#floats = new Float64Array(memory, FLOATS_AT, FLOATS);
  }

  get lifecycle(): Lifecycle {
    return LIFECYCLES[Atomics.load(this.#words, LIFECYCLE)] ?? 'stopped';
  }

  set lifecycle(lifecycle: Lifecycle) {
    Atomics.store(this.#words, LIFECYCLE, LIFECYCLES.indexOf(lifecycle));
  }

  /** True while the owner's own connection finds no database; workers may not have noticed, for want of changes. */
  get isDatabaseAway(): boolean {
    return Atomics.load(this.#words, DATABASE_AWAY) === 1;
  }

  set isDatabaseAway(isAway: boolean) {
    Atomics.store(this.#words, DATABASE_AWAY, isAway ? 1 : 0);
  }

  /** TCP port of the node; 0 while it does not listen. */
  get port(): number {
    return Atomics.load(this.#words, PORT);
  }

  set port(port: number) {
    Atomics.store(this.#words, PORT, port);
  }

  /** Locks granted since the start of the node, by all workers. */
  get lockNumber(): number {
    return Atomics.load(this.#words, LOCK_NUMBER) >>> 0;
  }

  /** The number of the next grant: no two are the same, and they rise. */
  nextLockNumber(): number {
    return (Atomics.add(this.#words, LOCK_NUMBER, 1) + 1) >>> 0;
  }

  workerState(worker: number): WorkerState {
    return WORKER_STATES[Atomics.load(this.#words, WORKERS + worker)] ?? 'down';
  }

  setWorkerState(worker: number, state: WorkerState): void {
    Atomics.store(this.#words, WORKERS + worker, WORKER_STATES.indexOf(state));
  }

  /**
   * Hot path: true when the worker has loaded its partitions and takes records. A plain load, since an atomic one is a call
   * for each frame: who asks in a turn of its event loop sees what was stored before the turn, and no loop waits for it.
   */
  isWorkerReady(worker: number): boolean {
    return this.#words[WORKERS + worker] === 2;
  }

  /** Hot path, asked for each change: sessions of a gateway that get events of every map. A plain load, as above. */
  broadcastSessions(gateway: number): number {
    return this.#words[GATEWAYS + gateway * LINE_WORDS] as number;
  }

  setBroadcastSessions(gateway: number, count: number): void {
    Atomics.store(this.#words, GATEWAYS + gateway * LINE_WORDS, count);
  }

  /** How gateway `gateway` finds the worker: it answers, is asked by one call, or is not asked. */
  workerBreaker(gateway: number, worker: number): BreakerState {
    const bits = Atomics.load(this.#words, GATEWAYS + gateway * LINE_WORDS + 1);
    return BREAKERS[(bits >>> (worker * 2)) & 3] ?? 'OPEN';
  }

  setWorkerBreaker(gateway: number, worker: number, state: BreakerState): void {
    const word = GATEWAYS + gateway * LINE_WORDS + 1;
    const others = Atomics.load(this.#words, word) & ~(3 << (worker * 2));
    Atomics.store(this.#words, word, others | (BREAKERS.indexOf(state) << (worker * 2)));
  }

  /** Tombstones with an older clock are forgotten. Wall-clock ms, 0 = none yet. */
  get pruneWatermarkMs(): number {
    return this.#floats[PRUNE_WATERMARK] as number;
  }

  set pruneWatermarkMs(millis: number) {
    this.#floats[PRUNE_WATERMARK] = millis;
  }

  /** Flush lag above which a worker counts as degraded, ms; 0 = none. */
  get flushLagMsMax(): number {
    return this.#floats[FLUSH_LAG_MAX] as number;
  }

  set flushLagMsMax(lagMs: number) {
    this.#floats[FLUSH_LAG_MAX] = lagMs;
  }

  /** What one worker may hold in memory, bytes; 0 = no bound. */
  get workerMemoryBytesMax(): number {
    return this.#floats[WORKER_MEMORY_MAX] as number;
  }

  set workerMemoryBytesMax(bytes: number) {
    this.#floats[WORKER_MEMORY_MAX] = bytes;
  }

  /** Wall-clock ms at which the node started. */
  get startedMs(): number {
    return this.#floats[STARTED] as number;
  }

  set startedMs(millis: number) {
    this.#floats[STARTED] = millis;
  }

  /** The process is above its memory bound: slabs make no further segments. */
  get isMemoryOver(): boolean {
    return this.#floats[MEMORY_OVER] === 1;
  }

  set isMemoryOver(over: boolean) {
    this.#floats[MEMORY_OVER] = over ? 1 : 0;
  }
}
