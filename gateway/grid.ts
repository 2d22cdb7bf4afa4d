/**
 * A whole node in this process: database, workers, gateways, started and stopped in the one right order.
 *
 *   start   data directory ─ gateways listen (ready = 503) ─ Postgres ─ lock, schema, epoch ─ workers load ─ serve
 *   stop    no new connections ─ answer what was accepted ─ workers flush ─ close gateways ─ release ─ stop Postgres
 *
 * Nothing here is global: two grids run in one process.
 */
import type { Logger } from 'pino';
import { JournalSequence } from '../engine/domains/persistence/journal-sequence.ts';
import type { Config } from '../engine/config.ts';
import type { DeathWay } from '../engine/faults.ts';
import type { Definition } from '../engine/operation/definitions.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import { createDoorbellPorts } from '../workers/doorbell.ts';
import { createGridMemory, type GridMemory } from '../workers/grid-memory.ts';
import { GridState } from '../workers/grid-state.ts';
import type { PartitionWorkerData, WorkerCommand, WorkerMessage } from '../workers/partition-worker.ts';
import { HostedWorker, type Workers } from '../workers/hosted-worker.ts';
import { NodeStorage } from '../workers/node-storage.ts';
import { moduleBeside, Thread } from '../workers/threads.ts';
import { workerHeapLimits } from '../workers/worker-heap.ts';
import { type WorkerLaunch, WorkerPool } from '../workers/worker-pool.ts';
import { GATEWAY_COUNTERS } from './gateway-counters.ts';
import { ClockOffsets } from './clock-offsets.ts';
import { DefinitionRegistry, type DefinitionWish } from './definition-registry.ts';
import { ASK_DEADLINE_MS, GatewayAsks } from './gateway-asks.ts';
import { NodeAnswers } from './node-answers.ts';
import type { GatewayFacts, NodeQuestion } from './node-desk.ts';
import { FLUSH_LAG_MS_MAX } from './degradations.ts';
import { PolicyStore } from './policy-store.ts';
import { TombstonePruner } from './tombstone-pruner.ts';
import { NodeWatch } from './node-watch.ts';
import { tlsFilesOf } from '../workers/tls-files.ts';
import { TlsRenewal } from './tls-renewal.ts';
import { faultOptions, logSettings, workerConfig } from './worker-settings.ts';
import type { GatewayCommand, GatewayMessage, GatewayThreadData } from './gateway-thread.ts';

/** Replies and requests larger than a record travel in parts; this bounds one, in virtual memory until it is used. */
const MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
const GATEWAY_STOP_MS = 5000;

export interface GridEvents {
  /** The node cannot go on: another owner, a gateway that died. Called once; stop it. */
  onFatal(error: Error): void;
}

/** What only tests change. */
export interface GridTuning {
  /** A worker whose heart stands still for so long is replaced, in ms. */
  readonly heartbeatStillMs?: number;
  /** JavaScript heap of a worker; reaching it ends the thread. */
  readonly workerHeapMb?: number;
}

type GatewayHandle = Thread<GatewayCommand, GatewayMessage>;

export class Grid {
  readonly memory: GridMemory;
  readonly #config: Config;
  readonly #log: Logger;
  readonly #events: GridEvents;
  readonly #tuning: GridTuning;
  readonly #state: GridState;
  readonly #table: PartitionTable;
  readonly #gateways: GatewayHandle[] = [];
  readonly #asks = new GatewayAsks((gateway, command) => this.#gateways[gateway]?.send(command));
  readonly #interests = new Map<string, PartitionWorkerData['interests'][number]>();
  /** Workers whose log could not be synced in this run. */
  readonly #failedLogs = new Set<number>();
  /** Workers whose replayed records are in Postgres. */
  readonly #checkpoints = new Set<number>();
  readonly #clockOffsets: ClockOffsets;
  readonly #watch: NodeWatch;
  readonly #answers: NodeAnswers;
  #storage: NodeStorage | undefined;
  #registry: DefinitionRegistry | undefined;
  #pool: Workers<WorkerCommand> | undefined;
  /** The pool of a fused node: its one worker, in the thread of the gateway. */
  #hosted: HostedWorker<PartitionWorkerData, WorkerCommand, WorkerMessage> | undefined;
  #pruner: TombstonePruner | undefined;
  #tls: TlsRenewal | undefined;
  #port = 0;
  #stopping: Promise<void> | undefined;
  /** A worker that did not end in order: what it had staged may be missing in the data store. */
  #stopFailure: Error | undefined;

  private constructor(config: Config, log: Logger, events: GridEvents, tuning: GridTuning) {
    this.#config = config;
    this.#log = log;
    this.#events = events;
    this.#tuning = tuning;
    this.memory = createGridMemory({
      gateways: config.gatewayThreads,
      workers: config.workerThreads,
      ringBytes: config.ringBytes,
      messageBytesMax: MESSAGE_BYTES_MAX,
      gatewayCounterNames: GATEWAY_COUNTERS,
      countsOperations: config.operationMetrics,
    });
    this.#state = new GridState(this.memory.state);
    this.#state.flushLagMsMax = FLUSH_LAG_MS_MAX + config.flushDelayMs;
    this.#table = new PartitionTable(this.memory.table);
    this.#watch = new NodeWatch(config, this.memory, log);
    this.#answers = new NodeAnswers({
      registry: () => this.#registry,
      audit: () => this.#storage?.audit,
      gateways: () => this.#gatewayFacts(),
      log: (fields, text) => log.info(fields, text),
    });
    this.#clockOffsets = new ClockOffsets(
      async (node, offsetMs) => (await this.#storage?.quarantine(node, offsetMs)) ?? offsetMs,
      log,
    );
  }

  /** Starts a node and resolves when it serves. Rejects with GridError when it cannot; nothing is left running then. */
  static async start(config: Config, log: Logger, events: GridEvents, tuning: GridTuning = {}): Promise<Grid> {
    const grid = new Grid(config, log, events, tuning);
    try {
      await grid.#start();
      return grid;
    } catch (error) {
      await grid.stop().catch((stopError: unknown) => log.warn({ error: String(stopError) }, 'stopping after a failed start'));
      throw error;
    }
  }

  /** The port that is listened on. */
  get port(): number {
    return this.#port;
  }

  /** Who may do what. Rejects, in what it is asked, with GridError UNAVAILABLE while the node is starting. */
  get policies(): PolicyStore {
    const registry = this.#registry;
    if (registry === undefined) throw new GridError('UNAVAILABLE', 'the node is starting');
    const define = (wish: DefinitionWish): Promise<Definition> => registry.change(wish);
    return new PolicyStore(registry.definitions, { define, history: (kind, name) => registry.history(kind, name) });
  }

  /** Ends a worker's thread as a bug would; it is replaced. False when it is down already. For tests and drills. */
  crashWorker(worker: number, how: DeathWay = 'throw'): boolean {
    return this.#pool?.send(worker, { kind: 'crash', how }) ?? false;
  }

  /** Stops in order, within the configured caps. Rejects when something accepted may not have reached the data store. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /**
   * Serves new connections with the TLS files as they are now; open ones stay. When the files are not good, that is said in the
   * log, and the old ones serve on.
   */
  async renewTls(): Promise<void> {
    if (this.#state.lifecycle === 'ready') await this.#tls?.renew();
  }

  async #start(): Promise<void> {
    const { config, memory } = { config: this.#config, memory: this.memory };
    this.#state.startedMs = Date.now();
    const tlsFiles = tlsFilesOf(config);
    if (tlsFiles !== undefined) this.#tls = new TlsRenewal(tlsFiles, this.#log, () => this.#listenAnew());
    new CounterRow(memory.threadCounters, THREAD_COUNTERS, memory.gateways + memory.workers).set('startedAtMs', Date.now());
    await this.#startGateways();
    this.#port = await this.#listen();
    this.#state.port = this.#port;
    this.#storage = await NodeStorage.open(config, this.#log, {
      onFenced: (error) => this.#events.onFatal(error),
      onReach: (isThere) => {
        this.#state.isDatabaseAway = !isThere;
      },
    });
    this.#state.pruneWatermarkMs = await this.#storage.pruneWatermarkMs();
    this.#registry = await DefinitionRegistry.open(this.#storage.definitions, (definition) => this.#tellDefinition(definition));
    this.#watch.shareMemory();
    this.#pool = this.#newWorkers();
    await this.#pool.start();
    await this.#openGateways();
    this.#pruner = this.#newPruner();
    this.#watch.watchHealth();
    this.#tls?.watch();
    this.#state.lifecycle = 'ready';
    this.#log.info({ port: this.#port, workers: memory.workers, gateways: memory.gateways }, 'ready');
  }

  async #startGateways(): Promise<void> {
    for (let gateway = 0; gateway < this.memory.gateways; gateway++) {
      const wires = this.#config.fused ? 0 : this.memory.workers;
      const bells = Array.from({ length: wires }, () => createDoorbellPorts());
      for (const [worker, { b }] of bells.entries()) this.#workerBells(worker).set(gateway, b);
      const ports = bells.map(({ a }) => a);
      const data: GatewayThreadData = { gateway, config: this.#config, memory: this.memory, bells: ports };
      const thread = await Thread.start<GatewayCommand, GatewayMessage>(
        {
          name: `gateway ${gateway}`,
          module: moduleBeside('./gateway-thread', import.meta.url),
          data,
          transferList: ports,
          ...(this.#config.fused ? { resourceLimits: this.#workerLimits() } : {}),
        },
        { onMessage: (message) => this.#hear(gateway, message), onFailure: (error) => this.#gatewayDied(gateway, error) },
      );
      this.#gateways.push(thread);
    }
  }

  readonly #bellsOfWorkers = new Map<number, Map<number, ReturnType<typeof createDoorbellPorts>['b']>>();

  #workerBells(worker: number): Map<number, ReturnType<typeof createDoorbellPorts>['b']> {
    let bells = this.#bellsOfWorkers.get(worker);
    if (bells === undefined) {
      bells = new Map();
      this.#bellsOfWorkers.set(worker, bells);
    }
    return bells;
  }

  /** The first gateway binds, alone; with several, it hands what it accepts to all of them. */
  async #listen(): Promise<number> {
    const { host, port } = this.#config;
    const answer = await this.#asks.ask(0, { kind: 'listen', host, port }, ['listening', 'listenFailed']);
    if (answer.kind !== 'listening')
      throw new GridError('UNAVAILABLE', answer.kind === 'listenFailed' ? answer.reason : 'no answer to listen');
    if (this.#gateways.length > 1) this.#gateways[0]?.send({ kind: 'share', descriptors: await this.#descriptors('join') });
    return answer.port;
  }

  /** Of the apps of all gateways, or, with `renew`, of new ones with the TLS files of now. */
  async #descriptors(kind: 'join' | 'renew'): Promise<number[]> {
    const descriptors: number[] = [];
    for (let gateway = 0; gateway < this.#gateways.length; gateway++) {
      const joined = await this.#asks.ask(gateway, { kind }, ['joined', 'renewFailed']);
      if (joined.kind === 'renewFailed') throw new GridError('UNAVAILABLE', joined.reason);
      if (joined.kind === 'joined') descriptors.push(joined.descriptor);
    }
    return descriptors;
  }

  /** New apps with the TLS files of now take what connects from here on. Rejects when they do not take the files. */
  async #listenAnew(): Promise<void> {
    const descriptors = await this.#descriptors('renew');
    if (descriptors.length > 1) this.#gateways[0]?.send({ kind: 'share', descriptors });
    const where = { host: this.#config.host, port: this.#port };
    const answer = await this.#asks.ask(0, { kind: 'listen', ...where }, ['listening', 'listenFailed']);
    if (answer.kind === 'listenFailed') this.#events.onFatal(new GridError('UNAVAILABLE', answer.reason));
  }

  #newWorkers(): Workers<WorkerCommand> {
    // A cache has no epoch: the second of its start serves as one.
    new JournalSequence(this.memory.journal).epoch = this.#storage?.ownerEpoch || Math.floor(Date.now() / 1000);
    if (!this.#config.fused) return this.#newPool();
    this.#hosted = this.#newHostedWorker();
    return this.#hosted;
  }

  #workerLimits(): ReturnType<typeof workerHeapLimits> {
    const { workerHeapMb } = this.#tuning;
    const limits = workerHeapLimits(this.#watch.memoryBytesMax, this.memory.workers);
    return workerHeapMb === undefined ? limits : { maxOldGenerationSizeMb: workerHeapMb };
  }

  #newHostedWorker(): HostedWorker<PartitionWorkerData, WorkerCommand, WorkerMessage> {
    const { heartbeatStillMs } = this.#tuning;
    return new HostedWorker<PartitionWorkerData, WorkerCommand, WorkerMessage>(
      {
        data: this.#launch(0, 0).data,
        host: (task, transferList) => this.#gateways[0]?.send({ kind: 'host', task }, transferList),
        ...(heartbeatStillMs === undefined ? {} : { heartbeatStillMs }),
      },
      {
        onCrash: (error) => {
          this.#workerCrashed(0, error);
          this.#gatewayDied(0, error);
        },
        onMessage: (message) => this.#hearWorker(0, message),
      },
    );
  }

  #newPool(): WorkerPool<PartitionWorkerData, WorkerCommand, WorkerMessage> {
    const { heartbeatStillMs } = this.#tuning;
    return new WorkerPool<PartitionWorkerData, WorkerCommand, WorkerMessage>(
      {
        module: moduleBeside('../workers/partition-worker', import.meta.url),
        workers: this.memory.workers,
        launch: (worker, launch) => this.#launch(worker, launch),
        resourceLimits: this.#workerLimits(),
        ...(heartbeatStillMs === undefined ? {} : { heartbeatStillMs }),
      },
      {
        onCrash: (worker, error) => this.#workerCrashed(worker, error),
        onReplaced: (worker) => this.#log.warn({ worker }, 'worker replaced'),
        onMessage: (worker, message) => this.#hearWorker(worker, message),
      },
    );
  }

  #launch(worker: number, launch: number): WorkerLaunch<PartitionWorkerData> {
    const storage = this.#storage;
    if (storage === undefined) throw new Error('workers start behind their storage');
    if (launch > 0) this.#rewire(worker);
    const bells = [...this.#workerBells(worker).values()];
    const data: PartitionWorkerData = {
      config: workerConfig(this.#config),
      faults: faultOptions(this.#config),
      memory: this.memory,
      bells,
      target: storage.target,
      ownerEpoch: storage.ownerEpoch,
      logFolder: storage.logFolder,
      log: logSettings(this.#config),
      logFailed: this.#failedLogs.has(worker),
      nodeId: storage.nodeId,
      definitions: this.#registry?.definitions.all() ?? [],
      interests: [...this.#interests.values()],
    };
    return { data, transferList: bells };
  }

  /** The dead thread took its ends of the bell wires along: new ones are laid, and its partitions are loaded anew. */
  #rewire(worker: number): void {
    for (const partition of this.#table.partitionsOf(worker)) {
      if (this.#table.stateOf(partition) === 'LOST') this.#table.assign(partition, worker);
    }
    this.#gateways.forEach((thread, gateway) => {
      const { a, b } = createDoorbellPorts();
      this.#workerBells(worker).set(gateway, b);
      thread.send({ kind: 'bell', worker, port: a }, [a]);
    });
  }

  #workerCrashed(worker: number, error: Error): void {
    this.#state.setWorkerState(worker, 'down');
    this.#table.lose(worker);
    this.#checkpoints.delete(worker); // its successor replays again
    if (this.#state.lifecycle === 'draining') this.#stopFailure ??= error;
    this.#log.error({ worker, error: error.message }, 'worker crashed: its partitions are unavailable until it is replaced');
  }

  async #openGateways(): Promise<void> {
    const storage = this.#storage;
    if (storage === undefined) return;
    const quarantined = (await storage.quarantined()).map(({ node, offsetMs }) => [node, offsetMs] as const);
    const { nodeId, secret } = storage;
    const definitions = this.#registry?.definitions.all() ?? [];
    for (let gateway = 0; gateway < this.#gateways.length; gateway++) {
      const answer = await this.#asks.ask(gateway, { kind: 'open', nodeId, secret, quarantined, definitions }, [
        'opened',
        'openFailed',
      ]);
      if (answer.kind === 'openFailed') throw new GridError('UNAVAILABLE', answer.reason);
    }
  }

  #hear(gateway: number, message: GatewayMessage): void {
    if (message.kind === 'wildClock') void this.#fixOffset(message.node, message.millis);
    else if (message.kind === 'ask') void this.#answer(gateway, message.request, message.question);
    else if (message.kind === 'interest') this.#noteInterest(gateway, message.mapId, message.name, message.wanted);
    else this.#asks.hear(gateway, message);
  }

  async #answer(gateway: number, request: number, question: NodeQuestion): Promise<void> {
    const answer = await this.#answers.answer(question);
    this.#gateways[gateway]?.send({ kind: 'answer', request, answer });
  }

  async #gatewayFacts(): Promise<GatewayFacts[]> {
    const messages = await Promise.all(
      this.#aliveGateways().map((gateway) => this.#asks.ask(gateway, { kind: 'facts' }, ['facts'])),
    );
    return messages.flatMap((message) => (message.kind === 'facts' ? [message.facts] : []));
  }

  #tellDefinition(definition: Definition): void {
    for (let worker = 0; worker < this.memory.workers; worker++) this.#pool?.send(worker, { kind: 'definition', definition });
    for (const thread of this.#gateways) thread.send({ kind: 'definition', definition });
  }

  /** Nobody waits for the answers of a dead thread, and its worker, if it has one, is dead, too. */
  #gatewayDied(gateway: number, error: Error): void {
    if (this.#asks.isDead(gateway)) return;
    this.#asks.died(gateway, error);
    this.#hosted?.died(error); // which tells of it here, too
    this.#events.onFatal(error);
  }

  #aliveGateways(): number[] {
    return this.#gateways.map((_, gateway) => gateway).filter((gateway) => !this.#asks.isDead(gateway));
  }

  /** What sessions listen to by name, kept for workers that are replaced. */
  #noteInterest(gateway: number, mapId: number, name: Uint8Array, wanted: boolean): void {
    const key = `${gateway} ${mapId}`;
    if (wanted) this.#interests.set(key, { gateway, mapId, name });
    else this.#interests.delete(key);
  }

  #hearWorker(worker: number, message: WorkerMessage): void {
    switch (message.kind) {
      case 'loaded':
        this.#log.info({ worker, records: message.records, replayed: message.replayed, ms: message.ms }, 'partitions loaded');
        return;
      case 'checkpoint':
        this.#checkpoint(worker, message.oldNames);
        return;
      case 'logFailed':
        this.#failedLogs.add(worker);
        this.#log.error(
          { worker },
          'the write-ahead log could not be synced: writes are refused until the server is started again',
        );
        return;
      case 'log':
        this.#log[message.level]({ worker }, message.text);
        return;
      case 'fenced':
        this.#events.onFatal(new GridError('STORAGE_FENCED', message.reason));
        return;
    }
  }

  /** When Postgres has what every worker replayed, the log of earlier runs is of no more use. */
  #checkpoint(worker: number, oldNames: readonly string[]): void {
    this.#checkpoints.add(worker);
    if (this.#checkpoints.size === this.memory.workers) this.#storage?.removeOldLogs(oldNames);
  }

  async #fixOffset(node: Uint8Array, millis: number): Promise<void> {
    const offsetMs = await this.#clockOffsets.fix(node, millis);
    for (const thread of this.#gateways) thread.send({ kind: 'quarantined', node, offsetMs });
  }

  #newPruner(): TombstonePruner {
    return new TombstonePruner(this.#config.tombstoneHorizonMs, this.#log, {
      store: async (watermarkMs) => (await this.#storage?.raisePruneWatermark(watermarkMs)) ?? watermarkMs,
      forget: (olderThanMs) => {
        this.#state.pruneWatermarkMs = olderThanMs;
        for (const thread of this.#gateways) thread.send({ kind: 'pruned', olderThanMs });
      },
    });
  }

  async #stop(): Promise<void> {
    const { shutdownNetworkMs, shutdownStorageMs } = this.#config;
    const wasReady = this.#state.lifecycle === 'ready';
    this.#watch.stop();
    this.#tls?.stop();
    this.#pruner?.stop();
    this.#state.lifecycle = 'draining';
    if (this.#port !== 0) await this.#drainGateways(shutdownNetworkMs);
    for (let worker = 0; wasReady && worker < this.memory.workers; worker++) {
      if (this.#state.workerState(worker) === 'down') this.#stopFailure ??= new Error(`worker ${worker} died before the stop`);
    }
    await this.#pool?.stop(shutdownStorageMs);
    for (const thread of this.#gateways) await thread.stop(GATEWAY_STOP_MS);
    await this.#storage?.close();
    this.#state.lifecycle = 'stopped';
    if (this.#stopFailure !== undefined) throw this.#stopFailure;
  }

  async #drainGateways(capMs: number): Promise<void> {
    const drained = await Promise.allSettled(
      this.#aliveGateways().map((gateway) =>
        this.#asks.ask(gateway, { kind: 'drain', capMs }, ['drained'], capMs + ASK_DEADLINE_MS),
      ),
    );
    for (const { status } of drained) if (status === 'rejected') this.#log.warn('a gateway died or hung while it was drained');
  }
}
