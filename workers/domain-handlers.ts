/**
 * The domains of a worker, wired: what each needs of the thread, and who answers which request.
 *
 * A new domain is a line here. The list is the same in a worker thread and in the tests' node of one thread.
 */
import { MapStatsHandler } from '../engine/domains/admin/map-stats-handler.ts';
import { CounterService } from '../engine/domains/coordination/counter-service.ts';
import type { CounterTable } from '../engine/domains/coordination/counter-table.ts';
import type { FenceTable } from '../engine/domains/coordination/fence-table.ts';
import { LockService } from '../engine/domains/coordination/lock-service.ts';
import type { CrdtService } from '../engine/domains/crdt/crdt-service.ts';
import { JournalService } from '../engine/domains/persistence/journal-service.ts';
import type { JournalSequence } from '../engine/domains/persistence/journal-sequence.ts';
import { MapPatterns } from '../engine/domains/persistence/map-patterns.ts';
import type { MapCatalogue } from '../engine/domains/crdt/map-catalogue.ts';
import { RecordReader } from '../engine/domains/records/record-reader.ts';
import { RecordService } from '../engine/domains/records/record-service.ts';
import type { ChangeEvents } from '../engine/domains/crdt/change-events.ts';
import { HeldKeys } from '../engine/domains/kv/held-keys.ts';
import type { RestoreValues } from '../engine/domains/kv/restored-values.ts';
import { HeldRecords } from '../engine/domains/kv/held-records.ts';
import { type ActLog, JointService } from '../engine/domains/kv/joint-service.ts';
import { isDatabaseName } from '../engine/domains/kv/hash-names.ts';
import type { MapNameFilter } from '../engine/domains/kv/map-name-filter.ts';
import { KvService } from '../engine/domains/kv/kv-service.ts';
import { IndexKeeper } from '../engine/domains/query/index-keeper.ts';
import { QueryExplain } from '../engine/domains/query/query-explain.ts';
import type { RowEnvironment } from '../engine/domains/query/row-pass.ts';
import { QueryService } from '../engine/domains/query/query-service.ts';
import { keepSchemas } from '../engine/domains/schema/schema-keeper.ts';
import { TopicService } from '../engine/domains/messaging/topic-service.ts';
import type { RowRules } from '../engine/domains/sync/row-rules.ts';
import { ScopeHandler } from '../engine/domains/security/scope-handler.ts';
import { ScopedEvents } from '../engine/domains/security/scoped-events.ts';
import { SyncHandler } from '../engine/domains/sync/sync-handler.ts';
import type { SyncService } from '../engine/domains/sync/sync-service.ts';
import type { Definitions } from '../engine/operation/definitions.ts';
import { type PushSink, RequestHandlers } from '../engine/operation/request-handler.ts';
import type { ValueLoader } from '../engine/storage/value-loader.ts';
import type { Durability } from './durability.ts';
import { PersistedHandler } from './persisted-handler.ts';
import type { WorkerCounter } from './worker-counters.ts';
import { RollCall } from '../engine/operation/roll-call.ts';
import type { CompositeObserver } from '../engine/storage/record-observer.ts';

/** What commands of the Redis protocol ask of their worker beside what all domains do. */
export interface KvDoor {
  readonly changes: ChangeEvents;
  readonly nextPartition: () => number;
  /** Why a write of so many bytes to the partition is refused now: an error number, or -1. */
  readonly refusal: (partition: number, bytes: number) => number;
  readonly actLog: ActLog;
  readonly mapNames: MapNameFilter;
  readonly restore: RestoreValues | undefined;
  readonly catchUp: () => void;
  readonly random: () => number;
  /** Says that the thread is alive, where a command lasts. */
  readonly beat: () => void;
}

/** What the domains of one worker stand on. */
export interface DomainContext {
  readonly kv: KvDoor;
  readonly worker: number;
  /** Gateways of the node. */
  readonly gateways: number;
  /** True when this worker takes over from one that died: gateways tell it again what they want. */
  readonly isReplacement: boolean;
  readonly maps: MapCatalogue;
  readonly crdt: CrdtService;
  readonly sync: SyncService;
  readonly rowRules: RowRules;
  readonly counterTable: CounterTable;
  /** The newest token of each lock, and how it enters the log. */
  readonly fences: FenceTable;
  readonly logFence: (name: string, token: number) => void;
  /** A fencing token above all that were given before. */
  readonly nextToken: () => number;
  /** Tells sessions what they did not ask. */
  readonly pushes: PushSink;
  /** Told of every change of every store here. */
  readonly observers: CompositeObserver;
  /** What people defined for the whole node: watch the kind that concerns the domain. */
  readonly definitions: Definitions;
  /** Node id of this server in clocks, UTF-8. */
  readonly nodeId: Uint8Array;
  /** Wall clock, ms. */
  readonly nowMs: () => number;
  /** A line of the log, for what an operator should know. */
  readonly warn: (text: string) => void;
  readonly count: (counter: WorkerCounter) => void;
  readonly set: (counter: WorkerCounter, value: number) => void;
  /** The numbers of journal events. */
  readonly journal: JournalSequence;
  /** A clock that is never set, ms. */
  readonly monotonicMs: () => number;
  /** Reads values that were dropped from memory back; undefined where none are. */
  readonly loader: ValueLoader | undefined;
  /** True when a value of this size may be kept in memory. */
  readonly hasRoomFor: (bytes: number) => boolean;
  readonly durability: Durability;
  readonly config: DomainConfig;
}

/** Options that the domains need; named as in engine/config.ts. */
export interface DomainConfig {
  /** 0: no Redis door, so nobody acts over several workers. */
  readonly respPort: number;
  readonly maxCounters: number;
  readonly maxQueries: number;
  readonly queryKeptRowsMax: number;
  /** This worker's share. */
  readonly indexBytesMax: number;
  readonly counterNodesMax: number;
  readonly journal: 'auto' | 'on' | 'off';
  readonly journalMaps: readonly string[];
  /** This worker's share. */
  readonly journalEventsMax: number;
  /** This worker's share. */
  readonly journalBytesMax: number;
  readonly journalTtlMs: number;
}

/** How long a replaced worker waits for gateways that have nothing to tell. */
const ROLL_CALL_MS = 10_000;
/** Groups of one query. */
const QUERY_GROUPS_MAX = 10_000;
/** Rows kept beyond a window: as many may leave it before the map must be looked through for more. */
const QUERY_SPARE_ROWS_MAX = 1000;

export function domainHandlers(context: DomainContext): RequestHandlers {
  const { maps, sync, rowRules, counterTable: table, definitions, warn, count, pushes, monotonicMs, config } = context;
  const { fences, logFence, nextToken } = context;
  keepSchemas({ maps, definitions, warn, onViolation: () => count('schemaViolations') });
  const newRoll = (): RollCall => new RollCall(context.isReplacement ? context.gateways : 0, monotonicMs(), ROLL_CALL_MS);
  const held = new HeldKeys();
  maps.watch(({ name }) => {
    if (!isDatabaseName(name)) context.kv.mapNames.add(name);
  });
  const awaitsRoll = context.isReplacement && config.respPort > 0;
  const { crdt, nodeId, loader, hasRoomFor, nowMs, durability } = context;
  const reader = new RecordReader({ loader, hasRoomFor, nowMs });
  const rows: RowEnvironment = { nowMs, clockMs: monotonicMs, nextTurn: yieldTurn, loader, hasRoomFor };
  const indexes = new IndexKeeper({
    maps,
    definitions,
    observers: context.observers,
    rows,
    bytesMax: config.indexBytesMax,
    warn,
    onSizes: (entries, bytes) => {
      context.set('indexEntries', entries);
      context.set('indexBytes', bytes);
    },
  });
  const queries = new QueryService({
    maps,
    pushes,
    observers: context.observers,
    scopes: rowRules.scopes,
    rows,
    indexes,
    onLooked: (looked) => context.set('queryRowsLooked', looked),
    bounds: {
      queriesMax: config.maxQueries,
      keptRowsMax: config.queryKeptRowsMax,
      groupsMax: QUERY_GROUPS_MAX,
      spareRowsMax: QUERY_SPARE_ROWS_MAX,
    },
    gateways: context.gateways,
  });
  return new RequestHandlers([
    new SyncHandler(sync, rowRules.sync),
    new ScopeHandler(rowRules.scopes, context.observers, new ScopedEvents(rowRules.scopes, pushes, context.nowMs)),
    queries,
    indexes,
    new QueryExplain({ maps, scopes: rowRules.scopes, indexes, rows, spareRowsMax: QUERY_SPARE_ROWS_MAX }),
    new MapStatsHandler(maps),
    new HeldRecords(
      held,
      new RecordService({ maps, crdt, reader, scopes: rowRules.scopes, judge: rowRules.judge, nodeId, yieldTurn }),
    ),
    new PersistedHandler(durability),
    new KvService({ ...context.kv, maps, nodeId, clock: nowMs, held, monotonicMs, yieldTurn }),
    new JointService({ ...context.kv, maps, nodeId, clock: nowMs, held, log: context.kv.actLog, awaitsRoll, monotonicMs }),
    new TopicService({ pushes, monotonicMs, roll: newRoll() }),
    new LockService({ pushes, monotonicMs, roll: newRoll(), fences, logFence, nextToken }),
    new CounterService({ table, pushes, countersMax: config.maxCounters, nodesMax: config.counterNodesMax }),
    ...journalOf(context),
  ]);
}

function yieldTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function journalOf({ config, journal, observers, pushes, nowMs, isReplacement, set }: DomainContext): JournalService[] {
  if (config.journal === 'off') return [];
  return [
    new JournalService({
      sequence: journal,
      maps: new MapPatterns(config.journalMaps),
      eventsMax: config.journalEventsMax,
      bytesMax: config.journalBytesMax,
      ttlMs: config.journalTtlMs,
      observers,
      pushes,
      nowMs,
      begins: config.journal === 'on',
      isReplacement,
      onRecorded: ({ recorded, ring }) => {
        set('journalRecorded', recorded);
        set('journalDropped', ring.dropped);
        set('journalEvents', ring.events);
        set('journalBytes', ring.bytes);
      },
    }),
  ];
}
