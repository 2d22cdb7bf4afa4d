/**
 * What is not as it should be, in words: a pure list over the facts of one moment. A code and its subject tell one
 * degradation from another over time; the numbers in the text may change.
 */
import type { NodeFacts, RingFacts, ThreadFacts, WorkerFacts } from './node-facts.ts';

export const DEGRADED_CODES = [
  'STORAGE_DEGRADED',
  'STORAGE_FAILED',
  'BREAKER_OPEN',
  'FLUSH_LAGGING',
  'RECOVERING',
  'LOG_DISK_FULL',
  'LOG_FULL',
  'LOG_FAILED',
  'LOG_DAMAGED',
  'MEMORY_SHORT',
  'WORKER_NOT_READY',
  'WORKER_SILENT',
  'LOOP_DELAYED',
  'THREAD_SILENT',
  'RING_FILLING',
] as const;
export type DegradedCode = (typeof DEGRADED_CODES)[number];

export interface Degradation {
  readonly code: DegradedCode;
  /** Who has it: `worker-1`, `inbox 0-1`, `node`. Code and subject tell one degradation from another over time. */
  readonly subject: string;
  readonly text: string;
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

/**
 * Flush lag above which a worker counts as lagging, beside the time that changes wait on purpose, ms. From 5 s on
 * flushes make no pauses, so a lag of 10 s says that the data store cannot follow.
 */
export const FLUSH_LAG_MS_MAX = 10_000;

type Bounds = Pick<NodeFacts, 'flushLagMsMax' | 'workerMemoryBytesMax'>;

const MIB = 1024 * 1024;

export function nodeDegradations({ isDatabaseAway }: NodeFacts): Degradation[] {
  if (!isDatabaseAway) return [];
  return [{ code: 'STORAGE_DEGRADED', subject: 'node', text: 'node: the database is away' }];
}

export function workerDegradations(worker: WorkerFacts, bounds: Bounds): Degradation[] {
  const subject = `worker-${worker.id}`;
  const texts: [DegradedCode, string][] = [
    ...readiness(worker),
    ...storageTrouble(worker, bounds),
    ...logTrouble(worker),
    ...memoryTrouble(worker, bounds),
  ];
  return texts.map(([code, text]) => ({ code, subject, text: `${subject}${text}` }));
}

function readiness(worker: WorkerFacts): [DegradedCode, string][] {
  const { state, recovery, stagedRecords, recordsLoaded, recordsReplayed, silentTo } = worker;
  const found: [DegradedCode, string][] = [];
  if (silentTo.length > 0)
    found.push(['WORKER_SILENT', `: answers nothing to gateway ${silentTo.join(', ')}, which refuses what would go to it`]);
  if (state !== 'ready') found.push(['WORKER_NOT_READY', ` is ${state}`]);
  if (state === 'loading') {
    found.push(['RECOVERING', `: ${recordsLoaded} records loaded, ${recordsReplayed} replayed from the log`]);
  } else if (recovery === 'recovering' && state === 'ready') {
    found.push(['RECOVERING', `: ${stagedRecords} records wait for the data store`]);
  }
  return found;
}

function storageTrouble(worker: WorkerFacts, { flushLagMsMax }: Bounds): [DegradedCode, string][] {
  const { storage, breaker, stagedRecords, flushLagMs } = worker;
  const lag = `${Math.round(flushLagMs)} ms`;
  const found: [DegradedCode, string][] = [];
  if (storage === 'degraded') found.push(['STORAGE_DEGRADED', `: storage is away, ${stagedRecords} records wait since ${lag}`]);
  if (storage === 'failed') found.push(['STORAGE_FAILED', ': storage refuses this server']);
  if (breaker !== 'closed') found.push(['BREAKER_OPEN', `: the circuit breaker of Postgres is ${breaker}`]);
  if (flushLagMsMax > 0 && flushLagMs > flushLagMsMax) {
    found.push([
      'FLUSH_LAGGING',
      `: ${stagedRecords} records wait for the data store since ${lag}, more than ${flushLagMsMax} ms`,
    ]);
  }
  return found;
}

function logTrouble({ log, damagedPartitions, partitions }: WorkerFacts): [DegradedCode, string][] {
  const found: [DegradedCode, string][] = [];
  if (log.state === 'disk-full')
    found.push(['LOG_DISK_FULL', ': the disk of the log is full, writes are refused until there is room']);
  if (log.state === 'full') {
    found.push(['LOG_FULL', `: the log is full (${mib(log.bytes)}), writes are refused until the data store has taken some`]);
  }
  if (log.state === 'failed') found.push(['LOG_FAILED', ': the disk refused the log, read-only until the server is restarted']);
  if (damagedPartitions > 0) {
    const which = `${damagedPartitions} of ${partitions} partitions are read-only`;
    found.push(['LOG_DAMAGED', `: the log is damaged, ${which} until \`lattice wal repair\` has accepted the loss`]);
  }
  return found;
}

function memoryTrouble({ memoryBytes }: WorkerFacts, { workerMemoryBytesMax }: Bounds): [DegradedCode, string][] {
  if (workerMemoryBytesMax === 0 || memoryBytes < workerMemoryBytesMax) return [];
  return [['MEMORY_SHORT', `: ${mib(memoryBytes)} of ${mib(workerMemoryBytesMax)} are in use, nothing more can be dropped`]];
}

export function threadDegradations({ name, loopDelayMs, reportAgeMs }: ThreadFacts, limits: HealthLimits): Degradation[] {
  const found: Degradation[] = [];
  if (loopDelayMs > limits.loopDelayMsMax) {
    found.push({ code: 'LOOP_DELAYED', subject: name, text: `${name}: event loop late by ${Math.round(loopDelayMs)} ms` });
  }
  if (reportAgeMs !== undefined && reportAgeMs > limits.reportAgeMsMax) {
    found.push({ code: 'THREAD_SILENT', subject: name, text: `${name}: no report for ${Math.round(reportAgeMs)} ms` });
  }
  return found;
}

export function ringFilling({ name, occupancy }: RingFacts): Degradation {
  return { code: 'RING_FILLING', subject: name, text: `${name}: ${Math.round(occupancy * 100)} % full` };
}

function mib(bytes: number): string {
  return `${Math.ceil(bytes / MIB)} MiB`;
}
