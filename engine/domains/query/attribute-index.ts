/**
 * An index of one attribute: value → keys of the rows that have it.
 *
 *   hash      finds rows by equality (hash-index.ts); rows without a value are not in it
 *   ordered   finds them by equality and by range, and in the order of the values (ordered-index.ts); every row is in it
 *
 * Rows are named by their keys, not by where they stand: records move when memory is made room in, and nobody hears of it. To
 * change a row's value its old one must be known, since the record may not have it any more: each index remembers it by key.
 */
import { fnv1a } from '../../partition/hash.ts';
import type { IndexCondition, IndexRange, IndexValue } from './index-value.ts';

export const INDEX_KINDS = ['hash', 'ordered'] as const;
export type IndexKind = (typeof INDEX_KINDS)[number];

/** A row in an index. */
export class IndexEntry {
  readonly key: string;
  value: IndexValue;
  /** Of the index: where the row stands among those with its value. */
  place = 0;

  constructor(key: string, value: IndexValue) {
    this.key = key;
    this.value = value;
  }
}

/**
 * Walks keys of an index. The index may change meanwhile: a row that was in the range all the time is not missed; it may come
 * twice.
 */
export interface IndexCursor {
  /** The next row, or undefined at the end. */
  next(): IndexEntry | undefined;
}

export interface AttributeIndex {
  readonly kind: IndexKind;
  /** Rows in it. */
  readonly entries: number;
  /** Memory, about. */
  readonly bytes: number;
  /** The row has this value now. */
  put(key: string, value: IndexValue): void;
  /** The row is gone. */
  remove(key: string): void;
  /** Rows that the condition finds. */
  count(condition: IndexCondition): number;
  cursor(condition: IndexCondition): IndexCursor;
}

/** An index that knows an order. */
export interface SortedIndex extends AttributeIndex {
  readonly kind: 'ordered';
  walk(range: IndexRange, direction: 'asc' | 'desc'): IndexCursor;
}

/**
 * Bytes of an entry beside its key and value: the object, its share of the table of keys, its place. Measured as growth of the heap
 * with half a million rows of short keys: 121 to 123 a row in all, with a value of its own for each 140.
 */
const ENTRY_BYTES = 88;
const TEXT_BYTES = 24;
const SHARDS = 256;

/** Memory that a row takes in an index, about. */
export function entryBytes(key: string, value: IndexValue): number {
  return ENTRY_BYTES + TEXT_BYTES + key.length + (typeof value === 'string' ? TEXT_BYTES + value.length : 0);
}

/** Key → entry, in many small tables: one large one would halt everything while it grows. */
export class IndexEntries {
  readonly #shards: Map<string, IndexEntry>[] = Array.from({ length: SHARDS }, () => new Map<string, IndexEntry>());
  size = 0;

  get(key: string): IndexEntry | undefined {
    return this.#shardOf(key).get(key);
  }

  add(entry: IndexEntry): void {
    this.#shardOf(entry.key).set(entry.key, entry);
    this.size += 1;
  }

  delete(key: string): void {
    if (this.#shardOf(key).delete(key)) this.size -= 1;
  }

  #shardOf(key: string): Map<string, IndexEntry> {
    return this.#shards[shardOf(key)] as Map<string, IndexEntry>;
  }
}

/** Number of the shard for a text. */
export function shardOf(text: string): number {
  return (fnv1a(text) >>> 8) % SHARDS;
}
