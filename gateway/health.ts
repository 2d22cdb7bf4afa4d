/**
 * How the node is, from what its threads count: a pure judgement over numbers read at one moment.
 *
 *   shared memory ── readFacts ──▶ facts ── judge ──▶ { ready, degraded } ── healthDocument ──▶ JSON of GET /health
 *
 * ready     clients may be sent here: the lifecycle says so, at least one worker serves, and the data is still ours
 * writable  and all of its workers take writes
 * degraded  it works, but not as it should; a reason each for storage, log, memory, workers, threads and rings
 *
 * A node that refuses writes (its disk is full, its log has failed) stays ready: reads and sync are served as ever, a
 * client is told why its write is refused, and nobody else has the data. Who must know looks at `writable`.
 *
 * Health is judged when it is asked for, by whichever gateway is asked. A thread that hangs cannot say so itself: it
 * shows by the age of its last report, which is why an old report is a reason of its own.
 */
import type { Lifecycle } from '../workers/grid-state.ts';
import {
  type Degradation,
  type DegradedCode,
  HEALTH_LIMITS,
  type HealthLimits,
  nodeDegradations,
  ringFilling,
  threadDegradations,
  workerDegradations,
} from './degradations.ts';
import { LOG_STATES, type LogState, type NodeFacts, STORAGE_STATES, type StorageState, type WorkerFacts } from './node-facts.ts';

export interface HealthVerdict {
  readonly ready: boolean;
  readonly writable: boolean;
  readonly degraded: readonly Degradation[];
}

export function judge(facts: NodeFacts, limits: HealthLimits = HEALTH_LIMITS): HealthVerdict {
  const serves = facts.workers.some((worker) => worker.state === 'ready');
  const isOurs = facts.workers.every((worker) => worker.storage !== 'failed');
  const ready = facts.lifecycle === 'ready' && serves && isOurs;
  return {
    ready,
    writable: ready && facts.workers.every(takesWrites),
    degraded: [
      ...nodeDegradations(facts),
      ...facts.workers.flatMap((worker) => workerDegradations(worker, facts)),
      ...facts.threads.flatMap((thread) => threadDegradations(thread, limits)),
      ...facts.rings.filter((ring) => ring.occupancy > limits.ringOccupancyMax).map(ringFilling),
    ],
  };
}

function takesWrites({ state, log, damagedPartitions }: WorkerFacts): boolean {
  return state === 'ready' && (log.state === 'open' || log.state === 'off') && damagedPartitions === 0;
}

/** Body of GET /health: the four fields of docs/PROTOCOL.md §1.4, and more beside them. */
export interface HealthDocument {
  readonly state: Lifecycle;
  readonly connections: number;
  readonly in_flight: number;
  readonly uptime_secs: number;
  readonly version: string;
  readonly ready: boolean;
  /** All workers take writes; false while one of them only reads, or is not there. */
  readonly writable: boolean;
  /** What is not as it should be, for people; empty when all is well. */
  readonly degraded: readonly string[];
  /** The same for programs, each once. */
  readonly reasons: readonly DegradedCode[];
  readonly gateways: number;
  readonly storage: {
    readonly state: StorageState;
    readonly stagedBytes: number;
    readonly stagedRecords: number;
    readonly lagMs: number;
  };
  /** The write-ahead logs of all workers: the worst state, the sum of bytes, the longest wait for the disk. */
  readonly log: {
    readonly state: LogState;
    readonly bytes: number;
    readonly syncedAgeMs: number;
    readonly damagedPartitions: number;
  };
  /** What counts against the bound of all workers; 0 for none. */
  readonly memory: { readonly bytes: number; readonly bytesMax: number };
  /** While the node starts, `recordsLoaded` and `recordsReplayed` tell how far it is. */
  readonly workers: readonly WorkerFacts[];
}

export function healthDocument(facts: NodeFacts, verdict: HealthVerdict, version: string): HealthDocument {
  return {
    state: facts.lifecycle,
    connections: facts.connections,
    in_flight: facts.inFlight,
    uptime_secs: Math.floor(facts.uptimeMs / 1000),
    version,
    ready: verdict.ready,
    writable: verdict.writable,
    degraded: verdict.degraded.map((degradation) => degradation.text),
    reasons: [...new Set(verdict.degraded.map((degradation) => degradation.code))],
    gateways: facts.gateways,
    storage: {
      state: worstStorage(facts.workers),
      stagedBytes: facts.workers.reduce((sum, worker) => sum + worker.stagedBytes, 0),
      stagedRecords: facts.workers.reduce((sum, worker) => sum + worker.stagedRecords, 0),
      lagMs: facts.workers.reduce((most, worker) => Math.max(most, worker.flushLagMs), 0),
    },
    log: {
      state: worstLog(facts.workers),
      bytes: facts.workers.reduce((sum, worker) => sum + worker.log.bytes, 0),
      syncedAgeMs: facts.workers.reduce((most, worker) => Math.max(most, worker.log.syncedAgeMs), 0),
      damagedPartitions: facts.workers.reduce((sum, worker) => sum + worker.damagedPartitions, 0),
    },
    memory: {
      bytes: facts.workers.reduce((sum, worker) => sum + worker.memoryBytes, 0),
      bytesMax: facts.workerMemoryBytesMax * facts.workers.length,
    },
    workers: facts.workers,
  };
}

/** Their numbers rise with the trouble. */
function worstLog(workers: readonly WorkerFacts[]): LogState {
  return LOG_STATES[workers.reduce((most, worker) => Math.max(most, LOG_STATES.indexOf(worker.log.state)), 0)] ?? 'failed';
}

function worstStorage(workers: readonly WorkerFacts[]): StorageState {
  const worst = workers.reduce((most, worker) => Math.max(most, STORAGE_STATES.indexOf(worker.storage)), 0);
  return STORAGE_STATES[worst] ?? 'failed';
}

export interface HealthChange {
  readonly appeared: readonly Degradation[];
  readonly gone: readonly Degradation[];
}

/** What came and went between two checks: what a periodic check logs, once for each degradation. */
export function healthChange(before: readonly Degradation[], after: readonly Degradation[]): HealthChange {
  const lacks = (list: readonly Degradation[]) => (one: Degradation) =>
    !list.some(({ code, subject }) => code === one.code && subject === one.subject);
  return { appeared: after.filter(lacks(before)), gone: before.filter(lacks(after)) };
}
