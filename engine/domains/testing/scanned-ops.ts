/** For tests: services over real record stores, and frames of ops as they stand in a ring, read by the real scanner. */
import { assert } from '../../assert.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { EVENT_ROW, EVENT_ROW_WORDS, type RingMemory } from '../../protocol/envelope.ts';
import { FLAG_WRITER_LISTENS, OP, OP_WORDS } from '../../protocol/op-index.ts';
import { bytesWhenPacked, PACKED, packedBytes, packMemory, packOp } from '../../protocol/packed-op.ts';
import { Scanner } from '../../protocol/scanner.ts';
import type { MapDataStore } from '../../storage/map-data-store.ts';
import type { MergeKernel } from '../../storage/merge-kernel.ts';
import { NullDataStore } from '../../storage/null-data-store.ts';
import type { RecordImage } from '../../storage/record.ts';
import type { RecordObserver } from '../../storage/record-observer.ts';
import { RecordStore } from '../../storage/record-store.ts';
import { LeafBacklog } from '../../storage/leaf-backlog.ts';
import { ExpiryQueue } from '../../storage/expiry-queue.ts';
import { Slab } from '../../storage/slab.ts';
import { FenceTable } from '../coordination/fence-table.ts';
import { ChangeEvents } from '../crdt/change-events.ts';
import { Expiry } from '../crdt/expiry.ts';
import { CrdtService } from '../crdt/crdt-service.ts';
import { type GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';
import { Rejections } from '../crdt/rejections.ts';
import type { RowJudge } from '../crdt/row-judge.ts';
import { SyncService } from '../sync/sync-service.ts';

export const NODE_ID = 'server-1';

export interface EngineOptions {
  readonly gateways?: number;
  readonly mapsMax?: number;
  readonly dataStore?: MapDataStore;
  readonly listeners?: number[];
  /** The clock that says what has expired; without it nothing has. */
  readonly nowMs?: () => number;
  readonly mayWrite?: () => boolean;
  readonly observer?: RecordObserver;
  readonly kernel?: MergeKernel | undefined;
  readonly backlogRecordsMax?: number;
  readonly judge?: RowJudge;
}

/** The services of one worker. */
export class EngineUnderTest {
  readonly maps: MapCatalogue;
  readonly changes: ChangeEvents;
  readonly crdt: CrdtService;
  readonly sync: SyncService;
  readonly expiry: Expiry;
  readonly fences = new FenceTable();
  readonly queue: ExpiryQueue;
  readonly staleKeys: string[] = [];
  /** Broadcast sessions per gateway. */
  readonly listeners: number[];
  watermarkMs = 0;

  constructor(options: EngineOptions = {}) {
    const { kernel, observer } = options;
    const slab = new Slab(kernel?.memory);
    const dataStore = options.dataStore ?? new NullDataStore();
    this.listeners = options.listeners ?? [1];
    this.queue = new ExpiryQueue(slab);
    const backlog = new LeafBacklog(slab, options.backlogRecordsMax);
    const newStore = (map: Uint8Array, kind: 0 | 1): RecordStore =>
      new RecordStore({ map, kind, slab, dataStore, observer, decode, backlog, expiry: this.queue });
    this.maps = new MapCatalogue(newStore, options.mapsMax ?? 100);
    this.changes = new ChangeEvents(options.gateways ?? 1, { broadcastSessions: (gateway) => this.listeners[gateway] ?? 0 });
    this.crdt = new CrdtService({
      maps: this.maps,
      changes: this.changes,
      nodeId: utf8(NODE_ID),
      pruneWatermarkMs: () => this.watermarkMs,
      fences: this.fences,
      kernel,
      ...(options.judge === undefined ? {} : { judge: options.judge }),
      onDeadLetter: (_map: GridMap, image: RecordImage) => this.staleKeys.push(keyOf(image)),
    });
    const { nowMs, mayWrite = () => true } = options;
    const { maps, changes, queue } = this;
    this.expiry = new Expiry({ queue, maps, changes, mayWrite, nowMs: nowMs ?? (() => 0) });
    this.sync = new SyncService(this.maps, this.crdt, () => this.watermarkMs, nowMs === undefined ? undefined : this.expiry);
  }

  /** Applies ops as they come from a client; answers with the rejected: ordinal → error number. */
  apply(
    ops: readonly object[],
    nowMs = 1_000_000,
    gateway = 0,
    session = 7,
    mapIds = new Map<string, number>(),
    /** What a gateway adds to the flags of an op, by its place. */
    flagsOf: (ordinal: number) => number = () => 0,
  ): Map<number, number> {
    const { memory, count } = scannedOps(ops, mapIds);
    for (let ordinal = 0, word = 0; ordinal < count; ordinal++, word += packedBytes(memory.words, word) >> 2) {
      const flags = memory.words[word + PACKED.NODE_BYTES_FLAGS] as number;
      memory.words[word + PACKED.NODE_BYTES_FLAGS] = flags | (flagsOf(ordinal) << 16);
    }
    const rejections = new Rejections();
    this.crdt.applyOps(memory, 0, count, gateway, session, nowMs, rejections);
    const rejected = new Map<number, number>();
    for (let pair = 0; pair < rejections.pairs.length; pair += 2)
      rejected.set(rejections.pairs[pair] as number, rejections.pairs[pair + 1] as number);
    return rejected;
  }

  /** Applies one op of session 7 at gateway 0, which gets events of all maps itself or does not. */
  applyAs(op: object, writerListens: boolean): void {
    const { memory, count } = scannedOps([op], new Map());
    const flags = memory.words[PACKED.NODE_BYTES_FLAGS] as number;
    if (writerListens) memory.words[PACKED.NODE_BYTES_FLAGS] = flags | (FLAG_WRITER_LISTENS << 16);
    this.crdt.applyOps(memory, 0, count, 0, 7, 1_000_000, new Rejections());
  }

  /** The events gathered for a gateway since the last call. */
  takeEvents(gateway = 0): { origin: number; mapId: number; event: unknown }[] {
    const batch = this.changes.batches[gateway];
    assert(batch !== undefined, `gateway ${gateway}`);
    const events = Array.from({ length: batch.count }, (_, index) => {
      const row = index * EVENT_ROW_WORDS;
      const start = batch.rows[row + EVENT_ROW.START] as number;
      const event = plain(decode(batch.bodies.bytes.slice(start, start + (batch.rows[row + EVENT_ROW.BYTES] as number))));
      return { origin: batch.rows[row + EVENT_ROW.ORIGIN] as number, mapId: batch.rows[row + EVENT_ROW.MAP_ID] as number, event };
    });
    batch.clear();
    return events;
  }
}

/** Ops as they stand in a ring, the maps numbered in the order of `mapIds`. */
export function scannedOps(ops: readonly object[], mapIds: Map<string, number>): { memory: RingMemory; count: number } {
  const frame = encode({ type: 'OP_BATCH', payload: { ops } }).slice();
  const scanner = new Scanner();
  scanner.scan(frame, frame.length);
  const { words, floats, view, count } = scanner.index;
  let bytes = 0;
  for (let row = 0; row < count * OP_WORDS; row += OP_WORDS) bytes += bytesWhenPacked(words, row, true);
  const memory = packMemory(bytes);
  let at = 0;
  let lastId = 0;
  for (let row = 0; row < count * OP_WORDS; row += OP_WORDS) {
    const start = words[row + OP.MAP_START] as number;
    const name = text(frame.slice(start, start + (words[row + OP.MAP_BYTES] as number)));
    const id = mapIds.get(name) ?? mapIds.size + 1;
    mapIds.set(name, id);
    words[row + OP.MAP_ID] = id;
    at = packOp(memory, at, frame, view, words, floats, row, id !== lastId);
    lastId = id;
  }
  return { memory, count };
}

/** Decoded data as plain objects, for deepEqual. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

export function utf8(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function keyOf(image: RecordImage): string {
  return text(image.source.slice(image.keyStart, image.keyStart + image.keyBytes));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
