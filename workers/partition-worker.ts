/**
 * A partition worker: the thread that owns the records of its partitions. Run by the pool, ended by it; or, with the option
 * `fused`, hosted by the thread of the one gateway (hosted-worker.ts).
 *
 *   start ─ load the partitions from the data store ─ replay the log ─ ready ─ run loop over the inboxes ─ stop ─ hard flush
 *
 * A replaced worker finds its rings as its predecessor left them and goes on at the first record that was not released;
 * what of that the log has already is answered without being run again.
 */
import type { MessagePort } from 'node:worker_threads';
import { ChangeEvents } from '../engine/domains/crdt/change-events.ts';
import { tokenOf } from '../engine/domains/coordination/lock-service.ts';
import { CrdtService } from '../engine/domains/crdt/crdt-service.ts';
import { Expiry } from '../engine/domains/crdt/expiry.ts';
import type { GridMap } from '../engine/domains/crdt/map-catalogue.ts';
import { JournalSequence } from '../engine/domains/persistence/journal-sequence.ts';
import { LateLeaves } from '../engine/domains/sync/late-leaf.ts';
import { RowRules } from '../engine/domains/sync/row-rules.ts';
import { SyncService } from '../engine/domains/sync/sync-service.ts';
import { finishWholeActs } from '../engine/domains/kv/whole-acts.ts';
import { MapNameFilter } from '../engine/domains/kv/map-name-filter.ts';
import type { DeathWay, FaultOptions } from '../engine/faults.ts';
import { WorkerFaults } from './faults/worker-faults.ts';
import { type Definition, Definitions } from '../engine/operation/definitions.ts';
import { ServiceRegistry } from '../engine/operation/service-registry.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { type ErrorCode, errorNumber, GridError } from '../engine/protocol/errors.ts';
import { KIND_COUNTER, KIND_LWW, KIND_OR, type RecordImage } from '../engine/storage/record.ts';
import type { RecordStore } from '../engine/storage/record-store.ts';
import type { RecordRef } from '../engine/storage/storage.ts';
import { imageOf, storedRecord } from '../engine/storage/stored-record.ts';
import { Answers } from './answers.ts';
import { CounterRow, THREAD_COUNTERS } from './counters.ts';
import { type DomainConfig, domainHandlers, type KvDoor } from './domain-handlers.ts';
import { type Bell, Doorbell } from './doorbell.ts';
import { die } from './faults/death.ts';
import type { GridMemory } from './grid-memory.ts';
import { mayExpire } from './expiry-gate.ts';
import { GridState } from './grid-state.ts';
import { PartitionRunner } from './partition-runner.ts';
import type { PgTarget } from './postgres/pg-session.ts';
import { RingConsumer, RingProducer } from './ring.ts';
import { RingWriter } from './ring-writer.ts';
import { RunLoop } from './run-loop.ts';
import { TimeSlices } from './scheduler.ts';
import type { LogSettings } from './wal/worker-log.ts';
import { WORKER_COUNTERS } from './worker-counters.ts';
import { WorkerReport } from './worker-report.ts';
import { WorkerStorage } from './worker-storage.ts';
import { type WorkerContext, type WorkerTask, workerTask } from './worker-task.ts';

/** Options that a worker needs; named as in engine/config.ts. */
export interface PartitionWorkerConfig extends DomainConfig {
  readonly batchRecords: number;
  readonly store: 'write-behind' | 'write-through' | 'none';
  readonly flushDelayMs: number;
  readonly flushRecordsMax: number;
  readonly stagedBytesMax: number;
  readonly storageTimeoutMs: number;
  readonly shutdownStorageMs: number;
  readonly pgJson: boolean;
  readonly maxMaps: number;
  /** Of the process, in bytes; 0 takes the default. */
  readonly maxMemory: number;
  readonly evictionPolicy: 'lru' | 'lfu' | 'none';
}

export interface PartitionWorkerData {
  readonly config: PartitionWorkerConfig;
  readonly faults: FaultOptions;
  readonly memory: GridMemory;
  /** The wire to each gateway's bell; none for a worker in its gateway's thread. */
  readonly bells: readonly MessagePort[];
  /** Where records are stored; undefined with `store: none`. */
  readonly target: PgTarget | undefined;
  readonly ownerEpoch: number;
  /** Folder of the write-ahead log; undefined with `store: none`. What is in it is replayed, whether or not there is a log now. */
  readonly logFolder: string | undefined;
  /** A log of this worker could not be synced in this run: what its files hold is unknown, and writes stay refused. */
  readonly logFailed: boolean;
  /** How to write the log; undefined when it is off. */
  readonly log: LogSettings | undefined;
  /** Node id of this server in clocks. */
  readonly nodeId: string;
  /** What people defined for the whole node, as of this launch. */
  readonly definitions: readonly Definition[];
  /** Maps that sessions listen to by name, with their gateway's number for each: what a predecessor was told. */
  readonly interests: readonly { readonly gateway: number; readonly mapId: number; readonly name: Uint8Array }[];
}

/** What a worker tells the main thread. */
export type WorkerMessage =
  /** Another process owns the data: this one must end. */
  | { readonly kind: 'fenced'; readonly reason: string }
  | { readonly kind: 'loaded'; readonly records: number; readonly replayed: number; readonly ms: number }
  /** All that was replayed is in the data store: for this worker, these files of earlier runs may go. */
  | { readonly kind: 'checkpoint'; readonly oldNames: readonly string[] }
  /** The log could not be synced: no thread of this worker may take writes until the process has started again. */
  | { readonly kind: 'logFailed' }
  | { readonly kind: 'log'; readonly level: 'warn' | 'error'; readonly text: string };

/** What the main thread tells a worker: a change of a definition, or, for tests, to die. Crashing on demand is how tests show that a worker is replaced. */
export type WorkerCommand =
  | { readonly kind: 'crash'; readonly how: DeathWay }
  | { readonly kind: 'definition'; readonly definition: Definition };

const TICK_MS = 100;
const SLICE_MS = 3;
const STATS_MS = 500;
const EVICTION_MS = 50;
const LEAVES_MS = 100;
const LEAVES_RECORDS = 2000;
/** A record at which this many workers in a row have died is set aside. */
const DEATHS_MAX = 2;
const PRUNE_MS = 1000;
const PRUNE_RECORDS = 2000;
const REFUSED_LETTERS_MAX = 1000;

type Context = WorkerContext<PartitionWorkerData, WorkerCommand, WorkerMessage>;

/** The worker in a thread of its own. */
export const run = workerTask<PartitionWorkerData, WorkerCommand, WorkerMessage>(async (context) => {
  const bells = context.data.bells.map((port) => new Doorbell(port));
  await new PartitionWorker(context, bells, false).run();
});

/** The worker in the thread of its one gateway, whose bell wire ends in `bell`. An error of the worker ends that thread. */
export function runShared(task: WorkerTask<PartitionWorkerData>, bell: Bell): Promise<void> {
  const body = (context: Context): Promise<void> => new PartitionWorker(context, [bell], true).run();
  return workerTask(body)(task);
}

class PartitionWorker {
  readonly #context: Context;
  readonly #isShared: boolean;
  readonly #state: GridState;
  readonly #table: PartitionTable;
  readonly #counters: CounterRow<(typeof WORKER_COUNTERS)[number]>;
  readonly #thread: CounterRow<(typeof THREAD_COUNTERS)[number]>;
  readonly #storage: WorkerStorage;
  readonly #report: WorkerReport;
  readonly #definitions: Definitions;
  readonly #services = new ServiceRegistry();
  readonly #changes: ChangeEvents;
  readonly #bells: readonly Bell[];
  readonly #slices = new TimeSlices(SLICE_MS, Date.now);
  /** Gateway → position of the record in its inbox that must not be tried again. */
  readonly #suspects = new Map<number, number>();
  /** Gateway → position in its inbox up to which a predecessor has logged. */
  readonly #loggedTo = new Map<number, number>();
  /** The same for ops, where some of them were rejected or refused. */
  readonly #opsLoggedTo = new Map<number, number>();
  #late: LateLeaves | undefined;
  /** Carries on what a run before this one left undone. */
  #finishActs: (() => Promise<boolean>) | undefined;
  #runner: PartitionRunner | undefined;
  #loop: RunLoop | undefined;
  #stopAsked = false;
  readonly #faults: WorkerFaults | undefined;
  #pruned = 0;
  #buried = 0;
  #fencedTold = false;

  /** @param isShared whether gateways run in this thread, too. */
  constructor(context: Context, bells: readonly Bell[], isShared: boolean) {
    const { data, workerId } = context;
    this.#context = context;
    this.#bells = bells;
    this.#isShared = isShared;
    this.#definitions = new Definitions(data.definitions);
    this.#faults = WorkerFaults.of(data.faults, workerId, context.launch, (text) =>
      context.send({ kind: 'log', level: 'warn', text }),
    );
    this.#state = new GridState(data.memory.state);
    this.#table = new PartitionTable(data.memory.table);
    this.#counters = new CounterRow(data.memory.workerCounters, WORKER_COUNTERS, workerId);
    this.#thread = new CounterRow(data.memory.threadCounters, THREAD_COUNTERS, data.memory.gateways + workerId);
    this.#changes = new ChangeEvents(data.memory.gateways, this.#state);
    this.#storage = new WorkerStorage(data, workerId, this.#faults, {
      onPersisted: (sequence, error) => this.#persisted(sequence, error?.code),
      onCheckpoint: (oldNames) => context.send({ kind: 'checkpoint', oldNames }),
      onProgress: ({ records, replayed }) => {
        this.#counters.set('recordsLoaded', records);
        this.#counters.set('logReplayed', replayed);
      },
      onWarning: (text) => this.#context.send({ kind: 'log', level: 'warn', text }),
    });
    const { maps, slab, staging, flushing, counters } = this.#storage;
    this.#report = new WorkerReport(this.#counters, this.#thread, {
      maps,
      slab,
      counters,
      staging,
      flushing,
      log: () => this.#storage.log,
      logFailed: () => this.#storage.logFailed,
      breaker: this.#storage.breaker,
      hasOwnHeap: !isShared,
    });
    context.listen({
      onStop: () => {
        this.#stopAsked = true;
        this.#faults?.disarm();
        this.#loop?.stop();
      },
      onMessage: (command) => {
        if (command.kind === 'crash') die(command.how, `worker ${workerId}`);
        else this.#definitions.apply(command.definition);
      },
    });
  }

  async run(): Promise<void> {
    await this.#load();
    const { data, heartbeat, workerId } = this.#context;
    for (const { gateway, mapId, name } of data.interests) {
      const map = this.#storage.maps.open(gateway, mapId, name, 0, name.length);
      if (map !== undefined) map.wantedBy[gateway] = true;
    }
    const inboxes = data.memory.inboxes.map((rings, gateway) => this.#openInbox(rings[workerId], gateway));
    const runner = this.#newRunner(inboxes);
    this.#runner = runner;
    const loop = new RunLoop(this.#faults?.runnable(runner) ?? runner, inboxes, {
      batchRecords: data.config.batchRecords,
      emptyPolls: 0,
      isShared: this.#isShared,
      heartbeat,
      counters: this.#thread,
    });
    for (const bell of this.#bells) bell.listen(loop.wake);
    this.#loop = loop;
    if ((await this.#finishActs?.()) === true) this.#storage.flushWhenLogged();
    if (!this.#storage.mayFlush) await runner.settle();
    await this.#storage.replayed();
    await this.#services.start();
    this.#publish(Date.now());
    this.#state.setWorkerState(workerId, 'ready');
    this.#context.ready();
    if (!this.#stopAsked) this.#faults?.arm();
    if (this.#stopAsked) loop.stop();
    await loop.run();
    this.#state.setWorkerState(workerId, 'down');
    for (const bell of this.#bells) bell.close();
    this.#report.stop();
  }

  /** Streams the partitions in. Until all are here none is served: unknown is not empty. */
  async #load(): Promise<void> {
    const { workerId, launch } = this.#context;
    this.#state.setWorkerState(workerId, 'loading');
    const partitions = this.#table.partitionsOf(workerId);
    const startedMs = performance.now();
    const { records, replayed } = await this.#storage.load(partitions, launch);
    for (const partition of partitions) this.#table.transition(partition, 'LOADING', 'OWNED');
    this.#counters.set('damagedPartitions', this.#storage.past?.damaged.size ?? 0);
    this.#context.send({ kind: 'loaded', records, replayed, ms: Math.round(performance.now() - startedMs) });
  }

  #openInbox(memory: SharedArrayBuffer | undefined, gateway: number): RingConsumer {
    if (memory === undefined) throw new Error(`no inbox of gateway ${gateway}`);
    const bell = this.#bells[gateway];
    const ring = new RingConsumer(memory, gateway, bell?.ring);
    if (this.#context.launch === 0) return ring;
    if (ring.takeOver() >= DEATHS_MAX) this.#suspects.set(gateway, ring.suspectAt);
    const positions = this.#storage.past?.inboxPositions;
    const loggedTo = positions?.[gateway];
    const opsLoggedTo = positions?.[this.#context.data.memory.gateways + gateway];
    // A last frame of long ago, 2 GiB of questions back, seems to be ahead: what is not in the ring was not logged.
    const aheadBytes = loggedTo === undefined ? 0 : (loggedTo - ring.position) | 0;
    if (loggedTo === undefined || aheadBytes <= 0 || aheadBytes > ring.pendingBytes) return ring;
    this.#loggedTo.set(gateway, loggedTo);
    if (opsLoggedTo !== undefined) this.#opsLoggedTo.set(gateway, opsLoggedTo);
    return ring;
  }

  #newRunner(inboxes: readonly RingConsumer[]): PartitionRunner {
    const { data, workerId } = this.#context;
    const { maps, loader, eviction } = this.#storage;
    const changes = this.#changes;
    const pruneWatermarkMs = (): number => this.#state.pruneWatermarkMs;
    const onValueNeeded = (store: RecordStore, ref: RecordRef): void => this.#restoreValue(store, ref);
    const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const rowRules = new RowRules({ maps, loader, pause, nowMs: Date.now, onValueNeeded, catchUp: () => expiry.catchUp() });
    const crdt = new CrdtService({
      maps,
      judge: rowRules.judge,
      changes,
      nodeId: new TextEncoder().encode(data.nodeId),
      pruneWatermarkMs,
      onDeadLetter: (map, image, reason) => this.#bury(map, image, reason),
      onValueNeeded,
      fences: this.#storage.fences,
      kernel: this.#storage.kernel,
    });
    // Events of what expires must not pile up before a gateway that does not read.
    const mayWrite = (): boolean => mayExpire(this.#storage, answers);
    const expiry = new Expiry({ queue: this.#storage.expiry, maps, changes, mayWrite, nowMs: Date.now });
    const late = new LateLeaves({ loader, hasRoomFor: (bytes) => eviction.hasRoomFor(bytes), nowMs: Date.now, pause });
    this.#late = late;
    const sync = new SyncService(maps, crdt, pruneWatermarkMs, expiry, late, rowRules.sync);
    this.#services.registerCore(crdt);
    this.#services.registerCore(sync);
    this.#registerRhythms(expiry);
    const outboxes = data.memory.outboxes.map((rings, gateway) => {
      const memory = rings[workerId];
      if (memory === undefined) throw new Error(`no outbox to gateway ${gateway}`);
      return new RingWriter(new RingProducer(memory, () => this.#bells[gateway]?.ring()));
    });
    const answers = new Answers(outboxes, changes, this.#counters);
    const durability = this.#storage.durability(
      () => this.#runner?.loggedUpTo(inboxes) ?? inboxes.map(({ position }) => position),
    );
    if (this.#context.launch > 0) answers.replaced(durability.persistedSequence);
    if (this.#loggedTo.size > 0) this.#tellLastChanges(crdt);
    const nodeId = new TextEncoder().encode(data.nodeId);
    const kv = this.#kvDoor(expiry);
    this.#finishActs = () => finishWholeActs({ ...kv, beat: undefined, maps, nodeId, clock: Date.now, log: kv.actLog }); // nobody watches yet
    const handlers = domainHandlers({
      kv,
      worker: workerId,
      gateways: data.memory.gateways,
      isReplacement: this.#context.launch > 0,
      maps,
      crdt,
      sync,
      rowRules,
      pushes: answers,
      observers: this.#storage.observers,
      definitions: this.#definitions,
      nodeId,
      nowMs: Date.now,
      warn: (text) => this.#context.send({ kind: 'log', level: 'warn', text }),
      count: (counter) => this.#counters.add(this.#counters.indexOf(counter), 1),
      monotonicMs: () => performance.now(),
      fences: this.#storage.fences,
      logFence: (name, token) => this.#storage.logFence(name, token),
      nextToken: () => tokenOf(data.ownerEpoch, this.#state.nextLockNumber()),
      counterTable: this.#storage.counters,
      journal: new JournalSequence(data.memory.journal),
      set: (counter, value) => this.#counters.set(counter, value),
      config: data.config,
      loader,
      hasRoomFor: (bytes) => eviction.hasRoomFor(bytes),
      durability,
    });
    return new PartitionRunner({
      answers,
      maps,
      crdt,
      handlers,
      durability,
      refusal: (bytes) => this.#storage.refusal(bytes),
      counters: this.#counters,
      suspects: this.#suspects,
      loggedTo: this.#loggedTo,
      opsLoggedTo: this.#opsLoggedTo,
      damaged: this.#storage.past?.damaged ?? new Set(),
      nowMs: Date.now,
      tickIntervalMs: TICK_MS,
      onTick: (nowMs, isBatchTold) => {
        this.#slices.run(nowMs);
        this.#storage.tick(nowMs, isBatchTold && this.#runner?.isBehindPredecessor(inboxes) === true);
      },
      onShutdown: () => this.#shutdown(),
    });
  }

  #kvDoor(expiry: Expiry): KvDoor {
    const { loader } = this.#storage;
    const damaged = this.#storage.past?.damaged ?? new Set();
    const next = this.#context.workerId + 1;
    return {
      changes: this.#changes,
      nextPartition: () => (next < this.#context.data.memory.workers ? (this.#table.partitionsOf(next)[0] ?? -1) : -1),
      refusal: (partition, bytes) =>
        damaged.size > 0 && damaged.has(partition) ? errorNumber('LOG_DAMAGED') : this.#storage.refusal(bytes),
      actLog: this.#storage.actLog(),
      mapNames: new MapNameFilter(this.#context.data.memory.mapNames),
      restore: loader && ((store, refs) => loader.restoreValues(store, refs)),
      catchUp: () => expiry.catchUp(),
      random: Math.random,
      beat: () => this.#context.heartbeat.beat(),
    };
  }

  /**
   * The predecessor died between the log and the ring: its last batch may not have been told to anybody. Told twice it
   * does no harm.
   */
  #tellLastChanges(crdt: CrdtService): void {
    this.#storage.past?.forEachLastRecord((kind, name, image) => {
      if (kind === KIND_COUNTER) return; // gateways are told the state of every counter that they watch
      const map = this.#storage.maps.openByName(name);
      if (map !== undefined) crdt.tell(map, kind, image);
    });
  }

  #persisted(sequence: number, code: ErrorCode | undefined): void {
    this.#counters.set('logSyncedSequence', sequence);
    this.#runner?.persisted(sequence, code === undefined ? -1 : errorNumber(code));
    // A successor would sync these files anew, and the system says yes to what it has dropped meanwhile.
    if (code !== undefined) this.#context.send({ kind: 'logFailed' });
  }

  #registerRhythms(expiry: Expiry): void {
    this.#slices.register(expiry);
    this.#slices.register({ name: 'eviction', intervalMs: EVICTION_MS, run: (nowMs) => this.#storage.eviction.run(nowMs) });
    this.#slices.register({ name: 'stats', intervalMs: STATS_MS, run: (nowMs) => this.#publish(nowMs, expiry) });
    this.#slices.register({ name: 'leaves', intervalMs: LEAVES_MS, run: () => this.#hashLeaves() });
    this.#slices.register({ name: 'prune', intervalMs: PRUNE_MS, run: (nowMs) => this.#prune(nowMs) });
  }

  /** Keeps the leaf sums near the truth, so that a sync waits for little. */
  #hashLeaves(): 'done' {
    this.#storage.backlog.hash(LEAVES_RECORDS);
    return 'done';
  }

  /** Forgets tombstones below the watermark, a bounded number of records a run. */
  #prune(nowMs: number): 'done' {
    const watermarkMs = this.#state.pruneWatermarkMs;
    if (watermarkMs === 0) return 'done';
    for (const map of this.#storage.maps.maps()) {
      for (const store of map.stores()) this.#pruned += store.pruneTombstones(watermarkMs, PRUNE_RECORDS, nowMs);
    }
    return 'done';
  }

  #publish(nowMs: number, expiry?: Expiry): 'done' {
    this.#storage.memory.sample();
    this.#publishMemory();
    this.#report.publish(nowMs);
    if (expiry !== undefined) this.#counters.set('expired', expiry.expired);
    this.#counters.set('tombstonesPruned', this.#pruned);
    const { flushing } = this.#storage;
    if (flushing?.state === 'failed' && !this.#fencedTold) {
      this.#fencedTold = true;
      this.#context.send({ kind: 'fenced', reason: flushing.fatal?.message ?? 'the data store refused this server' });
    }
    return 'done';
  }

  #publishMemory(): void {
    const { memory, eviction, loader } = this.#storage;
    this.#counters.set('memoryBytes', memory.usedBytes);
    this.#counters.set('evicted', eviction.evicted);
    this.#counters.set('memoryRefusals', eviction.refusals);
    this.#counters.set('valueLoads', loader?.loaded ?? 0);
    this.#counters.set('valuesMissing', loader?.missing ?? 0);
    this.#counters.set('readsParked', (loader?.parked ?? 0) + (this.#late?.answers ?? 0));
  }

  /** A write waits for the value that it meets: the client was told to come again. */
  #restoreValue(store: RecordStore, ref: RecordRef): void {
    this.#storage.loader?.restoreValue(store, ref).catch((error: unknown) => {
      if (!(error instanceof GridError)) throw error; // Postgres is away: the next try asks again
    });
  }

  /** Keeps a refused write with its reason; bounded, since anybody may send writes that are refused. */
  #bury(map: GridMap, image: RecordImage, reason: ErrorCode): void {
    const { store } = this.#storage;
    if (store === undefined || this.#buried >= REFUSED_LETTERS_MAX) return;
    this.#buried += 1;
    const kind = image.tagBytes > 0 ? KIND_OR : KIND_LWW;
    const record = imageOf(storedRecord(kind, map.name, image));
    store
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
      await this.#storage.hardFlush(this.#context.data.config.shutdownStorageMs);
    } finally {
      this.#publish(Date.now());
      await this.#services.shutdown(false);
      await this.#storage.close();
    }
  }
}
