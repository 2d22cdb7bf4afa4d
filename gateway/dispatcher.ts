/**
 * From frames to operations: what a client sends, in its order, through the interceptors to a handler.
 *
 *   frame ─ not authenticated? only AUTH (authentication-desk.ts)
 *         ─ scan ─┬─ OP_BATCH, CLIENT_OP   authentication → deadline → admission → routing → rings     (hot path)
 *                 ├─ PING                  answered at once
 *                 └─ other                 decoded, parsed, to the desk of its type; what is not built is refused by name
 *
 * A frame that finds no room is held, and with it every later frame of its session: order is kept. Malformed frames
 * are dropped and counted.
 */
import { batchItems } from '../engine/protocol/batch-frame.ts';
import type { BatchKernel } from '../engine/protocol/batch-kernel.ts';
import { decode, encode } from '../engine/protocol/codec.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { type ClientMessage, parseMessage, refusalOf } from '../engine/protocol/messages.ts';
import { number, readNumber } from '../engine/protocol/msgpack-number.ts';
import { type FrameIds, OP, type OpIndex, OP_WORDS } from '../engine/protocol/op-index.ts';
import { decodeText } from '../engine/protocol/wire-text.ts';
import type { AckLevels } from '../engine/protocol/ack-level.ts';
import { Scanner, SCAN_CLIENT_OP, SCAN_MALFORMED, SCAN_OP_BATCH, SCAN_PING } from '../engine/protocol/scanner.ts';
import type { OperationListener } from '../engine/operation/interceptors/event-listener.ts';
import { type CallStatus, isOperationType, Operation } from '../engine/operation/operation.ts';
import { type DomainLayers, type Layer, layered, layerNames } from '../engine/operation/layers.ts';
import type { OperationMetrics } from '../engine/operation/operation-metrics.ts';
import type { Handler } from '../engine/operation/pipeline.ts';
import { AskedLevels, namesLevels } from './asked-levels.ts';
import type { AuthenticationDesk } from './authentication-desk.ts';
import type { BatchAnswers } from './batch-answers.ts';
import type { BatchDetails, CallTable } from './call-table.ts';
import type { CloseCause } from './connection.ts';
import type { Desks } from './desk.ts';
import type { FanOut } from './fan-out.ts';
import type { GatewayCounters } from './gateway-counters.ts';
import type { HeldFrames } from './held-frames.ts';
import { rightRefusal } from './message-rights.ts';
import { sharedLayers } from './operation-layers.ts';
import { pongFrame } from './pong.ts';
import type { RateLimit } from './rate-limit.ts';
import type { HeldFrame, Session } from './session.ts';
import type { TurnClock } from './turn-clock.ts';
import type { WorkerLinks } from './worker-links.ts';
import type { WriteRouter } from './write-router.ts';

/** A BATCH may hold BATCH frames; each copies what is inside, so that depth is bounded. */
const NESTED_BATCHES_MAX = 3;

export interface DispatcherOptions {
  readonly desk: AuthenticationDesk;
  readonly router: WriteRouter;
  readonly calls: CallTable;
  readonly answers: BatchAnswers;
  readonly desks: () => Desks;
  readonly fanOut: FanOut;
  readonly links: WorkerLinks;
  readonly rateLimit: RateLimit;
  readonly counters: GatewayCounters;
  readonly enqueue: (session: Session, frame: Uint8Array | number) => void;
  /** Closes a session behind the frames that are queued for it. */
  readonly close: (session: Session, cause: CloseCause) => void;
  readonly clock: TurnClock;
  /** The durability levels of this node. */
  readonly levels: AckLevels;
  readonly opTimeoutMs: number;
  /** The longest that anything of a client waits: a held frame for room, an answer for PERSISTED. */
  readonly waitMaxMs: number;
  readonly driftMaxMs: number;
  readonly held: HeldFrames;
  /** Calls under way, above which further ones are refused at once; 0 = as many as there are slots. */
  readonly callsInFlightMax: number;
  /** What domains add around their handlers. */
  readonly layers: DomainLayers<Operation<Session>, CallStatus>;
  /** Hear of operations that have ended. */
  readonly listeners: readonly OperationListener[];
  /** Counts operations by type, where that is wanted. */
  readonly measured: OperationMetrics | undefined;
  /** Bound of unread bytes, above which a client is closed. */
  readonly unreadBytesMax: number;
  /**
   * A clock is further ahead than allowed and has no fixed offset yet: get one, then try the held frames again. False when
   * it gets none.
   */
  readonly onWildClock: (session: Session, node: Uint8Array, millis: number) => boolean;
  /** Scans what clients usually send. */
  readonly kernel?: BatchKernel | undefined;
}

/** Questions wait while a client has more than this share (one in so many) of the bound unread. */
const QUESTION_SHARE = 4;

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #scanner: Scanner;
  readonly #pipeline: Handler<Operation<Session>, CallStatus>;
  readonly #held: HeldFrames;
  #operation: Operation<Session> | undefined;
  /** The operation at hand, where it was decoded; writes stand in the scanner's index. */
  #message: ClientMessage | undefined;
  #ids: FrameIds | undefined;
  /** When the frame at hand came. */
  #sinceMs = 0;
  /** BATCH frames around the one at hand. */
  #nesting = 0;

  constructor(options: DispatcherOptions) {
    this.#options = options;
    this.#held = options.held;
    this.#scanner = new Scanner(options.kernel);
    const { layers } = options;
    this.#pipeline = layered(this.#sharedLayers(), layers, (operation) => this.#handle(operation));
  }

  #sharedLayers(): Layer<Operation<Session>, CallStatus>[] {
    return sharedLayers(this.#options, {
      admits: (operation) => this.#admits(operation),
      shed: (operation) => this.#shed(operation),
      shedLoad: (operation) => this.#shedLoad(operation),
      refuseSilent: (operation, worker) => this.#refuseSilent(operation, worker),
      reads: (session) => this.#reads(session),
    });
  }

  /** False while the client has much to read: answers to its questions would only get it closed. */
  #reads(session: Session): boolean {
    return session.connection.bufferedBytes() * QUESTION_SHARE <= this.#options.unreadBytesMax;
  }

  /** Names of the layers that operations pass, by domain; `*` for those that add none. */
  get layers(): Readonly<Record<string, readonly string[]>> {
    return layerNames(this.#sharedLayers(), this.#options.layers);
  }

  /** Sessions with frames that wait for room. */
  get heldSessions(): number {
    return this.#held.sessions;
  }

  /** Copies what is counted of held frames. */
  count(counters: GatewayCounters): void {
    const { waiting, served, refused, bytes } = this.#held;
    counters.heldBytes = bytes;
    counters.heldHigh = waiting.high;
    counters.heldNormal = waiting.normal;
    counters.heldLow = waiting.low;
    counters.servedHigh = served.high;
    counters.servedNormal = served.normal;
    counters.servedLow = served.low;
    counters.refusedHigh = refused.high;
    counters.refusedNormal = refused.normal;
    counters.refusedLow = refused.low;
  }

  /** Takes one frame of a session. `frame` is valid during the call only. */
  onFrame(session: Session, frame: Uint8Array): void {
    session.lastSeenMs = this.#options.clock.nowMs;
    if (session.state !== 'ready') {
      this.#options.desk.onFrame(session, frame);
      return;
    }
    this.#sinceMs = session.lastSeenMs;
    if (session.held.length > 0 && !this.#isPing(frame)) this.#hold(session, frame);
    else if (!this.#process(session, frame)) this.#hold(session, frame);
  }

  /** Tries the held frames again, each session in its order. */
  retryHeld(): void {
    this.#held.retry(this.#processHeld, this.#mayGoOn);
  }

  readonly #processHeld = (session: Session, { frame, sinceMs, call }: HeldFrame): boolean => {
    if (call !== undefined) {
      session.heldFor = call.run();
      return session.heldFor < 0;
    }
    this.#sinceMs = sinceMs; // of the items, too, when the frame is a BATCH of which some are held again
    return this.#process(session, frame);
  };

  /** Spares another scan of a frame whose worker has no room yet. */
  readonly #mayGoOn = (session: Session): boolean => session.heldFor < 0 || this.#options.links.hasRoom(session.heldFor);

  /** Gives up on sessions whose frames have found no room for too long. Call it after `retryHeld`. */
  closeOverdue(): void {
    const { clock, waitMaxMs, counters } = this.#options;
    this.#held.expireCalls(clock.nowMs);
    for (const session of this.#held.overdue(clock.nowMs, (held) => this.#reads(held))) {
      counters.heldTooLong += 1;
      this.error(session, 503, `UNAVAILABLE: the server could not take the request for ${waitMaxMs} ms, try again later`);
      this.#close(session, 'UNAVAILABLE');
    }
  }

  forget(session: Session): void {
    this.#held.forget(session);
  }

  /** True when the frame was dealt with; false when it must come again, in order. */
  #process(session: Session, frame: Uint8Array): boolean {
    const scanned = this.#scanner.scan(frame, frame.length);
    if (scanned === SCAN_OP_BATCH || scanned === SCAN_CLIENT_OP) {
      return this.#run(session, scanned === SCAN_OP_BATCH ? 'OP_BATCH' : 'CLIENT_OP', undefined);
    }
    if (scanned === SCAN_PING) {
      this.#pong(session, frame);
      return true;
    }
    if (scanned === SCAN_MALFORMED) {
      this.#options.counters.framesMalformed += 1;
      return true;
    }
    return this.#processDecoded(session, frame);
  }

  #pong(session: Session, frame: Uint8Array): void {
    const { pingStart, pingBytes } = this.#scanner;
    const nowMs = Date.now();
    if (pingBytes > 0) {
      readNumber(frame, pingStart);
      session.clockSkewMs = (number[0] as number) - nowMs;
    }
    this.#options.enqueue(session, pongFrame(frame, pingStart, pingBytes, nowMs));
  }

  #processDecoded(session: Session, frame: Uint8Array): boolean {
    const message = parsed(frame);
    if (message === undefined) {
      this.#options.counters.framesUnknown += 1;
      return true;
    }
    if (message.type === 'BATCH') return this.#unpack(session, message.data);
    if (message.type === 'AUTH') {
      this.#options.desk.onLateAuth(session, message);
      return true;
    }
    if (isOperationType(message.type)) return this.#run(session, message.type, message);
    this.#refuse(session, message);
    return true;
  }

  /** Items of a BATCH as if each had come by itself; from the first that finds no room on, they are held one by one. */
  #unpack(session: Session, data: Uint8Array): boolean {
    const items = this.#nesting < NESTED_BATCHES_MAX ? batchItems(data) : undefined;
    if (items === undefined) {
      this.#options.counters.framesMalformed += 1;
      return true;
    }
    this.#nesting += 1;
    const later = session.held.splice(1); // came behind this BATCH, when it was held itself
    const held = session.held.length;
    for (const { start, end } of items) {
      const item = data.subarray(start, end);
      if (session.held.length > held || !this.#process(session, item)) this.#hold(session, item);
      if (!isServed(session)) break;
    }
    if (isServed(session)) session.held.push(...later);
    this.#nesting -= 1;
    return true;
  }

  #run(session: Session, type: Operation<Session>['type'], message: ClientMessage | undefined): boolean {
    this.#operation ??= new Operation(session);
    const operation = this.#operation;
    operation.type = type;
    operation.caller = session;
    operation.cost = 1;
    session.heldFor = -1;
    this.#message = message;
    const status = this.#pipeline(operation);
    this.#message = undefined;
    session.headAdmitted = status === 'HELD';
    if (status !== 'HELD') session.heldFor = -1;
    else if (message !== undefined && session.heldFor < 0) session.heldFor = this.#options.links.firstBlocked();
    return status !== 'HELD';
  }

  #admits(operation: Operation<Session>): boolean {
    const session = operation.caller;
    if (operation.service !== 'crdt')
      return session.headAdmitted || this.#options.rateLimit.admit(session, operation.cost, this.#options.clock.nowMs);
    const ids = this.#options.router.ids(this.#scanner.index, session.highestId);
    this.#ids = ids;
    operation.cost = ids.cost;
    if (!session.headAdmitted && !this.#options.rateLimit.admit(session, ids.cost, this.#options.clock.nowMs)) return false;
    if (ids.high > session.highestId) session.highestId = ids.high;
    return true;
  }

  /** Ops that are dropped come again only when the client reconnects, so its connection is closed. */
  #shed(operation: Operation<Session>): void {
    const session = operation.caller;
    this.#options.counters.rateLimited += 1;
    this.error(session, 429, 'RATE_LIMITED: rate limit exceeded, slow down');
    if (operation.service === 'crdt') this.#close(session, 'RATE_LIMITED');
  }

  /** A worker does not answer: what would go to it is refused before a deadline says so. */
  #refuseSilent(operation: Operation<Session>, worker: number): CallStatus {
    const session = operation.caller;
    this.#options.counters.refusedAtOnce += 1;
    this.error(session, 503, `UNAVAILABLE: worker ${worker} does not answer, try again later`);
    if (operation.service === 'crdt') this.#close(session, 'UNAVAILABLE');
    return 'RESPONSE';
  }

  /** Too much is under way already. */
  #shedLoad(operation: Operation<Session>): CallStatus {
    const session = operation.caller;
    this.#options.counters.loadShed += 1;
    this.error(session, 429, 'OVERLOADED: too many requests are under way, try again later');
    if (operation.service === 'crdt') this.#close(session, 'OVERLOADED');
    return 'RESPONSE';
  }

  #handle(operation: Operation<Session>): CallStatus {
    switch (operation.type) {
      case 'OP_BATCH':
      case 'CLIENT_OP':
        return this.#write(operation);
      case 'PING':
        return 'RESPONSE'; // answered without decoding
      case 'DEVICE_HELLO':
        this.#options.desk.onDeviceHello(operation.caller, this.#message);
        return 'RESPONSE';
      case 'CLIENT_APPLY_ACK':
        return 'VOID'; // tombstones are pruned by age: no epochs are counted
      default:
        return this.#ask(operation);
    }
  }

  #ask({ type, caller }: Operation<Session>): CallStatus {
    const desk = this.#options.desks().of(type);
    const refusal = this.#message === undefined ? undefined : rightRefusal(caller.access, this.#message);
    if (refusal !== undefined) {
      this.error(caller, 403, `FORBIDDEN: ${refusal}`);
      return 'RESPONSE';
    }
    return desk === undefined || this.#message === undefined ? 'VOID' : desk.ask(caller, this.#message);
  }

  #write(operation: Operation<Session>): CallStatus {
    const { calls, router, answers, counters, fanOut } = this.#options;
    const session = operation.caller;
    const index = this.#scanner.index;
    if (this.#scanner.batchInvalid) {
      counters.framesMalformed += 1;
      this.error(session, 400, 'BAD_REQUEST: the batch has no list of operations, too many of them, or a wrong write concern');
      return 'RESPONSE';
    }
    const ids = this.#ids;
    if (ids === undefined) return 'VOID';
    if (ids.latestMillis > this.#latestMs() && this.#mustQuarantine(session, ids.latestMillis)) return 'HELD';
    const slot = calls.claim(session, operation.deadlineMs);
    if (slot < 0) return 'HELD';
    calls.describe(slot, ids.low, ids.high, index.count);
    const asks = namesLevels(this.#scanner);
    if (asks || !ids.dense) this.#details(slot).levels = asks ? this.#askedLevels(slot) : undefined;
    const routed = router.route(session, index, slot, fanOut.isBroadcast(session), this.#detailsOf);
    if (routed === 'held') {
      session.heldFor = router.heldFor;
      calls.giveBack(slot);
      return 'HELD';
    }
    if (routed === 'refused') {
      calls.giveBack(slot);
      return this.#refuseSilent(operation, router.refusedBy);
    }
    counters.batches += 1;
    counters.ops += index.count;
    if (routed === 'sent' && !(asks && calls.details[slot]?.levels?.forgets === true)) return 'WAIT';
    answers.settle(slot);
    return 'RESPONSE';
  }

  /** The latest stamp that may be taken over as it is. */
  #latestMs(): number {
    return this.#options.clock.wallMs + this.#options.driftMaxMs;
  }

  /** True when the frame must wait for the offset of a clock. Ops whose clock cannot have one are marked as invalid. */
  #mustQuarantine(session: Session, latestMillis: number): boolean {
    const { router, onWildClock, clock } = this.#options;
    clock.refresh(); // an offset is for ever: a thread that stood still must not take its own clock for the time
    const latestMs = this.#latestMs();
    if (latestMillis <= latestMs) return false;
    const wild = router.wildClocks(session, this.#scanner.index, latestMs);
    const awaited = wild.filter(({ node, millis }) => onWildClock(session, node, millis));
    if (awaited.length === 0) router.refuseWildClocks(session, this.#scanner.index, latestMs);
    return awaited.length > 0;
  }

  #askedLevels(slot: number): AskedLevels {
    const { levels, clock, opTimeoutMs, waitMaxMs, router } = this.#options;
    const bounds = { usualMs: opTimeoutMs, longestMs: waitMaxMs };
    return new AskedLevels(slot, this.#scanner, levels, clock.nowMs, bounds, router);
  }

  readonly #detailsOf = (slot: number): BatchDetails => this.#details(slot);

  /** The call's details, made when something about the batch is unusual. */
  #details(slot: number): BatchDetails {
    const known = this.#options.calls.details[slot];
    if (known !== undefined) return known;
    const ids = this.#ids?.dense === true && this.#ids.low > 0 ? undefined : spelledIds(this.#scanner.index);
    const details: BatchDetails = { ids, rejected: new Map(), refusals: new Map(), levels: undefined };
    this.#options.calls.details[slot] = details;
    return details;
  }

  #refuse(session: Session, message: ClientMessage): void {
    if (!this.#options.rateLimit.admit(session, 1, this.#options.clock.nowMs)) {
      this.#options.counters.rateLimited += 1;
      return this.error(session, 429, 'RATE_LIMITED: rate limit exceeded, slow down');
    }
    const refusal = refusalOf(message);
    if (refusal !== undefined) this.#options.enqueue(session, encode(refusal).slice());
  }

  #hold(session: Session, frame: Uint8Array): void {
    if (!isServed(session)) return;
    const { counters } = this.#options;
    const refusal = this.#held.hold(session, frame, this.#sinceMs);
    if (refusal === undefined) {
      counters.framesHeld += 1;
      return;
    }
    counters.overloaded += 1;
    const reason = refusal === 'class-full' ? `too many requests of priority ${session.priority} wait` : 'server overloaded';
    this.error(session, 429, `OVERLOADED: ${reason}, try again later`);
    this.#close(session, 'OVERLOADED');
  }

  #isPing(frame: Uint8Array): boolean {
    return this.#scanner.scan(frame, frame.length) === SCAN_PING;
  }

  /** Tells a client what went wrong; it only logs it. */
  error(session: Session, code: number, message: string): void {
    this.#options.enqueue(session, encode({ type: 'ERROR', payload: { code, message } }).slice());
  }

  #close(session: Session, cause: CloseCause): void {
    this.forget(session);
    this.#options.close(session, cause);
  }
}

function spelledIds({ words, count, bytes }: OpIndex): string[] {
  const ids: string[] = [];
  for (let op = 0; op < count; op++) {
    const row = op * OP_WORDS;
    const start = words[row + OP.ID_START] as number;
    ids.push(decodeText(bytes, start, start + (words[row + OP.ID_BYTES] as number)));
  }
  return ids;
}

/** False once the session is closed, or will be with the next flush: nothing more is taken from it. */
function isServed(session: Session): boolean {
  return session.isOpen && session.closing === undefined;
}

/** The frame as a message, or undefined when it is none that is known. */
function parsed(frame: Uint8Array): ClientMessage | undefined {
  try {
    return parseMessage(decode(frame));
  } catch (error) {
    if (error instanceof GridError) return undefined; // bounds or extension types that the scanner lets pass
    throw error;
  }
}
