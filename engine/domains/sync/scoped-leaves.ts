/**
 * Anti-entropy for subjects with row rules: leaf sums and items of the rows that they see, as they see them.
 *
 *   shared tree ─ not used: its sums would tell of hidden rows
 *   each leaf ─▶ live rows ─▶ view ─┬─ hash of what is seen    (LWW: of its stamp, OR: of its masked values)
 *                                   └─ item, values masked
 *
 * Tombstones are never told, since nobody can say of whose rows they were: such a client starts each sync from nothing
 * (gateway/sync-desk.ts). The rows of a leaf are looked at in one go; between leaves the worker's loop goes on, and values
 * that were dropped from memory are read back. Costs a decoding of every row of the map, for each question.
 */
import { lwwEntryHash } from '../../crdt/lww.ts';
import { firstLeafOf, leafCountOf } from '../../crdt/merkle-tree.ts';
import { type OrRecord, orEntryHash } from '../../crdt/or-map.ts';
import { fmix32, fnv1aUtf8 } from '../../partition/hash.ts';
import type { LateParts } from '../../operation/request-handler.ts';
import { GridError } from '../../protocol/errors.ts';
import type { MessageWriter } from '../../protocol/msgpack-writer.ts';
import { decodeText, encodeText } from '../../protocol/wire-text.ts';
import { isExpiredImage } from '../../storage/expired-record.ts';
import { KIND_LWW, RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { type LoadedValues, ValueLoader } from '../../storage/value-loader.ts';
import { encodeRecord } from '../crdt/change-events.ts';
import type { RowView } from '../security/access.ts';
import { showIn, decodedValue } from '../security/row-value.ts';
import { FairTurns } from './fair-turns.ts';
import { ItemParts } from './item-parts.ts';

export interface ScopedLeavesOptions {
  /** Reads back values that were dropped from memory; undefined: none are. */
  readonly loader: ValueLoader | undefined;
  /** Lets the worker's loop go on for a turn. */
  readonly pause: () => Promise<void>;
  /** The time by which a record counts as expired, ms. */
  readonly nowMs: () => number;
}

const LEAF_SHIFT = 20;
/** Rows looked at between two pauses. */
const ROWS_PER_TURN = 512;
/** Times that a leaf is tried whose values are dropped again while they are read. */
const ATTEMPTS_MAX = 5;
/** Questions under way at a time; others wait their turn. */
const QUESTIONS_MAX = 8;

export class ScopedLeaves {
  readonly #options: ScopedLeavesOptions;
  readonly #turns = new FairTurns(QUESTIONS_MAX);

  constructor(options: ScopedLeavesOptions) {
    this.#options = options;
  }

  /** Answers as SyncService.leaves: number and bytes of the rows seen, then pairs of leaf and sum. */
  async *leaves(store: RecordStore | undefined, view: RowView, prefix: string, asker: string): LateParts {
    const pairs: number[] = [];
    let records = 0;
    let bytes = 0;
    const take = (leaf: number, rows: readonly Row[]): void => {
      if (rows.length === 0) return;
      records += rows.length;
      for (const { image } of rows) bytes += image.valueBytes + image.keyBytes;
      pairs.push(leaf, store?.kind === KIND_LWW ? lwwSum(rows) : orSum(rows));
    };
    for await (const _ of this.#scan(store, view, prefix, asker, take));
    yield new Uint8Array(Uint32Array.of(records, Math.min(0xffff_ffff, bytes), ...pairs).buffer);
  }

  /** Answers as SyncService.leaf: the rows seen, in parts. */
  async *leaf(store: RecordStore | undefined, view: RowView, prefix: string, asker: string): LateParts {
    const out = new ItemParts();
    const take = (_leaf: number, rows: readonly Row[]): void => {
      if (store?.kind === KIND_LWW) for (const { image } of rows) out.lwwItem(image);
      else for (const [key, ofKey] of byKey(rows)) encodeEntry(out.item(), key, ofKey, []);
    };
    for await (const _ of this.#scan(store, view, prefix, asker, take)) {
      for (let part = out.takeClosed(); part !== undefined; part = out.takeClosed()) yield part;
    }
    yield* out.finish();
  }

  /** The entries of keys as they are seen, in parts. */
  async *diff(store: RecordStore, view: RowView, keys: readonly string[]): LateParts {
    const out = new ItemParts();
    for (const [leaf, leafKeys] of byLeaf(keys)) {
      await this.#take(store, leaf, view, (_leaf, rows) => {
        const seen = byKey(rows);
        for (const key of leafKeys) {
          const ofKey = seen.get(key);
          if (ofKey !== undefined) encodeEntry(out.item(), key, ofKey, []);
        }
      });
      for (let part = out.takeClosed(); part !== undefined; part = out.takeClosed()) yield part;
    }
    yield* out.finish();
  }

  /**
   * The entries of keys as they are seen, each with tags that are to be told as removed. Rows whose values would have to be
   * read back are left out: for corrections only, whoever gets one finds the rest by its next sync.
   */
  orKeys(out: ItemParts, store: RecordStore, view: RowView, removedOf: ReadonlyMap<string, ReadonlySet<string>>): void {
    const nowMs = this.#options.nowMs();
    const leaves = new Map<number, ReadonlyMap<string, Row[]>>();
    for (const [key, removed] of removedOf) {
      const bytes = encodeText(key);
      const leaf = fnv1aUtf8(bytes, 0, bytes.length) >>> LEAF_SHIFT;
      const rows = leaves.get(leaf) ?? byKey(rowsOf(store, leaf, view, nowMs, undefined).rows);
      leaves.set(leaf, rows);
      const seen = rows.get(key) ?? [];
      if (seen.length > 0 || removed.size > 0) encodeEntry(out.item(), key, seen, [...removed]);
    }
  }

  /** Calls `take` with the rows of each leaf that are seen. Their images are valid during that call; afterwards the loop may go on. */
  async *#scan(
    store: RecordStore | undefined,
    view: RowView,
    prefix: string,
    asker: string,
    take: TakeRows,
  ): AsyncGenerator<void> {
    if (store === undefined) return;
    await this.#turns.take(asker);
    try {
      let looked = 0;
      const first = firstLeafOf(prefix);
      for (let leaf = first; leaf < first + leafCountOf(prefix); leaf++) {
        if (store.leaves.head(leaf) === 0) continue;
        looked += await this.#take(store, leaf, view, take);
        yield;
        if (looked < ROWS_PER_TURN) continue;
        looked = 0;
        await this.#options.pause();
      }
    } finally {
      this.#turns.end();
    }
  }

  /** Takes one leaf, at once or when values that are not in memory have been read back. Answers how many records were looked at. */
  async #take(store: RecordStore, leaf: number, view: RowView, take: TakeRows): Promise<number> {
    let values: LoadedValues | undefined;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const { rows, looked, isMissing } = rowsOf(store, leaf, view, this.#options.nowMs(), values);
      if (!isMissing) {
        take(leaf, rows);
        return looked;
      }
      values = await this.#load(store, leaf);
    }
    throw new GridError('UNAVAILABLE', 'values change each time while they are read back');
  }

  async #load(store: RecordStore, leaf: number): Promise<LoadedValues> {
    const { loader } = this.#options;
    if (loader === undefined) throw new GridError('UNAVAILABLE', 'a value is not in memory');
    const image = new RecordImage();
    const refs: RecordRef[] = [];
    store.forEachInLeaf(leaf, (ref) => {
      store.read(ref, image);
      if (image.evicted) refs.push(ref);
    });
    return refs.length === 0 ? new Map() : loader.load(store, refs);
  }
}

/** A row as it is seen: an image of its own, and its key. */
interface Row {
  readonly key: string;
  readonly image: RecordImage;
}

/** Keys by Merkle leaf, each once. */
function byLeaf(keys: readonly string[]): Map<number, Set<string>> {
  const leaves = new Map<number, Set<string>>();
  for (const key of keys) {
    const bytes = encodeText(key);
    const leaf = fnv1aUtf8(bytes, 0, bytes.length) >>> LEAF_SHIFT;
    leaves.set(leaf, (leaves.get(leaf) ?? new Set()).add(key));
  }
  return leaves;
}

interface LeafRows {
  readonly rows: readonly Row[];
  /** Records looked at, hidden ones too. */
  readonly looked: number;
  /** Some row could not be judged: its value is neither in memory nor among those that were read. */
  readonly isMissing: boolean;
}

type TakeRows = (leaf: number, rows: readonly Row[]) => void;

/** The live rows of a leaf that are seen. */
function rowsOf(store: RecordStore, leaf: number, view: RowView, nowMs: number, values: LoadedValues | undefined): LeafRows {
  const rows: Row[] = [];
  let looked = 0;
  let isMissing = false;
  store.forEachInLeaf(leaf, (ref) => {
    looked += 1;
    const row = new RecordImage();
    store.read(ref, row);
    if (row.tombstone || isExpiredImage(row, nowMs)) return;
    const image = row.evicted && values !== undefined ? ValueLoader.valueOf(store, row, values) : row;
    if (image === undefined || image.evicted) {
      isMissing = true;
      return;
    }
    const key = decodeText(image.source, image.keyStart, image.keyStart + image.keyBytes);
    if (showIn(view, image, key)) rows.push({ key, image });
  });
  return { rows, looked, isMissing };
}

function lwwSum(rows: readonly Row[]): number {
  let sum = 0;
  for (const { image } of rows) {
    const { keyHash, millis, counter, source, nodeStart, nodeBytes } = image;
    sum = (sum + fmix32(lwwEntryHash(keyHash, millis, counter, source, nodeStart, nodeStart + nodeBytes))) >>> 0;
  }
  return sum;
}

function orSum(rows: readonly Row[]): number {
  let sum = 0;
  for (const [key, ofKey] of byKey(rows))
    sum =
      (sum +
        fmix32(
          orEntryHash(
            key,
            ofKey.map(({ image }) => orRecord(image)),
          ),
        )) >>>
      0;
  return sum;
}

function orRecord(image: RecordImage): OrRecord {
  const { source, tagStart, tagBytes, nodeStart, nodeBytes, millis, counter, ttlMs } = image;
  return {
    tag: decodeText(source, tagStart, tagStart + tagBytes),
    value: decodedValue(image),
    millis,
    counter,
    nodeId: decodeText(source, nodeStart, nodeStart + nodeBytes),
    ttlMs: Number.isNaN(ttlMs) ? undefined : ttlMs,
  };
}

function byKey(rows: readonly Row[]): ReadonlyMap<string, Row[]> {
  const grouped = new Map<string, Row[]>();
  for (const row of rows) {
    const ofKey = grouped.get(row.key);
    if (ofKey === undefined) grouped.set(row.key, [row]);
    else ofKey.push(row);
  }
  return grouped;
}

function encodeEntry(out: MessageWriter, key: string, rows: readonly Row[], removed: readonly string[]): void {
  out.mapHeader(3);
  out.string('key');
  out.string(key);
  out.string('records');
  out.arrayHeader(rows.length);
  for (const { image } of rows) encodeRecord(out, image);
  out.string('tombstones');
  out.arrayHeader(removed.length);
  for (const tag of removed) out.string(tag);
}
