/**
 * For tests: gateways and partition workers over real rings, in one thread and without sockets. Nothing moves by itself:
 * `pump` carries records until all rings are empty, `drainWorker` and `drainGateway` take one step of one end.
 */
import { assert } from '../../engine/assert.ts';
import { ChangeEvents } from '../../engine/domains/crdt/change-events.ts';
import { FenceTable } from '../../engine/domains/coordination/fence-table.ts';
import { CrdtService } from '../../engine/domains/crdt/crdt-service.ts';
import { CounterTable } from '../../engine/domains/coordination/counter-table.ts';
import { MapCatalogue } from '../../engine/domains/crdt/map-catalogue.ts';
import { RowRules } from '../../engine/domains/sync/row-rules.ts';
import { SyncService } from '../../engine/domains/sync/sync-service.ts';
import { plain, utf8 } from '../../engine/domains/testing/scanned-ops.ts';
import { Definitions } from '../../engine/operation/definitions.ts';
import { OperationMetrics } from '../../engine/operation/operation-metrics.ts';
import type { Priority } from '../../engine/operation/priority.ts';
import { JournalSequence } from '../../engine/domains/persistence/journal-sequence.ts';
import { PartitionTable } from '../../engine/partition/partition-table.ts';
import { decode, encode } from '../../engine/protocol/codec.ts';
import { errorNumber } from '../../engine/protocol/errors.ts';
import type { MapDataStore } from '../../engine/storage/map-data-store.ts';
import { NullDataStore } from '../../engine/storage/null-data-store.ts';
import { CompositeObserver } from '../../engine/storage/record-observer.ts';
import { RecordStore } from '../../engine/storage/record-store.ts';
import { Slab } from '../../engine/storage/slab.ts';
import { Answers } from '../../workers/answers.ts';
import { CounterRow } from '../../workers/counters.ts';
import { type DomainConfig, domainHandlers } from '../../workers/domain-handlers.ts';
import { type Durability, NO_DURABILITY } from '../../workers/durability.ts';
import { ActMarks } from '../../engine/domains/kv/act-marks.ts';
import { MapNameFilter } from '../../engine/domains/kv/map-name-filter.ts';
import { createGridMemory, type GridMemory } from '../../workers/grid-memory.ts';
import { GridState } from '../../workers/grid-state.ts';
import { loadBatchKernel } from '../../workers/kernel-file.ts';
import { PartitionRunner } from '../../workers/partition-runner.ts';
import { RingConsumer, RingProducer } from '../../workers/ring.ts';
import { RingWriter } from '../../workers/ring-writer.ts';
import { WORKER_COUNTERS, type WorkerCounter } from '../../workers/worker-counters.ts';
import { Authenticator } from '../authentication.ts';
import type { Connection } from '../connection.ts';
import { DeviceIdentity } from '../device-identity.ts';
import { Gateway } from '../gateway.ts';
import type { GatewayConfig, RespOptions } from '../gateway-options.ts';
import { GATEWAY_COUNTERS, GatewayCounters } from '../gateway-counters.ts';
import { NodeDesk } from '../node-desk.ts';
import type { Session } from '../session.ts';

export type Message = Readonly<Record<string, unknown>> & { readonly type: string };

export const GATEWAY_CONFIG: GatewayConfig = {
  maxSessions: 1000,
  maxMaps: 100,
  policyBypassSubjects: [],
  authDeadlineMs: 10_000,
  idleTimeoutMs: 60_000,
  opTimeoutMs: 5000,
  requestTimeoutMs: 30_000,
  rateOpsPerSecond: 0,
  rateBurstOps: 0,
  driftMaxMs: 60_000,
  sessionBufferBytesMax: 4 << 20,
  heldBytesMax: 256 << 20,
  sessionBackpressureBytesMax: 4 << 20,
  callsInFlightMax: 0,
  workerBreakerFailures: 5,
  workerBreakerOpenMs: 30_000,
  operationMetrics: false,
  slowOperationMs: 0,
  priorities: false,
  priorityWeightHigh: 3,
  priorityWeightNormal: 2,
  priorityWeightLow: 1,
  priorityFramesMax: 10_000,
  journal: 'auto',
  topicsPerSession: 100,
  topicMessageBytesMax: 64 << 10,
  queriesPerSession: 100,
  maxQueries: 1000,
  queryRowsMax: 1000,
  queryResultBytesMax: 256 << 10,
  gatewayThreads: 1,
  store: 'none',
  wal: false,
  walFsync: '10',
};

export interface NodeOptions {
  readonly gateways?: number;
  readonly workers?: number;
  readonly ringBytes?: number;
  readonly config?: Partial<GatewayConfig>;
  /** The data store of every worker. */
  readonly dataStore?: MapDataStore;
  readonly writeThrough?: () => Promise<void>;
  readonly durability?: Durability;
  /** Turns authentication on. */
  readonly jwtSecret?: string;
  readonly domains?: Partial<DomainConfig>;
  /** Every gateway takes clients of Redis. */
  readonly takesRedis?: boolean;
}

/** What a client is to a gateway: keeps what it was sent, closes when told to. */
export class TestClient implements Connection {
  readonly frames: Uint8Array[] = [];
  readonly closes: { code: number; reason: string }[] = [];
  readonly session: Session;
  unreadBytes = 0;
  readonly #gateway: Gateway;
  #isOpen = true;

  constructor(gateway: Gateway, byInterest: boolean, priority: Priority = 'normal') {
    this.#gateway = gateway;
    const session = gateway.opened(this, byInterest, priority);
    assert(session !== undefined, 'the connection was refused');
    this.session = session;
  }

  send(frame: Uint8Array): boolean {
    if (this.#isOpen) this.frames.push(frame.slice());
    return this.unreadBytes === 0;
  }

  cork(write: () => void): void {
    if (this.#isOpen) write();
  }

  end(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.closes.push({ code, reason });
    this.leave();
  }

  bufferedBytes(): number {
    return this.unreadBytes;
  }

  /** The client goes, said or not. */
  leave(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#gateway.closed(this.session);
  }

  say(message: object): void {
    this.sayBytes(encode(message).slice());
  }

  /** The bytes are gone when the gateway has looked at them, as those of a socket are. */
  sayBytes(frame: Uint8Array): void {
    const copy = frame.slice();
    this.#gateway.message(this.session, copy, true);
    copy.fill(0xc1);
  }

  write(...ops: object[]): void {
    this.say({ type: 'OP_BATCH', payload: { ops } });
  }

  /** What came since the last call. */
  heard(): Message[] {
    return this.frames.splice(0).map((frame) => {
      const message = plain(decode(frame));
      assert(
        typeof message === 'object' && message !== null && 'type' in message && typeof message.type === 'string',
        'a message',
      );
      return { ...message, type: message.type };
    });
  }

  heardOf(type: string): Message[] {
    return this.heard().filter((message) => message.type === type);
  }
}

export class OneThreadNode {
  readonly memory: GridMemory;
  readonly state: GridState;
  readonly table: PartitionTable;
  readonly gateways: Gateway[] = [];
  readonly runners: PartitionRunner[] = [];
  readonly catalogues: MapCatalogue[] = [];
  /** Clocks that a gateway asked an offset for. */
  readonly wildClocks: { readonly gateway: number; readonly node: Uint8Array; readonly millis: number }[] = [];
  /** Of the whole node: apply what a test defines. */
  readonly definitions = new Definitions();
  readonly #inboxes: RingConsumer[][] = [];
  readonly #outboxes: RingConsumer[][] = [];

  private constructor(options: NodeOptions) {
    const { gateways = 1, workers = 1, ringBytes = 1 << 20 } = options;
    const messageBytesMax = 16 << 20;
    this.memory = createGridMemory({ gateways, workers, ringBytes, messageBytesMax, gatewayCounterNames: GATEWAY_COUNTERS });
    this.state = new GridState(this.memory.state);
    this.table = new PartitionTable(this.memory.table);
    new JournalSequence(this.memory.journal).epoch = 1;
  }

  static async create(options: NodeOptions = {}): Promise<OneThreadNode> {
    const node = new OneThreadNode(options);
    const authenticator = await Authenticator.create({
      jwtSecret: options.jwtSecret,
      jwtIssuer: undefined,
      jwtAudience: undefined,
    });
    for (let gateway = 0; gateway < node.memory.gateways; gateway++) node.#addGateway(gateway, options, authenticator);
    for (let worker = 0; worker < node.memory.workers; worker++) {
      node.#inboxes.push(node.memory.inboxes.map((rings, gateway) => new RingConsumer(ringAt(rings, worker), gateway)));
      node.runners.push(node.#newRunner(worker, options));
      node.state.setWorkerState(worker, 'ready');
    }
    return node;
  }

  client(gateway = 0, byInterest = false): TestClient {
    const at = this.gateways[gateway];
    assert(at !== undefined, `gateway ${gateway}`);
    return new TestClient(at, byInterest);
  }

  /** Carries records to and fro until every ring is empty. */
  async pump(): Promise<void> {
    for (let moved = 1; moved > 0; ) {
      moved = 0;
      for (const gateway of this.gateways) gateway.retry();
      for (let worker = 0; worker < this.runners.length; worker++) moved += await this.drainWorker(worker);
      for (let gateway = 0; gateway < this.gateways.length; gateway++) moved += this.drainGateway(gateway);
    }
  }

  /** One batch of a worker; gateways read while it waits for room. Answers with the number of records. */
  async drainWorker(worker: number, recordsMax = 100): Promise<number> {
    const runner = this.runners[worker];
    const rings = this.#inboxes[worker] ?? [];
    assert(runner !== undefined, `worker ${worker}`);
    const records = rings.reduce((sum, ring) => sum + ring.drain(recordsMax, runner), 0);
    if (records === 0) return 0;
    let waits = true;
    const ended = Promise.resolve(runner.onBatchEnd()).then(() => {
      waits = false;
    });
    await Promise.resolve();
    while (waits) {
      for (let gateway = 0; gateway < this.gateways.length; gateway++) this.drainGateway(gateway);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await ended;
    for (const ring of rings) ring.release();
    return records;
  }

  drainGateway(gateway: number, recordsMax = 1024): number {
    const outbox = this.gateways[gateway]?.outbox;
    const rings = this.#outboxes[gateway] ?? [];
    assert(outbox !== undefined, `gateway ${gateway}`);
    const records = rings.reduce((sum, ring) => sum + ring.drain(recordsMax, outbox), 0);
    if (records > 0) outbox.onBatchEnd();
    for (const ring of rings) ring.release();
    return records;
  }

  #addGateway(gateway: number, options: NodeOptions, authenticator: Authenticator): void {
    const inboxes = (this.memory.inboxes[gateway] ?? []).map((ring) => new RingWriter(new RingProducer(ring, () => {})));
    this.#outboxes.push((this.memory.outboxes[gateway] ?? []).map((ring, worker) => new RingConsumer(ring, worker)));
    this.gateways.push(
      new Gateway({
        gateway,
        config: { ...GATEWAY_CONFIG, ...options.config },
        state: this.state,
        table: this.table,
        journal: new JournalSequence(this.memory.journal),
        acts: new ActMarks(this.memory.acts),
        inboxes,
        counters: new GatewayCounters(this.memory.gatewayCounters, gateway),
        operations: { memory: this.memory.operationCounters, offset: gateway * OperationMetrics.BYTES },
        workers: workerRows(this.memory),
        workersStartedMs: () => 0,
        authenticator,
        devices: new DeviceIdentity(new Uint8Array(32)),
        nodeId: 'server-1',
        quarantined: [],
        definitions: this.definitions,
        node: new NodeDesk(() => {}),
        kernel: loadBatchKernel(),
        onWildClock: (node, millis) => void this.wildClocks.push({ gateway, node, millis }),
        onInterest: () => {},
        log: () => {},
        ...(options.takesRedis === true ? { resp: this.#respOptions(options) } : {}),
      }),
    );
  }

  #respOptions({ config }: NodeOptions): RespOptions {
    return {
      config: { ...GATEWAY_CONFIG, ...config, respPort: 1, respPassword: undefined, respSubject: 'redis', host: '127.0.0.1' },
      version: '0',
      mapNames: new MapNameFilter(this.memory.mapNames),
      facts: {
        startedMs: () => 0,
        memoryBytes: () => 0,
        memoryMaxBytes: () => 0,
        isLoading: () => false,
        recovery: () => [],
        commands: () => 0,
      },
      shutDown: () => {},
    };
  }

  #newRunner(worker: number, options: NodeOptions): PartitionRunner {
    const slab = new Slab();
    const dataStore = options.dataStore ?? new NullDataStore();
    const observers = new CompositeObserver([]);
    const maps = new MapCatalogue(
      (map, kind) => new RecordStore({ map, kind, slab, dataStore, observer: observers, decode }),
      100,
    );
    this.catalogues.push(maps);
    const changes = new ChangeEvents(this.memory.gateways, this.state);
    const pruneWatermarkMs = (): number => this.state.pruneWatermarkMs;
    const rowRules = new RowRules({ maps, loader: undefined, pause: async () => {}, nowMs: Date.now, onValueNeeded: () => {} });
    const { judge } = rowRules;
    const fences = new FenceTable();
    const onDeadLetter = (): void => {};
    const crdt = new CrdtService({ maps, judge, changes, nodeId: utf8('server-1'), pruneWatermarkMs, onDeadLetter, fences });
    const outboxes = this.memory.outboxes.map((rings) => new RingWriter(new RingProducer(ringAt(rings, worker), () => {})));
    const counters = new CounterRow(this.memory.workerCounters, WORKER_COUNTERS, worker);
    const { writeThrough } = options;
    const durability =
      options.durability ?? (writeThrough === undefined ? NO_DURABILITY : { ...NO_DURABILITY, endBatch: writeThrough });
    const answers = new Answers(outboxes, changes, counters);
    const sync = new SyncService(maps, crdt, pruneWatermarkMs, undefined, undefined, rowRules.sync);
    const nodeId = utf8('server-1');
    return new PartitionRunner({
      answers,
      maps,
      crdt,
      handlers: domainHandlers({
        kv: {
          changes,
          nextPartition: () => (worker + 1 < this.memory.workers ? (this.table.partitionsOf(worker + 1)[0] ?? -1) : -1),
          refusal: (_, bytes) => (dataStore.admits(bytes) ? -1 : errorNumber('OVERLOADED')),
          actLog: {
            commit: () => {},
            foreign: () => {},
            keepAll: () => {},
            committed: new Set(),
            note: () => {},
            wholesDone: new Set(),
            undone: [],
          },
          mapNames: new MapNameFilter(this.memory.mapNames),
          restore: undefined,
          catchUp: () => {},
          beat: () => {},
          random: Math.random,
        },
        worker,
        gateways: this.memory.gateways,
        isReplacement: false,
        maps,
        crdt,
        sync,
        rowRules,
        pushes: answers,
        observers,
        definitions: this.definitions,
        nodeId,
        nowMs: Date.now,
        warn: () => {},
        count: (counter) => counters.add(counters.indexOf(counter), 1),
        monotonicMs: () => performance.now(),
        fences,
        logFence: () => {},
        nextToken: () => this.state.nextLockNumber(),
        counterTable: new CounterTable(dataStore),
        loader: undefined,
        hasRoomFor: () => true,
        durability,
        journal: new JournalSequence(this.memory.journal),
        set: (counter, value) => counters.set(counter, value),
        config: {
          respPort: 0,
          maxCounters: 4,
          maxQueries: 1000,
          queryKeptRowsMax: 100_000,
          indexBytesMax: 16 << 20,
          counterNodesMax: 100,
          journal: 'auto',
          journalMaps: [],
          journalEventsMax: 1000,
          journalBytesMax: 1 << 20,
          journalTtlMs: 0,
          ...options.domains,
        },
      }),
      durability,
      refusal: (bytes) => (dataStore.admits(bytes) ? -1 : errorNumber('OVERLOADED')),
      suspects: new Map(),
      loggedTo: new Map(),
      opsLoggedTo: new Map(),
      damaged: new Set(),
      counters,
      nowMs: Date.now,
      tickIntervalMs: 25,
      onTick: () => {},
      onShutdown: async () => {},
    });
  }
}

/** What the workers publish, by their numbers. */
export function workerRows({ workers, workerCounters }: GridMemory): CounterRow<WorkerCounter>[] {
  return Array.from({ length: workers }, (_, worker) => new CounterRow(workerCounters, WORKER_COUNTERS, worker));
}

export function ringAt<Ring>(rings: readonly Ring[], index: number): Ring {
  const ring = rings[index];
  assert(ring !== undefined, `ring ${index}`);
  return ring;
}
