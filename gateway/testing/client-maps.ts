/**
 * The two kinds of map as the TopGun client keeps them, with its Merkle tree. Hashes and frames: docs/PROTOCOL.md §4, §5.
 *
 * They differ from the server where the client differs: an equal timestamp keeps the local value, values are JavaScript
 * values, a removal of a value removes the tags seen under it, tombstones of an OR-Map stand beside the map, not in it.
 */
import { compareStamps, type HybridLogicalClock, type Stamp } from '../../engine/crdt/hlc.ts';
import { orEntryHash } from '../../engine/crdt/or-map.ts';
import { fmix32, fnv1a } from '../../engine/partition/hash.ts';

export interface LwwRecord {
  /** Null is a tombstone. */
  readonly value: unknown;
  readonly timestamp: Stamp;
  readonly ttlMs?: number | undefined;
}

export interface OrRecord {
  readonly value: unknown;
  readonly timestamp: Stamp;
  readonly tag: string;
  readonly ttlMs?: number | undefined;
}

/** Hashes of all nodes by path, '' to three digits; an absent one is 0. */
export type Tree = ReadonlyMap<string, number>;

export class ClientLwwMap {
  readonly kind = 'lww';
  /** Tombstones included. */
  readonly records = new Map<string, LwwRecord>();

  /** Takes a record that is newer than the local one. */
  merge(key: string, record: LwwRecord): boolean {
    const local = this.records.get(key);
    if (local !== undefined && compareStampsOf(record.timestamp, local.timestamp) <= 0) return false;
    this.records.set(key, record);
    return true;
  }

  /** What a reader sees; undefined for nothing. */
  get(key: string, nowMs: number): unknown {
    const record = this.records.get(key);
    if (record === undefined || record.value === null) return undefined;
    return record.ttlMs !== undefined && record.timestamp.millis + record.ttlMs < nowMs ? undefined : record.value;
  }

  prune(olderThan: Stamp): void {
    for (const [key, { value, timestamp }] of this.records) {
      if (value === null && compareStampsOf(timestamp, olderThan) < 0) this.records.delete(key);
    }
  }

  clear(): void {
    this.records.clear();
  }

  tree(): Tree {
    return treeOf([...this.records].map(([key, { timestamp }]) => [key, fnv1a(`${key}:${stampText(timestamp)}`)]));
  }
}

export class ClientOrMap {
  readonly kind = 'or';
  /** Live records by key and tag. */
  readonly items = new Map<string, Map<string, OrRecord>>();
  readonly tombstones = new Set<string>();

  /** Takes a record by its event. */
  apply(key: string, record: OrRecord): boolean {
    if (this.tombstones.has(record.tag)) return false;
    const records = this.items.get(key) ?? new Map<string, OrRecord>();
    records.set(record.tag, record);
    this.items.set(key, records);
    return true;
  }

  /** Removes a tag under whatever key. */
  applyTombstone(tag: string): void {
    this.tombstones.add(tag);
    for (const [key, records] of this.items) {
      if (records.delete(tag) && records.size === 0) this.items.delete(key);
    }
  }

  /** Tombstones every tag seen of a value; answers with the tags. */
  remove(key: string, value: unknown): string[] {
    const tags = [...(this.items.get(key)?.values() ?? [])].filter((record) => record.value === value).map(({ tag }) => tag);
    for (const tag of tags) this.applyTombstone(tag);
    return tags;
  }

  values(key: string): unknown[] {
    return [...(this.items.get(key)?.values() ?? [])].map(({ value }) => value);
  }

  /** Merges one entry of a leaf or diff. */
  mergeKey(key: string, records: readonly OrRecord[], tombstones: readonly string[], clock: HybridLogicalClock): void {
    for (const tag of tombstones) this.tombstones.add(tag);
    const local = this.items.get(key) ?? new Map<string, OrRecord>();
    for (const tag of [...local.keys()]) if (this.tombstones.has(tag)) local.delete(tag);
    for (const record of records) {
      const known = local.get(record.tag);
      const isNewer = known === undefined || compareStampsOf(record.timestamp, known.timestamp) > 0;
      if (!this.tombstones.has(record.tag) && isNewer) local.set(record.tag, record);
      clock.update(record.timestamp);
    }
    if (local.size > 0) this.items.set(key, local);
    else this.items.delete(key);
  }

  prune(olderThan: Stamp): void {
    for (const tag of this.tombstones) {
      const [millis = '', counter = '', nodeId = ''] = tag.split(':');
      const stamp = { millis: Number(millis), counter: Number(counter), nodeId };
      if (compareStampsOf(stamp, olderThan) < 0) this.tombstones.delete(tag);
    }
  }

  clear(): void {
    this.items.clear();
    this.tombstones.clear();
  }

  /** Keys whose leaf is at a path of three digits. */
  keysInLeaf(path: string): string[] {
    return [...this.items.keys()].filter((key) => pathOf(key) === path);
  }

  tree(): Tree {
    return treeOf([...this.items].map(([key, records]) => [key, orEntryHash(key, [...records.values()].map(hashed))]));
  }
}

/** Hashes of the children of a node, by digit. */
export function bucketsOf(tree: Tree, path: string): Record<string, number> {
  const buckets: Record<string, number> = {};
  for (const digit of '0123456789abcdef') {
    const hash = tree.get(path + digit) ?? 0;
    if (hash !== 0) buckets[digit] = hash;
  }
  return buckets;
}

export function rootOf(tree: Tree): number {
  return tree.get('') ?? 0;
}

export function stampText({ millis, counter, nodeId }: Stamp): string {
  return `${millis}:${counter}:${nodeId}`;
}

export function compareStampsOf(a: Stamp, b: Stamp): number {
  const aNode = Buffer.from(a.nodeId, 'utf8');
  const bNode = Buffer.from(b.nodeId, 'utf8');
  return compareStamps(a.millis, a.counter, aNode, 0, aNode.length, b.millis, b.counter, bNode, 0, bNode.length);
}

function hashed({ tag, value, timestamp, ttlMs }: OrRecord): Parameters<typeof orEntryHash>[1][number] {
  return { tag, value, ...timestamp, ttlMs };
}

function pathOf(key: string): string {
  return fnv1a(key).toString(16).padStart(8, '0').slice(0, 3);
}

/** The tree over entry hashes by key: each level sums the mixed hashes of the one below. */
function treeOf(entries: readonly (readonly [string, number])[]): Tree {
  const tree = new Map<string, number>();
  const add = (path: string, hash: number): void => void tree.set(path, ((tree.get(path) ?? 0) + fmix32(hash)) % 2 ** 32);
  for (const [key, hash] of entries) add(pathOf(key), hash);
  for (const digits of [3, 2, 1]) {
    const level = [...tree].filter(([path]) => path.length === digits);
    for (const [path, hash] of level) add(path.slice(0, digits - 1), hash);
  }
  return tree;
}
