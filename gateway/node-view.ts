/**
 * Read-only views of everything a node counts, over the shared memory of all its threads.
 *
 * Every thread publishes into memory that every other one reads, so any gateway can answer for the whole node: for its
 * health, its status and its metrics. The views are made once; reading one allocates next to nothing.
 */
import { OperationMetrics } from '../engine/operation/operation-metrics.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { CounterRow, THREAD_COUNTERS, type ThreadCounter } from '../workers/counters.ts';
import type { GridMemory } from '../workers/grid-memory.ts';
import { GridState } from '../workers/grid-state.ts';
import { type RingStats, readRingStats } from '../workers/ring-layout.ts';
import { WORKER_COUNTERS, type WorkerCounter } from '../workers/worker-counters.ts';
import { GATEWAY_COUNTERS, type GatewayCounter } from './gateway-counters.ts';

/** `inbox` leads from a gateway to a worker, `outbox` back. */
export type RingDirection = 'inbox' | 'outbox';

export interface RingReading {
  readonly gateway: number;
  readonly worker: number;
  readonly direction: RingDirection;
  readonly stats: RingStats;
}

export interface ThreadView {
  /** `gateway-0`, `worker-1`, `main`. */
  readonly name: string;
  readonly row: CounterRow<ThreadCounter>;
}

export class NodeView {
  readonly state: GridState;
  readonly table: PartitionTable;
  /** By the number of the gateway. */
  readonly gateways: readonly CounterRow<GatewayCounter>[];
  /** By the number of the worker. */
  readonly workers: readonly CounterRow<WorkerCounter>[];
  readonly threads: readonly ThreadView[];
  /** What each gateway has counted of its operations; none where they are not counted. */
  readonly operations: readonly OperationMetrics[];
  readonly #memory: GridMemory;

  constructor(memory: GridMemory) {
    this.#memory = memory;
    this.state = new GridState(memory.state);
    this.table = new PartitionTable(memory.table);
    this.gateways = rows(memory.gatewayCounters, GATEWAY_COUNTERS, memory.gateways);
    this.workers = rows(memory.workerCounters, WORKER_COUNTERS, memory.workers);
    const { operationCounters } = memory;
    const counted = Math.floor(operationCounters.byteLength / OperationMetrics.BYTES);
    this.operations = Array.from(
      { length: counted },
      (_, gateway) => new OperationMetrics(operationCounters, gateway * OperationMetrics.BYTES),
    );
    const names = threadNames(memory.gateways, memory.workers);
    this.threads = names.map((name, row) => ({ name, row: new CounterRow(memory.threadCounters, THREAD_COUNTERS, row) }));
  }

  /** All rings as they are now; each number is a moment old. */
  readRings(): RingReading[] {
    const { inboxes, outboxes } = this.#memory;
    return [...readAll(inboxes, 'inbox'), ...readAll(outboxes, 'outbox')];
  }

  /** Sum of a counter over all gateways. */
  gatewayTotal(counter: GatewayCounter): number {
    return this.gateways.reduce((sum, row) => sum + row.get(counter), 0);
  }

  /** Time since the node started, in ms; 0 while it has not. */
  uptimeMs(nowMs: number): number {
    return this.state.startedMs === 0 ? 0 : Math.max(0, nowMs - this.state.startedMs);
  }
}

function rows<Name extends string>(memory: SharedArrayBuffer, names: readonly Name[], count: number): CounterRow<Name>[] {
  return Array.from({ length: count }, (_, row) => new CounterRow(memory, names, row));
}

/** In the order of the rows: gateways, workers, the main thread. */
function threadNames(gateways: number, workers: number): string[] {
  const named = (kind: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${kind}-${index}`);
  return [...named('gateway', gateways), ...named('worker', workers), 'main'];
}

function readAll(rings: readonly (readonly SharedArrayBuffer[])[], direction: RingDirection): RingReading[] {
  return rings.flatMap((ofGateway, gateway) =>
    ofGateway.map((memory, worker) => ({ gateway, worker, direction, stats: readRingStats(memory) })),
  );
}
