/** What of the configuration goes to a worker's thread: only what it uses, and no secret. */
import type { Config } from '../engine/config.ts';
import type { FaultOptions } from '../engine/faults.ts';
import type { PartitionWorkerData } from '../workers/partition-worker.ts';

/** Of the horizon of tombstones: so old a flushed segment may be. */
const SEGMENT_AGE_SHARE = 0.25;

/** How workers write their logs; undefined when nothing is logged. */
export function logSettings(config: Config): PartitionWorkerData['log'] {
  const { wal, store, walFsync, walSegmentBytes, walMaxBytes, workerThreads, tombstoneHorizonMs } = config;
  if (!wal || store !== 'write-behind') return undefined;
  const policy = walFsync === 'always' || walFsync === 'off' ? walFsync : Number(walFsync);
  const maxBytes = Math.floor(walMaxBytes / workerThreads);
  return { policy, segmentBytes: walSegmentBytes, maxBytes, retireAfterMs: tombstoneHorizonMs * SEGMENT_AGE_SHARE };
}

/** What a worker needs of the options. */
export function workerConfig(config: Config): PartitionWorkerData['config'] {
  return {
    batchRecords: config.batchRecords,
    store: config.store,
    flushDelayMs: config.flushDelayMs,
    flushRecordsMax: config.flushRecordsMax,
    stagedBytesMax: config.stagedBytesMax,
    storageTimeoutMs: config.storageTimeoutMs,
    shutdownStorageMs: config.shutdownStorageMs,
    pgJson: config.pgJson,
    maxMaps: config.maxMaps,
    respPort: config.respPort,
    maxCounters: config.maxCounters,
    maxQueries: config.maxQueries,
    queryKeptRowsMax: config.queryKeptRowsMax,
    indexBytesMax: Math.ceil(config.indexBytesMax / config.workerThreads),
    counterNodesMax: config.counterNodesMax,
    journal: config.journal,
    journalMaps: config.journalMaps,
    journalEventsMax: Math.ceil(config.journalEventsMax / config.workerThreads),
    journalBytesMax: Math.ceil(config.journalBytesMax / config.workerThreads),
    journalTtlMs: config.journalTtlMs,
    maxMemory: config.maxMemory,
    evictionPolicy: config.evictionPolicy,
  };
}

export function faultOptions(config: Config): FaultOptions {
  return {
    faultInjection: config.faultInjection,
    faultSeed: config.faultSeed,
    faultRingDelayMs: config.faultRingDelayMs,
    faultRingDropPermille: config.faultRingDropPermille,
    faultSyncDelayMs: config.faultSyncDelayMs,
    faultWriteDelayMs: config.faultWriteDelayMs,
    faultSyncErrorPermille: config.faultSyncErrorPermille,
    faultWriteErrorPermille: config.faultWriteErrorPermille,
    faultPostgresDelayMs: config.faultPostgresDelayMs,
    faultPostgresErrorPermille: config.faultPostgresErrorPermille,
    faultWorkerKillMs: config.faultWorkerKillMs,
    faultLogEvents: config.faultLogEvents,
  };
}
