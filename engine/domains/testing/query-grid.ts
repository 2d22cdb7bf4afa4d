/** For tests: the records and live queries of some workers, and a gateway that gathers what they push, without threads. */
import { assert } from '../../assert.ts';
import { fnv1a, partitionOf } from '../../partition/hash.ts';
import { PUSH_QUERY, REQUEST_QUERY_RUN, REQUEST_QUERY_SUB, REQUEST_QUERY_UNSUB } from '../../protocol/envelope.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { ExpiryQueue } from '../../storage/expiry-queue.ts';
import { LeafBacklog } from '../../storage/leaf-backlog.ts';
import { NullDataStore } from '../../storage/null-data-store.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../../storage/record.ts';
import { CompositeObserver } from '../../storage/record-observer.ts';
import { RecordStore } from '../../storage/record-store.ts';
import { Slab } from '../../storage/slab.ts';
import { imageOf, recordOf } from '../../storage/stored-record.ts';
import { ChangeEvents } from '../crdt/change-events.ts';
import { Expiry } from '../crdt/expiry.ts';
import { MapCatalogue } from '../crdt/map-catalogue.ts';
import type { IndexKind } from '../query/attribute-index.ts';
import { indexBody, indexName } from '../query/index-definition.ts';
import { IndexKeeper } from '../query/index-keeper.ts';
import { parsePlan, QueryExplain, type WorkerPlan } from '../query/query-explain.ts';
import type { RowEnvironment } from '../query/row-pass.ts';
import { type Definition, Definitions } from '../../operation/definitions.ts';
import { GatheredQuery } from '../query/gathered-query.ts';
import { parseQuery, type QuerySpec } from '../query/query-spec.ts';
import { QueryService, type QueryServiceOptions } from '../query/query-service.ts';
import { encodeSubscribe, encodeUnsubscribe, readPush } from '../query/query-wire.ts';
import { UNSCOPED } from '../security/access.ts';
import { plain, utf8 } from './scanned-ops.ts';

const GATEWAY = 0;
const SESSION = 7;

export interface QueryGridOptions {
  readonly workers: number;
  readonly rowsMax?: number;
  readonly bytesMax?: number;
  readonly bounds?: Partial<QueryServiceOptions['bounds']>;
  readonly scopes?: QueryServiceOptions['scopes'];
  readonly indexBytesMax?: number;
  readonly clockMs?: () => number;
  readonly nextTurn?: () => Promise<void>;
  /** Bytes that the gateway has not read, given those that were pushed since it was told the last time. */
  readonly waitingBytes?: (pushedBytes: number) => number;
}

/** One worker's share of every map. */
export class QueryWorker {
  readonly observers = new CompositeObserver([]);
  readonly maps: MapCatalogue;
  readonly expiry: Expiry;
  readonly definitions: Definitions;
  readonly indexes: IndexKeeper;
  readonly service: QueryService;
  readonly explain: QueryExplain;
  readonly rows: RowEnvironment;
  readonly warnings: string[] = [];
  readonly pushes: Uint8Array[] = [];

  get pushedBytes(): number {
    return this.pushes.reduce((bytes, { length }) => bytes + length, 0);
  }

  constructor(grid: QueryGrid, options: QueryGridOptions) {
    this.definitions = new Definitions([...grid.definitions.values()]);
    this.rows = {
      nowMs: () => grid.nowMs,
      clockMs: options.clockMs ?? (() => 0),
      nextTurn: options.nextTurn ?? (() => Promise.resolve()),
      loader: undefined,
      hasRoomFor: () => true,
    };
    const slab = new Slab();
    const queue = new ExpiryQueue(slab);
    const backlog = new LeafBacklog(slab, 16);
    const newStore = (map: Uint8Array, kind: RecordKind): RecordStore =>
      new RecordStore({
        map,
        kind,
        slab,
        backlog,
        expiry: queue,
        dataStore: new NullDataStore(),
        observer: this.observers,
        decode,
      });
    this.maps = new MapCatalogue(newStore, 100);
    const changes = new ChangeEvents(1, { broadcastSessions: () => 0 });
    this.expiry = new Expiry({ queue, maps: this.maps, changes, mayWrite: () => true, nowMs: () => grid.nowMs });
    const { maps, observers, rows } = this;
    const scopes = options.scopes ?? UNSCOPED;
    this.indexes = new IndexKeeper({
      maps,
      observers,
      rows,
      definitions: this.definitions,
      bytesMax: options.indexBytesMax ?? 1 << 24,
      warn: (text) => this.warnings.push(text),
    });
    this.explain = new QueryExplain({
      maps,
      scopes,
      rows,
      indexes: this.indexes,
      spareRowsMax: options.bounds?.spareRowsMax ?? 1000,
    });
    this.service = new QueryService({
      maps: this.maps,
      observers: this.observers,
      pushes: {
        push: (_gateway, _session, kind, body) => {
          assert(kind === PUSH_QUERY, `push of kind ${kind}`);
          this.pushes.push(body);
        },
        waitingBytes: () => options.waitingBytes?.(this.pushedBytes) ?? 0,
      },
      scopes,
      rows: this.rows,
      indexes: this.indexes,
      bounds: { queriesMax: 1000, keptRowsMax: 1_000_000, groupsMax: 1000, spareRowsMax: 1000, ...options.bounds },
      gateways: 1,
    });
  }
}

/** What a client holds of its query. */
export class ClientView {
  readonly number: number;
  readonly mapName: string;
  readonly query: object;
  readonly spec: QuerySpec;
  readonly gathered: GatheredQuery;
  readonly rows = new Map<string, unknown>();
  /** QUERY_RESP, in the order of the rows. */
  response: readonly { readonly key: string; readonly value: unknown }[] | undefined;
  hasMore = false;
  failure: string | undefined;
  /** Changes told since the response, by kind. */
  readonly told = { ENTER: 0, UPDATE: 0, LEAVE: 0 };
  epoch = 1;
  readonly fields: readonly string[] | undefined;

  constructor(
    number: number,
    mapName: string,
    query: object,
    spec: QuerySpec,
    workers: readonly number[],
    fields?: readonly string[],
  ) {
    this.fields = fields;
    this.number = number;
    this.mapName = mapName;
    this.query = query;
    this.spec = spec;
    this.gathered = new GatheredQuery({ ...spec, workers });
  }

  /** What the gateway would send now. */
  deliver(): void {
    const { gathered } = this;
    if (!gathered.isReady) return;
    if (gathered.isGrouped) {
      if (this.response !== undefined && !gathered.isTouched) return;
      this.rows.clear();
      this.response = gathered.takeGroups();
      for (const { key, value } of this.response) this.rows.set(key, plain(decode(encode(value))));
      return;
    }
    if (this.response === undefined) {
      this.hasMore = gathered.hasMore;
      const rows = gathered.takeAll();
      this.response = rows.map(({ key, value }) => ({ key, value: decoded(value) }));
      for (const { key, value } of this.response) this.rows.set(key, value);
      gathered.forgetValues(rows);
      return;
    }
    const changes = gathered.takeChanges();
    for (const { type, row } of changes) {
      this.told[type] += 1;
      const had = this.rows.has(row.key);
      assert(type === 'ENTER' ? !had : had, `${type} of ${row.key}, which the client ${had ? 'has' : 'has not'}`);
      if (type === 'LEAVE') this.rows.delete(row.key);
      else this.rows.set(row.key, decoded(row.value));
    }
    gathered.forgetValues(changes.map(({ row }) => row));
  }
}

function decoded(value: Uint8Array | undefined): unknown {
  assert(value !== undefined, 'a row that is told has its value');
  return plain(decode(value));
}

export interface WriteFields {
  readonly key: string;
  /** Undefined removes the row. */
  readonly value: unknown;
  readonly millis: number;
  readonly ttlMs?: number;
  readonly mapName?: string;
}

export class QueryGrid {
  nowMs = 1_000;
  readonly workers: QueryWorker[];
  readonly views = new Map<number, ClientView>();
  readonly definitions = new Map<string, Definition>();
  readonly #options: QueryGridOptions;
  #number = 0;

  constructor(options: QueryGridOptions) {
    this.#options = options;
    this.workers = Array.from({ length: options.workers }, () => new QueryWorker(this, options));
  }

  workerOf(key: string): number {
    return partitionOf(fnv1a(key)) % this.workers.length;
  }

  write({ key, value, millis, ttlMs, mapName = 'map' }: WriteFields): void {
    const map = this.workers[this.workerOf(key)]?.maps.openByName(utf8(mapName));
    assert(map !== undefined, 'a map');
    const tombstone = value === undefined;
    const bytes = tombstone ? '' : encode(value).slice();
    map
      .store(KIND_LWW)
      .join(imageOf(recordOf({ key, value: bytes, millis, tombstone, map: mapName, ttlMs: ttlMs ?? Number.NaN })), this.nowMs);
  }

  /** Adds to, or removes from, the OR-Map of that name. */
  writeOr(key: string, tag: string, value: unknown, tombstone: boolean, mapName = 'map'): void {
    const map = this.workers[this.workerOf(key)]?.maps.openByName(utf8(mapName));
    assert(map !== undefined, 'a map');
    const bytes = tombstone ? '' : encode(value).slice();
    map.store(KIND_OR).join(imageOf(recordOf({ kind: KIND_OR, key, tag, value: bytes, tombstone, map: mapName })), this.nowMs);
  }

  subscribe(query: object, mapName = 'map', fields?: readonly string[]): ClientView {
    this.#number += 1;
    const view = new ClientView(
      this.#number,
      mapName,
      query,
      this.#spec(query, fields, mapName),
      [...this.workers.keys()],
      fields,
    );
    this.views.set(view.number, view);
    for (const worker of this.workers.keys()) this.ask(view, worker);
    return view;
  }

  /** Tells one worker of the query, as for the first time. */
  ask(view: ClientView, worker: number): void {
    this.#request(worker, REQUEST_QUERY_SUB, this.#body(view, view.fields));
  }

  #spec(query: object, fields: readonly string[] | undefined, mapName: string): QuerySpec {
    const rowsMax = this.#options.rowsMax ?? 10_000;
    return parseQuery(decode(encode(query)), fields, { mapName, rowsMax, nowMs: this.nowMs });
  }

  #body(view: ClientView, fields: readonly string[] | undefined): Uint8Array {
    return encodeSubscribe({
      number: view.number,
      epoch: view.epoch,
      mapName: view.mapName,
      map: utf8(view.mapName),
      query: view.query,
      fields,
      rowsMax: this.#options.rowsMax ?? 10_000,
      bytesMax: this.#options.bytesMax ?? 1_000_000,
      after: view.spec.after,
      scope: 0,
      auth: undefined,
    });
  }

  unsubscribe(view: ClientView): void {
    this.views.delete(view.number);
    for (const worker of this.workers.keys()) this.#request(worker, REQUEST_QUERY_UNSUB, encodeUnsubscribe(view.number));
  }

  /** A worker ends, and another with the same records takes its place and is told of all queries. */
  replace(worker: number): void {
    const old = this.workers[worker];
    assert(old !== undefined, 'a worker');
    const next = new QueryWorker(this, this.#options);
    copyRecords(old.maps, next.maps);
    this.workers[worker] = next;
    for (const view of this.views.values()) {
      view.gathered.restart(worker);
      this.ask(view, worker);
    }
  }

  /** Defines an index, or with no kind removes it. It is built in the next turns. */
  index(attribute: string, kind: IndexKind | undefined, mapName = 'map'): void {
    const name = indexName(mapName, attribute);
    const version = (this.definitions.get(name)?.version ?? 0) + 1;
    const body = kind === undefined ? undefined : indexBody({ map: mapName, attribute, kind });
    const definition: Definition = { kind: 'index', name, version, body };
    this.definitions.set(name, definition);
    for (const { definitions } of this.workers) definitions.apply(definition);
  }

  /** Lets every worker start what it does by time. */
  tick(): void {
    for (const { indexes } of this.workers) indexes.tick(this.nowMs);
  }

  /** How a worker would answer the query. */
  async plan(worker: number, query: object, mapName = 'map'): Promise<WorkerPlan> {
    const body = this.#body(new ClientView(0, mapName, query, this.#spec(query, undefined, mapName), []), undefined);
    const answer = this.workers[worker]?.explain.answer({
      kind: REQUEST_QUERY_RUN,
      body,
      gateway: GATEWAY,
      session: SESSION,
      nowMs: this.nowMs,
    });
    assert(answer !== undefined, 'a worker');
    for await (const part of answer) return parsePlan(part);
    throw new Error('no answer');
  }

  /** A batch ends on every worker, and clients are told. */
  settle(): void {
    for (const [number, worker] of this.workers.entries()) {
      worker.service.settled();
      for (const push of worker.pushes.splice(0)) this.#pushed(number, push);
    }
    for (const view of this.views.values()) if (view.failure === undefined) view.deliver();
  }

  /** As `settle`, again and again until the workers have told all. Returns how often. */
  settleAll(): number {
    for (let times = 1; ; times++) {
      this.settle();
      if (this.workers.every(({ service }) => !service.isUnsettled)) return times;
    }
  }

  /** Lets time pass, and what expires by it. */
  pass(ms: number): void {
    this.nowMs += ms;
    for (const worker of this.workers) while (worker.expiry.run(this.nowMs) === 'more');
  }

  #pushed(worker: number, push: Uint8Array): void {
    readPush(push, (number, epoch, items) => {
      const view = this.views.get(number);
      if (view === undefined || view.epoch !== epoch) return;
      const failed = items.find((item) => item.type === 'FAILED');
      if (failed?.type === 'FAILED') view.failure = failed.code;
      view.gathered.apply(worker, items);
    });
  }

  #request(worker: number, kind: number, body: Uint8Array): void {
    this.workers[worker]?.service.answer({ kind, body, gateway: GATEWAY, session: SESSION, nowMs: this.nowMs });
  }
}

function copyRecords(from: MapCatalogue, to: MapCatalogue): void {
  for (const map of from.maps()) {
    for (const store of map.stores()) {
      const target = to.openByName(map.name)?.store(store.kind);
      const cursor = store.cursor();
      const image = imageOf(recordOf({ key: '' }));
      for (let ref = cursor.next(); ref !== 0; ref = cursor.next()) {
        store.read(ref, image);
        target?.restore(image);
      }
    }
  }
}
