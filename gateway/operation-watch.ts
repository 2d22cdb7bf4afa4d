/**
 * Who hears of operations that have ended, where they are on: the figures of /metrics, and the slow ones for log and administration.
 */
import type { OperationListener } from '../engine/operation/interceptors/event-listener.ts';
import { OperationMetrics } from '../engine/operation/operation-metrics.ts';
import type { CallTable } from './call-table.ts';
import type { GatewayOptions } from './gateway-options.ts';
import type { GatewayFacts } from './node-desk.ts';
import { SlowOperations } from './slow-operations.ts';
import type { TurnClock } from './turn-clock.ts';

export class OperationWatch {
  readonly measured: OperationMetrics | undefined;
  readonly listeners: readonly OperationListener[];
  readonly #slow: SlowOperations | undefined;
  readonly #calls: CallTable;
  readonly #clock: TurnClock;

  /** Hears of calls from now on; what is answered without a call is told to `listeners` by the dispatcher. */
  constructor({ config, operations, log }: GatewayOptions, calls: CallTable, clock: TurnClock) {
    this.#calls = calls;
    this.#clock = clock;
    this.measured = config.operationMetrics ? new OperationMetrics(operations.memory, operations.offset) : undefined;
    this.#slow = config.slowOperationMs > 0 ? new SlowOperations(config.slowOperationMs, () => clock.nowMs, tell) : undefined;
    this.listeners = [this.measured, this.#slow].filter((listener) => listener !== undefined);
    if (this.listeners.length > 0) calls.onEnd = (slot) => this.#ended(slot);

    function tell(type: string, tookMs: number, left: number): void {
      log('warn', 'slow operation', { type, tookMs: Math.round(tookMs), ...(left > 0 ? { notLogged: left } : {}) });
    }
  }

  /** The last ones that took long, newest first. */
  slowOperations(): GatewayFacts['slowOperations'] {
    return (this.#slow?.recent() ?? []).map(({ type, tookMs, atMs }) => ({
      type,
      tookMs: Math.round(tookMs),
      msAgo: Math.round(this.#clock.nowMs - atMs),
    }));
  }

  /** A call that was begun by an operation has ended. */
  #ended(slot: number): void {
    const type = this.#calls.operations[slot];
    if (type === undefined) return; // a door's own
    const tookMs = this.#clock.nowMs - (this.#calls.sinceMs[slot] as number);
    for (const listener of this.listeners) listener.ended(type, tookMs);
  }
}
