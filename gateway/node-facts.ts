/**
 * What is known of a node at one moment, read from the shared memory of all its threads: plain numbers and names, so
 * that judging them (health.ts, degradations.ts) needs no threads.
 */
import { RECOVERY_STATES, type RecoveryState } from '../engine/storage/recovery-state.ts';
import type { Lifecycle, WorkerState } from '../workers/grid-state.ts';
import type { NodeView } from './node-view.ts';

export const STORAGE_STATES = ['normal', 'degraded', 'failed'] as const;
/** degraded: Postgres is away and writes are staged. failed: it refuses this server for good, which then stops. */
export type StorageState = (typeof STORAGE_STATES)[number];

export const BREAKER_STATES = ['closed', 'half-open', 'open'] as const;
/** Of the worker's connection to Postgres: tried as usual, one attempt under way, refused without an attempt. */
export type BreakerState = (typeof BREAKER_STATES)[number];

/** In the order of the counter `logState`. */
export const LOG_STATES = ['open', 'off', 'disk-full', 'full', 'failed'] as const;
export type LogState = (typeof LOG_STATES)[number];

export interface LogFacts {
  readonly state: LogState;
  /** Of the last frame written, the last one that survives a power loss, the last one that Postgres has too. */
  readonly sequence: number;
  readonly synced: number;
  readonly flushed: number;
  readonly bytes: number;
  /** Since when frames wait for the disk, ms; 0 when none does. */
  readonly syncedAgeMs: number;
}

export interface WorkerFacts {
  readonly id: number;
  readonly state: WorkerState;
  readonly records: number;
  /** Of the load under way or done, from Postgres and from the log. */
  readonly recordsLoaded: number;
  readonly recordsReplayed: number;
  readonly partitions: number;
  /** Partitions that are read-only until the log is repaired. */
  readonly damagedPartitions: number;
  readonly storage: StorageState;
  readonly breaker: BreakerState;
  /** Gateways that get no answers from it, and refuse at once what would go to it. */
  readonly silentTo: readonly number[];
  readonly recovery: RecoveryState;
  readonly log: LogFacts;
  readonly memoryBytes: number;
  readonly stagedBytes: number;
  readonly stagedRecords: number;
  readonly flushLagMs: number;
}

export interface ThreadFacts {
  readonly name: string;
  /** 99th percentile of its last sample. */
  readonly loopDelayMs: number;
  /** Age of its last report; undefined when it has not reported yet. */
  readonly reportAgeMs: number | undefined;
}

export interface RingFacts {
  readonly name: string;
  /** Share of its bytes in use, 0 to 1. */
  readonly occupancy: number;
}

/** The node at one moment. */
export interface NodeFacts {
  readonly lifecycle: Lifecycle;
  readonly uptimeMs: number;
  /** The node's own connection finds no database. */
  readonly isDatabaseAway: boolean;
  /** Flush lag above which a worker lags, ms; and what a worker may hold, bytes. 0 = no bound. */
  readonly flushLagMsMax: number;
  readonly workerMemoryBytesMax: number;
  readonly gateways: number;
  readonly connections: number;
  readonly inFlight: number;
  readonly workers: readonly WorkerFacts[];
  readonly threads: readonly ThreadFacts[];
  readonly rings: readonly RingFacts[];
}

export function readFacts(view: NodeView, nowMs: number): NodeFacts {
  return {
    lifecycle: view.state.lifecycle,
    uptimeMs: view.uptimeMs(nowMs),
    isDatabaseAway: view.state.isDatabaseAway,
    flushLagMsMax: view.state.flushLagMsMax,
    workerMemoryBytesMax: view.state.workerMemoryBytesMax,
    gateways: view.gateways.length,
    connections: view.gatewayTotal('connections'),
    inFlight: view.gatewayTotal('openCalls'),
    workers: view.workers.map((row, id) => ({
      id,
      state: view.state.workerState(id),
      records: row.get('records'),
      recordsLoaded: row.get('recordsLoaded'),
      recordsReplayed: row.get('logReplayed'),
      partitions: view.table.partitionsOf(id).length,
      damagedPartitions: row.get('damagedPartitions'),
      storage: STORAGE_STATES[row.get('storageState')] ?? 'failed',
      breaker: BREAKER_STATES[row.get('breakerState')] ?? 'open',
      silentTo: view.gateways.flatMap((_, gateway) => (view.state.workerBreaker(gateway, id) === 'CLOSED' ? [] : [gateway])),
      recovery: RECOVERY_STATES[row.get('recoveryState')] ?? 'failed',
      log: logFacts(row, nowMs),
      memoryBytes: row.get('memoryBytes'),
      stagedBytes: row.get('stagedBytes'),
      stagedRecords: row.get('stagedRecords'),
      flushLagMs: row.get('flushLagMs'),
    })),
    threads: view.threads.map(({ name, row }) => {
      const reportedMs = row.get('lastHealthCheckAtMs');
      const reportAgeMs = reportedMs === 0 ? undefined : Math.max(0, nowMs - reportedMs);
      return { name, loopDelayMs: row.get('loopDelayP99Ms'), reportAgeMs };
    }),
    rings: view.readRings().map(({ direction, gateway, worker, stats }) => ({
      name: `${direction} ${gateway}-${worker}`,
      occupancy: stats.usedBytes / stats.capacityBytes,
    })),
  };
}

function logFacts(row: NodeView['workers'][number], nowMs: number): LogFacts {
  const sequence = row.get('logSequence');
  const synced = row.get('logSyncedSequence');
  const syncedAtMs = row.get('logSyncedAtMs');
  return {
    state: LOG_STATES[row.get('logState')] ?? 'failed',
    sequence,
    synced,
    flushed: row.get('logFlushedSequence'),
    bytes: row.get('logBytes'),
    syncedAgeMs: synced >= sequence || syncedAtMs === 0 ? 0 : Math.max(0, nowMs - syncedAtMs),
  };
}
