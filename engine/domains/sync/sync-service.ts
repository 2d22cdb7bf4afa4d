/**
 * Anti-entropy: this worker's share of the Merkle trees and the records under a leaf.
 *
 * Leaf sums of several workers simply add up, so a worker answers with the sums of its own partitions and the gateway
 * adds them and folds the levels above. Answers are built as bytes that the gateway copies into its frame:
 *
 *   leaves   u32 records of the map here · then pairs (u32 leaf, u32 sum) of non-zero leaves under the prefix
 *   leaf     parts of about a megabyte: u32 items · then the items, MessagePack maps back to back: LWW `{key, record}`, OR `{key, records, tombstones}`
 */
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { encode } from '../../protocol/codec.ts';
import { MessageWriter } from '../../protocol/msgpack-writer.ts';
import { encodeText } from '../../protocol/wire-text.ts';
import type { ManagedService } from '../../operation/service-registry.ts';
import { KIND_LWW, KIND_OR, RecordImage, type RecordKind } from '../../storage/record.ts';
import { fitsBlock } from '../../storage/record-block.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import { encodeRecord } from '../crdt/change-events.ts';
import type { CrdtService } from '../crdt/crdt-service.ts';
import type { GridMap, MapCatalogue } from '../crdt/map-catalogue.ts';
import { byteText, encodeEntry, portionsOf, recordsByKey, tagOf } from './or-entries.ts';

const LEAVES = 4096;
/** Bounds of map, key and tag together, and of the node id, as for ops. */
const IDENTITY_BYTES_MAX = 2048;
const NODE_BYTES_MAX = 256;
const NO_TAGS: ReadonlySet<string> = new Set();

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
}

export class SyncService implements ManagedService {
  readonly name = 'sync';
  readonly #maps: MapCatalogue;
  readonly #crdt: CrdtService;
  readonly #pruneWatermarkMs: () => number;
  readonly #image = new RecordImage();

  /** @param pruneWatermarkMs unknown tags with an older clock count as removed; ms, 0 = none. */
  constructor(maps: MapCatalogue, crdt: CrdtService, pruneWatermarkMs: () => number) {
    this.#maps = maps;
    this.#crdt = crdt;
    this.#pruneWatermarkMs = pruneWatermarkMs;
  }

  init(): void {}
  reset(): void {} // all state is in the stores
  async shutdown(): Promise<void> {}

  /** Number and bytes of the map's records, then leaf sums under `prefix` (0–3 hex digits). The answer is valid until the next call. */
  leaves(map: Uint8Array, kind: RecordKind, prefix: string): Uint8Array {
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
    const bytes = Math.min(0xffff_ffff, store?.bytes ?? 0);
    return new Uint8Array(Uint32Array.of(store?.records ?? 0, bytes, ...pairs).buffer);
  }

  /** The records (LWW) or entries (OR) of every leaf under `prefix`, in parts. */
  leaf(map: Uint8Array, kind: RecordKind, prefix: string): Uint8Array[] {
    const store = this.#maps.find(map)?.existing(kind);
    return this.#items((out) => {
      if (store === undefined) return;
      forEachLeafUnder(prefix, (leaf) => {
        if (kind === KIND_LWW) this.#lwwItems(out, store, leaf);
        else this.#orItems(out, store, leaf);
      });
    });
  }

  /** The entries of the given keys of an OR-Map, in parts. */
  orDiff(map: Uint8Array, keys: readonly string[]): Uint8Array[] {
    const store = this.#maps.find(map)?.existing(KIND_OR);
    return this.#items((out) => {
      if (store !== undefined) this.#orKeys(out, store, new Map(keys.map((key) => [key, NO_TAGS])));
    });
  }

  /**
   * Takes what a client pushed: adds tags that are new here, removes tags that it saw removed. Answers with the
   * entries of keys for which it pushed a tag that is removed here, so that it converges; often none.
   */
  orPush(push: Push, nowMs: number): Uint8Array[] {
    const map = this.#maps.openByName(push.map);
    return this.#items((out) => {
      if (map === undefined) return;
      const removed = new Set(push.tombstones);
      for (const tag of removed) map.orphans.add(tag, encodeText(tag));
      const keys = new Set<string>();
      const refused = new Map<string, Set<string>>();
      for (const { key, records } of push.entries) {
        keys.add(key);
        const tags = refused.get(key) ?? new Set<string>();
        this.#pushRecords(push, map, key, records, nowMs, tags);
        if (tags.size > 0) refused.set(key, tags);
      }
      if (removed.size > 0) this.#pushTombstones(push, map, keys, removed, nowMs);
      this.#orKeys(out, map.store(KIND_OR), refused);
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
      else if (this.#crdt.applyImage(map, this.#image, push.gateway, push.session, push.writerListens, nowMs)) continue;
      else if (isRemoved(store, this.#image)) refused.add(record.tag);
    }
  }

  /** Removes what the client saw removed. A leaf is walked once, however many of its keys were pushed. */
  #pushTombstones(push: Push, map: GridMap, keys: Iterable<string>, removed: ReadonlySet<string>, nowMs: number): void {
    const store = map.store(KIND_OR);
    for (const [leaf, leafKeys] of keysByLeaf(keys)) {
      const byKey = recordsByKey(store, leaf);
      for (const { key, bytes } of leafKeys) {
        const live = byKey.get(byteText(bytes, 0, bytes.length))?.live ?? [];
        for (const tag of live.map((ref) => tagOf(store, ref, this.#image))) {
          if (!removed.has(tag)) continue;
          this.#fill(key, tag, undefined);
          this.#crdt.applyImage(map, this.#image, push.gateway, push.session, push.writerListens, nowMs);
        }
      }
    }
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
  }

  #lwwItems(out: ItemParts, store: RecordStore, leaf: number): void {
    store.forEachInLeaf(leaf, (ref) => {
      store.read(ref, this.#image);
      const writer = out.item();
      writer.mapHeader(2);
      writer.string('key');
      writer.stringBytes(this.#image.source, this.#image.keyStart, this.#image.keyBytes);
      writer.string('record');
      encodeRecord(writer, this.#image);
    });
  }

  #orItems(out: ItemParts, store: RecordStore, leaf: number): void {
    for (const records of recordsByKey(store, leaf).values()) {
      for (const portion of portionsOf(store, records, PART_BYTES_MAX)) encodeEntry(out.item(), store, portion);
    }
  }

  /** The entries of keys of which there is anything to say, each with tags to be told as removed as well. */
  #orKeys(out: ItemParts, store: RecordStore, removedOf: ReadonlyMap<string, ReadonlySet<string>>): void {
    for (const [leaf, leafKeys] of keysByLeaf(removedOf.keys())) {
      const byKey = recordsByKey(store, leaf);
      for (const { key, bytes } of leafKeys) {
        const records = byKey.get(byteText(bytes, 0, bytes.length));
        let removed = [...(removedOf.get(key) ?? NO_TAGS)];
        if (records === undefined && removed.length === 0) continue;
        for (const portion of portionsOf(store, records ?? { live: [], tombstones: [] }, PART_BYTES_MAX)) {
          encodeEntry(out.item(), store, portion, bytes, removed);
          removed = [];
        }
      }
    }
  }

  #items(write: (out: ItemParts) => void): Uint8Array[] {
    const parts = new ItemParts();
    write(parts);
    return parts.finish();
  }
}

/** True when the record of this key and tag is a tombstone here, or known only as removed. */
function isRemoved(store: RecordStore, image: RecordImage): boolean {
  const ref = store.find(image);
  if (ref === 0) return true;
  const stored = new RecordImage();
  store.read(ref, stored);
  return stored.tombstone;
}

interface LeafKey {
  readonly key: string;
  /** UTF-8 of the key. */
  readonly bytes: Uint8Array;
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

/** A part with more than this is closed: a gateway makes a frame of each. */
const PART_BYTES_MAX = 1024 * 1024;
const FOUR_BYTES = new Uint8Array(4);

/** Items gathered into parts of about a megabyte, each with the number of its items in front. */
class ItemParts {
  readonly #parts: Uint8Array[] = [];
  readonly #writer = new MessageWriter();
  #items = 0;

  /** Where the next item is to be written. */
  item(): MessageWriter {
    if (this.#writer.length > PART_BYTES_MAX) this.#close();
    if (this.#items === 0) this.#writer.raw(FOUR_BYTES, 0, 4);
    this.#items += 1;
    return this.#writer;
  }

  /** All parts; one at least. */
  finish(): Uint8Array[] {
    if (this.#items > 0 || this.#parts.length === 0) this.#close();
    return this.#parts;
  }

  #close(): void {
    if (this.#items === 0) this.#writer.raw(FOUR_BYTES, 0, 4);
    const part = this.#writer.bytes.slice(0, this.#writer.length);
    new DataView(part.buffer).setUint32(0, this.#items, true);
    this.#parts.push(part);
    this.#writer.reset();
    this.#items = 0;
  }
}

/** Calls `visit` with each leaf under a prefix of 0–3 hex digits, ascending. */
function forEachLeafUnder(prefix: string, visit: (leaf: number) => void): void {
  const span = 16 ** (3 - prefix.length);
  const first = prefix === '' ? 0 : Number.parseInt(prefix, 16) * span;
  for (let leaf = first; leaf < first + span; leaf++) visit(leaf);
}
