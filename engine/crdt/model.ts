/**
 * Reference models of an LWW map and an OR-Map: the rules written the plain way, on JavaScript Maps and strings, with
 * the Merkle tree built node by node as the client does it.
 *
 * They are an oracle, not a part of the server: tests and the simulation run the same writes through the real record
 * store and through a model, and compare records and roots. So they share nothing with the fast path save the hash
 * functions, the order of bytes and the OR entry hash, and nothing in the write path may import them.
 *
 * Keys, tags and node ids are well-formed strings here; the bytes that are none are tested where they are handled.
 */
import { fmix32, fnv1a } from '../partition/hash.ts';
import { compareBytes } from './hlc.ts';
import { type OrRecord, orEntryHash } from './or-map.ts';

const encoder = new TextEncoder();

/** A record of the LWW model. An empty value is a tombstone. */
export interface LwwRecord {
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
  readonly value: Uint8Array;
  /** Not part of the order: a changed TTL is a new write with a new stamp. */
  readonly ttlMs?: number;
}

/** A last-writer-wins map. */
export class LwwMap {
  readonly #records = new Map<string, LwwRecord>();

  /** All records by key, tombstones included. */
  get records(): ReadonlyMap<string, LwwRecord> {
    return this.#records;
  }

  /** Joins one record. True when it won. */
  put(key: string, record: LwwRecord): boolean {
    const stored = this.#records.get(key);
    if (stored !== undefined && compareRecords(record, stored) <= 0) return false;
    this.#records.set(key, record);
    return true;
  }

  /** Joins another map. */
  merge(other: LwwMap): void {
    for (const [key, record] of other.records) this.put(key, record);
  }

  /** Forgets a record, as pruning a tombstone does. */
  prune(key: string): void {
    this.#records.delete(key);
  }

  /** What a reader sees of a key; null when it is absent, removed or expired. */
  read(key: string, nowMs: number): Uint8Array | null {
    const record = this.#records.get(key);
    if (record === undefined || record.value.length === 0) return null;
    return record.ttlMs !== undefined && record.millis + record.ttlMs < nowMs ? null : record.value;
  }

  tree(): ModelTree {
    const entries = new Map<string, number>();
    for (const [key, record] of this.#records) {
      entries.set(key, fnv1a(`${key}:${record.millis}:${record.counter}:${record.nodeId}`));
    }
    return new ModelTree(entries);
  }
}

/** An observed-remove map. */
export class OrMap {
  readonly #live = new Map<string, Map<string, OrRecord>>();
  readonly #tombstones = new Set<string>();

  /** Tags that were removed, of the whole map. */
  get tombstones(): ReadonlySet<string> {
    return this.#tombstones;
  }

  get keys(): string[] {
    return [...this.#live.keys()];
  }

  /** Live records of a key, by tag. */
  records(key: string): OrRecord[] {
    return [...(this.#live.get(key)?.values() ?? [])].sort((a, b) => (a.tag < b.tag ? -1 : 1));
  }

  /** Adds a record. False when the tag is dead, or known (its value stays). */
  add(key: string, record: OrRecord): boolean {
    if (this.#tombstones.has(record.tag)) return false;
    const records = this.#live.get(key) ?? new Map<string, OrRecord>();
    if (records.has(record.tag)) return false;
    records.set(record.tag, record);
    this.#live.set(key, records);
    return true;
  }

  /** Removes a tag for ever, known or not. False when it was removed before. */
  remove(tag: string): boolean {
    if (this.#tombstones.has(tag)) return false;
    this.#tombstones.add(tag);
    for (const [key, records] of this.#live) {
      if (records.delete(tag) && records.size === 0) this.#live.delete(key);
    }
    return true;
  }

  /** Joins another map. */
  merge(other: OrMap): void {
    for (const tag of other.tombstones) this.remove(tag);
    for (const key of other.keys) for (const record of other.records(key)) this.add(key, record);
  }

  tree(): ModelTree {
    return new ModelTree(new Map(this.keys.map((key) => [key, orEntryHash(key, this.records(key))])));
  }
}

/** The client's Merkle tree over entry hashes by key: nested nodes, keyed by one hex digit of the key's hash each. */
export class ModelTree {
  readonly #entries: readonly (readonly [string, number])[];

  constructor(entries: ReadonlyMap<string, number>) {
    this.#entries = [...entries].map(([key, hash]) => [fnv1a(key).toString(16).padStart(8, '0'), hash]);
  }

  get root(): number {
    return this.hash('');
  }

  /** Hash of the node or leaf at a path of 0 to 3 hex digits. */
  hash(path: string): number {
    const below = this.#entries.filter(([keyPath]) => keyPath.startsWith(path));
    if (path.length === 3) return sumOfMixed(below.map(([, hash]) => hash));
    return sumOfMixed(Object.values(this.buckets(path)));
  }

  /** Children with a hash of the node at a path of 0 to 2 hex digits, as they go over the wire. */
  buckets(path: string): Record<string, number> {
    const digits = new Set<string>();
    for (const [keyPath] of this.#entries) if (keyPath.startsWith(path)) digits.add(keyPath.charAt(path.length));
    return Object.fromEntries([...digits].sort().map((digit) => [digit, this.hash(path + digit)]));
  }
}

function sumOfMixed(hashes: readonly number[]): number {
  return hashes.reduce((sum, hash) => (sum + fmix32(hash)) % 2 ** 32, 0);
}

/** Order of two records: millis, counter, node id by its bytes, value bytes. */
function compareRecords(a: LwwRecord, b: LwwRecord): number {
  if (a.millis !== b.millis) return a.millis - b.millis;
  if (a.counter !== b.counter) return a.counter - b.counter;
  return compareWhole(encoder.encode(a.nodeId), encoder.encode(b.nodeId)) || compareWhole(a.value, b.value);
}

function compareWhole(a: Uint8Array, b: Uint8Array): number {
  return compareBytes(a, 0, a.length, b, 0, b.length);
}
