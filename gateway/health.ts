/**
 * How the node is, from what its threads count: a pure judgement over numbers read at one moment.
 *
 *   shared memory ── readFacts ──▶ facts ── judge ──▶ { ready, degraded } ── healthDocument ──▶ JSON of GET /health
 *
 * ready     clients may be sent here: the lifecycle says so, at least one worker serves, and the data is still ours
 * degraded  it works, but not as it should; a reason each for storage, workers, threads and rings
 *
 * Health is judged when it is asked for, by whichever gateway is asked. A thread that hangs cannot say so itself: it
 * shows by the age of its last report, which is why an old report is a reason of its own.
 */
import type { Lifecycle, WorkerState } from '../workers/grid-state.ts';
import type { NodeView } from './node-view.ts';

export const STORAGE_STATES = ['normal', 'degraded', 'failed'] as const;
/** degraded: Postgres is away and writes are staged. failed: it refuses this server for good, which then stops. */
export type StorageState = (typeof STORAGE_STATES)[number];

export const DEGRADED_CODES = [
  'STORAGE_DEGRADED',
  'STORAGE_FAILED',
  'WORKER_NOT_READY',
  'LOOP_DELAYED',
  'THREAD_SILENT',
  'RING_FILLING',
] as const;
export type DegradedCode = (typeof DEGRADED_CODES)[number];

export interface Degradation {
  readonly code: DegradedCode;
  /** Who has it: `worker-1`, `inbox 0-1`. Code and subject tell one degradation from another over time. */
  readonly subject: string;
  readonly text: string;
}

export interface WorkerFacts {
  readonly id: number;
  readonly state: WorkerState;
  readonly records: number;
  readonly partitions: number;
  readonly storage: StorageState;
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
  readonly gateways: number;
  readonly connections: number;
  readonly inFlight: number;
  readonly workers: readonly WorkerFacts[];
  readonly threads: readonly ThreadFacts[];
  readonly rings: readonly RingFacts[];
}

export interface HealthLimits {
  /** A thread whose loop is later than this is delayed. Threads sample each second. */
  readonly loopDelayMsMax: number;
  /** A thread that has said nothing for this long is silent. */
  readonly reportAgeMsMax: number;
  /** Share of a ring's bytes, 0 to 1. */
  readonly ringOccupancyMax: number;
}

export const HEALTH_LIMITS: HealthLimits = Object.freeze({ loopDelayMsMax: 500, reportAgeMsMax: 10_000, ringOccupancyMax: 0.8 });

export interface HealthVerdict {
  readonly ready: boolean;
  readonly degraded: readonly Degradation[];
}

export function readFacts(view: NodeView, nowMs: number): NodeFacts {
  return {
    lifecycle: view.state.lifecycle,
    uptimeMs: view.uptimeMs(nowMs),
    gateways: view.gateways.length,
    connections: view.gatewayTotal('connections'),
    inFlight: view.gatewayTotal('openCalls'),
    workers: view.workers.map((row, id) => ({
      id,
      state: view.state.workerState(id),
      records: row.get('records'),
      partitions: view.table.partitionsOf(id).length,
      storage: STORAGE_STATES[row.get('storageState')] ?? 'failed',
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

export function judge(facts: NodeFacts, limits: HealthLimits = HEALTH_LIMITS): HealthVerdict {
  const serves = facts.workers.some((worker) => worker.state === 'ready');
  const isOurs = facts.workers.every((worker) => worker.storage !== 'failed');
  return {
    ready: facts.lifecycle === 'ready' && serves && isOurs,
    degraded: [
      ...facts.workers.flatMap(workerDegradations),
      ...facts.threads.flatMap((thread) => threadDegradations(thread, limits)),
      ...facts.rings.filter((ring) => ring.occupancy > limits.ringOccupancyMax).map(ringFilling),
    ],
  };
}

function workerDegradations({ id, state, storage, stagedRecords, flushLagMs }: WorkerFacts): Degradation[] {
  const subject = `worker-${id}`;
  const found: Degradation[] = [];
  if (state !== 'ready') found.push({ code: 'WORKER_NOT_READY', subject, text: `${subject} is ${state}` });
  if (storage === 'degraded') {
    const text = `${subject}: storage is away, ${stagedRecords} records wait since ${Math.round(flushLagMs)} ms`;
    found.push({ code: 'STORAGE_DEGRADED', subject, text });
  }
  if (storage === 'failed') found.push({ code: 'STORAGE_FAILED', subject, text: `${subject}: storage refuses this server` });
  return found;
}

function threadDegradations({ name, loopDelayMs, reportAgeMs }: ThreadFacts, limits: HealthLimits): Degradation[] {
  const found: Degradation[] = [];
  if (loopDelayMs > limits.loopDelayMsMax) {
    found.push({ code: 'LOOP_DELAYED', subject: name, text: `${name}: event loop late by ${Math.round(loopDelayMs)} ms` });
  }
  if (reportAgeMs !== undefined && reportAgeMs > limits.reportAgeMsMax) {
    found.push({ code: 'THREAD_SILENT', subject: name, text: `${name}: no report for ${Math.round(reportAgeMs)} ms` });
  }
  return found;
}

function ringFilling({ name, occupancy }: RingFacts): Degradation {
  return { code: 'RING_FILLING', subject: name, text: `${name}: ${Math.round(occupancy * 100)} % full` };
}

/** Body of GET /health: the four fields of protocol reference §1.4, and more beside them. */
export interface HealthDocument {
  readonly state: Lifecycle;
  readonly connections: number;
  readonly in_flight: number;
  readonly uptime_secs: number;
  readonly version: string;
  readonly ready: boolean;
  /** What is not as it should be, for people; empty when all is well. */
  readonly degraded: readonly string[];
  readonly gateways: number;
  readonly storage: {
    readonly state: StorageState;
    readonly stagedBytes: number;
    readonly stagedRecords: number;
    readonly lagMs: number;
  };
  readonly workers: readonly Pick<WorkerFacts, 'id' | 'state' | 'records' | 'partitions'>[];
}

export function healthDocument(facts: NodeFacts, verdict: HealthVerdict, version: string): HealthDocument {
  return {
    state: facts.lifecycle,
    connections: facts.connections,
    in_flight: facts.inFlight,
    uptime_secs: Math.floor(facts.uptimeMs / 1000),
    version,
    ready: verdict.ready,
    degraded: verdict.degraded.map((degradation) => degradation.text),
    gateways: facts.gateways,
    storage: {
      state: worstStorage(facts.workers),
      stagedBytes: facts.workers.reduce((sum, worker) => sum + worker.stagedBytes, 0),
      stagedRecords: facts.workers.reduce((sum, worker) => sum + worker.stagedRecords, 0),
      lagMs: facts.workers.reduce((most, worker) => Math.max(most, worker.flushLagMs), 0),
    },
    workers: facts.workers.map(({ id, state, records, partitions }) => ({ id, state, records, partitions })),
  };
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
