/**
 * Anti-entropy: this worker's share of the Merkle trees and the records under a leaf.
 *
 * Leaf sums of several workers simply add up, so a worker answers with the sums of its own partitions and the gateway
 * adds them and folds the levels above. Answers are built as bytes that the gateway copies into its frame:
 *
 *   leaves   u32 records of the map here · then pairs (u32 leaf, u32 sum) of non-zero leaves under the prefix
 *   leaf     parts of about a megabyte, those of a long answer later, one after another (late-leaf.ts): u32 items · then the items, MessagePack maps back to back: LWW `{key, record}`, OR `{key, records, tombstones}`
 *
 * Before a question is answered, due records are expired, up to a slice of them. What is left of them is answered as the
 * removal that it is about to become; the sums still contain it. So a client may find a leaf that differs from what it
 * then holds, and finds it equal at its next sync, when the slices have come to an end.
 */
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { encode } from '../../protocol/codec.ts';
import { encodeText } from '../../protocol/wire-text.ts';
import type { RequestAnswer } from '../../operation/request-handler.ts';
import type { ManagedService } from '../../operation/service-registry.ts';
import { becomeRemoval, isExpiredImage } from '../../storage/expired-record.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from '../../storage/record.ts';
import { fitsBlock } from '../../storage/record-block.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { CrdtService } from '../crdt/crdt-service.ts';
import type { Expiry } from '../crdt/expiry.ts';
import type { GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';
import { ItemParts, PART_BYTES_MAX } from './item-parts.ts';
import type { LateLeaves } from './late-leaf.ts';
import { ALL_ROWS, NO_SCOPE } from '../security/access.ts';
import type { ScopedSync } from './scoped-sync.ts';
import { byteText, encodeEntry, type KeyRecords, portionsOf, recordsByKey, tagOf } from './or-entries.ts';

const LEAVES = 4096;
/** Bounds of map, key and tag together, and of the node id, as for ops. */
const IDENTITY_BYTES_MAX = 2048;
const NODE_BYTES_MAX = 256;
const NO_TAGS: ReadonlySet<string> = new Set();
const NO_RECORDS: KeyRecords = { live: [], tombstones: [] };
/** What a push is answered with all records of. */
const CORRECTION_BYTES_MAX = 2 * PART_BYTES_MAX;

/** One record of an `ORMAP_PUSH_DIFF` entry. */
export interface PushedRecord {
  readonly tag: string;
  readonly value: unknown;
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
  readonly ttlMs?: number | undefined;
}

/** What a client pushes of an OR-Map: the entries whose keys this worker owns, and every tombstone of the frame. */
export interface Push {
  readonly map: Uint8Array;
  readonly entries: readonly { readonly key: string; readonly records: readonly PushedRecord[] }[];
  readonly tombstones: readonly string[];
  readonly gateway: number;
  readonly session: number;
  readonly writerListens: boolean;
  /** Of the pusher; everything when left out. */
  readonly rights?: PushRights;
}

export interface PushRights {
  /** Row rules; NO_SCOPE: none. */
  readonly scope: number;
  readonly mayWrite: boolean;
  readonly mayRemove: boolean;
  /** False: nothing is said about what it pushed. */
  readonly mayRead: boolean;
}

const EVERY_RIGHT: PushRights = { scope: NO_SCOPE, mayWrite: true, mayRemove: true, mayRead: true };

export class SyncService implements ManagedService {
  readonly name = 'sync';
  readonly #maps: MapCatalogue;
  readonly #crdt: CrdtService;
  readonly #pruneWatermarkMs: () => number;
  readonly #expiry: Expiry | undefined;
  readonly #late: LateLeaves | undefined;
  readonly #scoped: ScopedSync | undefined;
  readonly #image = new RecordImage();

  /**
   * @param pruneWatermarkMs unknown tags with an older clock count as removed; ms, 0 = none.
   * @param expiry knows what has expired; without it nothing has.
   * @param late reads back values that were dropped from memory; without it none are.
   * @param scoped judges pushes by row rules; without it there are none.
   */
  constructor(
    maps: MapCatalogue,
    crdt: CrdtService,
    pruneWatermarkMs: () => number,
    expiry?: Expiry,
    late?: LateLeaves,
    scoped?: ScopedSync,
  ) {
    this.#late = late;
    this.#scoped = scoped;
    this.#expiry = expiry;
    this.#maps = maps;
    this.#crdt = crdt;
    this.#pruneWatermarkMs = pruneWatermarkMs;
  }

  init(): void {}
  reset(): void {} // all state is in the stores
  async shutdown(): Promise<void> {}

  /** Number and bytes of the map's records, then leaf sums under `prefix` (0–3 hex digits). The answer is valid until the next call. */
  leaves(map: Uint8Array, kind: RecordKind, prefix: string): Uint8Array {
    this.#expiry?.catchUp();
    const store = this.#maps.find(map)?.existing(kind);
    const pairs: number[] = [];
    if (store !== undefined) {
      if (kind === KIND_OR) store.refreshLeaves();
      const sums = new Uint32Array(LEAVES);
      store.copyLeafSums(sums);
      forEachLeafUnder(prefix, (leaf) => {
        const sum = sums[leaf] as number;
        if (sum !== 0 || store.leaves.head(leaf) !== 0) pairs.push(leaf, sum); // tombstones of an OR-Map have no hash
      });
    }
    const bytes = Math.min(0xffff_ffff, store === undefined ? 0 : store.bytes + store.evictedBytes);
    return new Uint8Array(Uint32Array.of(store?.records ?? 0, bytes, ...pairs).buffer);
  }

  /** As `leaves`, or an answer that comes later when values of an OR-Map must be read back to hash it. */
  leavesNowOrLater(map: Uint8Array, kind: RecordKind, prefix: string, asker?: string): RequestAnswer {
    const late = this.#late;
    const store = kind === KIND_OR ? this.#maps.find(map)?.existing(kind) : undefined;
    if (late !== undefined && store !== undefined && store.evicted > 0) {
      this.#expiry?.catchUp();
      store.refreshLeaves();
      if (store.unknownKeys(1).length > 0) return late.answerOnceHashed(store, () => this.leaves(map, kind, prefix), asker);
    }
    return [this.leaves(map, kind, prefix)];
  }

  /** The records (LWW) or entries (OR) of every leaf under `prefix`, in parts. */
  leaf(map: Uint8Array, kind: RecordKind, prefix: string): Uint8Array[] {
    const nowMs = this.#expireDue();
    const store = this.#maps.find(map)?.existing(kind);
    return this.#items((out) => {
      if (store === undefined) return;
      forEachLeafUnder(prefix, (leaf) => {
        if (kind === KIND_LWW) this.#lwwItems(out, store, leaf, nowMs);
        else this.#orItems(out, store, leaf, nowMs);
      });
    });
  }

  /** As `leaf`, or an answer that comes later when it is long, or values must be read back for it. */
  leafNowOrLater(map: Uint8Array, kind: RecordKind, prefix: string, asker?: string): RequestAnswer {
    const late = this.#late;
    const store = this.#maps.find(map)?.existing(kind);
    if (late === undefined || store === undefined) return this.leaf(map, kind, prefix);
    const nowMs = this.#expireDue();
    const leaves: number[] = [];
    forEachLeafUnder(prefix, (leaf) => {
      if (store.leaves.head(leaf) !== 0) leaves.push(leaf);
    });
    const isLate = isLong(store, leaves) || (store.evicted > 0 && leaves.some((leaf) => late.needs(store, leaf, nowMs)));
    return isLate ? late.answer(store, leaves, asker) : this.leaf(map, kind, prefix);
  }

  /** The entries of the given keys of an OR-Map, in parts. Later, when the leaves of the keys are long, or values must be read back. */
  orDiff(map: Uint8Array, keys: readonly string[], asker?: string): RequestAnswer {
    const nowMs = this.#expireDue();
    const store = this.#maps.find(map)?.existing(KIND_OR);
    if (store === undefined) return this.#items(() => {});
    const late = this.#late;
    if (late !== undefined) {
      const byLeaf = keysByLeaf(keys);
      if (isLong(store, byLeaf.keys())) return this.#longDiff(late, store, byLeaf, asker);
    }
    const out = new ItemParts();
    const missing = this.#orKeys(out, store, new Map(keys.map((key) => [key, NO_TAGS])), nowMs);
    return missing.length > 0 && late !== undefined ? late.answerWith(store, missing, out, asker) : out.finish();
  }

  #longDiff(
    late: LateLeaves,
    store: RecordStore,
    byLeaf: ReadonlyMap<number, readonly LeafKey[]>,
    asker: string | undefined,
  ): RequestAnswer {
    const wanted = new Set<string>();
    for (const leafKeys of byLeaf.values()) for (const { bytes } of leafKeys) wanted.add(byteText(bytes, 0, bytes.length));
    const isWanted = ({ source, keyStart, keyBytes }: RecordImage): boolean => wanted.has(byteText(source, keyStart, keyBytes));
    return late.answerSome(store, [...byLeaf.keys()], isWanted, asker);
  }

  /** Whoever asked as this is gone: what it waits for is given up. */
  forget(asker: string): void {
    this.#late?.forget(asker);
  }

  /**
   * Takes what a client pushed: adds tags that are new here, removes tags that it saw removed. Answers with the
   * entries of keys for which it pushed a tag that is removed here, so that it converges; often none. Behind some megabytes
   * entries only say what is removed of that which was pushed.
   */
  orPush(push: Push, nowMs: number): Uint8Array[] {
    this.#expireDue();
    const { scope, mayRemove, mayRead } = push.rights ?? EVERY_RIGHT;
    const view = this.#scoped?.view(push.gateway, scope, push.map) ?? ALL_ROWS; // throws before anything is done
    const map = this.#maps.openByName(push.map);
    return this.#items((out) => {
      if (map === undefined) return;
      const removed = new Set(mayRemove ? push.tombstones : []);
      if (scope === NO_SCOPE) for (const tag of removed) map.orphans.add(tag, encodeText(tag));
      const keys = new Set<string>();
      const refused = new Map<string, Set<string>>();
      for (const { key, records } of push.entries) {
        keys.add(key);
        const tags = refused.get(key) ?? new Set<string>();
        this.#pushRecords(push, map, key, records, nowMs, tags);
        if (tags.size > 0) refused.set(key, tags);
      }
      if (removed.size > 0) this.#pushTombstones(push, map, keys, removed, nowMs);
      if (!mayRead) return;
      // Whoever is corrected learns what was removed. Values that are too much, or would have to be read back, come with its next sync.
      if (view === ALL_ROWS) this.#orKeys(out, map.store(KIND_OR), refused, nowMs, CORRECTION_BYTES_MAX);
      else this.#scoped?.corrections(out, map.store(KIND_OR), view, refused);
    });
  }

  /** Joins pushed records. Adds to `refused` the tags that are removed here, or too old to be known as removed. */
  #pushRecords(
    push: Push,
    map: GridMap,
    key: string,
    records: readonly PushedRecord[],
    nowMs: number,
    refused: Set<string>,
  ): void {
    const store = map.store(KIND_OR);
    for (const record of records) {
      this.#fill(key, record.tag, record);
      if (!isStorable(map, this.#image)) continue;
      const isTooOld = record.millis < this.#pruneWatermarkMs() && store.find(this.#image) === 0;
      if (isTooOld) refused.add(record.tag);
      else if (this.#joins(push, map, nowMs)) continue;
      else if (isRemoved(store, this.#image, nowMs)) refused.add(record.tag);
    }
  }

  /** Removes what the client saw removed. A leaf is walked once, however many of its keys were pushed. */
  #pushTombstones(push: Push, map: GridMap, keys: Iterable<string>, removed: ReadonlySet<string>, nowMs: number): void {
    const store = map.store(KIND_OR);
    for (const [leaf, leafKeys] of keysByLeaf(keys)) {
      const byKey = recordsByKey(store, leaf, nowMs);
      for (const { key, bytes } of leafKeys) {
        const live = byKey.get(byteText(bytes, 0, bytes.length))?.live ?? [];
        for (const tag of live.map((ref) => tagOf(store, ref, this.#image))) {
          if (!removed.has(tag)) continue;
          this.#fill(key, tag, undefined);
          this.#image.millis = nowMs; // kept for the whole horizon, however old the tag is
          this.#joins(push, map, nowMs);
        }
      }
    }
  }

  /** Joins the image, if its pusher may. True when it changed the record. */
  #joins(push: Push, map: GridMap, nowMs: number): boolean {
    const { gateway, session, writerListens } = push;
    const { scope, mayWrite } = push.rights ?? EVERY_RIGHT;
    if (!this.#image.tombstone && !mayWrite) return false;
    if (this.#scoped?.mayJoin(gateway, scope, map, this.#image, nowMs) === false) return false;
    return this.#crdt.applyImage(map, this.#image, gateway, session, writerListens, nowMs);
  }

  /** Points the image at a record that came decoded; without one, at the removal of a tag. */
  #fill(key: string, tag: string, record: PushedRecord | undefined): void {
    const parts = [encodeText(key), encodeText(tag), encodeText(record?.nodeId ?? '')] as const;
    const value = record === undefined ? new Uint8Array(0) : encode(record.value ?? null);
    const [keyBytes, tagBytes, nodeBytes] = parts;
    const source = new Uint8Array(keyBytes.length + tagBytes.length + nodeBytes.length + value.length);
    const image = this.#image;
    image.source = source;
    image.keyStart = 0;
    image.keyBytes = keyBytes.length;
    image.tagStart = keyBytes.length;
    image.tagBytes = tagBytes.length;
    image.nodeStart = image.tagStart + tagBytes.length;
    image.nodeBytes = nodeBytes.length;
    image.valueStart = image.nodeStart + nodeBytes.length;
    image.valueBytes = value.length;
    source.set(keyBytes, image.keyStart);
    source.set(tagBytes, image.tagStart);
    source.set(nodeBytes, image.nodeStart);
    source.set(value, image.valueStart);
    image.keyHash = fnv1aUtf8(source, 0, keyBytes.length);
    image.millis = record?.millis ?? 0;
    image.counter = record?.counter ?? 0;
    image.ttlMs = record?.ttlMs ?? Number.NaN;
    image.tombstone = record === undefined;
    image.evicted = false;
  }

  #lwwItems(out: ItemParts, store: RecordStore, leaf: number, nowMs: number): void {
    store.forEachInLeaf(leaf, (ref) => {
      store.read(ref, this.#image);
      if (!Number.isNaN(nowMs)) store.touch(ref, nowMs);
      if (isExpiredImage(this.#image, nowMs)) becomeRemoval(this.#image);
      out.lwwItem(this.#image);
    });
  }

  #orItems(out: ItemParts, store: RecordStore, leaf: number, nowMs: number): void {
    for (const records of recordsByKey(store, leaf, nowMs).values()) {
      for (const portion of portionsOf(store, records, PART_BYTES_MAX)) encodeEntry(out.item(), store, portion);
    }
  }

  /**
   * Adds the entries of keys of which there is anything to say, each with tags to be told as removed as well. Answers with
   * the live records that were left out, because their values must be read back. Once there are more bytes than `bytesMax`, an
   * entry is what is to be told as removed.
   */
  #orKeys(
    out: ItemParts,
    store: RecordStore,
    removedOf: ReadonlyMap<string, ReadonlySet<string>>,
    nowMs: number,
    bytesMax = Number.POSITIVE_INFINITY,
  ): readonly RecordRef[] {
    const late: RecordRef[] = [];
    for (const [leaf, leafKeys] of keysByLeaf(removedOf.keys())) {
      const byKey = recordsByKey(store, leaf, nowMs);
      for (const { key, bytes } of leafKeys) {
        const records = byKey.get(byteText(bytes, 0, bytes.length)) ?? { live: [], tombstones: [] };
        let removed = [...(removedOf.get(key) ?? NO_TAGS)];
        const missing = new Set(records.live.filter((ref) => this.#late?.needsAny(store, [ref], nowMs) === true));
        late.push(...missing);
        const isFull = out.bytes > bytesMax;
        const here = isFull ? NO_RECORDS : { ...records, live: records.live.filter((ref) => !missing.has(ref)) };
        if (here.live.length + here.tombstones.length + removed.length === 0) continue;
        for (const portion of portionsOf(store, here, PART_BYTES_MAX)) {
          encodeEntry(out.item(), store, portion, bytes, removed);
          removed = [];
          if (out.bytes > bytesMax) break;
        }
      }
    }
    return late;
  }

  /** Expires what is due, up to a slice. Answers the time by which what is left counts as expired. */
  #expireDue(): number {
    this.#expiry?.catchUp();
    return this.#expiry?.nowMs() ?? Number.NaN;
  }

  #items(write: (out: ItemParts) => void): Uint8Array[] {
    const parts = new ItemParts();
    write(parts);
    return parts.finish();
  }
}

/** True when the record of this key and tag is a tombstone or expired here, or known only as removed. */
function isRemoved(store: RecordStore, image: RecordImage, nowMs: number): boolean {
  const ref = store.find(image);
  return ref === 0 || store.isTombstone(ref) || store.isExpired(ref, nowMs);
}

interface LeafKey {
  readonly key: string;
  /** UTF-8 of the key. */
  readonly bytes: Uint8Array;
}

/** True when the records of the leaves are more than a part: their answer is made a part at a time. */
function isLong(store: RecordStore, leaves: Iterable<number>): boolean {
  let bytes = 0;
  for (const leaf of leaves) {
    bytes += store.leafBytes(leaf, PART_BYTES_MAX);
    if (bytes > PART_BYTES_MAX) return true;
  }
  return false;
}

/** The keys by Merkle leaf: a client may name very many keys of one leaf, and a leaf may be very long. */
function keysByLeaf(keys: Iterable<string>): Map<number, LeafKey[]> {
  const byLeaf = new Map<number, LeafKey[]>();
  for (const key of keys) {
    const bytes = encodeText(key);
    const leaf = fnv1aUtf8(bytes, 0, bytes.length) >>> 20;
    const leafKeys = byLeaf.get(leaf);
    if (leafKeys === undefined) byLeaf.set(leaf, [{ key, bytes }]);
    else leafKeys.push({ key, bytes });
  }
  return byLeaf;
}

/** What the gateway asks of an op: sizes that fit a primary key in Postgres and a block of the slab. */
function isStorable(map: GridMap, image: RecordImage): boolean {
  const identityBytes = map.name.length + image.keyBytes + image.tagBytes;
  return identityBytes <= IDENTITY_BYTES_MAX && image.nodeBytes <= NODE_BYTES_MAX && fitsBlock(image);
}

/** Calls `visit` with each leaf under a prefix of 0–3 hex digits, ascending. */
function forEachLeafUnder(prefix: string, visit: (leaf: number) => void): void {
  const span = 16 ** (3 - prefix.length);
  const first = prefix === '' ? 0 : Number.parseInt(prefix, 16) * span;
  for (let leaf = first; leaf < first + span; leaf++) visit(leaf);
}
