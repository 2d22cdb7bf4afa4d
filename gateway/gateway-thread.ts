/**
 * The body of a gateway thread: an HTTP and WebSocket server, and the loop over its outbox rings.
 *
 *   started ─ listen ─▶ HTTP answers, upgrades get 503 ─ open ─▶ serving ─ drain ─▶ draining ─ stop ─▶ gone
 *
 * With the option `fused` the partition worker runs in this thread, too: a second loop over the inbox ring (inner-bell.ts).
 * With several gateways the first one listens and hands accepted sockets to all of them in turn. Before the thread
 * ends, the listen socket and the app are closed: a live uWS handle would make Node abort the whole process.
 */
import { getHeapStatistics } from 'node:v8';
import {
  App,
  SSLApp,
  type TemplatedApp,
  us_listen_socket_close,
  us_socket_local_port,
  type us_listen_socket,
} from 'uWebSockets.js';
import pino from 'pino';
import { assert } from '../engine/assert.ts';
import type { Config } from '../engine/config.ts';
import { OperationMetrics } from '../engine/operation/operation-metrics.ts';
import { RECOVERY_STATES } from '../engine/storage/recovery-state.ts';
import { JournalSequence } from '../engine/domains/persistence/journal-sequence.ts';
import { faultsOf } from '../engine/faults.ts';
import { type Definition, Definitions } from '../engine/operation/definitions.ts';
import { ActMarks } from '../engine/domains/kv/act-marks.ts';
import { MapNameFilter } from '../engine/domains/kv/map-name-filter.ts';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { CounterRow, LoopDelaySampler, THREAD_COUNTERS } from '../workers/counters.ts';
import { type Bell, Doorbell, type DoorbellPorts } from '../workers/doorbell.ts';
import { FaultyRunnable } from '../workers/faults/faulty-runnable.ts';
import type { GridMemory } from '../workers/grid-memory.ts';
import { GridState } from '../workers/grid-state.ts';
import { createInnerBells } from '../workers/inner-bell.ts';
import { loadBatchKernel } from '../workers/kernel-file.ts';
import { type PartitionWorkerData, runShared } from '../workers/partition-worker.ts';
import { RingConsumer, RingProducer } from '../workers/ring.ts';
import { RingWriter } from '../workers/ring-writer.ts';
import { RunLoop } from '../workers/run-loop.ts';
import { ownerPort, threadData } from '../workers/threads.ts';
import type { WorkerTask } from '../workers/worker-task.ts';
import { WORKER_COUNTERS } from '../workers/worker-counters.ts';
import { Authenticator } from './authentication.ts';
import { DeviceIdentity } from './device-identity.ts';
import { httpOptions } from './http/http-options.ts';
import { serveHttp } from './http/serve-http.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { Gateway } from './gateway.ts';
import type { RespOptions } from './gateway-options.ts';
import { GATEWAY_COUNTERS, GatewayCounters } from './gateway-counters.ts';
import { RespListener } from './resp/resp-listener.ts';
import { type GatewayFacts, type NodeAnswer, NodeDesk, type NodeQuestion } from './node-desk.ts';
import { originRefusal } from './origin.ts';
import { readTlsPair, tlsFilesOf } from '../workers/tls-files.ts';
import { listenExclusively } from './uws.ts';
import { serveWebSocket } from './websocket.ts';
import { packageVersion } from '../workers/package-folder.ts';

export interface GatewayThreadData {
  readonly gateway: number;
  readonly config: Config;
  readonly memory: GridMemory;
  /** The wire to each worker's bell; none where this thread hosts the worker. */
  readonly bells: readonly DoorbellPorts['a'][];
}

/** What the main thread tells a gateway. */
export type GatewayCommand =
  /** Bind and answer HTTP. */
  | { readonly kind: 'listen'; readonly host: string; readonly port: number }
  /** Take sockets that the first gateway accepts. */
  | { readonly kind: 'join' }
  /** Serve new connections with the TLS files as they are now. */
  | { readonly kind: 'renew' }
  /** Run the one worker in this thread (option `fused`). */
  | { readonly kind: 'host'; readonly task: WorkerTask<PartitionWorkerData> }
  /** Hand accepted sockets to these apps. */
  | { readonly kind: 'share'; readonly descriptors: readonly number[] }
  /** Serve clients. */
  | {
      readonly kind: 'open';
      readonly nodeId: string;
      readonly secret: Uint8Array;
      readonly quarantined: readonly (readonly [Uint8Array, number])[];
      readonly definitions: readonly Definition[];
    }
  | { readonly kind: 'definition'; readonly definition: Definition }
  | { readonly kind: 'facts' }
  /** The answer to an `ask`. */
  | { readonly kind: 'answer'; readonly request: number; readonly answer: NodeAnswer }
  | { readonly kind: 'quarantined'; readonly node: Uint8Array; readonly offsetMs: number }
  | { readonly kind: 'pruned'; readonly olderThanMs: number }
  /** A worker was replaced: the wire to its bell is a new one. */
  | { readonly kind: 'bell'; readonly worker: number; readonly port: DoorbellPorts['a'] }
  | { readonly kind: 'drain'; readonly capMs: number };

/** What a gateway tells the main thread. */
export type GatewayMessage =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'listenFailed'; readonly reason: string }
  | { readonly kind: 'joined'; readonly descriptor: number }
  | { readonly kind: 'renewFailed'; readonly reason: string }
  | { readonly kind: 'opened' }
  | { readonly kind: 'openFailed'; readonly reason: string }
  | { readonly kind: 'wildClock'; readonly node: Uint8Array; readonly millis: number }
  | { readonly kind: 'interest'; readonly mapId: number; readonly name: Uint8Array; readonly wanted: boolean }
  /** A question about the node as a whole; `request` numbers it. */
  | { readonly kind: 'ask'; readonly request: number; readonly question: NodeQuestion }
  | { readonly kind: 'facts'; readonly facts: GatewayFacts }
  | { readonly kind: 'drained' };

/** The gateway that takes Redis clients. On Node 20 one thread accepts a port of node:net. */
const RESP_GATEWAY = 0;
const DRAIN_CHECK_MS = 5;
const STATS_MS = 1000;
/** Turns of the loop in which uWS lets go of closed sockets. */
const DYING_MS = 50;
const RING_RECORDS_PER_TURN = 1024;

class GatewayThread {
  readonly #data = threadData<GatewayThreadData>();
  readonly #owner = ownerPort<GatewayCommand, GatewayMessage>();
  readonly #state = new GridState(this.#data.memory.state);
  readonly #log = pino({ level: this.#data.config.logLevel }, pino.destination({ fd: 2, sync: true })).child({
    thread: `gateway ${this.#data.gateway}`,
  });
  readonly #isFused = this.#data.config.fused;
  readonly #doorbells = this.#data.bells.map((port) => new Doorbell(port));
  readonly #innerBells = createInnerBells();
  readonly #bells: readonly Bell[] = this.#isFused ? [this.#innerBells.gateway] : this.#doorbells;
  /** The last one takes new connections; those before it have other TLS files, and connections that are open still. */
  readonly #apps: TemplatedApp[] = [];
  readonly #thread = new CounterRow(this.#data.memory.threadCounters, THREAD_COUNTERS, this.#data.gateway);
  readonly #loopDelay = new LoopDelaySampler(this.#thread);
  readonly #stats = setInterval(() => this.#publishThread(), STATS_MS);
  readonly #nodeDesk = new NodeDesk((request, question) => this.#owner.send({ kind: 'ask', request, question }));
  #definitions = new Definitions();
  #listenSocket: us_listen_socket | undefined;
  #respListener: RespListener | undefined;
  #gateway: Gateway | undefined;
  #loop: RunLoop | undefined;
  #loopEnded: Promise<void> = Promise.resolve();

  start(): void {
    this.#thread.set('startedAtMs', Date.now());
    process.once('uncaughtException', (error) => this.#die(error));
    this.#addApp();
    this.#owner.listen({ onMessage: (command) => void this.#obey(command), onStop: () => void this.#stop() });
    this.#owner.ready();
  }

  get #app(): TemplatedApp {
    const app = this.#apps.at(-1);
    assert(app !== undefined, 'a gateway has an app from its start on');
    return app;
  }

  /** Throws when uWS does not take the TLS files. */
  #addApp(): void {
    const files = tlsFilesOf(this.#data.config);
    const app = files === undefined ? App() : SSLApp({ cert_file_name: files.certFile, key_file_name: files.keyFile });
    this.#addRoutes(app);
    this.#apps.push(app);
  }

  #renew(): void {
    try {
      this.#addApp();
      const files = tlsFilesOf(this.#data.config);
      if (files !== undefined) this.#respListener?.renew(readTlsPair(files));
      this.#owner.send({ kind: 'joined', descriptor: Number(this.#app.getDescriptor()) });
    } catch (error) {
      this.#owner.send({ kind: 'renewFailed', reason: error instanceof Error ? error.message : String(error) });
    }
  }

  #addRoutes(app: TemplatedApp): void {
    const { config, memory } = this.#data;
    const refuses = (origin: string, host: string): string | undefined =>
      config.jwtSecret === undefined && originRefusal({ origin, host }, config.trustedOrigins) !== undefined
        ? '403 Forbidden'
        : undefined;
    serveWebSocket(
      app,
      {
        frameBytesMax: config.frameBytesMax,
        unreadBytesMax: config.sessionBackpressureBytesMax,
        idleTimeoutMs: config.idleTimeoutMs,
        isSecure: config.tlsCertFile !== undefined,
        refuses: (origin, host) => refuses(origin, host) ?? (this.#serves() ? undefined : '503 Service Unavailable'),
      },
      {
        opened: (connection, byInterest, priority) => this.#gateway?.opened(connection, byInterest, priority),
        message: (session, frame, isBinary) => {
          this.#gateway?.message(session, frame, isBinary);
          for (let worker = 0; worker < this.#bells.length; worker++) this.#bells[worker]?.wrote(frame.length);
          this.#loop?.nudge();
        },
        drained: () => this.#gateway?.drained(),
        closed: (session) => this.#gateway?.closed(session),
      },
    );
    serveHttp(
      app,
      httpOptions(config, {
        memory,
        version: packageVersion(),
        refuses,
        door: () => (this.#serves() ? this.#gateway?.door : undefined),
        onFailure: (error, path) => this.#log.error({ path, error: String(error) }, 'HTTP handler failed'),
      }),
    );
  }

  #serves(): boolean {
    return this.#gateway !== undefined && this.#state.lifecycle === 'ready';
  }

  async #obey(command: GatewayCommand): Promise<void> {
    switch (command.kind) {
      case 'listen':
        return this.#listen(command.host, command.port);
      case 'join':
        return this.#owner.send({ kind: 'joined', descriptor: Number(this.#app.getDescriptor()) });
      case 'renew':
        return this.#renew();
      case 'share':
        for (const descriptor of command.descriptors) this.#app.addChildAppDescriptor(descriptor);
        return;
      case 'host':
        return runShared(command.task, this.#innerBells.worker);
      case 'open':
        return this.#open(command);
      case 'quarantined':
        return this.#gateway?.quarantined(command.node, command.offsetMs);
      case 'pruned':
        return this.#gateway?.pruned(command.olderThanMs);
      case 'bell':
        this.#doorbells[command.worker]?.connect(command.port);
        return this.#gateway?.workerReplaced(command.worker);
      case 'definition':
        return this.#definitions.apply(command.definition);
      case 'facts':
        return this.#owner.send({ kind: 'facts', facts: this.#gateway?.facts() ?? { sessions: [], slowOperations: [] } });
      case 'answer':
        return this.#nodeDesk.answered(command.request, command.answer);
      case 'drain':
        return this.#drain(command.capMs);
    }
  }

  /** In place of the socket that was listened on before. */
  #listen(host: string, port: number): void {
    this.#closeListenSocket();
    listenExclusively(this.#app, host, port, (socket) => {
      if (socket === false)
        return this.#owner.send({ kind: 'listenFailed', reason: `${host}:${port} cannot be bound: is it in use?` });
      this.#listenSocket = socket;
      this.#owner.send({ kind: 'listening', port: us_socket_local_port(socket) });
    });
  }

  async #open(command: Extract<GatewayCommand, { kind: 'open' }>): Promise<void> {
    const { config, memory, gateway } = this.#data;
    const inboxes = memory.inboxes[gateway] ?? [];
    const threads = inboxes.map((_, worker) => new CounterRow(memory.threadCounters, THREAD_COUNTERS, memory.gateways + worker));
    this.#definitions = new Definitions(command.definitions);
    this.#gateway = new Gateway({
      gateway,
      config,
      state: this.#state,
      table: new PartitionTable(memory.table),
      journal: new JournalSequence(memory.journal),
      acts: new ActMarks(memory.acts),
      inboxes: inboxes.map((ring, worker) => new RingWriter(new RingProducer(ring, () => this.#bells[worker]?.ringSoon()))),
      counters: new GatewayCounters(memory.gatewayCounters, gateway),
      operations: { memory: memory.operationCounters, offset: gateway * OperationMetrics.BYTES },
      workers: inboxes.map((_, worker) => new CounterRow(memory.workerCounters, WORKER_COUNTERS, worker)),
      workersStartedMs: () => Math.max(...threads.map((row) => row.get('startedAtMs'))),
      authenticator: await Authenticator.create(config),
      devices: new DeviceIdentity(command.secret),
      nodeId: command.nodeId,
      quarantined: command.quarantined,
      definitions: this.#definitions,
      node: this.#nodeDesk,
      kernel: loadBatchKernel(),
      onWildClock: (node, millis) => this.#owner.send({ kind: 'wildClock', node, millis }),
      onInterest: (mapId, name, wanted) => this.#owner.send({ kind: 'interest', mapId, name, wanted }),
      log: (level, text, fields) => this.#log[level](fields, text),
      ...(gateway === RESP_GATEWAY && config.respPort > 0 ? { resp: this.#respOptions() } : {}),
    });
    this.#runLoop(this.#gateway);
    try {
      await this.#listenForRedis(this.#gateway);
      this.#owner.send({ kind: 'opened' });
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#owner.send({ kind: 'openFailed', reason: error.message });
    }
  }

  #respOptions(): RespOptions {
    const { config, memory } = this.#data;
    const rows = Array.from(
      { length: memory.gateways },
      (_, index) => new CounterRow(memory.gatewayCounters, GATEWAY_COUNTERS, index),
    );
    const workers = Array.from(
      { length: memory.workers },
      (_, index) => new CounterRow(memory.workerCounters, WORKER_COUNTERS, index),
    );
    return {
      mapNames: new MapNameFilter(memory.mapNames),
      config,
      version: packageVersion(),
      facts: {
        startedMs: () => this.#state.startedMs,
        memoryBytes: () => workers.reduce((sum, row) => sum + row.get('memoryBytes'), 0),
        memoryMaxBytes: () => this.#state.workerMemoryBytesMax * memory.workers,
        isLoading: () => workers.some((_, worker) => !this.#state.isWorkerReady(worker)),
        recovery: () => workers.map((row) => RECOVERY_STATES[row.get('recoveryState')] ?? 'failed'),
        commands: () => rows.reduce((sum, row) => sum + row.get('respCommands'), 0),
      },
      shutDown: () => process.kill(process.pid, 'SIGTERM'),
    };
  }

  async #listenForRedis(gateway: Gateway): Promise<void> {
    const { config } = this.#data;
    if (gateway.resp === undefined) return;
    const files = tlsFilesOf(config);
    this.#respListener = await RespListener.listen({
      host: config.host,
      port: config.respPort,
      door: gateway.resp,
      tls: files && readTlsPair(files),
      onWritten: (bytes) => {
        for (let worker = 0; worker < this.#bells.length; worker++) this.#bells[worker]?.wrote(bytes);
        this.#loop?.nudge();
      },
    });
  }

  #runLoop(gateway: Gateway): void {
    const { memory, gateway: index } = this.#data;
    const outboxes = (memory.outboxes[index] ?? []).map(
      (ring, worker) => new RingConsumer(ring, worker, () => this.#bells[worker]?.ring()),
    );
    const faults = faultsOf(this.#data.config, `gateway ${index}`, 0, (text) => this.#log.warn(text));
    const outbox = faults === undefined ? gateway.outbox : FaultyRunnable.ofGateway(gateway.outbox, faults);
    const loop = new RunLoop(outbox, outboxes, {
      batchRecords: RING_RECORDS_PER_TURN,
      isShared: this.#isFused,
      counters: this.#thread,
    });
    for (const bell of this.#bells) {
      bell.listen(() => {
        gateway.retry();
        loop.wake();
      });
    }
    this.#loop = loop;
    this.#loopEnded = loop.run();
  }

  /** Answers what was accepted, at most for `capMs`, then closes the connections. */
  async #drain(capMs: number): Promise<void> {
    this.#closeListenSocket();
    this.#respListener?.stop();
    const endsMs = performance.now() + capMs;
    while (this.#gateway?.drain() === false && performance.now() < endsMs)
      await new Promise((resolve) => setTimeout(resolve, DRAIN_CHECK_MS));
    this.#gateway?.closeAll();
    this.#respListener?.destroy();
    this.#owner.send({ kind: 'drained' });
  }

  async #stop(): Promise<void> {
    this.#closeListenSocket();
    this.#respListener?.destroy();
    this.#loop?.stop();
    await this.#loopEnded;
    clearInterval(this.#stats);
    this.#loopDelay.stop();
    for (const app of this.#apps) app.close();
    for (const bell of this.#bells) bell.close();
    this.#owner.close();
  }

  /** A bug of ours. The sockets are closed before the thread ends by it, or Node would abort before the main thread can flush. */
  #die(error: Error): void {
    this.#log.fatal(
      { error: error.stack ?? error.message },
      this.#isFused ? 'the gateway and its worker failed' : 'a gateway thread failed',
    );
    this.#closeListenSocket();
    for (const app of this.#apps) app.close();
    setTimeout(() => {
      throw error;
    }, DYING_MS);
  }

  #closeListenSocket(): void {
    if (this.#listenSocket === undefined) return;
    us_listen_socket_close(this.#listenSocket);
    this.#listenSocket = undefined;
  }

  #publishThread(): void {
    this.#loopDelay.sample();
    this.#thread.set('heapUsedBytes', getHeapStatistics().used_heap_size);
    this.#thread.set('lastHealthCheckAtMs', Date.now());
  }
}

new GatewayThread().start();
