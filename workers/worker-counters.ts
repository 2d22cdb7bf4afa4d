/** What a partition worker counts; one row of shared memory a worker, written on each tick. */

export const WORKER_COUNTERS = [
  'ops',
  'batches',
  'requests',
  'mergesApplied',
  'mergesStale',
  'mergesDuplicate',
  'clockTies',
  'rejected',
  'refused',
  'records', // gauge
  'tombstones', // gauge
  'slabUsedBytes', // gauge
  'slabReservedBytes', // gauge
  'maps', // gauge
  'stagedRecords', // gauge
  'stagedBytes', // gauge
  'flushLagMs', // gauge
  'flushes',
  'flushedRows',
  'flushFailures',
  'deadLetters',
  'storageState', // gauge: 0 normal, 1 degraded, 2 failed
  'tombstonesPruned',
  'eventsEncoded',
  'recordsLoaded', // gauge: of the load under way or done
] as const;

export type WorkerCounter = (typeof WORKER_COUNTERS)[number];
