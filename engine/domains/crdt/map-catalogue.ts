/**
 * The maps that this worker holds records of: name → stores, and each gateway's number for the name → the same.
 *
 * A gateway numbers the map names it meets, so that an operation carries a small integer; the first operation with a
 * new number brings the name along in its bytes. Names are compared as bytes: no string is made on the way.
 */
import { assert } from '../../assert.ts';
import { KIND_LWW, KIND_OR, type RecordKind } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import { OrphanTombstones } from './orphan-tombstones.ts';
import { type GuardName, oneGuard, type WriteGuard } from './write-guard.ts';

/** Makes the store of a map and kind when its first record arrives. */
export type StoreFactory = (map: Uint8Array, kind: RecordKind) => RecordStore;

/** One map: a store per kind, made when needed, and who listens. */
export class GridMap {
  /** UTF-8. */
  readonly name: Uint8Array;
  /** Each gateway's number for the map; 0 where the gateway has not named it. */
  readonly idAtGateway: number[] = [];
  /** Gateways with at least one session that listens to this map by name. */
  readonly wantedBy: boolean[] = [];
  /** Tags removed somewhere, of unknown keys. */
  readonly orphans: OrphanTombstones = new OrphanTombstones();
  /** Asked before each write to the map; undefined where nobody guards it. Set it by `guardWith`. */
  guard: WriteGuard | undefined;
  readonly #guards = new Map<GuardName, WriteGuard>();
  readonly #factory: StoreFactory;
  #lww: RecordStore | undefined;
  #or: RecordStore | undefined;

  constructor(name: Uint8Array, factory: StoreFactory) {
    this.name = name;
    this.#factory = factory;
  }

  /** Sets or takes away the guard of that name; where there are several, each may refuse. */
  guardWith(name: GuardName, guard: WriteGuard | undefined): void {
    if (guard === undefined) this.#guards.delete(name);
    else this.#guards.set(name, guard);
    this.guard = oneGuard([...this.#guards.values()]);
  }

  /** The store of a kind, made on first use. */
  store(kind: RecordKind): RecordStore {
    if (kind === KIND_LWW) {
      this.#lww ??= this.#factory(this.name, KIND_LWW);
      return this.#lww;
    }
    this.#or ??= this.#factory(this.name, KIND_OR);
    return this.#or;
  }

  /** The store of a kind if it has ever been used. */
  existing(kind: RecordKind): RecordStore | undefined {
    return kind === KIND_LWW ? this.#lww : this.#or;
  }

  /** Every store there is. */
  *stores(): Generator<RecordStore> {
    if (this.#lww !== undefined) yield this.#lww;
    if (this.#or !== undefined) yield this.#or;
  }
}

export class MapCatalogue {
  readonly #byName = new Map<string, GridMap>();
  readonly #byGateway: (GridMap | undefined)[][] = [];
  readonly #factory: StoreFactory;
  readonly #mapsMax: number;
  readonly #watchers: ((map: GridMap) => void)[] = [];

  constructor(factory: StoreFactory, mapsMax: number) {
    this.#factory = factory;
    this.#mapsMax = mapsMax;
  }

  get size(): number {
    return this.#byName.size;
  }

  /** The map of a gateway's number, or undefined when the number is new: then `open` it by name. */
  byId(gateway: number, mapId: number): GridMap | undefined {
    return this.#byGateway[gateway]?.[mapId];
  }

  /** The map of that name, made if need be, bound to the gateway's number; undefined when there are too many maps. */
  open(gateway: number, mapId: number, bytes: Uint8Array, start: number, end: number): GridMap | undefined {
    const map = this.openByName(bytes.subarray(start, end));
    if (map === undefined) return undefined;
    assert(mapId > 0, `map id ${mapId}`);
    let ids = this.#byGateway[gateway];
    if (ids === undefined) {
      ids = [];
      this.#byGateway[gateway] = ids;
    }
    ids[mapId] = map;
    map.idAtGateway[gateway] = mapId;
    return map;
  }

  /** The map of that name, made if need be; undefined when there are too many maps. */
  openByName(name: Uint8Array): GridMap | undefined {
    const text = nameKey(name);
    const known = this.#byName.get(text);
    if (known !== undefined) return known;
    if (this.#byName.size >= this.#mapsMax) return undefined;
    const map = new GridMap(name.slice(), this.#factory);
    this.#byName.set(text, map);
    for (const watcher of this.#watchers) watcher(map);
    return map;
  }

  /** The map of that name if there is one. */
  find(name: Uint8Array): GridMap | undefined {
    return this.#byName.get(nameKey(name));
  }

  /** Calls `watcher` with each map there is, at once, and with each that is made from then on. */
  watch(watcher: (map: GridMap) => void): void {
    this.#watchers.push(watcher);
    for (const map of this.maps()) watcher(map);
  }

  /** All maps, oldest first. */
  maps(): IterableIterator<GridMap> {
    return this.#byName.values();
  }

  reset(): void {
    this.#byName.clear();
    this.#byGateway.length = 0;
  }
}

/** Names differ by bytes, also where two byte strings would decode to the same text. Once per new number, not per op. */
function nameKey(name: Uint8Array): string {
  let key = '';
  for (const byte of name) key += String.fromCharCode(byte);
  return key;
}
