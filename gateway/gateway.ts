/**
 * One gateway: the sessions of its thread, and everything between their frames and the rings. Wires, does not decide.
 *
 *   WebSocketEvents ─▶ AuthenticationDesk / Dispatcher ─▶ WriteRouter, Scatter ─▶ WorkerLinks ─▶ inbox rings
 *   outbox rings ─▶ Outbox ─▶ BatchAnswers, FanOut ─▶ Outgoing ─▶ Connection
 */
import { HybridLogicalClock } from '../engine/crdt/hlc.ts';
import { ackLevels, levelName } from '../engine/protocol/ack-level.ts';
import type { DomainLayers } from '../engine/operation/layers.ts';
import type { CallStatus, Operation } from '../engine/operation/operation.ts';
import type { Priority } from '../engine/operation/priority.ts';
import { encode } from '../engine/protocol/codec.ts';
import { AccessControl } from './access-control.ts';
import { AskedClocks } from './asked-clocks.ts';
import { AuthenticationDesk } from './authentication-desk.ts';
import type { Principal } from './authentication.ts';
import { BatchAnswers } from './batch-answers.ts';
import { CallTable } from './call-table.ts';
import { ChangedMaps } from './changed-maps.ts';
import type { Connection } from './connection.ts';
import { CounterDesk } from './counter-desk.ts';
import { type DeskContext, Desks } from './desk.ts';
import { Dispatcher } from './dispatcher.ts';
import { DoorCalls } from './door-calls.ts';
import { FanOut } from './fan-out.ts';
import { publishFigures } from './gateway-figures.ts';
import type { GatewayConfig, GatewayOptions, RespOptions } from './gateway-options.ts';
import { type HeldClasses, HeldFrames } from './held-frames.ts';
import type { GrantScope } from './grant-scope.ts';
import { JournalDesk } from './journal-desk.ts';
import { MapNames } from './map-names.ts';
import type { GatewayFacts } from './node-desk.ts';
import type { HttpDoor } from './http/http-door.ts';
import { OpAckFrames } from './op-ack.ts';
import { OperationWatch } from './operation-watch.ts';
import { LockDesk } from './lock-desk.ts';
import { Outbox } from './outbox.ts';
import { Outgoing } from './outgoing.ts';
import { PartitionMapDesk } from './partition-map-desk.ts';
import { PersistedWaits } from './persisted-waits.ts';
import { QueryDesk } from './query-desk.ts';
import { RateLimit } from './rate-limit.ts';
import { Scatter, type Timestamp } from './scatter.ts';
import { SecurityDesk } from './security-desk.ts';
import { RingWindow } from './ring-window.ts';
import { type Session, sessionBytes, SessionTable } from './session.ts';
import { factsOf, SESSION_FACTS_MAX, type SessionFacts } from './session-facts.ts';
import { SyncDesk } from './sync-desk.ts';
import { TopicDesk } from './topic-desk.ts';
import { TurnClock } from './turn-clock.ts';
import { RespDoor } from './resp/resp-door.ts';
import type { WebSocketEvents } from './websocket.ts';
import { WholeReads } from './whole-reads.ts';
import { WorkerCalls } from './worker-calls.ts';
import { WorkerBreakers } from './worker-breakers.ts';
import { WorkerLinks } from './worker-links.ts';
import { refusedWrite } from './write-refusals.ts';
import { WriteRouter } from './write-router.ts';

const TICK_MS = 100;
const SWEEP_MS = 500;
/** What domains add around their handlers, innermost: a line for each domain that does. */
const DOMAIN_LAYERS: DomainLayers<Operation<Session>, CallStatus> = {};
/** First pause before a worker that did not answer is asked again. */
const BREAKER_OPEN_MS_MIN = 1000;
/** A name gets a number when it is first heard of, whether or not the map will ever have a record. */
const NAMES_PER_MAP = 4;

export class Gateway implements WebSocketEvents {
  /** Clients of Redis; undefined when there is no such door. */
  readonly resp: RespDoor | undefined;
  /** Runs on the outbox rings. */
  readonly outbox: Outbox;
  /** What HTTP stands on. */
  readonly door: HttpDoor;
  /** Topics, for doors without sessions. */
  readonly topics: TopicDesk;
  readonly #journal: JournalDesk;
  /** Live queries. */
  readonly queries: QueryDesk;
  readonly #options: GatewayOptions;
  readonly #sessions: SessionTable;
  readonly #calls = new CallTable();
  readonly #outgoing: Outgoing;
  readonly #fanOut: FanOut;
  readonly #desk: AuthenticationDesk;
  readonly #desks: Desks;
  readonly #locks: LockDesk;
  readonly #dispatcher: Dispatcher;
  readonly #held: HeldFrames;
  readonly #doorCalls: DoorCalls;
  readonly #waits: PersistedWaits;
  readonly #links: WorkerLinks;
  readonly #breakers: WorkerBreakers | undefined;
  readonly #watch: OperationWatch;
  readonly #maps: MapNames;
  readonly #rateLimit: RateLimit;
  readonly #askedClocks: AskedClocks;
  readonly #accessControl: AccessControl;
  readonly #clock: TurnClock;
  #sweptMs = 0;
  #draining = false;
  readonly #hlc: HybridLogicalClock;

  constructor(options: GatewayOptions) {
    const { config, state, counters } = options;
    this.#options = options;
    this.#hlc = new HybridLogicalClock(options.nodeId, Date.now);
    this.#clock = options.clock ?? new TurnClock();
    this.#askedClocks = new AskedClocks(options.quarantined, options.onWildClock);
    this.#sessions = new SessionTable(config.maxSessions);
    const levels = ackLevels(config);
    this.#outgoing = new Outgoing(new OpAckFrames(levelName(levels.plain)), config.sessionBackpressureBytesMax);
    this.#rateLimit = new RateLimit(config.rateOpsPerSecond, config.rateBurstOps);
    const classes = heldClasses(config, options.inboxes.length);
    const isReady = (worker: number): boolean => state.isWorkerReady(worker);
    this.#breakers = this.#newBreakers(isReady);
    const guards = { window: classes?.window, breakers: this.#breakers };
    this.#links = new WorkerLinks(options.table, options.inboxes, isReady, guards);
    const maps = new MapNames(config.maxMaps * NAMES_PER_MAP);
    this.#maps = maps;
    this.#accessControl = new AccessControl({
      definitions: options.definitions,
      bypassSubjects: config.policyBypassSubjects,
      links: this.#links,
      onUnreadable: (policy, reason) => options.log('warn', 'a policy that cannot be read denies everything', { policy, reason }),
    });
    this.#accessControl.onChange = () => this.#policiesChanged();
    this.#fanOut = new FanOut(
      this.#outgoing.enqueue,
      maps,
      (mapId, wanted) => {
        this.#links.interest(mapId, maps.bytesOf(mapId), wanted);
        options.onInterest(mapId, maps.bytesOf(mapId), wanted);
      },
      (count) => state.setBroadcastSessions(options.gateway, count),
    );
    this.#desk = this.#newDesk();
    const onRefused = (session: Session, reason: string): void => this.#refuseBatch(session, reason);
    const answers = new BatchAnswers(this.#calls, levels, this.#outgoing.enqueue);
    this.#waits = new PersistedWaits({ calls: this.#calls, answers, levels, workers: options.workers, counters, onRefused });
    this.#watch = new OperationWatch(options, this.#calls, this.#clock);
    this.#held = new HeldFrames({
      bytesMax: config.sessionBufferBytesMax,
      bytesMaxOfAll: config.heldBytesMax,
      ageMaxMs: config.requestTimeoutMs,
      classes,
    });
    this.#doorCalls = new DoorCalls(this.#held, () => this.#clock.nowMs);
    this.#dispatcher = new Dispatcher({
      desk: this.#desk,
      router: new WriteRouter(this.#links, maps, this.#calls, this.#askedClocks.quarantine),
      calls: this.#calls,
      answers,
      desks: () => this.#desks,
      fanOut: this.#fanOut,
      links: this.#links,
      rateLimit: this.#rateLimit,
      counters,
      enqueue: this.#outgoing.enqueue,
      close: this.#outgoing.close,
      clock: this.#clock,
      levels,
      opTimeoutMs: config.opTimeoutMs,
      waitMaxMs: config.requestTimeoutMs,
      driftMaxMs: config.driftMaxMs,
      held: this.#held,
      callsInFlightMax: config.callsInFlightMax,
      layers: DOMAIN_LAYERS,
      listeners: this.#watch.listeners,
      measured: this.#watch.measured,
      unreadBytesMax: config.sessionBackpressureBytesMax,
      onWildClock: (session, node, millis) => this.#askForOffset(session, node, millis),
      kernel: options.kernel,
    });
    options.log('debug', 'layers of operations', this.#dispatcher.layers);
    const context = this.#deskContext();
    this.door = {
      authenticator: options.authenticator,
      calls: context.calls,
      wholeReads: new WholeReads(options.acts, config.requestTimeoutMs),
      links: this.#links,
      levels,
      nodeId: options.nodeId,
      definitions: options.definitions,
      node: options.node,
      accessOf: (principal) => this.#accessControl.accessOf(principal),
      onRefused: (reason) => this.#tokenRefused(reason),
      open: (connection, principal) => this.#openFor(connection, principal),
      say: (session, frame) => this.message(session, frame, true),
      close: (session) => this.closed(session),
      now: () => this.#hlc.now(),
      remembersSinceMs: () => Math.max(state.startedMs, options.workersStartedMs()),
      pruneWatermarkMs: context.pruneWatermarkMs,
      policiesChangedSince: context.policiesChangedSince,
    };
    const { topicsPerSession, topicMessageBytesMax } = config;
    this.topics = new TopicDesk(context, { topicsPerSession, messageBytesMax: topicMessageBytesMax });
    this.#journal = new JournalDesk(context, options.journal, config.journal);
    this.queries = new QueryDesk(context, {
      queriesPerSession: config.queriesPerSession,
      queriesMax: Math.ceil(config.maxQueries / config.gatewayThreads),
      rowsMax: config.queryRowsMax,
      resultBytesMax: config.queryResultBytesMax,
      deadlineMs: config.requestTimeoutMs,
    });
    this.#locks = new LockDesk(context, () => this.#outgoing.flush());
    this.#desks = this.#newDesks(context);
    this.resp = options.resp && this.#newRespDoor(options.resp, context);
    this.outbox = new Outbox({
      calls: this.#calls,
      answers,
      waits: this.#waits,
      fanOut: this.#fanOut,
      outgoing: this.#outgoing,
      breakers: this.#breakers,
      onRefused,
      onPush: (worker, id, kind, body) => this.#desks.pushed(worker, this.#sessions.find(id), kind, body),
      onTurn: this.retry,
      onTick: () => this.#tick(),
      tickIntervalMs: TICK_MS,
    });
  }

  opened(connection: Connection, byInterest: boolean, priority: Priority = 'normal'): Session | undefined {
    const session = this.#newSession(connection, byInterest);
    if (session === undefined) return undefined;
    session.askedPriority = priority;
    this.#desk.onOpen(session);
    this.#outgoing.flush();
    return session;
  }

  /** A session of a door that has proved already whom it speaks for; it gets the events of maps that it asks for. */
  #openFor(connection: Connection, principal: Principal | undefined): Session | undefined {
    const session = this.#newSession(connection, true);
    if (session === undefined) return undefined;
    session.principal = principal;
    session.access = this.#accessControl.accessOf(principal);
    session.state = 'ready';
    this.#becameReady(session);
    return session;
  }

  /** Undefined when there are as many as there may be, or this gateway is about to stop. */
  #newSession(connection: Connection, byInterest: boolean): Session | undefined {
    const { counters } = this.#options;
    this.#clock.refresh();
    const session = this.#draining ? undefined : this.#sessions.open(connection, byInterest, this.#clock.nowMs);
    if (session === undefined) {
      counters.connectionsRefused += 1;
      return undefined;
    }
    counters.connectionsOpened += 1;
    this.#rateLimit.open(session, this.#clock.nowMs);
    return session;
  }

  #becameReady(session: Session): void {
    session.grantPriority();
    this.#accessControl.listen(session, undefined);
    this.#fanOut.join(session);
  }

  message(session: Session, frame: Uint8Array, isBinary: boolean): void {
    if (!isBinary || this.#draining || session.closing !== undefined) return; // text frames are ignored
    this.#clock.frame();
    this.#options.counters.framesReceived += 1;
    this.#dispatcher.onFrame(session, frame);
    this.#outgoing.flush();
  }

  /** The kernel took what a slow client had not read: questions of its that waited go on. */
  drained(): void {
    this.retry();
  }

  closed(session: Session): void {
    this.#fanOut.leave(session, session.oldestCall < 0 ? 0 : this.#clock.nowMs + this.#options.config.opTimeoutMs);
    this.#dispatcher.forget(session);
    this.#desks.closed(session);
    if (session.leavesTraces) this.#links.closed(session.id);
    this.#calls.abandon(session);
    this.#sessions.close(session);
    this.#options.counters.connectionsClosed += 1;
  }

  /** Tries again what found no room. Bound: bells and ticks call it. */
  readonly retry = (): void => {
    this.#clock.refresh();
    this.#links.flush();
    this.resp?.retry();
    if (this.#dispatcher.heldSessions === 0) return;
    this.#dispatcher.retryHeld();
    this.#outgoing.flush();
  };

  /**
   * The offset of a clock is fixed; 0: it is not ahead after all. Frames that waited go on with the last of those asked
   * for: a frame may name thousands.
   */
  quarantined(node: Uint8Array, offsetMs: number): void {
    if (this.#askedClocks.fixed(node, offsetMs)) this.retry();
  }

  /** A worker was replaced: it is told anew what sessions here listen to, and nobody waits for what it was to persist. */
  workerReplaced(worker: number): void {
    this.#breakers?.replaced(worker);
    this.#waits.workerReplaced(worker);
    this.#desks.workerReplaced(worker);
    this.resp?.workerReplaced(worker);
    for (const mapId of this.#fanOut.wantedMaps()) this.#links.tellInterest(worker, mapId, this.#maps.bytesOf(mapId), true);
    this.retry();
    this.#outgoing.flush();
  }

  /** Who may do what, for doors without sessions. */
  get accessControl(): AccessControl {
    return this.#accessControl;
  }

  /** Open connections go on by the policies that hold now. */
  #policiesChanged(): void {
    const changedMaps = new ChangedMaps(this.#maps);
    for (const session of this.#sessions.sessions()) {
      if (session.state === 'ready') this.#accessChanged(session, session.access.lastGuard, changedMaps);
    }
    this.#outgoing.flush();
  }

  /** `before`: the grants that the session had until now. */
  #accessChanged(session: Session, before: GrantScope | undefined, changedMaps: ChangedMaps): void {
    const { guard } = session.access;
    if (guard === before) return;
    this.#accessControl.listen(session, before);
    this.#desks.accessChanged(session, changedMaps.between(before, guard));
  }

  /** Tells every client that tombstones with an older clock are forgotten. */
  pruned(olderThanMs: number): void {
    const olderThan = { millis: olderThanMs, counter: 0, nodeId: this.#options.nodeId };
    const frame = encode({ type: 'GC_PRUNE', payload: { olderThan } }).slice();
    for (const session of this.#sessions.sessions()) if (session.state === 'ready') this.#outgoing.enqueue(session, frame);
    this.#outgoing.flush();
  }

  /** What this gateway knows and the others do not, for the administration. */
  facts(): GatewayFacts {
    const sessions: SessionFacts[] = [];
    for (const session of this.#sessions.sessions()) {
      if (sessions.length < SESSION_FACTS_MAX) sessions.push(factsOf(this.#options.gateway, session, this.#clock.nowMs));
    }
    return { sessions, slowOperations: this.#watch.slowOperations() };
  }

  /** Takes nothing more in. True when all that was accepted is answered. */
  drain(): boolean {
    this.#draining = true;
    this.retry();
    const isRespDone = this.resp?.drain() ?? true;
    return this.#calls.open === 0 && this.#dispatcher.heldSessions === 0 && isRespDone;
  }

  /** Closes every connection. */
  closeAll(): void {
    this.#outgoing.flush();
    for (const session of [...this.#sessions.sessions()]) session.close('SHUTDOWN');
    this.resp?.closeAll();
  }

  #newDesk(): AuthenticationDesk {
    const { authenticator, devices } = this.#options;
    return new AuthenticationDesk({
      authenticator,
      accessControl: this.#accessControl,
      devices,
      send: (session, frame) => {
        this.#outgoing.enqueue(session, frame);
        this.#outgoing.flush();
      },
      close: (session, cause) => {
        this.#outgoing.close(session, cause);
        this.#outgoing.flush();
      },
      onReady: (session) => this.#becameReady(session),
      onRenewed: (session, before) => {
        session.grantPriority();
        this.#accessChanged(session, before.lastGuard, new ChangedMaps(this.#maps));
        this.#outgoing.flush();
      },
      onRefused: (_session, reason) => this.#tokenRefused(reason),
    });
  }

  #newBreakers(isReady: (worker: number) => boolean): WorkerBreakers | undefined {
    const { config, inboxes, state, gateway } = this.#options;
    if (config.workerBreakerFailures === 0) return undefined;
    return new WorkerBreakers(inboxes.length, {
      failuresMax: config.workerBreakerFailures,
      openMinMs: Math.min(BREAKER_OPEN_MS_MIN, config.workerBreakerOpenMs),
      openMaxMs: config.workerBreakerOpenMs,
      callMs: config.opTimeoutMs,
      random: Math.random,
      nowMs: () => this.#clock.nowMs,
      isReady,
      onState: (worker, breaker) => state.setWorkerBreaker(gateway, worker, breaker),
    });
  }

  #tokenRefused(reason: string): void {
    const { counters, log } = this.#options;
    counters.authFailures += 1;
    log('info', 'authentication refused', { reason });
  }

  /** The domains of this gateway: a new one is a line here. */
  #newDesks(context: DeskContext): Desks {
    const { state } = this.#options;
    const now = (): Timestamp => this.#hlc.now();
    return new Desks([
      new SecurityDesk(context, this.#accessControl, now),
      new SyncDesk(context, new Scatter({ ...context, now })),
      this.topics,
      this.#locks,
      new PartitionMapDesk(context, { port: () => state.port, startedMs: () => state.startedMs }),
      new CounterDesk(context),
      this.#journal,
      this.queries,
    ]);
  }

  #newRespDoor({ config, version, facts, shutDown, mapNames }: RespOptions, { calls, links }: DeskContext): RespDoor {
    const { authenticator, counters, log, acts: marks } = this.#options;
    const accessControl = this.#accessControl;
    const clock = this.#clock;
    const { topics } = this;
    return new RespDoor({
      config,
      version,
      facts,
      shutDown,
      mapNames,
      marks,
      calls,
      links,
      topics,
      authenticator,
      accessControl,
      clock,
      counters,
      log,
      queue: this.#options.config.priorities ? new DoorCalls(this.#held, () => this.#clock.nowMs) : undefined,
    });
  }

  #deskContext(): DeskContext {
    const { gateway, nodeId, state, config, definitions, node } = this.#options;
    const calls = new WorkerCalls({
      calls: this.#calls,
      links: this.#links,
      queue: this.#doorCalls,
      deadlineMs: () => this.#clock.nowMs + config.requestTimeoutMs,
      onRetry: () => {
        this.#options.counters.requestsRetried += 1;
      },
    });
    return {
      gateway,
      calls,
      links: this.#links,
      maps: this.#maps,
      fanOut: this.#fanOut,
      clock: this.#clock,
      nodeId,
      definitions,
      node,
      enqueue: this.#outgoing.enqueue,
      sendError: (session, code, message) => this.#dispatcher.error(session, code, message),
      sessionOf: (id) => this.#sessions.find(id),
      pruneWatermarkMs: () => state.pruneWatermarkMs,
      policiesChangedSince: (sinceMs) => this.#accessControl.changedSince(sinceMs),
    };
  }

  /** False when the client has named too many clocks that run ahead. */
  #askForOffset(session: Session, node: Uint8Array, millis: number): boolean {
    const isAsked = this.#askedClocks.ask(session, node, millis);
    if (!isAsked) this.#options.counters.clocksRefused += 1;
    return isAsked;
  }

  /** Nothing of a batch was taken, or it is not safe: it comes again when its client reconnects. */
  #refuseBatch(session: Session, reason: string): void {
    const { counters } = this.#options;
    const { status, message, cause } = refusedWrite(reason);
    if (cause === 'OVERLOADED') counters.overloaded += 1;
    else counters.writesRefused += 1;
    if (session.closing !== undefined) return; // has been told, by an earlier batch
    this.#dispatcher.error(session, status, message);
    this.#outgoing.close(session, cause);
  }

  #tick(): void {
    this.#clock.refresh();
    const { nowMs } = this.#clock;
    this.#waits.sweep(nowMs);
    this.#desks.tick(nowMs);
    this.resp?.tick(nowMs);
    if (nowMs - this.#sweptMs >= SWEEP_MS) {
      this.#sweptMs = nowMs;
      this.#sweepSessions(nowMs);
      this.#fanOut.sweep(nowMs);
      this.#calls.forEachExpired(nowMs, (slot) => this.#expire(slot));
      this.retry();
      this.#dispatcher.closeOverdue();
    }
    publishFigures(this.#options.counters, {
      sessions: this.#sessions,
      calls: this.#calls,
      dispatcher: this.#dispatcher,
      outgoing: this.#outgoing,
      fanOut: this.#fanOut,
      journal: this.#journal,
      queries: this.queries,
      locks: this.#locks,
      topics: this.topics,
      resp: this.resp,
    });
  }

  #sweepSessions(nowMs: number): void {
    const { authDeadlineMs, idleTimeoutMs } = this.#options.config;
    let bytes = 0;
    for (const session of [...this.#sessions.sessions()]) {
      bytes += sessionBytes(session);
      if (session.state !== 'ready') {
        if (nowMs - session.openedMs > authDeadlineMs) session.close('AUTH_TIMEOUT');
      } else if (nowMs - session.lastSeenMs > idleTimeoutMs) session.close('IDLE');
      else this.#desk.checkExpiry(session, this.#clock.wallMs);
    }
    this.#options.counters.sessionBytes = bytes;
  }

  /** No answer in time: a batch comes again when its client reconnects, a question is answered with an error. */
  #expire(slot: number): void {
    this.#options.counters.deadlinesExceeded += 1;
    this.#breakers?.silent(this.#calls.waiting[slot] as number);
    const gather = this.#calls.gathers[slot];
    const session = this.#calls.sessions[slot];
    this.#calls.release(slot);
    if (gather !== undefined) gather.expired();
    if (gather !== undefined || session === undefined || session.closing !== undefined) return;
    this.#dispatcher.error(session, 504, 'DEADLINE_EXCEEDED: no answer within the deadline');
    this.#outgoing.close(session, 'DEADLINE');
  }
}

/** Priorities, where they are on. */
function heldClasses(config: GatewayConfig, workers: number): HeldClasses | undefined {
  if (!config.priorities) return undefined;
  const { priorityWeightHigh: high, priorityWeightNormal: normal, priorityWeightLow: low, priorityFramesMax } = config;
  return { weights: { high, normal, low }, framesMax: priorityFramesMax, window: new RingWindow(workers) };
}
