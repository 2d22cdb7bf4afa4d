/**
 * All shared memory of a node, made once by the main thread and handed to every other thread.
 *
 *   inboxes[g][w]    ring gateway g → worker w          outboxes[g][w]   ring worker w → gateway g
 *   table            partition → worker                 state            lifecycle, worker states, watermark
 *   counters         a row per thread                        journal          the number of the next event
 *   mapNames         which keys may be names of maps      acts             which acts over several workers are under way
 */
import { OperationMetrics } from '../engine/operation/operation-metrics.ts';
import { ActMarks } from '../engine/domains/kv/act-marks.ts';
import { MapNameFilter } from '../engine/domains/kv/map-name-filter.ts';
import { JournalSequence } from '../engine/domains/persistence/journal-sequence.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { createCounters, THREAD_COUNTERS } from './counters.ts';
import { GridState } from './grid-state.ts';
import { createRing } from './ring-layout.ts';
import { WORKER_COUNTERS } from './worker-counters.ts';

export interface GridMemory {
  readonly gateways: number;
  readonly workers: number;
  readonly inboxes: readonly (readonly SharedArrayBuffer[])[];
  readonly outboxes: readonly (readonly SharedArrayBuffer[])[];
  readonly table: SharedArrayBuffer;
  readonly state: SharedArrayBuffer;
  readonly journal: SharedArrayBuffer;
  /** Which keys may be names of maps. */
  readonly mapNames: SharedArrayBuffer;
  /** Acts over several workers that are under way. */
  readonly acts: SharedArrayBuffer;
  readonly workerCounters: SharedArrayBuffer;
  readonly gatewayCounters: SharedArrayBuffer;
  /** OperationMetrics.BYTES for each gateway; empty where operations are not counted. */
  readonly operationCounters: SharedArrayBuffer;
  /** Rows: gateways first, then workers, then the main thread. */
  readonly threadCounters: SharedArrayBuffer;
}

export interface GridMemoryOptions {
  readonly gateways: number;
  readonly workers: number;
  readonly ringBytes: number;
  readonly messageBytesMax: number;
  readonly countsOperations?: boolean;
  /** Names of the gateway's counters: the gateway's own business. */
  readonly gatewayCounterNames: readonly string[];
}

export function createGridMemory(options: GridMemoryOptions): GridMemory {
  const { gateways, workers, ringBytes, messageBytesMax } = options;
  const rings = (): SharedArrayBuffer[][] =>
    Array.from({ length: gateways }, () =>
      Array.from({ length: workers }, () => createRing({ capacityBytes: ringBytes, messageBytesMax })),
    );
  return {
    gateways,
    workers,
    inboxes: rings(),
    outboxes: rings(),
    table: PartitionTable.create(workers).buffer,
    state: new GridState().memory,
    journal: JournalSequence.create(),
    mapNames: new SharedArrayBuffer(MapNameFilter.BYTES),
    acts: new SharedArrayBuffer(ActMarks.BYTES),
    workerCounters: createCounters(WORKER_COUNTERS, workers),
    gatewayCounters: createCounters(options.gatewayCounterNames, gateways),
    operationCounters: new SharedArrayBuffer(options.countsOperations === true ? gateways * OperationMetrics.BYTES : 0),
    threadCounters: createCounters(THREAD_COUNTERS, gateways + workers + 1),
  };
}
