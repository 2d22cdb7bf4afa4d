/**
 * A partition worker: the thread that owns the records of its partitions. Run by the pool, ended by it.
 *
 *   start ─ load the partitions from the data store ─ ready ─ run loop over the inboxes ─ stop ─ hard flush
 *
 * A replaced worker finds its rings as its predecessor left them and goes on at the first record that was not released.
 */
import { getHeapStatistics } from 'node:v8';
import type { MessagePort } from 'node:worker_threads';
import { ChangeEvents } from '../engine/domains/crdt/change-events.ts';
import { CrdtService } from '../engine/domains/crdt/crdt-service.ts';
import { type GridMap, MapCatalogue } from '../engine/domains/crdt/map-catalogue.ts';
import { SyncService } from '../engine/domains/sync/sync-service.ts';
import { ServiceRegistry } from '../engine/operation/service-registry.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { decode } from '../engine/protocol/codec.ts';
import { type ErrorCode, GridError } from '../engine/protocol/errors.ts';
import type { DataStore } from '../engine/storage/data-store.ts';
import type { FlushTime } from '../engine/storage/flusher.ts';
import type { MapDataStore } from '../engine/storage/map-data-store.ts';
import { NullDataStore } from '../engine/storage/null-data-store.ts';
import { LeafBacklog } from '../engine/storage/leaf-backlog.ts';
import { KIND_LWW, KIND_OR, type RecordImage } from '../engine/storage/record.ts';
import { RecordStore } from '../engine/storage/record-store.ts';
import { Slab } from '../engine/storage/slab.ts';
import { imageOf, storedRecord } from '../engine/storage/stored-record.ts';
import { WriteBehind } from '../engine/storage/write-behind.ts';
import { WriteThrough } from '../engine/storage/write-through.ts';
import { CounterRow, LoopDelaySampler, THREAD_COUNTERS } from './counters.ts';
import { Doorbell } from './doorbell.ts';
import type { GridMemory } from './grid-memory.ts';
import { GridState } from './grid-state.ts';
import { PartitionRunner } from './partition-runner.ts';
import type { PgTarget } from './postgres/pg-session.ts';
import { PostgresDataStore } from './postgres/postgres-data-store.ts';
import { TranscodedJson } from './postgres/transcoded-json.ts';
import { RingConsumer, RingProducer } from './ring.ts';
import { RingWriter } from './ring-writer.ts';
import { RunLoop } from './run-loop.ts';
import { TimeSlices } from './scheduler.ts';
import { WORKER_COUNTERS } from './worker-counters.ts';
import { type WorkerContext, workerTask } from './worker-task.ts';

/** Options that a worker needs; named as in engine/config.ts. */
export interface PartitionWorkerConfig {
  readonly batchRecords: number;
  readonly store: 'write-behind' | 'write-through' | 'none';
  readonly flushDelayMs: number;
  readonly flushRecordsMax: number;
  readonly stagedBytesMax: number;
  readonly storageTimeoutMs: number;
  readonly shutdownStorageMs: number;
  readonly pgJson: boolean;
  readonly maxMaps: number;
}

export interface PartitionWorkerData {
  readonly config: PartitionWorkerConfig;
  readonly memory: GridMemory;
  /** The wire to each gateway's bell. */
  readonly bells: readonly MessagePort[];
  /** Where records are stored; undefined with `store: none`. */
  readonly target: PgTarget | undefined;
  readonly ownerEpoch: number;
  /** Node id of this server in clocks. */
  readonly nodeId: string;
  /** Maps that sessions listen to by name, with their gateway's number for each: what a predecessor was told. */
  readonly interests: readonly { readonly gateway: number; readonly mapId: number; readonly name: Uint8Array }[];
}

/** What a worker tells the main thread. */
export type WorkerMessage =
  /** Another process owns the data: this one must end. */
  | { readonly kind: 'fenced'; readonly reason: string }
  | { readonly kind: 'loaded'; readonly records: number; readonly ms: number }
  | { readonly kind: 'log'; readonly level: 'warn' | 'error'; readonly text: string };

/** What the main thread tells a worker. Crashing on demand is how tests show that a worker is replaced. */
export type WorkerCommand = { readonly kind: 'crash' };

const TICK_MS = 100;
const SLICE_MS = 3;
const STATS_MS = 500;
const LEAVES_MS = 100;
const LEAVES_RECORDS = 2000;
/** A record at which this many workers in a row have died is set aside. */
const DEATHS_MAX = 2;
const PRUNE_MS = 1000;
const PRUNE_RECORDS = 2000;
const REFUSED_LETTERS_MAX = 1000;
const STORAGE_STATES = ['normal', 'degraded', 'failed'] as const;

export const run = workerTask<PartitionWorkerData, WorkerCommand, WorkerMessage>(async (context) => {
  await new PartitionWorker(context).run();
});

class PartitionWorker {
  readonly #context: WorkerContext<PartitionWorkerData, WorkerCommand, WorkerMessage>;
  readonly #state: GridState;
  readonly #table: PartitionTable;
  readonly #counters: CounterRow<(typeof WORKER_COUNTERS)[number]>;
  readonly #thread: CounterRow<(typeof THREAD_COUNTERS)[number]>;
  readonly #loopDelay: LoopDelaySampler;
  readonly #slab = new Slab();
  readonly #backlog = new LeafBacklog(this.#slab);
  readonly #store: DataStore | undefined;
  readonly #staging: MapDataStore;
  readonly #maps: MapCatalogue;
  readonly #services = new ServiceRegistry();
  readonly #bells: readonly Doorbell[];
  readonly #slices = new TimeSlices(SLICE_MS, Date.now);
  /** Gateway → position of the record in its inbox that must not be tried again. */
  readonly #suspects = new Map<number, number>();
  #loop: RunLoop | undefined;
  #stopAsked = false;
  #pruned = 0;
  #buried = 0;
  #fencedTold = false;

  constructor(context: WorkerContext<PartitionWorkerData, WorkerCommand, WorkerMessage>) {
    const { data, workerId } = context;
    this.#context = context;
    this.#state = new GridState(data.memory.state);
    this.#table = new PartitionTable(data.memory.table);
    this.#counters = new CounterRow(data.memory.workerCounters, WORKER_COUNTERS, workerId);
    this.#thread = new CounterRow(data.memory.threadCounters, THREAD_COUNTERS, data.memory.gateways + workerId);
    this.#loopDelay = new LoopDelaySampler(this.#thread);
    this.#thread.set('startedAtMs', Date.now());
    this.#store = openStore(data, workerId);
    this.#staging = stagingOf(data.config, this.#store);
    this.#maps = new MapCatalogue((map, kind) => this.#newStore(map, kind), data.config.maxMaps);
    this.#bells = data.bells.map((port) => new Doorbell(port));
    context.listen({
      onStop: () => {
        this.#stopAsked = true;
        this.#loop?.stop();
      },
      onMessage: () => {
        throw new Error(`worker ${workerId}: crash asked for`);
      },
    });
  }

  async run(): Promise<void> {
    await this.#load();
    const { data, heartbeat, workerId } = this.#context;
    for (const { gateway, mapId, name } of data.interests) {
      const map = this.#maps.open(gateway, mapId, name, 0, name.length);
      if (map !== undefined) map.wantedBy[gateway] = true;
    }
    const inboxes = data.memory.inboxes.map((rings, gateway) => this.#openInbox(rings[workerId], gateway));
    const loop = new RunLoop(this.#newRunner(), inboxes, {
      batchRecords: data.config.batchRecords,
      emptyPolls: 0,
      heartbeat,
      counters: this.#thread,
    });
    for (const bell of this.#bells) bell.listen(loop.wake);
    this.#loop = loop;
    await this.#services.start();
    this.#state.setWorkerState(workerId, 'ready');
    this.#context.ready();
    if (this.#stopAsked) loop.stop();
    await loop.run();
    this.#state.setWorkerState(workerId, 'down');
    for (const bell of this.#bells) bell.close();
    this.#loopDelay.stop();
  }

  /** Streams the partitions in. Until all are here none is served: unknown is not empty. */
  async #load(): Promise<void> {
    const { workerId } = this.#context;
    this.#state.setWorkerState(workerId, 'loading');
    const partitions = this.#table.partitionsOf(workerId);
    const startedMs = performance.now();
    let records = 0;
    const loaded = this.#counters.indexOf('recordsLoaded');
    this.#counters.cells[loaded] = 0;
    await this.#store?.load(partitions, (kind, name, image) => {
      const map = this.#maps.openByName(name);
      if (map === undefined)
        throw new Error(`the data store holds more than ${this.#context.data.config.maxMaps} maps: raise LATTICE_MAX_MAPS`);
      map.store(kind).restore(image);
      records += 1;
      this.#counters.cells[loaded] = records;
    });
    for (const partition of partitions) this.#table.transition(partition, 'LOADING', 'OWNED');
    this.#context.send({ kind: 'loaded', records, ms: Math.round(performance.now() - startedMs) });
  }

  #newStore(map: Uint8Array, kind: typeof KIND_LWW | typeof KIND_OR): RecordStore {
    return new RecordStore({
      map,
      kind,
      slab: this.#slab,
      backlog: this.#backlog,
      dataStore: this.#staging,
      decode: decodeValue,
    });
  }

  #openInbox(memory: SharedArrayBuffer | undefined, gateway: number): RingConsumer {
    if (memory === undefined) throw new Error(`no inbox of gateway ${gateway}`);
    const bell = this.#bells[gateway];
    const ring = new RingConsumer(memory, gateway, bell?.ring);
    if (this.#context.launch > 0 && ring.takeOver() >= DEATHS_MAX) this.#suspects.set(gateway, ring.suspectAt);
    return ring;
  }

  #newRunner(): PartitionRunner {
    const { data, workerId } = this.#context;
    const changes = new ChangeEvents(data.memory.gateways, this.#state);
    const nodeId = new TextEncoder().encode(data.nodeId);
    const pruneWatermarkMs = (): number => this.#state.pruneWatermarkMs;
    const crdt = new CrdtService({
      maps: this.#maps,
      changes,
      nodeId,
      pruneWatermarkMs,
      onDeadLetter: (map, image, reason) => this.#bury(map, image, reason),
    });
    const sync = new SyncService(this.#maps, crdt, pruneWatermarkMs);
    this.#services.registerCore(crdt);
    this.#services.registerCore(sync);
    this.#registerRhythms();
    const outboxes = data.memory.outboxes.map((rings, gateway) => {
      const memory = rings[workerId];
      if (memory === undefined) throw new Error(`no outbox to gateway ${gateway}`);
      return new RingWriter(new RingProducer(memory, () => this.#bells[gateway]?.ring()));
    });
    const staging = this.#staging;
    return new PartitionRunner({
      outboxes,
      maps: this.#maps,
      changes,
      crdt,
      sync,
      dataStore: staging,
      counters: this.#counters,
      suspects: this.#suspects,
      nowMs: Date.now,
      tickIntervalMs: TICK_MS,
      writeThrough: staging instanceof WriteThrough ? () => staging.settle() : undefined,
      onTick: (nowMs) => {
        staging.softFlush(nowMs);
        this.#slices.run(nowMs);
      },
      onShutdown: () => this.#shutdown(),
    });
  }

  #registerRhythms(): void {
    this.#slices.register({ name: 'stats', intervalMs: STATS_MS, run: (nowMs) => this.#publish(nowMs) });
    this.#slices.register({ name: 'leaves', intervalMs: LEAVES_MS, run: () => this.#hashLeaves() });
    this.#slices.register({ name: 'prune', intervalMs: PRUNE_MS, run: (nowMs) => this.#prune(nowMs) });
  }

  /** Keeps the leaf sums near the truth, so that a sync waits for little. */
  #hashLeaves(): 'done' {
    this.#backlog.hash(LEAVES_RECORDS);
    return 'done';
  }

  /** Forgets tombstones below the watermark, a bounded number of records a run. */
  #prune(nowMs: number): 'done' {
    const watermarkMs = this.#state.pruneWatermarkMs;
    if (watermarkMs === 0) return 'done';
    for (const map of this.#maps.maps()) {
      for (const store of map.stores()) this.#pruned += store.pruneTombstones(watermarkMs, PRUNE_RECORDS, nowMs);
    }
    return 'done';
  }

  #publish(nowMs: number): 'done' {
    const row = this.#counters;
    let records = 0;
    let tombstones = 0;
    const merges = { applied: 0, stale: 0, duplicates: 0, ties: 0 };
    for (const map of this.#maps.maps()) {
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
    row.set('maps', this.#maps.size);
    row.set('slabUsedBytes', this.#slab.usedBytes);
    row.set('slabReservedBytes', this.#slab.reservedBytes);
    row.set('tombstonesPruned', this.#pruned);
    this.#publishStaging(nowMs);
    this.#publishThread();
    return 'done';
  }

  #publishStaging(nowMs: number): void {
    const row = this.#counters;
    const staging = this.#staging;
    row.set('stagedRecords', staging.stagedRecords);
    row.set('stagedBytes', staging.stagedBytes);
    row.set('flushLagMs', staging.lagMs(nowMs));
    if (!(staging instanceof WriteBehind || staging instanceof WriteThrough)) return;
    const { flushes, flushedRows, flushFailures, deadLetters } = staging.counters;
    row.set('flushes', flushes);
    row.set('flushedRows', flushedRows);
    row.set('flushFailures', flushFailures);
    row.set('deadLetters', deadLetters);
    row.set('storageState', STORAGE_STATES.indexOf(staging.state));
    if (staging.state === 'failed' && !this.#fencedTold) {
      this.#fencedTold = true;
      this.#context.send({ kind: 'fenced', reason: staging.fatal?.message ?? 'the data store refused this server' });
    }
  }

  #publishThread(): void {
    this.#loopDelay.sample();
    this.#thread.set('heapUsedBytes', getHeapStatistics().used_heap_size);
    this.#thread.set('healthy', 1);
    this.#thread.set('lastHealthCheckAtMs', Date.now());
  }

  /** Keeps a refused write with its reason; bounded, since anybody may send writes that are refused. */
  #bury(map: GridMap, image: RecordImage, reason: ErrorCode): void {
    if (this.#store === undefined || this.#buried >= REFUSED_LETTERS_MAX) return;
    this.#buried += 1;
    const kind = image.tagBytes > 0 ? KIND_OR : KIND_LWW;
    const record = imageOf(storedRecord(kind, map.name, image));
    this.#store
      .bury({ kind, map: map.name, reason, applied: false, record }, this.#context.data.config.storageTimeoutMs)
      .catch((error: unknown) => {
        this.#context.send({
          kind: 'log',
          level: 'warn',
          text: `a refused write was not kept as a dead letter: ${String(error)}`,
        });
      });
  }

  async #shutdown(): Promise<void> {
    try {
      await this.#staging.hardFlush(this.#context.data.config.shutdownStorageMs);
    } finally {
      this.#publish(Date.now());
      await this.#services.shutdown(false);
      await this.#store?.close();
    }
  }
}

function openStore(data: PartitionWorkerData, workerId: number): DataStore | undefined {
  if (data.target === undefined || data.config.store === 'none') return undefined;
  return new PostgresDataStore({
    target: data.target,
    applicationName: `lattice worker ${workerId}`,
    ownerEpoch: data.ownerEpoch,
    ...(data.config.pgJson ? { json: new TranscodedJson() } : {}),
  });
}

function stagingOf(config: PartitionWorkerConfig, store: DataStore | undefined): MapDataStore {
  if (store === undefined) return new NullDataStore();
  const { flushDelayMs, flushRecordsMax, stagedBytesMax, storageTimeoutMs } = config;
  const options = { flushDelayMs, flushRecordsMax, stagedBytesMax, commitDeadlineMs: storageTimeoutMs };
  return config.store === 'write-through'
    ? new WriteThrough(store, FLUSH_TIME, options)
    : new WriteBehind(store, FLUSH_TIME, options);
}

const FLUSH_TIME: FlushTime = {
  nowMs: Date.now,
  random: Math.random,
  yieldTurn: () => new Promise((resolve) => setImmediate(resolve)),
  startTimer: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs);
    return () => clearTimeout(timer);
  },
};

/** What a client sees of a value. Values were walked when they came, but extension types are not decoded. */
function decodeValue(bytes: Uint8Array, start: number, end: number): unknown {
  try {
    return decode(bytes, start, end);
  } catch (error) {
    if (error instanceof GridError) return undefined;
    throw error;
  }
}
