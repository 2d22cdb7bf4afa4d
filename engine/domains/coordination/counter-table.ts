/**
 * The PN counters of one worker: what every node added to and subtracted from each of them, and whose the nodes are.
 *
 *   counters  name ─▶ Counter { node ─▶ entry }
 *   entries   reference, from 1 ─▶ CounterEntry {positive, negative, owner}      one row of the log and of Postgres each
 *
 * A join takes the larger sums, so repeats and reordering change nothing and nothing is ever deleted. An entry is owned by
 * the device that wrote it first, for good; one of which nobody knows whose it is has no owner until a device raises it.
 * What changed goes where changed records go: `MapDataStore.changed` with a reference, read back by the log and the flush.
 *
 * Source: engine/crdt/pn-counter.ts, of which this is the durable form.
 */
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { decodeText, encodeText } from '../../protocol/wire-text.ts';
import type { MapDataStore, StagedSource } from '../../storage/map-data-store.ts';
import { KIND_COUNTER, type RecordImage } from '../../storage/record.ts';
import type { RecordRef } from '../../storage/storage.ts';

const NO_MAP = new Uint8Array(0);
/** What an entry costs in staging and memory beside its bytes: objects, places in two maps. About, from a heap snapshot. */
const ENTRY_OVERHEAD_BYTES = 400;

/** What one node did to one counter. */
export interface CounterEntry {
  readonly ref: RecordRef;
  readonly node: string;
  /** Device whose entry it is; '' = of nobody yet. */
  owner: string;
  /** Sums of all that the node added and subtracted; both only grow. */
  positive: number;
  negative: number;
}

/** A counter and the gateways whose sessions watch it. */
export class Counter {
  readonly name: string;
  readonly entries = new Map<string, CounterEntry>();
  /** By gateway number. */
  readonly watchedBy: boolean[] = [];

  constructor(name: string) {
    this.name = name;
  }

  get isWatched(): boolean {
    return this.watchedBy.includes(true);
  }
}

interface StoredEntry extends CounterEntry {
  readonly counter: Counter;
  readonly keyHash: number;
  stagedAt: number;
  /** Name, owner and node in UTF-8, without gaps: made anew when the entry gets its owner. */
  source: Uint8Array;
  nameBytes: number;
  ownerBytes: number;
}

export class CounterTable implements StagedSource {
  readonly kind = KIND_COUNTER;
  readonly map = NO_MAP;
  readonly #dataStore: MapDataStore;
  readonly #counters = new Map<string, Counter>();
  readonly #entries: StoredEntry[] = [];
  /** Bytes that the entries take, about. */
  bytes = 0;
  /** Joins that changed an entry. */
  joins = 0;
  /** Joins that were refused, because the entry is another device's. */
  refusals = 0;

  constructor(dataStore: MapDataStore) {
    this.#dataStore = dataStore;
  }

  get counters(): number {
    return this.#counters.size;
  }

  get entries(): number {
    return this.#entries.length;
  }

  find(name: string): Counter | undefined {
    return this.#counters.get(name);
  }

  /** The counter of that name, made when there is none. The caller keeps the number of counters in bounds. */
  open(name: string): Counter {
    const known = this.#counters.get(name);
    if (known !== undefined) return known;
    const counter = new Counter(name);
    this.#counters.set(name, counter);
    return counter;
  }

  /** Forgets a counter that nobody wrote and nobody watches: it can be made again at any time. */
  dropIfUnused(counter: Counter): void {
    if (counter.entries.size === 0 && !counter.isWatched) this.#counters.delete(counter.name);
  }

  /**
   * Joins a node's sums; what is not a number above 0 adds nothing. True when they changed: then the entry is staged and logged.
   * `owner` becomes the entry's when it has none.
   */
  join(counter: Counter, node: string, owner: string, positive: number, negative: number, nowMs: number): boolean {
    const entry = this.#joined(counter, node, owner, positive, negative);
    if (entry === undefined) return false;
    this.joins += 1;
    this.#dataStore.changed(this, entry.ref, nowMs);
    return true;
  }

  /** Joins an entry that the data store has: it is not staged. */
  restore(image: RecordImage): void {
    this.#joinImage(image);
  }

  /** Joins an entry that the log has and the data store may not. */
  replay(image: RecordImage, nowMs: number): void {
    const entry = this.#joinImage(image);
    if (entry !== undefined) this.#dataStore.changed(this, entry.ref, nowMs);
  }

  read(ref: RecordRef, into: RecordImage): void {
    const entry = this.#at(ref);
    const { source, nameBytes, ownerBytes } = entry;
    into.source = source;
    into.keyHash = entry.keyHash;
    into.keyStart = 0;
    into.keyBytes = nameBytes;
    into.tagStart = nameBytes;
    into.tagBytes = ownerBytes;
    into.nodeStart = nameBytes + ownerBytes;
    into.nodeBytes = source.length - into.nodeStart;
    into.valueStart = source.length;
    into.valueBytes = 0;
    into.millis = entry.positive;
    into.counter = 0;
    into.ttlMs = entry.negative;
    into.tombstone = false;
    into.evicted = false;
  }

  stagedAt(ref: RecordRef): number {
    return this.#at(ref).stagedAt;
  }

  setStagedAt(ref: RecordRef, position: number): void {
    this.#at(ref).stagedAt = position;
  }

  costBytes(ref: RecordRef): number {
    return this.#at(ref).source.length + ENTRY_OVERHEAD_BYTES;
  }

  #at(ref: RecordRef): StoredEntry {
    return this.#entries[ref - 1] as StoredEntry;
  }

  #joinImage(image: RecordImage): CounterEntry | undefined {
    const { source, keyStart, keyBytes, tagStart, tagBytes, nodeStart, nodeBytes, millis, ttlMs } = image;
    const counter = this.open(decodeText(source, keyStart, keyStart + keyBytes));
    const node = decodeText(source, nodeStart, nodeStart + nodeBytes);
    return this.#joined(counter, node, decodeText(source, tagStart, tagStart + tagBytes), millis, ttlMs);
  }

  /** The entry when it changed. */
  #joined(counter: Counter, node: string, owner: string, positive: number, negative: number): CounterEntry | undefined {
    const known = counter.entries.get(node);
    if (!isRaise(known, positive, negative)) return undefined;
    const entry = this.#entries[(known?.ref ?? 0) - 1] ?? this.#add(counter, node, owner);
    if (isSum(positive)) entry.positive = Math.max(entry.positive, positive);
    if (isSum(negative)) entry.negative = Math.max(entry.negative, negative);
    if (entry.owner === '' && owner !== '') {
      entry.owner = owner;
      this.#spell(entry);
    }
    return entry;
  }

  #add(counter: Counter, node: string, owner: string): StoredEntry {
    const name = encodeText(counter.name);
    const entry: StoredEntry = {
      ref: this.#entries.length + 1,
      node,
      owner,
      positive: 0,
      negative: 0,
      counter,
      keyHash: fnv1aUtf8(name, 0, name.length),
      stagedAt: 0,
      source: NO_MAP,
      nameBytes: 0,
      ownerBytes: 0,
    };
    this.#entries.push(entry);
    counter.entries.set(node, entry);
    this.bytes += ENTRY_OVERHEAD_BYTES;
    this.#spell(entry);
    return entry;
  }

  #spell(entry: StoredEntry): void {
    const [name, owner, node] = [entry.counter.name, entry.owner, entry.node].map(encodeText) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const source = new Uint8Array(name.length + owner.length + node.length);
    source.set(name, 0);
    source.set(owner, name.length);
    source.set(node, name.length + owner.length);
    this.bytes += source.length - entry.source.length;
    entry.source = source;
    entry.nameBytes = name.length;
    entry.ownerBytes = owner.length;
  }
}

/** True when the sums are more than what the entry has. */
export function isRaise(entry: CounterEntry | undefined, positive: number, negative: number): boolean {
  return (isSum(positive) && positive > (entry?.positive ?? 0)) || (isSum(negative) && negative > (entry?.negative ?? 0));
}

function isSum(value: number): boolean {
  return Number.isFinite(value) && value > 0;
}
