/**
 * What the main thread looks at now and then: is every thread well, and does the process keep its memory bound?
 *
 *   health   each `healthIntervalMs`   what has become worse or better goes to the log
 *   memory   each 500 ms               resident memory and the workers' own accounts ─▶ each worker's share, over or not
 *   report   with it                   of this thread itself: how late the 500 ms were is how late its event loop is
 */
import { getHeapStatistics } from 'node:v8';
import type { Logger } from 'pino';
import type { Config } from '../engine/config.ts';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import type { GridMemory } from '../workers/grid-memory.ts';
import { GridState } from '../workers/grid-state.ts';
import { cgroupMemoryBytes, isBoundTooSmall, machineMemoryBytes, memoryBound, workerShare } from '../workers/memory-budget.ts';
import type { Degradation } from './degradations.ts';
import { healthChange, judge } from './health.ts';
import { readFacts } from './node-facts.ts';
import { NodeView } from './node-view.ts';

const MEMORY_INTERVAL_MS = 500;

export class NodeWatch {
  /** Bound of the process's memory, in bytes. */
  readonly memoryBytesMax: number;
  readonly #config: Config;
  readonly #memory: GridMemory;
  readonly #log: Logger;
  readonly #state: GridState;
  readonly #view: NodeView;
  readonly #row: CounterRow<(typeof THREAD_COUNTERS)[number]>;
  readonly #timers: NodeJS.Timeout[] = [];
  #known: readonly Degradation[] = [];
  #sampledMs = Number.NaN;

  constructor(config: Config, memory: GridMemory, log: Logger) {
    this.memoryBytesMax = memoryBound(config.maxMemory, machineMemoryBytes(), cgroupMemoryBytes());
    this.#config = config;
    this.#memory = memory;
    this.#log = log;
    this.#state = new GridState(memory.state);
    this.#view = new NodeView(memory);
    this.#row = new CounterRow(memory.threadCounters, THREAD_COUNTERS, memory.gateways + memory.workers);
  }

  /** Sets the workers' shares for the first time: before they load. */
  shareMemory(): void {
    if (isBoundTooSmall(this.memoryBytesMax, this.#sizes))
      this.#log.warn(
        { bytes: this.memoryBytesMax },
        'LATTICE_MAX_MEMORY is too small for these threads and rings: it will not be kept',
      );
    this.#sampleMemory();
    this.#timers.push(
      setInterval(() => {
        this.#sampleMemory();
        this.#report();
      }, MEMORY_INTERVAL_MS),
    );
  }

  watchHealth(): void {
    this.#timers.push(setInterval(() => this.#checkHealth(), this.#config.healthIntervalMs));
  }

  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  get #sizes(): { gateways: number; workers: number; ringBytes: number } {
    return { gateways: this.#memory.gateways, workers: this.#memory.workers, ringBytes: this.#config.ringBytes };
  }

  #sampleMemory(): void {
    const residentBytes = process.memoryUsage.rss();
    const workersBytes = this.#view.workers.reduce((bytes, row) => bytes + row.get('memoryBytes'), 0);
    const sessionsBytes = this.#view.gatewayTotal('sessionBytes');
    const share = workerShare(this.memoryBytesMax, this.#sizes, residentBytes, workersBytes, sessionsBytes);
    this.#state.workerMemoryBytesMax = share;
    this.#state.isMemoryOver = residentBytes > this.memoryBytesMax;
  }

  #report(): void {
    const nowMs = performance.now();
    const lateMs = Number.isNaN(this.#sampledMs) ? 0 : Math.max(0, nowMs - this.#sampledMs - MEMORY_INTERVAL_MS);
    this.#sampledMs = nowMs;
    for (const quantile of ['loopDelayP50Ms', 'loopDelayP99Ms', 'loopDelayMaxMs'] as const) this.#row.set(quantile, lateMs);
    this.#row.set('heapUsedBytes', getHeapStatistics().used_heap_size);
    this.#row.set('lastHealthCheckAtMs', Date.now());
  }

  #checkHealth(): void {
    const { degraded } = judge(readFacts(this.#view, Date.now()));
    const { appeared, gone } = healthChange(this.#known, degraded);
    for (const { code, text } of appeared) this.#log.warn({ code }, `degraded: ${text}`);
    for (const { code, text } of gone) this.#log.info({ code }, `no longer: ${text}`);
    this.#known = degraded;
  }
}
