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
  'logSequence', // gauge: of the last frame written to the log
  'logSyncedSequence', // gauge: frames up to here survive a power loss
  'logFlushedSequence', // gauge: frames up to here are in Postgres too
  'logBytes', // gauge: of all segments on disk
  'logSegments', // gauge
  'logSyncs',
  'logSyncMs', // gauge: how long the last sync took
  'logSyncedAtMs', // gauge: wall clock at which nothing written was unsynced, or a sync ended
  'logState', // gauge: 0 open, 1 off, 2 disk full, 3 full, 4 failed
  'logReplayed', // gauge: records taken from the log at the last load
  'damagedPartitions', // gauge: read-only until the log is repaired
  'expired',
  'memoryBytes', // gauge: what counts against the memory bound of this worker
  'evicted',
  'valueLoads',
  'valuesMissing', // should stay 0: the data store did not have what memory had dropped
  'readsParked', // gauge
  'memoryRefusals',
  'breakerState', // gauge: 0 closed, 1 half-open, 2 open
  'recoveryState', // gauge: 0 normal, 1 degraded, 2 failed, 3 recovering
  'schemaViolations',
  'journalRecorded',
  'journalDropped',
  'journalEvents', // gauge
  'journalBytes', // gauge
  'counters', // gauge
  'counterNodes', // gauge
  'counterBytes', // gauge
  'counterJoins',
  'counterRefusals',
  'queryRowsLooked',
  'indexEntries', // gauge
  'indexBytes', // gauge
] as const;

export type WorkerCounter = (typeof WORKER_COUNTERS)[number];
