/**
 * Rows by equality: value → its rows, as a list without gaps.
 *
 *   7 ─▶ [ row, row, row ]        one row alone stands there without a list
 *
 * Removing swaps the last row into the hole, so both ends of a change take one step however many rows share a value. A cursor
 * walks from the end to the start, as in storage/dense-list.ts: what a swap puts before it was behind it, so it may see a row
 * twice but never misses one.
 */
import { assert } from '../../assert.ts';
import { fmix32 } from '../../partition/hash.ts';
import { type AttributeIndex, entryBytes, IndexEntries, IndexEntry, type IndexCursor, shardOf } from './attribute-index.ts';
import type { IndexCondition, IndexValue } from './index-value.ts';

type Rows = IndexEntry | IndexEntry[];

const SHARDS = 256;
/** Of a value that is here: its place in the table, and its list. */
const VALUE_BYTES = 24;

export class HashIndex implements AttributeIndex {
  readonly kind = 'hash';
  bytes = 0;
  readonly #entries = new IndexEntries();
  readonly #shards: Map<IndexValue, Rows>[] = Array.from({ length: SHARDS }, () => new Map<IndexValue, Rows>());

  get entries(): number {
    return this.#entries.size;
  }

  put(key: string, value: IndexValue): void {
    if (!isFindable(value)) {
      this.remove(key);
      return;
    }
    const known = this.#entries.get(key);
    if (known?.value === value) return;
    if (known === undefined) {
      const entry = new IndexEntry(key, value);
      this.#entries.add(entry);
      this.#add(entry);
      return;
    }
    this.#take(known);
    known.value = value;
    this.#add(known);
  }

  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#take(entry);
  }

  count(condition: IndexCondition): number {
    let count = 0;
    for (const value of valuesOf(condition)) {
      const rows = this.#rows(value);
      count += rows === undefined ? 0 : Array.isArray(rows) ? rows.length : 1;
    }
    return count;
  }

  cursor(condition: IndexCondition): IndexCursor {
    return new HashCursor(valuesOf(condition), (value) => this.#rows(value));
  }

  #rows(value: IndexValue): Rows | undefined {
    return this.#shardOf(value).get(value);
  }

  #add(entry: IndexEntry): void {
    const shard = this.#shardOf(entry.value);
    const rows = shard.get(entry.value);
    this.bytes += entryBytes(entry.key, entry.value);
    if (rows === undefined) {
      this.bytes += VALUE_BYTES;
      entry.place = 0;
      shard.set(entry.value, entry);
    } else if (Array.isArray(rows)) {
      entry.place = rows.length;
      rows.push(entry);
    } else {
      entry.place = 1;
      shard.set(entry.value, [rows, entry]);
    }
  }

  #take(entry: IndexEntry): void {
    const shard = this.#shardOf(entry.value);
    const rows = shard.get(entry.value);
    assert(rows !== undefined, 'a row stands under its value');
    this.bytes -= entryBytes(entry.key, entry.value);
    if (Array.isArray(rows) && rows.length > 1) {
      const last = rows.pop() as IndexEntry;
      if (last === entry) return;
      assert(rows[entry.place] === entry, 'a row knows its place');
      rows[entry.place] = last;
      last.place = entry.place;
      return;
    }
    shard.delete(entry.value);
    this.bytes -= VALUE_BYTES;
  }

  #shardOf(value: IndexValue): Map<IndexValue, Rows> {
    return this.#shards[shardOfValue(value)] as Map<IndexValue, Rows>;
  }
}

class HashCursor implements IndexCursor {
  readonly #values: readonly IndexValue[];
  readonly #rowsOf: (value: IndexValue) => Rows | undefined;
  #value = -1;
  /** Rows before this place are still to come. */
  #end = 0;

  constructor(values: readonly IndexValue[], rowsOf: (value: IndexValue) => Rows | undefined) {
    this.#values = values;
    this.#rowsOf = rowsOf;
  }

  next(): IndexEntry | undefined {
    for (;;) {
      const rows = this.#value < 0 ? undefined : this.#rowsOf(this.#values[this.#value] as IndexValue);
      const length = rows === undefined ? 0 : Array.isArray(rows) ? rows.length : 1;
      this.#end = Math.min(this.#end, length) - 1;
      if (this.#end >= 0) return Array.isArray(rows) ? rows[this.#end] : (rows as IndexEntry);
      this.#value += 1;
      if (this.#value >= this.#values.length) return undefined;
      this.#end = Number.POSITIVE_INFINITY;
    }
  }
}

/** What an equality can ask for: NaN equals nothing, and what has no order is compared item by item. */
function isFindable(value: IndexValue): boolean {
  return value !== null && typeof value !== 'object' && !Number.isNaN(value);
}

function valuesOf(condition: IndexCondition): readonly IndexValue[] {
  assert(condition.kind === 'equal', 'a hash index knows no ranges');
  return condition.values;
}

const float = new Float64Array(1);
const words = new Int32Array(float.buffer);

function shardOfValue(value: IndexValue): number {
  if (typeof value === 'string') return shardOf(value);
  float[0] = Number(value) + 0; // -0 and 0 are one value
  return (fmix32((words[0] as number) ^ (words[1] as number)) >>> 0) % SHARDS;
}
