/**
 * What a partition worker keeps: records in memory, the log beside them, the data store behind them.
 *
 *   load    Postgres, as a stream ─▶ restore        the log, above what Postgres has ─▶ join (staged again) ─▶ open the log
 *   run     join ─▶ LoggedDataStore ─▶ frame at hand ─▶ log           ─▶ WriteBehind ─▶ Postgres ─▶ log.flushed
 *   stop    hard flush ─ log closed ─ connections closed
 *
 * Until `load` is done nothing is served: unknown is not empty. Old epochs of the log belong to the whole node; when
 * what was replayed from them is in Postgres, the main thread is told and deletes them (the checkpoint).
 */
import { CounterTable } from '../engine/domains/coordination/counter-table.ts';
import { FenceTable } from '../engine/domains/coordination/fence-table.ts';
import { tokenBefore } from '../engine/domains/coordination/lock-service.ts';
import { MapCatalogue } from '../engine/domains/crdt/map-catalogue.ts';
import type { ActLog } from '../engine/domains/kv/joint-service.ts';
import { decode } from '../engine/protocol/codec.ts';
import { type ErrorCode, errorNumber, GridError } from '../engine/protocol/errors.ts';
import { encodeText } from '../engine/protocol/wire-text.ts';
import type { DataStore } from '../engine/storage/data-store.ts';
import { Eviction } from '../engine/storage/eviction.ts';
import { ExpiryQueue } from '../engine/storage/expiry-queue.ts';
import type { FlushTime } from '../engine/storage/flusher.ts';
import { LeafBacklog } from '../engine/storage/leaf-backlog.ts';
import { LoggedDataStore } from '../engine/storage/logged-data-store.ts';
import type { MapDataStore } from '../engine/storage/map-data-store.ts';
import { NullDataStore } from '../engine/storage/null-data-store.ts';
import { type JoinResult, JOIN_EVICTED } from '../engine/storage/join-rule.ts';
import { KIND_COUNTER, KIND_LWW, type RecordImage, type RecordKind } from '../engine/storage/record.ts';
import { CompositeObserver } from '../engine/storage/record-observer.ts';
import { RecordStore } from '../engine/storage/record-store.ts';
import { Slab } from '../engine/storage/slab.ts';
import { PARTITION_BITS_BYTES, partitionBits, WHOLE_DONE, WholeNotes } from '../engine/storage/whole-act-note.ts';
import type { FrameWriter } from '../engine/storage/wal-frame.ts';
import { type StoredRecord, storedRecord } from '../engine/storage/stored-record.ts';
import { ValueLoader } from '../engine/storage/value-loader.ts';
import { WriteBehind } from '../engine/storage/write-behind.ts';
import { WriteThrough } from '../engine/storage/write-through.ts';
import { type Durability, FlushDurability, LogDurability, NO_DURABILITY, StoreDurability } from './durability.ts';
import { GridState } from './grid-state.ts';
import type { PartitionWorkerData } from './partition-worker.ts';
import { loadMergeKernel } from './kernel-file.ts';
import type { MergeKernel } from '../engine/storage/merge-kernel.ts';
import { BREAKER_DEFAULTS, CircuitBreaker } from '../engine/operation/circuit-breaker.ts';
import { PostgresDataStore } from './postgres/postgres-data-store.ts';
import { TranscodedJson } from './postgres/transcoded-json.ts';
import type { WorkerFaults } from './faults/worker-faults.ts';
import { cgroupMemoryBytes, kernelReserveBytes, machineMemoryBytes, memoryBound } from './memory-budget.ts';
import { WorkerMemory } from './worker-memory.ts';
import { type LoggedPast, type LogPlace, openFiles, openLog, replayPast } from './wal/worker-log.ts';
import type { LogFiles } from '../engine/storage/log-files.ts';
import { segmentsByWorker } from './wal/log-folder.ts';
import { carryFences } from './wal/logged-fences.ts';
import type { WriteAheadLog } from './wal/write-ahead-log.ts';

const OVERLOADED = errorNumber('OVERLOADED');
/** Records between two looks at the memory while loading. */
const SAMPLE_RECORDS = 8192;

const NO_PARTITIONS = new Uint8Array(PARTITION_BITS_BYTES);

/** How far a load has come. */
export interface LoadProgress {
  records: number;
  replayed: number;
}

export interface WorkerStorageEvents {
  /** Everything up to `sequence` is persisted; with an error, what lies above never will be. */
  onPersisted(sequence: number, error?: GridError): void;
  /** What was replayed is in the data store; these files of earlier runs are of no more use to this worker. */
  onCheckpoint(oldNames: readonly string[]): void;
  onProgress(progress: LoadProgress): void;
  onWarning(text: string): void;
}

const NO_KERNEL = 'the system does not let memory be reserved for merges in WebAssembly: they are slower in this worker';

/** What wraps the data store and the files of the log, for faults and tests. */
export type StorageFaults = Pick<WorkerFaults, 'dataStore' | 'logFiles'>;

export class WorkerStorage {
  /** Joins usual writes; undefined where there is none (kernel-file.ts). */
  readonly kernel: MergeKernel | undefined;
  readonly slab: Slab;
  readonly backlog: LeafBacklog;
  readonly expiry: ExpiryQueue;
  readonly maps: MapCatalogue;
  /** The newest token of each lock. */
  readonly fences = new FenceTable();
  readonly counters: CounterTable;
  /** Hear of every change of every store: domains add themselves before the loop runs. */
  readonly observers = new CompositeObserver([]);
  /** Of the connection that flushes. */
  readonly breaker = new CircuitBreaker({ ...BREAKER_DEFAULTS, random: Math.random });
  readonly store: DataStore | undefined;
  readonly flushing: WriteBehind | WriteThrough | undefined;
  readonly staging: MapDataStore;
  readonly eviction: Eviction;
  /** Reads dropped values back; undefined for a cache. */
  readonly loader: ValueLoader | undefined;
  readonly memory: WorkerMemory;
  log: WriteAheadLog | undefined;
  /** What the log says of the time before this thread; there after `load`. */
  past: LoggedPast | undefined;
  readonly #data: PartitionWorkerData;
  readonly #faults: StorageFaults | undefined;
  readonly #workerId: number;
  readonly #events: WorkerStorageEvents;
  readonly #logged: LoggedDataStore | undefined;
  readonly #ties: { readonly kind: RecordKind; readonly record: StoredRecord }[] = [];
  #loadedRecords = 0;
  /** Changes staged up to here were replayed; -1 once they are in the data store. */
  #replayedUpTo = -1;
  /** Files of this log are deleted from the oldest on: ours wait until those of earlier threads are gone. */
  #isRemovingOwn = false;
  /** The log has what other workers are still to log themselves. */
  #isKeepingAll = false;
  /** The frame that must be on the disk before anything is flushed. */
  #flushesFromSequence = 0;
  /** How changes of whole databases stand: what the log said, and what was noted since. */
  #wholeActs = new WholeNotes();
  /** Those of this run that threads before this one have done, also when they are over: their inboxes may ask for them once more. */
  #wholesDone: ReadonlySet<number> = new Set();
  #partitions: readonly number[] = [];

  constructor(data: PartitionWorkerData, workerId: number, faults: StorageFaults | undefined, events: WorkerStorageEvents) {
    this.#data = data;
    this.#faults = faults;
    this.#workerId = workerId;
    this.#events = events;
    const boundBytes = memoryBound(data.config.maxMemory, machineMemoryBytes(), cgroupMemoryBytes());
    this.kernel = loadMergeKernel(kernelReserveBytes(boundBytes, data.memory.workers), () => events.onWarning(NO_KERNEL));
    this.slab = new Slab(this.kernel?.memory);
    this.backlog = new LeafBacklog(this.slab);
    this.expiry = new ExpiryQueue(this.slab);
    const store = openStore(data, workerId, this.breaker);
    this.store = store === undefined ? undefined : (faults?.dataStore(store) ?? store);
    this.flushing = flushingOf(data, this.store);
    this.#logged =
      data.log !== undefined && this.flushing instanceof WriteBehind ? new LoggedDataStore(this.flushing) : undefined;
    this.staging = this.#logged ?? this.flushing ?? new NullDataStore();
    this.maps = new MapCatalogue((map, kind) => this.#newStore(map, kind), data.config.maxMaps);
    const policy = this.store === undefined ? 'none' : data.config.evictionPolicy;
    this.counters = new CounterTable(this.staging);
    this.eviction = new Eviction({ slab: this.slab, random: Math.random, policy, stores: () => this.#stores() });
    this.loader =
      this.store && new ValueLoader({ dataStore: this.store, time: FLUSH_TIME, deadlineMs: data.config.storageTimeoutMs });
    this.memory = new WorkerMemory(this.slab, this.eviction, new GridState(data.memory.state));
  }

  /** Streams the partitions in, then what the log has above them, and opens the log. */
  async load(partitions: readonly number[], launch: number): Promise<LoadProgress> {
    this.#partitions = partitions;
    const progress: LoadProgress = { records: 0, replayed: 0 };
    this.#events.onProgress(progress);
    await this.store?.load(partitions, (kind, name, image) => {
      if (kind === KIND_COUNTER) this.counters.restore(image);
      else this.#loaded(kind, name, image, this.#storeOf(name, kind).restore(image));
      progress.records += 1;
      this.#events.onProgress(progress);
    });
    const { logFolder } = this.#data;
    if (logFolder !== undefined && this.flushing !== undefined) {
      const plain = openFiles(logFolder);
      const files = this.#faults?.logFiles(plain) ?? plain;
      await this.#replay(files, logFolder, partitions, launch > 0, progress);
      await this.#settleTies();
      this.#openLog(files, partitions);
      if (this.#wholeActs.hasFinished(this.#data.ownerEpoch)) this.flushWhenLogged();
    } else await this.#settleTies();
    this.#settleFences(launch > 0);
    return progress;
  }

  /** Notes the newest token of a lock in the frame at hand. */
  logFence(name: string, token: number): void {
    this.log?.frame.appendFence(encodeText(name), token);
  }

  /** How acts over several workers stand in the log. */
  actLog(): ActLog {
    const { ownerEpoch } = this.#data;
    const own = partitionBits(this.#partitions);
    return {
      commit: (act) => this.log?.frame.appendCommit(act),
      foreign: (map, image) => this.log?.frame.append(KIND_LWW, map, image),
      keepAll: (isKeeping) => {
        this.#isKeepingAll = isKeeping;
      },
      committed: this.past?.commits ?? new Set(),
      note: (state, act, change, epoch = ownerEpoch) => {
        const note = { act, epoch, state, partitions: state === WHOLE_DONE ? own : NO_PARTITIONS, change };
        this.#wholeActs.note(note);
        this.log?.frame.appendWhole(note);
      },
      wholesDone: this.#wholesDone,
      undone: this.#wholeActs.undone(this.#partitions, ownerEpoch),
    };
  }

  /** Tokens of earlier boots are good only where the log knows them; without a log, tokens of earlier threads too. */
  #settleFences(isReplacement: boolean): void {
    const { ownerEpoch, memory } = this.#data;
    const isForgetful = isReplacement && this.log === undefined;
    const given = isForgetful ? new GridState(memory.state).lockNumber : 0;
    this.fences.raiseFloor(tokenBefore(ownerEpoch) + given);
  }

  /** How safe answers are; `inboxPositions` is asked for each frame of the log. */
  durability(inboxPositions: () => readonly number[]): Durability {
    const { flushing, log } = this;
    if (flushing instanceof WriteThrough) return new StoreDurability(flushing);
    if (flushing === undefined) return NO_DURABILITY;
    if (log === undefined) return new FlushDurability(flushing);
    return new LogDurability(log, flushing, this.#data.log?.policy === 'always', inboxPositions);
  }

  /** A log of this worker could not be synced, in this run or at its start: writes stay refused until the next. */
  get logFailed(): boolean {
    return this.#data.logFailed || this.past?.syncFailure !== undefined;
  }

  /** Why a write of this size is refused now: an error number, or -1. */
  refusal(bytes: number): number {
    const code = this.#logRefusal() ?? this.eviction.refusalOf(bytes);
    if (code !== undefined) return errorNumber(code);
    return this.staging.admits(bytes) ? -1 : OVERLOADED;
  }

  /** False while changes cannot be logged. Removals of expired records go on when memory is short: they make room. */
  get mayChange(): boolean {
    return this.#logRefusal() === undefined;
  }

  #logRefusal(): ErrorCode | undefined {
    return this.logFailed ? 'READ_ONLY' : this.log?.refusal;
  }

  /** @param isBatchTold see WriteAheadLog.tick */
  tick(nowMs: number, isBatchTold: boolean): void {
    const { flushing, log } = this;
    if (!(flushing instanceof WriteBehind)) {
      this.staging.softFlush(nowMs);
      return;
    }
    const isHome = this.#replayedUpTo >= 0 && flushing.flushedSequence >= this.#replayedUpTo;
    if (isHome && isBatchTold && log?.isCarrying !== true && !this.#isKeepingAll) this.#checkpoint();
    if (!this.#isRemovingOwn && !this.#isKeepingAll) log?.flushed(flushing.flushedSequence);
    log?.tick(nowMs, isBatchTold);
    // A log that runs full is emptied by flushes, and by nothing else. What was replayed is brought home first.
    const isLogFilling = log !== undefined && log.bytes * 2 >= (this.#data.log?.maxBytes ?? Number.POSITIVE_INFINITY);
    // What is staged stays in memory: when that runs short, only a flush makes values that may be dropped.
    flushing.hurry = isLogFilling || this.#replayedUpTo >= 0 || this.eviction.isShort;
    if (this.mayFlush) this.staging.softFlush(nowMs);
    else log?.requestSync();
  }

  /**
   * Nothing goes to the data store before the log has for good what it says now, with the frame at hand: that a change of whole databases is
   * done, of which the next start would else find a part in the data store, and swap it back. A log that fails, or that failed under a thread
   * before, keeps it all from there in this run.
   */
  flushWhenLogged(): void {
    if (this.log === undefined) return;
    const { frame, sequence } = this.log;
    this.#flushesFromSequence = this.logFailed ? Number.POSITIVE_INFINITY : sequence + (frame.isEmpty ? 0 : 1);
  }

  /** False while `flushWhenLogged` holds. */
  get mayFlush(): boolean {
    return this.log === undefined || this.log.syncedSequence >= this.#flushesFromSequence;
  }

  /** Brings home what is staged, at the end of a run. Rejects with GridError, also when it may not go there: then only the log has it. */
  async hardFlush(deadlineMs: number): Promise<void> {
    const { log } = this;
    if (!this.mayFlush && log !== undefined && log.sequence >= this.#flushesFromSequence) await log.synced(log.sequence);
    if (this.mayFlush) return this.staging.hardFlush(deadlineMs);
    throw new GridError(
      'READ_ONLY',
      'what is staged stays in the log: it could not be made safe that a change of databases is done',
    );
  }

  /** What each segment of the log begins with, so that older ones may go. True when there is anything. */
  #carry(files: LogFiles, frame: FrameWriter): boolean {
    const { ownerEpoch } = this.#data;
    const hasOlderLogs = segmentsByWorker(files.list()).some(({ epoch }) => epoch < ownerEpoch);
    const notes = this.#wholeActs.carried(ownerEpoch, hasOlderLogs);
    for (const note of notes) frame.appendWhole(note);
    return carryFences(this.fences, frame) || notes.length > 0;
  }

  #checkpoint(): void {
    this.#replayedUpTo = -1;
    this.#isRemovingOwn = true;
    Promise.resolve(this.past?.removeOwn())
      .catch((error: unknown) => this.#events.onWarning(`old log files were not removed: ${String(error)}`))
      .finally(() => {
        this.#isRemovingOwn = false;
      });
    this.#events.onCheckpoint(this.past?.oldNames ?? []);
  }

  async close(): Promise<void> {
    this.loader?.close();
    await this.log?.close();
    await this.store?.close();
  }

  async #replay(
    files: LogFiles,
    folder: string,
    partitions: readonly number[],
    isReplacement: boolean,
    progress: LoadProgress,
  ): Promise<void> {
    this.past = await replayPast({
      ...this.#logPlace(files, partitions),
      folder,
      isReplacement,
      fences: this.fences,
      onRecord: (kind, map, image) => {
        if (kind === KIND_COUNTER) this.counters.replay(image, Date.now());
        else this.#loaded(kind, map, image, this.#storeOf(map, kind).rejoin(image, Date.now()));
        progress.replayed += 1;
        this.#events.onProgress(progress);
      },
    });
    this.#wholeActs = this.past.wholeActs;
    this.#wholesDone = this.#wholeActs.doneIn(this.#data.ownerEpoch);
    for (const text of this.past.warnings) this.#events.onWarning(text);
    if (this.past.syncFailure !== undefined) this.#events.onPersisted(0, this.past.syncFailure);
  }

  /** All that earlier logs say is in memory, and done: they may go when all that was staged by it is in the data store. */
  async replayed(): Promise<void> {
    const behind = this.flushing;
    if (this.past === undefined) return;
    if (behind instanceof WriteBehind) {
      this.#replayedUpTo = behind.stagedSequence;
      return;
    }
    await behind?.settle();
    this.#checkpoint();
  }

  #openLog(files: LogFiles, partitions: readonly number[]): void {
    const { log } = this.#data;
    if (log === undefined || this.#logged === undefined) return;
    this.log = openLog({
      ...this.#logPlace(files, partitions),
      ...log,
      firstSequence: this.past?.nextSequence ?? 1,
      carry: (frame) => this.#carry(files, frame),
      onSynced: (sequence) => this.#events.onPersisted(sequence),
      onFailed: (error) => this.#events.onPersisted(this.log?.syncedSequence ?? 0, error),
    });
    this.#logged.logTo(this.log.frame);
  }

  #logPlace(files: LogFiles, partitions: readonly number[]): LogPlace {
    return { files, epoch: this.#data.ownerEpoch, worker: this.#workerId, database: this.#data.nodeId, partitions };
  }

  /** A load never fails for want of memory: what comes from the data store may be dropped again at once. */
  #loaded(kind: RecordKind, map: Uint8Array, image: RecordImage, result: JoinResult): void {
    if (result === JOIN_EVICTED) this.#ties.push({ kind, record: storedRecord(kind, map, image) });
    if (this.#loadedRecords % SAMPLE_RECORDS === 0) this.memory.sample();
    this.#loadedRecords += 1;
    this.eviction.relieve(Date.now());
  }

  /** Versions with equal clocks whose stored value was dropped while loading: told apart with the value read back. */
  async #settleTies(): Promise<void> {
    for (const { kind, record } of this.#ties.splice(0)) {
      const settled = await this.loader?.settleTie(this.#storeOf(record.map, kind), record, Date.now());
      if (settled !== true) this.#events.onWarning('two writes with one clock: the value of one could not be read back');
    }
  }

  *#stores(): Generator<RecordStore> {
    for (const map of this.maps.maps()) yield* map.stores();
  }

  #storeOf(map: Uint8Array, kind: RecordKind): RecordStore {
    const opened = this.maps.openByName(map);
    if (opened !== undefined) return opened.store(kind);
    throw new GridError(
      'TOO_MANY_MAPS',
      `there are more than ${this.#data.config.maxMaps} maps in storage: raise LATTICE_MAX_MAPS`,
    );
  }

  #newStore(map: Uint8Array, kind: RecordKind): RecordStore {
    return new RecordStore({
      map,
      kind,
      slab: this.slab,
      backlog: this.backlog,
      expiry: this.expiry,
      dataStore: this.staging,
      observer: this.observers,
      decode: decodeValue,
    });
  }
}

function openStore(data: PartitionWorkerData, workerId: number, breaker: CircuitBreaker): DataStore | undefined {
  if (data.target === undefined || data.config.store === 'none') return undefined;
  return new PostgresDataStore({
    target: data.target,
    applicationName: `lattice worker ${workerId}`,
    ownerEpoch: data.ownerEpoch,
    breaker,
    givesWay: data.config.store === 'write-behind' && data.log !== undefined, // the log has what waits
    ...(data.config.pgJson ? { json: new TranscodedJson() } : {}),
  });
}

function flushingOf({ config }: PartitionWorkerData, store: DataStore | undefined): WriteBehind | WriteThrough | undefined {
  if (store === undefined) return undefined;
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
