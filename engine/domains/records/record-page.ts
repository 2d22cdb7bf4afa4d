/**
 * Pages through the records of a map in an order that costs nothing to keep: by Merkle leaf, in a leaf by key.
 *
 *   leaf 000 ─ keys in byte order ─ leaf 001 ─ … ─ leaf fff        a position is (leaf, key)
 *
 * Every worker walks its own records in that order, and a door merges the pages of all. A page costs about its own length
 * however large the map is, and a position stays good while records come and go: a record that is there throughout comes
 * exactly once. With `since` the walk looks at every record, and gives way to others between two slices.
 */
import { compareBytes, compareStamps } from '../../crdt/hlc.ts';
import type { LateParts } from '../../operation/request-handler.ts';
import { evictedBytes } from '../../storage/evicted-value.ts';
import { becomeRemoval, isExpiredImage } from '../../storage/expired-record.ts';
import { RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordMeta } from '../../storage/storage.ts';
import { type StoredRecord, storedRecord } from '../../storage/stored-record.ts';
import { ALL_ROWS, type RowView } from '../security/access.ts';
import { encodePart, type PagePosition, type PageQuestion, type PageSince } from './record-requests.ts';
import type { RecordReader } from './record-reader.ts';
import { seenRecord } from './seen-record.ts';

const LEAVES = 4096;
const LEAF_SHIFT = 20;
/** Records looked at between two turns of the loop. */
const SLICE_RECORDS = 2000;
/** What a record adds to a page besides key and value, about. */
const ROW_BYTES = 40;

/** Gives way: resolves in a later turn of the worker's loop. */
export type YieldTurn = () => Promise<void>;

export interface PageSource {
  /** Undefined for a map without records here. */
  readonly store: RecordStore | undefined;
  /** The map as the asker may see it. */
  readonly view: RowView;
  readonly reader: RecordReader;
  readonly yieldTurn: YieldTurn;
}

/** A page of the map, in one part. Rejects with GridError UNAVAILABLE when values cannot be read back. */
export async function* recordPage(question: PageQuestion, { store, view, reader, yieldTurn }: PageSource): LateParts {
  if (store === undefined) return yield encodePart({ records: [], next: undefined });
  const page = new Page(question);
  let looked = 0;
  for (let leaf = question.after?.leaf ?? 0; leaf < LEAVES && page.next === undefined; leaf++) {
    if (store.leaves.head(leaf) === 0) continue;
    looked += page.addLeaf(store, leaf, reader.nowMs);
    if (looked < SLICE_RECORDS) continue;
    looked = 0;
    await yieldTurn();
  }
  const { withValues, since } = question;
  const records = await reader.read(store, page.chosen, withValues || view !== ALL_ROWS, (image) =>
    image.tombstone && since === undefined ? undefined : seenRecord(image, view, withValues),
  );
  yield encodePart({ records: records.filter((record) => record !== undefined), next: page.next });
}

class Page {
  /** Key of each record of the page, in order. */
  readonly chosen: StoredRecord[] = [];
  /** The last one's position, once a record did not fit any more. */
  next: PagePosition | undefined;
  readonly #question: PageQuestion;
  readonly #image = new RecordImage();
  readonly #meta: RecordMeta = { version: 0, createdS: 0, updatedS: 0, accessedS: 0, hits: 0, costBytes: 0 };
  #bytes = 0;

  constructor(question: PageQuestion) {
    this.#question = question;
  }

  /** Chooses of a leaf what the page has room for. Returns how many records were looked at. */
  addLeaf(store: RecordStore, leaf: number, nowMs: number): number {
    const wanted: { readonly record: StoredRecord; readonly bytes: number }[] = [];
    const image = this.#image;
    let looked = 0;
    store.forEachInLeaf(leaf, (ref) => {
      looked += 1;
      store.read(ref, image);
      if (this.#question.since?.arrivedS !== undefined) store.meta(ref, this.#meta);
      if (isExpiredImage(image, nowMs)) becomeRemoval(image);
      if (!this.#isWanted(image, leaf)) return;
      const bytes = ROW_BYTES + image.keyBytes + (this.#question.withValues ? valueBytesOf(image) : 0);
      image.valueBytes = 0; // only the key is kept: the record is read again when the page is made
      image.nodeBytes = 0;
      wanted.push({ record: storedRecord(store.kind, store.map, image), bytes });
    });
    wanted.sort((a, b) => order(a.record.key, b.record.key));
    for (const { record, bytes } of wanted) if (!this.#add(record, bytes)) break;
    return looked;
  }

  #add(record: StoredRecord, bytes: number): boolean {
    const { limit, bytesMax } = this.#question;
    const last = this.chosen.at(-1);
    if (last !== undefined && (this.chosen.length >= limit || this.#bytes + bytes > bytesMax)) {
      this.next = { leaf: last.keyHash >>> LEAF_SHIFT, key: last.key };
      return false;
    }
    this.chosen.push(record);
    this.#bytes += bytes;
    return true;
  }

  #isWanted(image: RecordImage, leaf: number): boolean {
    const { after, since } = this.#question;
    if (since === undefined ? image.tombstone : !this.#isNewer(image, since)) return false;
    if (after?.leaf !== leaf) return true;
    return compareBytes(image.source, image.keyStart, image.keyStart + image.keyBytes, after.key, 0, after.key.length) > 0;
  }

  #isNewer(image: RecordImage, since: PageSince): boolean {
    if (since.arrivedS !== undefined && this.#meta.updatedS >= since.arrivedS) return true;
    const { millis, counter, source, nodeStart, nodeBytes } = image;
    const { node } = since;
    return (
      compareStamps(
        millis,
        counter,
        source,
        nodeStart,
        nodeStart + nodeBytes,
        since.millis,
        since.counter,
        node,
        0,
        node.length,
      ) > 0
    );
  }
}

function order(a: Uint8Array, b: Uint8Array): number {
  return compareBytes(a, 0, a.length, b, 0, b.length);
}

function valueBytesOf(image: RecordImage): number {
  return image.evicted ? evictedBytes(image) : image.valueBytes;
}
