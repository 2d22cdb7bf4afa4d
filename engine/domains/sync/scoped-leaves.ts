/**
 * Anti-entropy for subjects with row rules: leaf sums and items of the rows that they see, as they see them.
 *
 *   shared tree ─ not used: its sums would tell of hidden rows
 *   each leaf ─▶ live rows ─▶ view ─┬─ hash of what is seen    (LWW: of its stamp, OR: of its masked values)
 *                                   └─ item, values masked
 *
 * Tombstones are never told, since nobody can say of whose rows they were: such a client starts each sync from nothing
 * (gateway/sync-desk.ts). The rows of a leaf are looked at in one go, but for items of a long one, of which some are taken at a time;
 * between leaves the worker's loop goes on, and values that were dropped from memory are read back. Costs a decoding of every row of the map, for each question.
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
import { evictedBytes } from '../../storage/evicted-value.ts';
import { imageOf, type StoredRecord } from '../../storage/stored-record.ts';
import { type LoadedValues, ValueLoader } from '../../storage/value-loader.ts';
import { encodeRecord } from '../crdt/change-events.ts';
import type { RowView } from '../security/access.ts';
import { showIn, decodedValue } from '../security/row-value.ts';
import { ItemParts, PART_BYTES_MAX } from './item-parts.ts';
import { keysOf } from './late-leaf.ts';
import { type LateTurn, LateTurns } from './late-turns.ts';

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
/** Values of rows that corrections of a push are told with. */
const CORRECTION_BYTES_MAX = 2 * PART_BYTES_MAX;
/** Questions under way at a time, and those that wait their turn. */
const QUESTIONS_MAX = 8;
const WAITING_MAX = 4096;

export class ScopedLeaves {
  readonly #options: ScopedLeavesOptions;
  readonly #turns = new LateTurns(QUESTIONS_MAX, WAITING_MAX);

  constructor(options: ScopedLeavesOptions) {
    this.#options = options;
  }

  /** Nobody waits for answers to the asker any more: those that have not begun never do. */
  forget(asker: string): void {
    this.#turns.forget(asker);
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
    for await (const _ of this.#scan(store, view, prefix, asker, take, true)) {
      for (let part = out.takeClosed(); part !== undefined; part = out.takeClosed()) yield part;
    }
    yield* out.finish();
  }

  /** The entries of keys as they are seen, in parts. */
  async *diff(store: RecordStore, view: RowView, keys: readonly string[], asker: string): LateParts {
    const out = new ItemParts();
    const turn = await this.#turns.take(asker);
    try {
      for (const [leaf, leafKeys] of byLeaf(keys)) {
        const take = (_leaf: number, rows: readonly Row[]): void => {
          const seen = byKey(rows);
          for (const key of leafKeys) {
            const ofKey = seen.get(key);
            if (ofKey !== undefined) encodeEntry(out.item(), key, ofKey, []);
          }
        };
        for await (const _ of this.#takeItems(store, leaf, view, turn, take)) {
          for (let part = out.takeClosed(); part !== undefined; part = out.takeClosed()) yield part;
        }
      }
      yield* out.finish();
    } finally {
      this.#turns.giveBack(turn);
    }
  }

  /**
   * The entries of keys as they are seen, each with tags that are to be told as removed. Rows whose values would have to be
   * read back are left out, and once there are some megabytes all rows: for corrections only, whoever gets one finds the rest by
   * its next sync.
   */
  orKeys(out: ItemParts, store: RecordStore, view: RowView, removedOf: ReadonlyMap<string, ReadonlySet<string>>): void {
    const nowMs = this.#options.nowMs();
    const leaves = new Map<number, ReadonlyMap<string, Row[]>>();
    for (const [key, removed] of removedOf) {
      const bytes = encodeText(key);
      const leaf = fnv1aUtf8(bytes, 0, bytes.length) >>> LEAF_SHIFT;
      const rows = leaves.get(leaf) ?? byKey(rowsOf(store, leaf, view, nowMs, undefined).rows);
      leaves.set(leaf, rows);
      const seen = withinBytes(rows.get(key) ?? [], CORRECTION_BYTES_MAX - out.bytes);
      if (seen.length > 0 || removed.size > 0) encodeEntry(out.item(), key, seen, [...removed]);
    }
  }

  /**
   * Calls `take` with the rows of each leaf that are seen. Their images are valid during that call; afterwards the loop may go on.
   * `mayBeSome`: of a long leaf there may be several calls, each with some of the rows.
   */
  async *#scan(
    store: RecordStore | undefined,
    view: RowView,
    prefix: string,
    asker: string,
    take: TakeRows,
    mayBeSome = false,
  ): AsyncGenerator<void> {
    if (store === undefined) return;
    const turn = await this.#turns.take(asker);
    try {
      let looked = 0;
      const first = firstLeafOf(prefix);
      for (let leaf = first; leaf < first + leafCountOf(prefix); leaf++) {
        if (turn.isOver) return;
        if (store.leaves.head(leaf) === 0) continue;
        if (mayBeSome && isLong(store, leaf)) {
          yield* this.#takeSome(store, leaf, view, turn, take);
          continue;
        }
        looked += await this.#take(store, leaf, view, take);
        yield;
        if (looked < ROWS_PER_TURN) continue;
        looked = 0;
        await this.#options.pause();
      }
    } finally {
      this.#turns.giveBack(turn);
    }
  }

  async *#takeItems(store: RecordStore, leaf: number, view: RowView, turn: LateTurn, take: TakeRows): AsyncGenerator<void> {
    if (isLong(store, leaf)) return yield* this.#takeSome(store, leaf, view, turn, take);
    await this.#take(store, leaf, view, take);
    yield;
  }

  /** Takes some rows of a leaf at a time: those of about a part. Rows come, change and go meanwhile, so they are noted by key. */
  async *#takeSome(store: RecordStore, leaf: number, view: RowView, turn: LateTurn, take: TakeRows): AsyncGenerator<void> {
    const wanted = keysOf(store, leaf);
    while (wanted.length > 0) {
      if (turn.isOver) return;
      await this.#takeChunk(store, leaf, takeChunk(store, wanted), view, take);
      yield;
      await this.#options.pause();
    }
  }

  /** Takes these rows of a leaf. They are judged and taken in one turn: their images are of this moment. */
  async #takeChunk(
    store: RecordStore,
    leaf: number,
    chunk: readonly StoredRecord[],
    view: RowView,
    take: TakeRows,
  ): Promise<void> {
    let values: LoadedValues | undefined;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const refs = chunk.map((record) => store.find(imageOf(record))).filter((ref) => ref !== 0);
      const { rows, isMissing } = rowsAmong(store, refs, view, this.#options.nowMs(), values);
      if (!isMissing) return take(leaf, rows);
      values = await this.#loadThose(store, refs);
    }
    throw new GridError('UNAVAILABLE', 'values change each time while they are read back');
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

  #load(store: RecordStore, leaf: number): Promise<LoadedValues> {
    return this.#loadThose(store, refsOf(store, leaf));
  }

  async #loadThose(store: RecordStore, refs: readonly RecordRef[]): Promise<LoadedValues> {
    const { loader } = this.#options;
    if (loader === undefined) throw new GridError('UNAVAILABLE', 'a value is not in memory');
    const image = new RecordImage();
    const evicted = refs.filter((ref) => {
      store.read(ref, image);
      return image.evicted;
    });
    return evicted.length === 0 ? new Map() : loader.load(store, evicted);
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
  return rowsAmong(store, refsOf(store, leaf), view, nowMs, values);
}

function refsOf(store: RecordStore, leaf: number): RecordRef[] {
  const refs: RecordRef[] = [];
  store.forEachInLeaf(leaf, (ref) => void refs.push(ref));
  return refs;
}

/** True when the items of the leaf may be more than a part, or its values have to be read back. */
function isLong(store: RecordStore, leaf: number): boolean {
  return store.evicted > 0 || store.leafBytes(leaf, PART_BYTES_MAX) > PART_BYTES_MAX;
}

/** Takes records off the end of `wanted`: values of about a part, one record at least. */
function takeChunk(store: RecordStore, wanted: StoredRecord[]): StoredRecord[] {
  const chunk: StoredRecord[] = [];
  const image = new RecordImage();
  let bytes = 0;
  for (let next = wanted.at(-1); next !== undefined && chunk.length < ROWS_PER_TURN; next = wanted.at(-1)) {
    const ref = store.find(imageOf(next));
    if (ref !== 0) {
      store.read(ref, image);
      bytes += image.evicted ? evictedBytes(image) : image.valueBytes;
    }
    if (chunk.length > 0 && bytes > PART_BYTES_MAX) break;
    chunk.push(next);
    wanted.pop();
  }
  return chunk;
}

/** The first rows whose values are not more than so many bytes. */
function withinBytes(rows: readonly Row[], bytesMax: number): readonly Row[] {
  let bytes = 0;
  const end = rows.findIndex(({ image }) => {
    bytes += image.valueBytes;
    return bytes > bytesMax;
  });
  return end < 0 ? rows : rows.slice(0, end);
}

/** Those of the records that are seen. */
function rowsAmong(
  store: RecordStore,
  refs: readonly RecordRef[],
  view: RowView,
  nowMs: number,
  values: LoadedValues | undefined,
): LeafRows {
  const rows: Row[] = [];
  let isMissing = false;
  for (const ref of refs) {
    const row = new RecordImage();
    store.read(ref, row);
    if (row.tombstone || isExpiredImage(row, nowMs)) continue;
    const image = row.evicted && values !== undefined ? ValueLoader.valueOf(store, row, values) : row;
    if (image === undefined || image.evicted) {
      isMissing = true;
      continue;
    }
    const key = decodeText(image.source, image.keyStart, image.keyStart + image.keyBytes);
    if (showIn(view, image, key)) rows.push({ key, image });
  }
  return { rows, looked: refs.length, isMissing };
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
