/** For tests: one worker's records under a memory bound, with write-behind, eviction and read-back, in virtual time. */
import { assert } from '../../assert.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { Eviction, type EvictionPolicy } from '../../storage/eviction.ts';
import { ExpiryQueue } from '../../storage/expiry-queue.ts';
import { LeafBacklog } from '../../storage/leaf-backlog.ts';
import { MemoryDataStore } from '../../storage/memory-data-store.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../../storage/record.ts';
import { CompositeObserver } from '../../storage/record-observer.ts';
import { RecordStore } from '../../storage/record-store.ts';
import { Slab } from '../../storage/slab.ts';
import { imageOf, type RecordFields, recordOf } from '../../storage/stored-record.ts';
import { ValueLoader, type ValueLoaderOptions } from '../../storage/value-loader.ts';
import { turn, VirtualTime } from '../../storage/virtual-time.ts';
import { WriteBehind } from '../../storage/write-behind.ts';
import { ChangeEvents } from '../crdt/change-events.ts';
import { CrdtService } from '../crdt/crdt-service.ts';
import { Expiry } from '../crdt/expiry.ts';
import { MapCatalogue } from '../crdt/map-catalogue.ts';
import { LateLeaves } from '../sync/late-leaf.ts';
import { SyncService } from '../sync/sync-service.ts';
import { plain, utf8 } from './scanned-ops.ts';

export const MIB = 1024 * 1024;

export interface BoundedOptions {
  readonly policy?: EvictionPolicy;
  readonly boundBytes?: number;
  readonly loader?: Partial<ValueLoaderOptions>;
}

export class BoundedEngine {
  readonly time = new VirtualTime();
  readonly dataStore = new MemoryDataStore((ms) => this.time.wait(ms));
  readonly slab = new Slab();
  readonly observers = new CompositeObserver([]);
  readonly staging = new WriteBehind(this.dataStore, this.time, { flushDelayMs: 0, flushShare: 1 });
  readonly maps: MapCatalogue;
  readonly eviction: Eviction;
  readonly loader: ValueLoader;
  readonly late: LateLeaves;
  readonly crdt: CrdtService;
  readonly sync: SyncService;
  readonly expiry: Expiry;
  /** Put back for writes that could not be judged. */
  readonly restored: Promise<boolean>[] = [];

  constructor(options: BoundedOptions = {}) {
    const { slab, time } = this;
    const queue = new ExpiryQueue(slab);
    const backlog = new LeafBacklog(slab, 16);
    const newStore = (map: Uint8Array, kind: RecordKind): RecordStore =>
      new RecordStore({ map, kind, slab, backlog, expiry: queue, dataStore: this.staging, observer: this.observers, decode });
    this.maps = new MapCatalogue(newStore, 100);
    let seed = 1;
    this.eviction = new Eviction({
      slab,
      stores: () => this.stores(),
      policy: options.policy ?? 'lru',
      random: () => {
        seed = (seed * 48_271) % 0x7fffffff; // minstd
        return seed / 0x7fffffff;
      },
    });
    this.eviction.setBound(options.boundBytes ?? MIB);
    this.loader = new ValueLoader({ dataStore: this.dataStore, time, ...options.loader });
    const changes = new ChangeEvents(1, { broadcastSessions: () => 0 });
    this.expiry = new Expiry({ queue, maps: this.maps, changes, mayWrite: () => true, nowMs: () => time.nowMs() });
    this.late = new LateLeaves({
      loader: this.loader,
      hasRoomFor: (bytes) => this.eviction.hasRoomFor(bytes),
      nowMs: () => time.nowMs(),
    });
    this.crdt = new CrdtService({
      maps: this.maps,
      changes,
      nodeId: utf8('server'),
      pruneWatermarkMs: () => 0,
      onDeadLetter: () => {},
      onValueNeeded: (store, ref) => this.restored.push(this.loader.restoreValue(store, ref)),
    });
    this.sync = new SyncService(this.maps, this.crdt, () => 0, this.expiry, this.late);
  }

  *stores(): Generator<RecordStore> {
    for (const map of this.maps.maps()) yield* map.stores();
  }

  store(map = 'map', kind: RecordKind = KIND_LWW): RecordStore {
    const opened = this.maps.openByName(utf8(map));
    assert(opened !== undefined);
    return opened.store(kind);
  }

  /** Joins a record unless memory has no room for it. False when it was refused. */
  write(fields: RecordFields): boolean {
    const record = recordOf(fields);
    const bytes = record.key.length + record.value.length + 200;
    if (this.eviction.refusalOf(bytes) !== undefined) return false;
    this.store(typeof fields.map === 'string' ? fields.map : 'map', record.tag.length > 0 ? KIND_OR : KIND_LWW).join(
      imageOf(record),
      this.time.nowMs(),
    );
    return true;
  }

  /** Brings everything that is staged into the data store. */
  async flush(): Promise<void> {
    await this.time.run(this.staging.hardFlush(60_000));
  }

  /** What time and rhythms do for a writer that was refused. */
  async makeRoom(): Promise<void> {
    await this.flush();
    this.eviction.run(this.time.nowMs());
  }

  /** Drops every value that can be dropped. */
  dropAll(): void {
    const { boundBytes } = this.eviction;
    this.eviction.setBound(1);
    while (this.eviction.run(this.time.nowMs()) === 'more');
    this.eviction.setBound(boundBytes);
  }

  /** The records of a map as a client gets them: key → value. Rejects as the answer does. */
  async values(map = 'map', prefix = ''): Promise<Map<string, unknown>> {
    const answer = this.sync.leafNowOrLater(utf8(map), KIND_LWW, prefix);
    const values = new Map<string, unknown>();
    const take = (part: Uint8Array): void => {
      for (const { key, record } of itemsOf(part)) {
        assert(!values.has(key), `${key} came twice`);
        values.set(key, record.value);
      }
    };
    if (Array.isArray(answer)) for (const part of answer) take(part);
    else for await (const part of answer) take(part);
    return values;
  }

  /** As `values`, with time going on as long as anything waits. */
  read(map = 'map', prefix = ''): Promise<Map<string, unknown>> {
    return this.time.run(this.values(map, prefix));
  }

  /** Lets what is ready run. */
  settle(): Promise<void> {
    return turn();
  }
}

interface LeafItem {
  readonly key: string;
  readonly record: { readonly value: unknown };
}

function itemsOf(part: Uint8Array): LeafItem[] {
  const count = new DataView(part.buffer, part.byteOffset).getUint32(0, true);
  const header = Uint8Array.of(0xdd, count >>> 24, (count >>> 16) & 0xff, (count >>> 8) & 0xff, count & 0xff);
  const list = plain(decode(Buffer.concat([header, part.subarray(4)])));
  assert(Array.isArray(list), 'a list of items');
  return list as LeafItem[];
}

/** MessagePack of a string of so many letters, told apart by a number. */
export function packedText(length: number, number = 0): Uint8Array {
  return encode(textOf(length, number)).slice();
}

export function textOf(length: number, number = 0): string {
  return `${number} `.padEnd(length, 'abcdefghij');
}
