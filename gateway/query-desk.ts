/**
 * Queries at a gateway: checks them, tells the workers that can have matching rows, and sends their sessions what comes of it.
 *
 *   QUERY_SUB ─ parse, bounds ─ SUB to each worker ─▶ PUSH of each: rows, READY ─ gather ─▶ QUERY_RESP
 *   PUSH: what changed ─ gather ─▶ QUERY_UPDATE per row; groups: QUERY_RESP again, at most each tick
 *   worker replaced, row rules changed ─ SUB again ─▶ the differences, as QUERY_UPDATE
 *
 * A query is known by its session and id: the same id again replaces it. What is wrong with a query is answered with ERROR
 * (query-frames.ts says why). Updates go to the writer, too: its client relies on them. A slow session is closed as for events.
 */
import { encode } from '../engine/protocol/codec.ts';
import { CALL_NONE, PUSH_QUERY, REQUEST_QUERY_SUB, REQUEST_QUERY_UNSUB } from '../engine/protocol/envelope.ts';
import { type ErrorCode, GridError } from '../engine/protocol/errors.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import type { QuerySubscribeMessage } from '../engine/protocol/query-messages.ts';
import { encodeText } from '../engine/protocol/wire-text.ts';
import { NO_SCOPE } from '../engine/domains/security/access.ts';
import { authValues } from '../engine/domains/security/subject.ts';
import { writeCursor } from '../engine/domains/query/cursor.ts';
import { parseQuery } from '../engine/domains/query/query-spec.ts';
import { encodeSubscribe, encodeUnsubscribe, type QueryItem, readPush } from '../engine/domains/query/query-wire.ts';
import type { CallStatus } from '../engine/operation/operation.ts';
import { ClientQuery } from './client-query.ts';
import type { Desk, DeskContext } from './desk.ts';
import type { GrantScope } from './grant-scope.ts';
import { groupsFrame, queryErrorFrame, resultFrame, updateFrame } from './query-frames.ts';
import { queryTargets } from './query-targets.ts';
import type { Session } from './session.ts';
import { SharedValues } from './shared-values.ts';

export interface QueryLimits {
  readonly queriesPerSession: number;
  /** On this gateway. */
  readonly queriesMax: number;
  /** Rows of one result. */
  readonly rowsMax: number;
  /** Bytes of one first result: values, keys, sorted values, or groups. */
  readonly resultBytesMax: number;
  /** How long a client waits for its first result, ms. */
  readonly deadlineMs: number;
}

/** What is kept for all queries here: keys, sorted values and groups, values while several workers answer, and what was asked. */
const KEPT_BYTES_MAX = 256 * 1024 * 1024;
/** What one query asks is kept as long as it lives, here and at the workers. */
const ASKED_BYTES_MAX = 512 * 1024;
/** A repair may be larger than a first result: the view has grown since. */
const REPAIR_BYTES_FACTOR = 16;
/** Pause before a worker that could not answer is told again, ms. */
const RETRY_MS = 1000;
/** Groups are sent at most so often, ms. */
const GROUPS_MS = 100;

/** The queries of a session, by their ids, and what it might see when they were last held to it. */
interface SessionQueries {
  readonly byId: Map<string, ClientQuery>;
  isHeld: boolean;
  guard: GrantScope | undefined;
  scope: number;
}

export class QueryDesk implements Desk {
  readonly types = ['QUERY_SUB', 'QUERY_UNSUB', 'QUERY_SYNC_INIT'] as const;
  readonly pushKinds = [PUSH_QUERY];
  /** Updates sent. */
  updates = 0;
  /** Queries that ended with an error, before their first result or after it. */
  failed = 0;
  readonly #context: DeskContext;
  readonly #limits: QueryLimits;
  readonly #bySession = new Map<Session, SessionQueries>();
  /** Those with groups: told of on ticks. */
  readonly #grouped = new Set<ClientQuery>();
  readonly #byNumber = new Map<number, ClientQuery>();
  /** Not answered, or with workers to be told: looked at on each tick. */
  readonly #unsettled = new Set<ClientQuery>();
  readonly #values = new SharedValues();
  #number = 0;
  #keptBytes = 0;

  constructor(context: DeskContext, limits: QueryLimits) {
    this.#context = context;
    this.#limits = limits;
  }

  /** Live queries here. */
  get queries(): number {
    return this.#byNumber.size;
  }

  ask(session: Session, message: ClientMessage): CallStatus {
    if (message.type === 'QUERY_SUB') return this.#subscribe(session, message);
    if (message.type === 'QUERY_UNSUB') this.#end(this.#bySession.get(session)?.byId.get(message.queryId));
    return 'VOID';
  }

  pushed(worker: number, _session: Session | undefined, _kind: number, body: Uint8Array): void {
    readPush(body, (number, epoch, items) => {
      const query = this.#byNumber.get(number);
      if (query === undefined || query.epochOf(worker) !== epoch) return;
      this.#apply(query, worker, items);
    });
  }

  closed(session: Session): void {
    const queries = this.#bySession.get(session);
    if (queries === undefined) return;
    for (const query of [...queries.byId.values()]) this.#forget(query); // workers hear of it by themselves
  }

  /** What the workers still say by the old rules is not heard. */
  accessChanged(session: Session): void {
    const queries = this.#bySession.get(session);
    if (queries === undefined) return;
    this.#follow(session, queries);
    for (const query of [...queries.byId.values()]) this.#tell(query, this.#context.clock.nowMs);
  }

  workerReplaced(worker: number): void {
    for (const query of [...this.#byNumber.values()]) {
      if (query.isDeadlyTo(worker))
        this.#fail(query, new GridError('UNAVAILABLE', 'workers ended before they had answered this query'));
      else this.#restart(query, worker, 0);
    }
    this.tick(this.#context.clock.nowMs);
  }

  tick(nowMs: number): void {
    for (const [session, queries] of this.#bySession) this.#follow(session, queries);
    for (const query of this.#grouped) if (query.gathered.isTouched) this.#deliver(query);
    for (const query of [...this.#unsettled]) {
      this.#tell(query, nowMs);
      if (!query.isAnswered && nowMs > query.asked.deadlineMs)
        this.#fail(query, new GridError('DEADLINE_EXCEEDED', 'no first result within the deadline'));
      else if (query.isAnswered && query.untold.size === 0) this.#unsettled.delete(query);
    }
  }

  /** Looks at what the session may see, when that has changed since its queries were last held to it. */
  #follow({ access }: Session, queries: SessionQueries): void {
    const { guard, scope } = access;
    if (queries.isHeld && guard === queries.guard && scope === queries.scope) return;
    queries.isHeld = true;
    queries.guard = guard;
    queries.scope = scope;
    for (const query of [...queries.byId.values()])
      if (scope !== query.scope || !access.may('read', query.asked.mapName)) this.#rescope(query);
  }

  #subscribe(session: Session, message: QuerySubscribeMessage): CallStatus {
    const { links, fanOut } = this.#context;
    try {
      const { mapId, mapName } = this.#checkedMap(session, message.mapName);
      const { rowsMax, deadlineMs } = this.#limits;
      const spec = parseQuery(message.query ?? {}, message.fields, {
        mapName,
        rowsMax,
        nowMs: Date.now(),
        auth: authValues(session.principal),
      });
      const { workers } = queryTargets(spec.predicate.tree, links.table, this.#context.calls.everyone);
      if (workers.some((worker) => !links.takesOf(session, worker))) return 'HELD';
      this.#end(this.#bySession.get(session)?.byId.get(message.queryId));
      this.#assertRoom(session);
      const { queryId, query, fields } = message;
      const map = encodeText(mapName);
      this.#number += 1;
      const bytes = encode([query, fields]).length;
      if (bytes > ASKED_BYTES_MAX) throw new GridError('BAD_REQUEST', `a query has at most ${ASKED_BYTES_MAX} bytes`);
      const asked = { session, queryId, number: this.#number, mapName, map, query: query ?? {}, fields, bytes, spec, workers };
      this.#add(new ClientQuery({ ...asked, deadlineMs: this.#context.clock.nowMs + deadlineMs }, session.access.scope));
      fanOut.listen(session, mapId);
      return 'WAIT';
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#context.enqueue(session, queryErrorFrame(message.queryId, error));
      return 'RESPONSE';
    }
  }

  #checkedMap(session: Session, mapName: unknown): { mapId: number; mapName: string } {
    if (typeof mapName !== 'string') throw new GridError('INVALID_MAP_NAME', 'a query names its map');
    const { maps } = this.#context;
    const name = encodeText(mapName);
    const mapId = maps.idOf(name, 0, name.length, () => session.access.may('read', mapName));
    const error = maps.errorOf(mapId);
    if (error !== undefined && error !== 'FORBIDDEN') throw new GridError(error, 'map name refused');
    if (!session.access.may('read', mapName)) throw new GridError('FORBIDDEN', 'this map may not be read');
    return { mapId, mapName };
  }

  #assertRoom(session: Session): void {
    const { queriesPerSession, queriesMax } = this.#limits;
    const own = this.#bySession.get(session)?.byId.size ?? 0;
    if (own >= queriesPerSession) throw new GridError('OVERLOADED', `a connection has at most ${queriesPerSession} live queries`);
    if (this.#byNumber.size >= queriesMax || this.#keptBytes > KEPT_BYTES_MAX)
      throw new GridError('OVERLOADED', 'too many live queries on this server (maxQueries): end some');
  }

  #add(query: ClientQuery): void {
    const { session, queryId, number, bytes } = query.asked;
    session.leavesTraces = true;
    this.#keptBytes += bytes;
    this.#byNumber.set(number, query);
    if (query.gathered.isGrouped) this.#grouped.add(query);
    const queries = this.#bySession.get(session) ?? { byId: new Map(), isHeld: false, guard: undefined, scope: NO_SCOPE };
    this.#bySession.set(session, queries);
    queries.byId.set(queryId, query);
    queries.isHeld = false;
    this.#unsettled.add(query);
    this.#tell(query, this.#context.clock.nowMs);
  }

  /** Tells the workers that wait for it, as far as they take anything. */
  #tell(query: ClientQuery, nowMs: number): void {
    const { links } = this.#context;
    for (const [worker, atMs] of query.untold) {
      if (atMs > nowMs || !links.takes(worker)) continue;
      query.untold.delete(worker);
      links.request(worker, CALL_NONE, query.asked.session.id, REQUEST_QUERY_SUB, this.#bodyFor(query, worker), Number.NaN);
    }
  }

  #bodyFor(query: ClientQuery, worker: number): Uint8Array {
    const { asked, scope, isAnswered } = query;
    const { rowsMax, resultBytesMax } = this.#limits;
    return encodeSubscribe({
      number: asked.number,
      epoch: query.epochOf(worker),
      mapName: asked.mapName,
      map: asked.map,
      query: asked.query,
      fields: asked.fields,
      rowsMax,
      bytesMax: isAnswered ? resultBytesMax * REPAIR_BYTES_FACTOR : resultBytesMax,
      after: asked.spec.after,
      scope,
      auth: authValues(asked.session.principal),
    });
  }

  #restart(query: ClientQuery, worker: number, atMs: number, isSeenAnew = false): void {
    query.restart(worker, atMs, isSeenAnew);
    this.#unsettled.add(query);
  }

  /** The row rules of the session's subject have changed. */
  #rescope(query: ClientQuery): void {
    const { session, mapName, workers } = query.asked;
    query.scope = session.access.scope;
    if (!session.access.may('read', mapName)) return this.#revoke(query);
    for (const worker of workers) this.#restart(query, worker, 0, true);
  }

  /** The session may not see any of it any more. */
  #revoke(query: ClientQuery): void {
    const { session, queryId } = query.asked;
    if (query.isAnswered) {
      for (const row of query.gathered.takeAll()) this.#context.enqueue(session, updateFrame(queryId, { type: 'LEAVE', row }));
      if (query.gathered.isGrouped) this.#context.enqueue(session, groupsFrame(queryId, [], false));
    }
    this.#fail(query, new GridError('FORBIDDEN', 'this map may not be read any more'));
  }

  #apply(query: ClientQuery, worker: number, items: readonly QueryItem[]): void {
    for (const item of items) {
      if (item.type === 'FAILED') return this.#failed(query, worker, item.code, item.reason);
    }
    const before = query.gathered.bytes;
    query.gathered.apply(worker, query.asked.workers.length > 1 ? this.#shared(items) : items);
    this.#keptBytes += query.gathered.bytes - before;
    if (!query.isAnswered && query.gathered.bytes > this.#limits.resultBytesMax) {
      const bytesMax = this.#limits.resultBytesMax;
      return this.#fail(query, new GridError('FRAME_TOO_LARGE', `the result is larger than ${bytesMax} bytes`));
    }
    if (this.#keptBytes > KEPT_BYTES_MAX && query.gathered.bytes > Math.max(before, this.#limits.resultBytesMax))
      return this.#fail(query, new GridError('OVERLOADED', 'live queries keep too much on this server: ask for less'));
    if (!query.gathered.isGrouped || this.#context.clock.nowMs - query.groupsSentMs >= GROUPS_MS) this.#deliver(query);
  }

  /** Values of rows are kept while several workers answer: that of one write once for all its queries. */
  #shared(items: readonly QueryItem[]): readonly QueryItem[] {
    return items.map((item) => {
      if (item.type !== 'ENTER' && item.type !== 'UPDATE') return item;
      const value = this.#values.of(item.key, item.value);
      return value === item.value ? item : { ...item, value };
    });
  }

  /**
   * A worker cannot go on with it. What is only away now is asked again, as long as the client has something to keep; what is too
   * much would be again, at the cost of a pass over the map each time.
   */
  #failed(query: ClientQuery, worker: number, code: ErrorCode, reason: string): void {
    const error = new GridError(code, reason);
    if (query.isAnswered && error.retryable && code !== 'OVERLOADED')
      this.#restart(query, worker, this.#context.clock.nowMs + RETRY_MS);
    else this.#fail(query, error);
  }

  /** Sends what is to be told of it, once all workers are ready. */
  #deliver(query: ClientQuery): void {
    const { gathered, asked } = query;
    if (!gathered.isReady || (query.isAnswered && !gathered.isTouched)) return;
    const before = gathered.bytes;
    if (gathered.isGrouped) this.#sendGroups(query);
    else if (query.isAnswered) {
      const changes = gathered.takeChanges();
      for (const change of changes) this.#context.enqueue(asked.session, updateFrame(asked.queryId, change));
      this.updates += changes.length;
      gathered.forgetValues(changes.map(({ row }) => row));
    } else this.#sendResult(query);
    query.isAnswered = true;
    this.#keptBytes += gathered.bytes - before;
  }

  #sendResult({ gathered, asked }: ClientQuery): void {
    const { spec, session, queryId } = asked;
    const { hasMore, lastPosition } = gathered;
    const hasNext = hasMore && spec.hasLimit && lastPosition !== undefined;
    const nextCursor = hasNext ? writeCursor(lastPosition, spec.hash, Date.now()) : undefined;
    const rows = gathered.takeAll();
    this.#context.enqueue(session, resultFrame(queryId, rows, { hasMore, cursorStatus: spec.cursorStatus, nextCursor }));
    gathered.forgetValues(rows);
  }

  #sendGroups(query: ClientQuery): void {
    const { gathered, asked } = query;
    const groups = gathered.takeGroups();
    this.#context.enqueue(asked.session, groupsFrame(asked.queryId, groups, gathered.groupCount > groups.length));
    query.groupsSentMs = this.#context.clock.nowMs;
  }

  #fail(query: ClientQuery, error: GridError): void {
    this.failed += 1;
    this.#context.enqueue(query.asked.session, queryErrorFrame(query.asked.queryId, error));
    this.#end(query);
  }

  #end(query: ClientQuery | undefined): void {
    if (query === undefined) return;
    this.#forget(query);
    const { links } = this.#context;
    const { workers, session, number } = query.asked;
    for (const worker of workers)
      links.request(worker, CALL_NONE, session.id, REQUEST_QUERY_UNSUB, encodeUnsubscribe(number), Number.NaN);
  }

  #forget(query: ClientQuery): void {
    const { session, queryId, number, bytes } = query.asked;
    this.#byNumber.delete(number);
    this.#unsettled.delete(query);
    this.#grouped.delete(query);
    this.#keptBytes -= query.gathered.bytes + bytes;
    const queries = this.#bySession.get(session);
    queries?.byId.delete(queryId);
    if (queries?.byId.size === 0) this.#bySession.delete(session);
  }
}
