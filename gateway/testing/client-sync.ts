/**
 * The client's side of synchronisation: Merkle walks of LWW and OR maps, and the push after each leaf of an OR-Map.
 *
 *   begin ─ (OR)SYNC_INIT ─ root ─┬─ equal ─▶ done
 *                                 └─ bucket '' ─ buckets that differ, each ─ … ─ leaf ─ merge (OR: push) ─▶ done
 *
 * `open` counts questions that have no answer yet; the walks are done when it is 0. Source: docs/PROTOCOL.md §5.5–§5.7.
 */
import type { HybridLogicalClock } from '../../engine/crdt/hlc.ts';
import type { Message } from './client-codec.ts';
import { lwwRecord, mapIn, mapsIn, numberIn, orEntry, type OrEntry, stampIn, textIn } from './client-fields.ts';
import { bucketsOf, type ClientLwwMap, ClientOrMap, compareStampsOf, rootOf } from './client-maps.ts';

export type ClientMap = ClientLwwMap | ClientOrMap;

export interface ClientSyncOptions {
  readonly maps: ReadonlyMap<string, ClientMap>;
  readonly clock: HybridLogicalClock;
  readonly send: (message: Message) => void;
  /** Forgets pending ops on an OR-Map that are older than this. */
  readonly dropOrOps: (mapName: string, olderThan: { millis: number; counter: number; nodeId: string }) => void;
}

export class ClientSync {
  /** Of the whole client, not of a map; set by any server timestamp. */
  lastSyncTimestamp = 0;
  /** Roots that were equal at once, and leaves that were merged. */
  readonly counts = { rootsEqual: 0, walks: 0, leaves: 0, pushes: 0, resets: 0, fullResyncs: 0 };
  /** The last root that the server told, by map. */
  readonly serverRoots = new Map<string, number>();
  readonly #options: ClientSyncOptions;
  readonly #open = new Set<string>();

  constructor(options: ClientSyncOptions) {
    this.#options = options;
  }

  /** Questions without an answer. */
  get open(): number {
    return this.#open.size;
  }

  /** The connection is gone, and with it every answer. */
  forget(): void {
    this.#open.clear();
  }

  /** Starts a walk of every map. */
  beginAll(): void {
    for (const mapName of this.#options.maps.keys()) this.begin(mapName);
  }

  begin(mapName: string, lastSyncTimestamp = this.lastSyncTimestamp): void {
    const map = this.#options.maps.get(mapName);
    if (map === undefined) return;
    this.#open.add(`${mapName}/init`);
    if (map instanceof ClientOrMap) {
      const tree = map.tree();
      const fields = { rootHash: rootOf(tree), bucketHashes: bucketsOf(tree, ''), lastSyncTimestamp, claimedEpoch: 0 };
      this.#options.send({ type: 'ORMAP_SYNC_INIT', mapName, ...fields });
    } else {
      this.#options.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp });
    }
  }

  /** Takes a message of a walk. False when it is another. */
  take(type: string, payload: Message): boolean {
    switch (type) {
      case 'SYNC_RESP_ROOT':
      case 'ORMAP_SYNC_RESP_ROOT':
        this.#root(payload);
        return true;
      case 'SYNC_RESP_BUCKETS':
      case 'ORMAP_SYNC_RESP_BUCKETS':
        this.#buckets(payload);
        return true;
      case 'SYNC_RESP_LEAF':
        this.#lwwLeaf(payload);
        return true;
      case 'ORMAP_SYNC_RESP_LEAF':
        this.#orLeaf(payload);
        return true;
      case 'ORMAP_DIFF_RESPONSE':
        this.#mergeEntries(payload);
        return true;
      case 'SYNC_RESET_REQUIRED':
        this.#reset(payload);
        return true;
      case 'GC_PRUNE':
        for (const map of this.#options.maps.values()) map.prune(stampIn(payload, 'olderThan'));
        return true;
      default:
        return false;
    }
  }

  #root(payload: Message): void {
    const mapName = textIn(payload, 'mapName');
    const rootHash = numberIn(payload, 'rootHash');
    const timestamp = stampIn(payload);
    this.#options.clock.update(timestamp);
    this.lastSyncTimestamp = timestamp.millis;
    this.serverRoots.set(mapName, rootHash);
    this.#open.delete(`${mapName}/init`);
    const map = this.#options.maps.get(mapName);
    if (map === undefined) return;
    if (map instanceof ClientOrMap && payload.fullResync === true) {
      this.counts.fullResyncs += 1;
      map.clear();
      this.#options.dropOrOps(mapName, timestamp);
      return this.#ask(mapName, map, '');
    }
    if (rootOf(map.tree()) === rootHash) {
      this.counts.rootsEqual += 1;
      return;
    }
    this.counts.walks += 1;
    this.#ask(mapName, map, '');
  }

  #ask(mapName: string, map: ClientMap, path: string): void {
    this.#open.add(`${mapName}/${path}`);
    const type = map instanceof ClientOrMap ? 'ORMAP_MERKLE_REQ_BUCKET' : 'MERKLE_REQ_BUCKET';
    this.#options.send({ type, payload: { mapName, path } });
  }

  #buckets(payload: Message): void {
    const mapName = textIn(payload, 'mapName');
    const path = textIn(payload, 'path');
    const remote = mapIn(payload, 'buckets');
    this.#open.delete(`${mapName}/${path}`);
    const map = this.#options.maps.get(mapName);
    if (map === undefined) return;
    const local = bucketsOf(map.tree(), path);
    for (const digit of Object.keys(remote)) {
      if (numberIn(remote, digit) !== (local[digit] ?? 0)) this.#ask(mapName, map, path + digit);
    }
    if (!(map instanceof ClientOrMap)) return;
    for (const digit of Object.keys(local)) {
      if (!(digit in remote)) this.#push(mapName, map, map.keysInLeaf(path + digit));
    }
  }

  #lwwLeaf(payload: Message): void {
    const mapName = textIn(payload, 'mapName');
    this.#open.delete(`${mapName}/${textIn(payload, 'path')}`);
    this.counts.leaves += 1;
    const map = this.#options.maps.get(mapName);
    if (map === undefined || map instanceof ClientOrMap) return;
    for (const item of mapsIn(payload, 'records')) {
      const record = lwwRecord(mapIn(item, 'record'));
      map.merge(textIn(item, 'key'), record);
      this.#options.clock.update(record.timestamp);
    }
  }

  #orLeaf(payload: Message): void {
    const mapName = textIn(payload, 'mapName');
    this.#open.delete(`${mapName}/${textIn(payload, 'path')}`);
    this.counts.leaves += 1;
    const map = this.#options.maps.get(mapName);
    const keys = this.#mergeEntries(payload).map(({ key }) => key);
    if (map instanceof ClientOrMap) this.#push(mapName, map, keys);
  }

  #mergeEntries(payload: Message): OrEntry[] {
    const entries = mapsIn(payload, 'entries').map(orEntry);
    const map = this.#options.maps.get(textIn(payload, 'mapName'));
    if (map instanceof ClientOrMap) {
      for (const { key, records, tombstones } of entries) map.mergeKey(key, records, tombstones, this.#options.clock);
    }
    return entries;
  }

  /** All records of the keys that have any, each entry with all tombstones of the map. */
  #push(mapName: string, map: ClientOrMap, keys: readonly string[]): void {
    const tombstones = [...map.tombstones];
    const entries = keys.flatMap((key) => {
      const records = [...(map.items.get(key)?.values() ?? [])];
      return records.length === 0 ? [] : [{ key, records, tombstones }];
    });
    if (entries.length === 0) return;
    this.counts.pushes += 1;
    this.#options.send({ type: 'ORMAP_PUSH_DIFF', payload: { mapName, entries } });
  }

  #reset(payload: Message): void {
    const mapName = textIn(payload, 'mapName');
    textIn(payload, 'reason');
    this.counts.resets += 1;
    this.#options.maps.get(mapName)?.clear();
    this.begin(mapName, 0);
  }
}

/** True when an op stamped `stamp` is older than `olderThan`. */
export function isOlder(stamp: { millis: number; counter: number; nodeId: string }, olderThan: typeof stamp): boolean {
  return compareStampsOf(stamp, olderThan) < 0;
}
