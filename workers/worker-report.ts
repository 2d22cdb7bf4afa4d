/** Writes what a partition worker counts into its rows of shared memory, where /metrics and /health read it. */
import { getHeapStatistics } from 'node:v8';
import type { CounterTable } from '../engine/domains/coordination/counter-table.ts';
import type { MapCatalogue } from '../engine/domains/crdt/map-catalogue.ts';
import type { MapDataStore } from '../engine/storage/map-data-store.ts';
import { nextRecoveryState, RECOVERY_STATES, type RecoveryState } from '../engine/storage/recovery-state.ts';
import type { Slab } from '../engine/storage/slab.ts';
import { WriteBehind } from '../engine/storage/write-behind.ts';
import type { WriteThrough } from '../engine/storage/write-through.ts';
import { type CounterRow, LoopDelaySampler, type ThreadCounter } from './counters.ts';
import type { BreakerState, CircuitBreaker } from '../engine/operation/circuit-breaker.ts';
import type { WriteAheadLog } from './wal/write-ahead-log.ts';
import type { WorkerCounter } from './worker-counters.ts';

const STORAGE_STATES = ['normal', 'degraded', 'failed'] as const;
/** Numbers of the log's states; 1 stands for a worker without a log. */
const LOG_STATES = ['open', 'off', 'disk-full', 'full', 'failed'] as const;
const LOG_OFF = 1;
/** Numbers of the breaker's states. */
const BREAKER_STATES: readonly BreakerState[] = ['CLOSED', 'HALF_OPEN', 'OPEN'];

export interface ReportSources {
  readonly maps: MapCatalogue;
  readonly slab: Slab;
  readonly counters: CounterTable;
  readonly staging: MapDataStore;
  /** What carries staged changes into the data store; undefined for a cache. */
  readonly flushing: WriteBehind | WriteThrough | undefined;
  readonly log: () => WriteAheadLog | undefined;
  /** A log of this worker could not be synced: writes stay refused. */
  readonly logFailed: () => boolean;
  /** Of the data store; undefined for a cache. */
  readonly breaker?: CircuitBreaker | undefined;
  /** False in a thread that a gateway reports on: its heap must not be counted twice. */
  readonly hasOwnHeap: boolean;
}

export class WorkerReport {
  readonly #row: CounterRow<WorkerCounter>;
  readonly #thread: CounterRow<ThreadCounter>;
  readonly #sources: ReportSources;
  readonly #loopDelay: LoopDelaySampler;
  #recovery: RecoveryState = 'recovering';

  constructor(row: CounterRow<WorkerCounter>, thread: CounterRow<ThreadCounter>, sources: ReportSources) {
    this.#row = row;
    this.#thread = thread;
    this.#sources = sources;
    this.#loopDelay = new LoopDelaySampler(thread);
    thread.set('startedAtMs', Date.now());
    row.set('recoveryState', RECOVERY_STATES.indexOf(this.#recovery));
  }

  publish(nowMs: number): void {
    this.#publishRecords();
    this.#publishStaging(nowMs);
    this.#publishLog(nowMs);
    this.#publishRecovery(nowMs);
    this.#publishThread(nowMs);
  }

  stop(): void {
    this.#loopDelay.stop();
  }

  #publishRecords(): void {
    const { maps, slab } = this.#sources;
    const row = this.#row;
    let records = 0;
    let tombstones = 0;
    const merges = { applied: 0, stale: 0, duplicates: 0, ties: 0 };
    for (const map of maps.maps()) {
      for (const store of map.stores()) {
        records += store.records;
        tombstones += store.tombstones;
        merges.applied += store.applied;
        merges.stale += store.stale;
        merges.duplicates += store.duplicates;
        merges.ties += store.clockTies;
      }
    }
    row.set('records', records);
    row.set('tombstones', tombstones);
    row.set('mergesApplied', merges.applied);
    row.set('mergesStale', merges.stale);
    row.set('mergesDuplicate', merges.duplicates);
    row.set('clockTies', merges.ties);
    row.set('maps', maps.size);
    const { counters } = this.#sources;
    row.set('counters', counters.counters);
    row.set('counterNodes', counters.entries);
    row.set('counterBytes', counters.bytes);
    row.set('counterJoins', counters.joins);
    row.set('counterRefusals', counters.refusals);
    row.set('slabUsedBytes', slab.usedBytes);
    row.set('slabReservedBytes', slab.reservedBytes);
  }

  #publishStaging(nowMs: number): void {
    const { staging, flushing } = this.#sources;
    const row = this.#row;
    row.set('stagedRecords', staging.stagedRecords);
    row.set('stagedBytes', staging.stagedBytes);
    row.set('flushLagMs', staging.lagMs(nowMs));
    if (flushing === undefined) return;
    const { flushes, flushedRows, flushFailures, deadLetters } = flushing.counters;
    row.set('flushes', flushes);
    row.set('flushedRows', flushedRows);
    row.set('flushFailures', flushFailures);
    row.set('deadLetters', deadLetters);
    row.set('storageState', STORAGE_STATES.indexOf(flushing.state));
  }

  #publishRecovery(nowMs: number): void {
    const { staging, flushing, log, logFailed, breaker } = this.#sources;
    this.#recovery = nextRecoveryState(this.#recovery, {
      isLoading: false,
      isRefused: flushing?.state === 'failed' || logFailed() || log()?.state === 'failed',
      failuresInARow: flushing?.failuresInARow ?? 0,
      successesInARow: flushing?.successesInARow ?? 0,
      stagedRecords: staging.stagedRecords,
      lagMs: staging.lagMs(nowMs),
    });
    this.#row.set('recoveryState', RECOVERY_STATES.indexOf(this.#recovery));
    this.#row.set('breakerState', breaker === undefined ? 0 : BREAKER_STATES.indexOf(breaker.state));
  }

  #publishLog(nowMs: number): void {
    const log = this.#sources.log();
    const row = this.#row;
    const state = this.#sources.logFailed() ? 'failed' : log?.state;
    row.set('logState', state === undefined ? LOG_OFF : LOG_STATES.indexOf(state));
    if (log === undefined) return this.#publishFlushed();
    const { sequence, syncedSequence } = log;
    if (syncedSequence >= sequence || syncedSequence !== row.get('logSyncedSequence')) row.set('logSyncedAtMs', nowMs);
    row.set('logSequence', sequence);
    row.set('logSyncedSequence', syncedSequence);
    row.set('logFlushedSequence', log.flushedSequence);
    row.set('logBytes', log.bytes);
    row.set('logSegments', log.segments);
    row.set('logSyncs', log.syncs);
    row.set('logSyncMs', log.lastSyncMs);
  }

  /** Without a log, what proves an answer is how far staging has got. */
  #publishFlushed(): void {
    const { flushing } = this.#sources;
    if (!(flushing instanceof WriteBehind)) return;
    this.#row.set('logSequence', flushing.stagedSequence);
    this.#row.set('logFlushedSequence', flushing.flushedSequence);
  }

  #publishThread(nowMs: number): void {
    this.#loopDelay.sample();
    if (this.#sources.hasOwnHeap) this.#thread.set('heapUsedBytes', getHeapStatistics().used_heap_size);
    this.#thread.set('lastHealthCheckAtMs', nowMs);
  }
}
