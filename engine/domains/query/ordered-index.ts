/**
 * Rows in the order of an attribute's values, then of their keys.
 *
 *   chunks   [ ≤ 512 rows ][ ≤ 512 ][ ≤ 512 ]      a full one is cut in two, an empty one goes, a small one joins its neighbour
 *
 * A change costs a search over the chunks, one within a chunk, and moving at most 512 places: no rebalancing, no object a row
 * beyond its entry. A million rows are about 3000 chunks. A cursor remembers the row it gave last and, when the index has
 * changed, finds its place behind it again.
 */
import { assert } from '../../assert.ts';
import { entryBytes, IndexEntries, IndexEntry, type IndexCursor, type SortedIndex } from './attribute-index.ts';
import { compareValues } from './comparison.ts';
import { type IndexBound, type IndexCondition, type IndexRange, type IndexValue, rangeOf } from './index-value.ts';

const CHUNK_ROWS_MAX = 512;
const CHUNK_ROWS_MIN = 64;

/** Between two rows: before row `at` of the chunk. */
interface Place {
  readonly chunk: number;
  readonly at: number;
}

export class OrderedIndex implements SortedIndex {
  readonly kind = 'ordered';
  bytes = 0;
  /** Changes so far, by which cursors see that their place has moved. */
  changes = 0;
  readonly #entries = new IndexEntries();
  readonly #chunks: IndexEntry[][] = [];

  get entries(): number {
    return this.#entries.size;
  }

  put(key: string, value: IndexValue): void {
    const known = this.#entries.get(key);
    if (known === undefined) {
      const entry = new IndexEntry(key, value);
      this.#entries.add(entry);
      this.#insert(entry);
      return;
    }
    if (Object.is(known.value, value)) return;
    this.#take(known);
    known.value = value;
    this.#insert(known);
  }

  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#take(entry);
  }

  count(condition: IndexCondition): number {
    if (condition.kind === 'range') return this.#countRange(condition.range);
    return condition.values.reduce<number>((count, value) => count + this.#countRange(rangeOf(value)), 0);
  }

  cursor(condition: IndexCondition): IndexCursor {
    if (condition.kind === 'range') return this.walk(condition.range, 'asc');
    const ranges = condition.values.map(rangeOf);
    let at = 0;
    let cursor: IndexCursor | undefined;
    return {
      next: () => {
        for (;;) {
          const entry = cursor?.next();
          if (entry !== undefined) return entry;
          const range = ranges[at];
          if (range === undefined) return undefined;
          at += 1;
          cursor = this.walk(range, 'asc');
        }
      },
    };
  }

  walk(range: IndexRange, direction: 'asc' | 'desc'): IndexCursor {
    return new OrderedCursor(this, range, direction);
  }

  /** The row at the place, or the first behind it; undefined at the end. */
  rowAt({ chunk, at }: Place): IndexEntry | undefined {
    return this.#chunks[chunk]?.[at] ?? this.#chunks[chunk + 1]?.[0];
  }

  /** The place behind that of the row at `place`. */
  after({ chunk, at }: Place): Place {
    return at < (this.#chunks[chunk]?.length ?? 0) ? { chunk, at: at + 1 } : { chunk: chunk + 1, at: 1 };
  }

  /** The row before the place. */
  rowBefore({ chunk, at }: Place): IndexEntry | undefined {
    return at > 0 ? this.#chunks[chunk]?.[at - 1] : this.#chunks[chunk - 1]?.at(-1);
  }

  /** The place before that row. */
  before({ chunk, at }: Place): Place {
    return at > 0 ? { chunk, at: at - 1 } : { chunk: chunk - 1, at: (this.#chunks[chunk - 1]?.length ?? 1) - 1 };
  }

  /** Where a range begins. */
  lowPlace(low: IndexBound | undefined): Place {
    if (low === undefined) return { chunk: 0, at: 0 };
    return this.#place((entry) => isBelow(entry, low.value, !low.inclusive));
  }

  /** Where a range ends. */
  highPlace(high: IndexBound | undefined): Place {
    if (high === undefined) return { chunk: this.#chunks.length, at: 0 };
    return this.#place((entry) => isBelow(entry, high.value, high.inclusive));
  }

  /** The place of a row that is, or was, here: before it, or behind it. */
  placeOf(value: IndexValue, key: string, side: 'before' | 'behind'): Place {
    return this.#place((entry) => {
      const order = compareEntry(entry, value, key);
      return order < 0 || (order === 0 && side === 'behind');
    });
  }

  #countRange({ low, high }: IndexRange): number {
    const start = this.lowPlace(low);
    const end = this.highPlace(high);
    if (end.chunk < start.chunk || (end.chunk === start.chunk && end.at <= start.at)) return 0;
    let count = end.at - start.at;
    for (let chunk = start.chunk; chunk < end.chunk; chunk++) count += this.#chunks[chunk]?.length ?? 0;
    return count;
  }

  /** The place before the first row for which `isBefore` is false; it is true for all rows up to some place. */
  #place(isBefore: (entry: IndexEntry) => boolean): Place {
    const chunks = this.#chunks;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBefore((chunks[middle] as IndexEntry[]).at(-1) as IndexEntry)) low = middle + 1;
      else high = middle;
    }
    const rows = chunks[low];
    if (rows === undefined) return { chunk: low, at: 0 };
    let first = 0;
    let last = rows.length;
    while (first < last) {
      const middle = (first + last) >>> 1;
      if (isBefore(rows[middle] as IndexEntry)) first = middle + 1;
      else last = middle;
    }
    return { chunk: low, at: first };
  }

  #insert(entry: IndexEntry): void {
    this.changes += 1;
    this.bytes += entryBytes(entry.key, entry.value);
    const { chunk, at } = this.placeOf(entry.value, entry.key, 'before');
    const rows = this.#chunks[chunk] ?? this.#chunks.at(-1);
    if (rows === undefined) {
      this.#chunks.push([entry]);
      return;
    }
    rows.splice(rows === this.#chunks[chunk] ? at : rows.length, 0, entry);
    if (rows.length > CHUNK_ROWS_MAX) this.#split(Math.min(chunk, this.#chunks.length - 1));
  }

  /** Cut near the end when rows come in their order: then chunks stay full. */
  #split(chunk: number): void {
    const rows = this.#chunks[chunk] as IndexEntry[];
    const isLast = chunk === this.#chunks.length - 1;
    const half = isLast ? CHUNK_ROWS_MAX - CHUNK_ROWS_MIN : CHUNK_ROWS_MAX >>> 1;
    this.#chunks.splice(chunk + 1, 0, rows.splice(half));
  }

  #take(entry: IndexEntry): void {
    this.changes += 1;
    this.bytes -= entryBytes(entry.key, entry.value);
    const { chunk, at } = this.placeOf(entry.value, entry.key, 'before');
    const rows = this.#chunks[chunk];
    assert(rows !== undefined && rows[at] === entry, 'a row stands where its value says');
    rows.splice(at, 1);
    if (rows.length === 0) this.#chunks.splice(chunk, 1);
    else if (rows.length < CHUNK_ROWS_MIN) this.#join(chunk);
  }

  #join(chunk: number): void {
    const left = chunk > 0 ? chunk - 1 : chunk;
    const [rows, next] = [this.#chunks[left], this.#chunks[left + 1]];
    if (rows === undefined || next === undefined || rows.length + next.length > CHUNK_ROWS_MAX / 2) return;
    rows.push(...next);
    this.#chunks.splice(left + 1, 1);
  }
}

class OrderedCursor implements IndexCursor {
  readonly #index: OrderedIndex;
  readonly #range: IndexRange;
  readonly #isUpward: boolean;
  #changes: number;
  #place: Place;
  #last: { readonly value: IndexValue; readonly key: string } | undefined;

  constructor(index: OrderedIndex, range: IndexRange, direction: 'asc' | 'desc') {
    this.#index = index;
    this.#range = range;
    this.#isUpward = direction === 'asc';
    this.#place = this.#isUpward ? index.lowPlace(range.low) : index.highPlace(range.high);
    this.#changes = index.changes;
  }

  next(): IndexEntry | undefined {
    const index = this.#index;
    if (this.#changes !== index.changes) this.#seek();
    const entry = this.#isUpward ? index.rowAt(this.#place) : index.rowBefore(this.#place);
    if (entry === undefined || !this.#isInRange(entry)) return undefined;
    this.#place = this.#isUpward ? index.after(this.#place) : index.before(this.#place);
    this.#last = { value: entry.value, key: entry.key };
    return entry;
  }

  #seek(): void {
    const { low, high } = this.#range;
    this.#changes = this.#index.changes;
    const last = this.#last;
    if (last === undefined) this.#place = this.#isUpward ? this.#index.lowPlace(low) : this.#index.highPlace(high);
    else this.#place = this.#index.placeOf(last.value, last.key, this.#isUpward ? 'behind' : 'before');
  }

  #isInRange(entry: IndexEntry): boolean {
    const { low, high } = this.#range;
    if (this.#isUpward) return high === undefined || isBelow(entry, high.value, high.inclusive);
    return low === undefined || !isBelow(entry, low.value, !low.inclusive);
  }
}

/** True when the row's value is below the other, or equal to it where that counts. */
function isBelow(entry: IndexEntry, value: IndexValue, orEqual: boolean): boolean {
  const order = compareValues(entry.value, value);
  return order < 0 || (orEqual && order === 0);
}

function compareEntry(entry: IndexEntry, value: IndexValue, key: string): number {
  const order = compareValues(entry.value, value);
  if (order !== 0) return order;
  return entry.key < key ? -1 : entry.key > key ? 1 : 0;
}
