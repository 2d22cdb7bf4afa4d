/**
 * Live queries on a worker: registers them, fills them, and tells their gateways what changes.
 *
 *   SUB ─▶ registered: every change is judged for it from now on ─▶ filled in a pass over the map ─▶ ENTER … READY
 *   change ─▶ MapQueries ─▶ touched queries ─ end of batch ─▶ one PUSH per gateway: LEAVE, ENTER, UPDATE
 *
 * Registered first, filled then: no change is lost, and none is told twice, since what is told is the difference between what
 * was told and what is. A query whose spare rows ran out, or that needs a value which is not in memory, says nothing until it is
 * exact again, or a good part of the values is here. When much waits to be read by a gateway, its queries are told in later turns,
 * those first that have waited longest: what changes meanwhile is one with what was not told. What one query does to itself (a
 * pattern too costly, a result too large) ends that query alone.
 */
import { type ErrorCode, GridError } from '../../protocol/errors.ts';
import { REQUEST_QUERY_SUB, REQUEST_QUERY_UNSUB } from '../../protocol/envelope.ts';
import type { GridRequest, PushSink, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import type { StagedSource } from '../../storage/map-data-store.ts';
import { KIND_LWW } from '../../storage/record.ts';
import type { CompositeObserver, RecordObserver } from '../../storage/record-observer.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { MapCatalogue } from '../crdt/map-catalogue.ts';
import type { RowScopes } from '../security/access.ts';
import { LiveQuery } from './live-query.ts';
import { MapQueries } from './map-queries.ts';
import { parseQuery } from './query-spec.ts';
import { QueryTeller } from './query-teller.ts';
import { decodeSubscribe, decodeUnsubscribe, type SubscribeBody } from './query-wire.ts';
import type { UsableIndexes } from './index-keeper.ts';
import { QueryFill } from './query-fill.ts';
import type { RowEnvironment } from './row-pass.ts';

export interface QueryBounds {
  /** Queries on this worker. */
  readonly queriesMax: number;
  /** Rows kept for all of them. */
  readonly keptRowsMax: number;
  /** Groups of one query. */
  readonly groupsMax: number;
  /** Rows kept beyond a window, so that one that leaves has a successor at hand. */
  readonly spareRowsMax: number;
}

export interface QueryServiceOptions {
  readonly maps: MapCatalogue;
  readonly pushes: PushSink;
  readonly observers: CompositeObserver;
  readonly scopes: RowScopes;
  readonly rows: RowEnvironment;
  readonly indexes: UsableIndexes;
  readonly bounds: QueryBounds;
  readonly gateways: number;
  /** Told how many rows were looked at so far. */
  readonly onLooked?: (rows: number) => void;
}

/** Pause before values that could not be read back are asked for again, ms. */
const RETRY_MS = 500;
/** Values that are read back at a time, for all queries; one query may exceed it. */
const READING_BYTES_MAX = 4 * 1024 * 1024;
/** Times in a row that values are read back for one telling: records may change each time while they are read. */
const READINGS_MAX = 5;
const ASK_LESS = 'ask for fewer rows (limit, where)';

export class QueryService implements RequestHandler, RecordObserver {
  readonly kinds = [REQUEST_QUERY_SUB, REQUEST_QUERY_UNSUB] as const;
  readonly writeKinds = [] as const;
  /** Rows looked at to fill queries. */
  rowsLooked = 0;
  readonly #options: QueryServiceOptions;
  readonly #maps = new Map<string, MapQueries>();
  /** Which queries a store's changes concern; undefined where nobody asks. */
  readonly #byStore = new Map<StagedSource, MapQueries | undefined>();
  /** By gateway and number. */
  readonly #queries: Map<number, LiveQuery>[];
  readonly #mapOf = new Map<LiveQuery, MapQueries>();
  /** By session: the numbers of its queries. */
  readonly #numbersOf = new Map<string, Set<number>>();
  /** By gateway: queries to be told, those that have waited longest first. */
  readonly #touched: readonly Set<LiveQuery>[];
  readonly #teller: QueryTeller;
  #isUnsettled = false;
  #keptRows = 0;
  #readingBytes = 0;
  #count = 0;

  constructor(options: QueryServiceOptions) {
    this.#options = options;
    this.#queries = Array.from({ length: options.gateways }, () => new Map<number, LiveQuery>());
    this.#touched = Array.from({ length: options.gateways }, () => new Set<LiveQuery>());
    this.#teller = new QueryTeller(options.pushes, options.gateways);
  }

  /** Live queries here. */
  get count(): number {
    return this.#count;
  }

  /** Rows kept for them. */
  get keptRows(): number {
    return this.#keptRows;
  }

  answer({ kind, body, gateway, session }: GridRequest): RequestAnswer {
    if (kind === REQUEST_QUERY_UNSUB) this.#end(gateway, decodeUnsubscribe(body));
    else this.#subscribe(gateway, session, decodeSubscribe(body));
    return [];
  }

  sessionClosed(gateway: number, session: number): void {
    for (const number of this.#numbersOf.get(sessionKey({ gateway, session })) ?? []) this.#end(gateway, number);
  }

  changed(store: StagedSource, ref: RecordRef): void {
    if (store.kind !== KIND_LWW) return;
    let queries = this.#byStore.get(store);
    if (queries === undefined) {
      if (this.#byStore.has(store)) return;
      queries = this.#maps.get(nameKey(store.map));
      this.#byStore.set(store, queries);
      if (queries === undefined) return;
      queries.store = this.#storeOf(store.map);
    }
    if (queries.store !== undefined) queries.changed(queries.store, ref, this.#options.rows.nowMs());
  }

  /** The batch, or a slice of background work, is over: what it changed is told. */
  settled(): void {
    for (const map of this.#maps.values()) if (map.waiting.size > 0) this.#fill(map);
    this.#isUnsettled = false;
    for (const [gateway, touched] of this.#touched.entries()) this.#tellAll(gateway, touched);
    this.#teller.flush();
  }

  get isUnsettled(): boolean {
    return this.#isUnsettled;
  }

  /** Tells queries until their gateway has enough to read. One that has more to tell then is the last one the next time. */
  #tellAll(gateway: number, touched: ReadonlySet<LiveQuery>): void {
    for (const query of touched) {
      if (!this.#teller.isFull(gateway)) this.#tell(query);
      else {
        this.#isUnsettled = true;
        this.#account(query);
      }
    }
  }

  #touch(query: LiveQuery): void {
    this.#touched[query.owner.gateway]?.add(query);
  }

  #untouch(query: LiveQuery): void {
    this.#touched[query.owner.gateway]?.delete(query);
  }

  #subscribe(gateway: number, session: number, body: SubscribeBody): void {
    this.#end(gateway, body.number);
    const owner = { gateway, session, number: body.number, epoch: body.epoch };
    try {
      if (this.#count >= this.#options.bounds.queriesMax)
        throw new GridError('OVERLOADED', 'too many live queries on this server (maxQueries): end some');
      const { nowMs } = this.#options.rows;
      const { mapName, rowsMax, auth } = body;
      const spec = parseQuery(body.query, body.fields, { mapName, rowsMax, auth, nowMs: nowMs() });
      const view = this.#options.scopes.rows(gateway, body.scope, mapName);
      const query: LiveQuery = new LiveQuery(owner, spec, view, {
        after: body.after,
        bytesMax: body.bytesMax,
        spareRowsMax: this.#options.bounds.spareRowsMax,
        onDropped: (key) => this.#mapOf.get(query)?.dropped(query, key),
      });
      this.#add(query, body);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#teller.failed(owner, error.code, error.message);
    }
  }

  #add(query: LiveQuery, { map: name, number }: SubscribeBody): void {
    const text = nameKey(name);
    let map = this.#maps.get(text);
    if (map === undefined) {
      const events = {
        onTouched: (touched: LiveQuery) => this.#touch(touched),
        onFailed: (failed: LiveQuery, error: GridError) => this.#fail(failed, error.code, error.message),
      };
      map = new MapQueries(name, this.#storeOf(name), events);
      this.#maps.set(text, map);
      if (map.store !== undefined) this.#byStore.set(map.store, map);
      else for (const [store, queries] of this.#byStore) if (queries === undefined) this.#byStore.delete(store);
    }
    if (this.#count === 0) this.#options.observers.add(this);
    this.#count += 1;
    map.add(query);
    this.#mapOf.set(query, map);
    this.#queries[query.owner.gateway]?.set(number, query);
    const session = sessionKey(query.owner);
    this.#numbersOf.set(session, (this.#numbersOf.get(session) ?? new Set()).add(number));
  }

  #storeOf(name: Uint8Array): RecordStore | undefined {
    return this.#options.maps.find(name)?.existing(KIND_LWW);
  }

  #end(gateway: number, number: number): void {
    const query = this.#queries[gateway]?.get(number);
    if (query === undefined) return;
    query.state = 'ended';
    this.#queries[gateway]?.delete(number);
    const session = sessionKey(query.owner);
    const numbers = this.#numbersOf.get(session);
    numbers?.delete(number);
    if (numbers?.size === 0) this.#numbersOf.delete(session);
    this.#keptRows -= query.accounted;
    this.#untouch(query);
    const map = this.#mapOf.get(query);
    this.#mapOf.delete(query);
    map?.remove(query);
    this.#count -= 1;
    if (map !== undefined && map.queries.size === 0) {
      this.#maps.delete(nameKey(map.name));
      this.#byStore.clear();
    }
    if (this.#count > 0) return;
    this.#options.observers.remove(this);
    this.#byStore.clear();
  }

  #fail(query: LiveQuery, code: ErrorCode, reason: string): void {
    if (query.state === 'ended') return;
    const { gateway, number } = query.owner;
    this.#teller.failed(query.owner, code, reason);
    this.#end(gateway, number);
  }

  /** Those that wait for a pass: one that needs its own, or all others; in turn, where there are both. */
  #toFill(map: MapQueries): readonly LiveQuery[] {
    if (map.isFilling) return [];
    const nowMs = this.#options.rows.nowMs();
    const ready = [...map.waiting].filter(({ retryAtMs }) => retryAtMs <= nowMs);
    const shared = ready.filter(({ needsOwnPass }) => !needsOwnPass);
    const own = ready.find(({ needsOwnPass }) => needsOwnPass);
    map.wasOwnPass = own !== undefined && (shared.length === 0 || !map.wasOwnPass);
    return map.wasOwnPass && own !== undefined ? [own] : shared;
  }

  /** A pass over the map for queries that wait for one: a slice now, the rest beside the loop. */
  #fill(map: MapQueries): void {
    const queries = this.#toFill(map);
    if (queries.length === 0) return;
    for (const query of queries) {
      map.waiting.delete(query);
      query.beginFill();
    }
    map.store ??= this.#storeOf(map.name);
    const { rows, indexes } = this.#options;
    const fill = new QueryFill(map, queries, indexes.of(map.name), rows, {
      onFilled: (query) => this.#touch(query),
      onLooked: (looked) => this.#looked(looked),
    });
    const step = fill.step();
    if (step === 'done') return;
    map.isFilling = true;
    void this.#fillOn(map, fill, step, queries);
  }

  async #fillOn(map: MapQueries, fill: QueryFill, step: 'more' | 'read', queries: readonly LiveQuery[]): Promise<void> {
    try {
      for (let next: 'done' | 'more' | 'read' = step; next !== 'done'; next = fill.step()) {
        if (next === 'read') await fill.readBack();
        else await this.#options.rows.nextTurn();
        for (const query of queries) this.#account(query);
      }
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      for (const query of queries) this.#fillFailed(map, query, error);
    } finally {
      map.isFilling = false;
    }
  }

  #looked(rows: number): void {
    this.rowsLooked += rows;
    this.#options.onLooked?.(this.rowsLooked);
  }

  /** A first result that cannot be read is an error; a live one stays as it was told, and is tried again. */
  #fillFailed(map: MapQueries, query: LiveQuery, error: GridError): void {
    if (query.state !== 'filling') return;
    if (!query.isReady) return this.#fail(query, error.code, error.message);
    query.retryAtMs = this.#options.rows.nowMs() + RETRY_MS;
    map.waiting.add(query);
  }

  /** Counts what the query keeps. Growth beyond the bound ends it. */
  #account(query: LiveQuery): void {
    if (query.state === 'ended') return;
    this.#keptRows += query.kept - query.accounted;
    query.accounted = query.kept;
    const { keptRowsMax, groupsMax } = this.#options.bounds;
    if (this.#keptRows > keptRowsMax)
      this.#fail(query, 'OVERLOADED', `live queries keep more than ${keptRowsMax} rows (queryKeptRowsMax): ${ASK_LESS}`);
    else if (query.groups > groupsMax)
      this.#fail(query, 'OVERLOADED', `a query has at most ${groupsMax} groups: ${ASK_LESS}, or group by less`);
  }

  /** Tells what changed of a query, unless it is not exact now. */
  #tell(query: LiveQuery, isReadBack = false): void {
    this.#account(query);
    if (query.state !== 'live' || query.isReading || query.needsOwnPass) {
      if (query.state === 'ended') this.#untouch(query);
      return;
    }
    if (query.retryAtMs > this.#options.rows.nowMs()) return;
    const map = this.#mapOf.get(query);
    if (map === undefined) return;
    if (query.needsRefill) {
      map.waiting.add(query);
      this.#fill(map);
      if (!this.#isLive(query) || query.needsRefill) return;
    }
    const missing = isReadBack && query.isReady ? [] : this.#teller.missing(query, map.store);
    if (missing === 'large') return this.#tooLarge(query);
    if (missing.length > 0) {
      query.snapshotBytes = 0;
      if (this.#readingBytes >= READING_BYTES_MAX) return; // it may be the same value: by then it is in memory
      query.isReading = true;
      void this.#readBack(query, map, missing, this.#teller.missingBytes);
      return;
    }
    this.#untouch(query);
    const written = this.#teller.write(query, map.store, isReadBack);
    if (written === 'large') return this.#tooLarge(query);
    if (written === 'more') return this.#touch(query);
    query.readings = 0;
  }

  #isLive(query: LiveQuery): boolean {
    return query.state === 'live';
  }

  /** Rows that come into the view have no value in memory: it is put back, then the query is told of. */
  async #readBack(query: LiveQuery, map: MapQueries, refs: readonly RecordRef[], bytes: number): Promise<void> {
    const { loader } = this.#options.rows;
    this.#readingBytes += bytes;
    try {
      query.readings += 1;
      if (loader === undefined || map.store === undefined || query.readings > READINGS_MAX)
        throw new GridError('UNAVAILABLE', 'values cannot be read back');
      this.#teller.keep(map.store, await loader.load(map.store, refs));
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      if (!query.isReady) this.#fail(query, error.code, error.message);
      query.retryAtMs = this.#options.rows.nowMs() + RETRY_MS;
      query.readings = 0;
    } finally {
      query.isReading = false;
      this.#readingBytes -= bytes;
      if (query.state !== 'ended') this.#touch(query);
    }
    if (query.retryAtMs <= this.#options.rows.nowMs()) this.#tell(query, true); // before memory is made room in again
  }

  /** Ends a query whose first result is more than its gateway wants to hold. */
  #tooLarge(query: LiveQuery): void {
    const reason = `the result is larger than ${query.bytesMax} bytes: ask for fewer rows (limit) or less of each (fields)`;
    this.#fail(query, 'FRAME_TOO_LARGE', reason);
  }
}

/** Names differ by bytes. */
function nameKey(name: Uint8Array): string {
  let key = '';
  for (const byte of name) key += String.fromCharCode(byte);
  return key;
}

function sessionKey({ gateway, session }: Pick<LiveQuery['owner'], 'gateway' | 'session'>): string {
  return `${gateway}:${session}`;
}
