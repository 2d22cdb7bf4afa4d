/**
 * What a domain answers on a worker, and how it speaks up unasked.
 *
 *   gateway ── REQUEST (kind, session, body) ──▶ the handler of that kind ── parts ──▶ REPLY, behind the log
 *   gateway ── CLOSED (session) ──────────────▶ every handler: what it kept for the session goes
 *   handler ── push(gateway, session, kind, body) ──▶ PUSH, behind the log ──▶ the gateway's desk of that kind
 *
 * Replies and pushes of a batch leave when the log has the batch: whoever is told of a write may rely on it.
 */

/** A request of a gateway. Reused by nobody: a handler may keep it. */
export interface GridRequest {
  /** One of the REQUEST_ kinds in protocol/envelope.ts. */
  readonly kind: number;
  /** As the gateway wrote it; the handler's own. */
  readonly body: Uint8Array;
  readonly gateway: number;
  /** Number of the asking session at that gateway; 0 where a door asks for itself. */
  readonly session: number;
  /** Wall clock of the batch, ms. */
  readonly nowMs: number;
  /** A worker before this one has run it and logged what it wrote; only its answer may be missing. Left out: no. */
  readonly isLogged?: boolean;
}

/** An answer that comes in parts, later. Whoever takes them may take their time. Rejects with GridError. */
export type LateParts = AsyncGenerator<Uint8Array, void, void>;

/** The parts of an answer, or a way to get them later. None is an empty answer. */
export type RequestAnswer = readonly Uint8Array[] | LateParts;

/** A service, or a part of one, that answers requests. */
export interface RequestHandler {
  /** The kinds it answers. A kind has one handler. */
  readonly kinds: readonly number[];
  /** Those of them that write: refused while the log, staging or memory takes no more. */
  readonly writeKinds: readonly number[];
  /** Those of the kinds that write which the handler refuses by itself, in part: it is handed them also while writes are refused. */
  readonly judgedKinds?: readonly number[];
  /** Those of the kinds that write whose answer has a body where nothing was written, which says why, and none where something was. */
  readonly bareKinds?: readonly number[];
  /** Called on the worker's thread between other records: does not block. Throws GridError for what the asker must know. */
  answer(request: GridRequest): RequestAnswer;
  /** A batch, or a turn of background work, is over: the last moment to push what it changed. Called often; to be cheap. */
  settled?(): void;
  /** True when `settled` has not pushed all, since much waits to be read: to be called again when gateways have read. */
  readonly isUnsettled?: boolean;
  /** A session is gone; told only of sessions whose gateway said that they leave something behind. */
  sessionClosed?(gateway: number, session: number): void;
  /** Called every 100 ms, for what comes about by time. Bounded work. */
  tick?(nowMs: number): void;
}

/** Takes what a handler tells a session, or a whole gateway (session 0), without being asked. */
export interface PushSink {
  /**
   * `kind` is one of the PUSH_ kinds; `body` is kept until the batch ends, so it is the sink's now. `isAhead`: it leaves before the
   * replies of the batch, else behind them.
   */
  push(gateway: number, session: number, kind: number, body: Uint8Array, isAhead?: boolean): void;
  /** Bytes that were pushed to the gateway, or stand before what is pushed, and have no room in its ring yet. Left out: none. */
  waitingBytes?(gateway: number): number;
}

/** Finds the handler of a kind. Two handlers of one kind are a bug, found at start. */
export class RequestHandlers {
  readonly #byKind = new Map<number, RequestHandler>();
  readonly #writes = new Set<number>();
  readonly #judged = new Set<number>();
  readonly #bare = new Set<number>();
  readonly #all: readonly RequestHandler[];
  readonly #settling: readonly RequestHandler[];

  constructor(handlers: readonly RequestHandler[]) {
    this.#all = handlers;
    this.#settling = handlers.filter((handler) => handler.settled !== undefined);
    for (const handler of handlers) {
      for (const kind of handler.kinds) {
        if (this.#byKind.has(kind)) throw new Error(`two handlers of request kind ${kind}`);
        this.#byKind.set(kind, handler);
      }
      for (const kind of handler.writeKinds) this.#writes.add(kind);
      for (const kind of handler.judgedKinds ?? []) this.#judged.add(kind);
      for (const kind of handler.bareKinds ?? []) this.#bare.add(kind);
    }
  }

  of(kind: number): RequestHandler | undefined {
    return this.#byKind.get(kind);
  }

  writes(kind: number): boolean {
    return this.#writes.has(kind);
  }

  /** True when an answer of the kind that ends with this body tells of a write. */
  tellsOfWrite(kind: number, body: Uint8Array | undefined): boolean {
    return this.#writes.has(kind) && !(this.#bare.has(kind) && body !== undefined && body.length > 0);
  }

  /** True when an answer of the kind says for sure whether something was written. */
  isBare(kind: number): boolean {
    return this.#bare.has(kind);
  }

  /** True when the handler itself says what of such a request is refused. */
  judges(kind: number): boolean {
    return this.#judged.has(kind);
  }

  settled(): void {
    for (let index = 0; index < this.#settling.length; index++) this.#settling[index]?.settled?.();
  }

  /** True when a handler wants `settled` to be called again, though nothing changes meanwhile. */
  get isUnsettled(): boolean {
    for (let index = 0; index < this.#settling.length; index++) if (this.#settling[index]?.isUnsettled === true) return true;
    return false;
  }

  sessionClosed(gateway: number, session: number): void {
    for (const handler of this.#all) handler.sessionClosed?.(gateway, session);
  }

  tick(nowMs: number): void {
    for (const handler of this.#all) handler.tick?.(nowMs);
  }
}
