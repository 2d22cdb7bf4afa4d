/**
 * The first N rows of a set that changes, exactly, with what must be told of it.
 *
 *   rows kept, in order   [ 0 … N-1 | spare ………… ) boundary ┄┄ rows that are wanted, too, but were not kept
 *                           window      next candidates
 *
 * Everything wanted below the boundary is kept, so the window is exact as long as it is full or there is no boundary. A row
 * that leaves the window lets the next candidate in. When candidates run out although there is a boundary, the window
 * `needsRefill`: `reopen` and put all rows again.
 *
 * What was told and what is true are compared only for rows that were touched: changes between two `take`s come as one.
 * The same window serves a worker (its own rows) and the gateway (the rows of all workers together).
 */
import { assert } from '../../assert.ts';
import { positionBytes } from './kept-bytes.ts';
import type { Position, SortOrder } from './sort-order.ts';

export type ChangeType = 'ENTER' | 'UPDATE' | 'LEAVE';

export class WindowRow implements Position {
  readonly key: string;
  sort: readonly unknown[];
  /** Tells versions of the row's value apart. */
  version: number;
  /** Encoded value, where the owner of the window keeps it. */
  value: Uint8Array | undefined;
  /** Which worker's row it is, where several workers' rows are in the window. */
  part = 0;
  inWindow = false;
  /** It is in the view of whoever is told. */
  isTold = false;
  /** What was told of it is not its value any more. */
  isStale = false;

  constructor(key: string, sort: readonly unknown[], version: number) {
    this.key = key;
    this.sort = sort;
    this.version = version;
  }
}

export interface RowChange {
  readonly type: ChangeType;
  readonly row: WindowRow;
}

export interface WindowOptions {
  readonly order: SortOrder;
  /** N. */
  readonly limit: number;
  /** Rows kept beyond N. */
  readonly spareMax: number;
  /** Rows up to here are not wanted: what a cursor names. */
  readonly after?: Position | undefined;
  /** A row that was kept has lost its place to others. */
  readonly onDropped?: (key: string) => void;
}

export class OrderedWindow {
  readonly limit: number;
  /** Rows kept at most. */
  readonly rowsMax: number;
  readonly #order: SortOrder;
  readonly #after: Position | undefined;
  readonly #onDropped: ((key: string) => void) | undefined;
  readonly #rows: WindowRow[] = [];
  readonly #byKey = new Map<string, WindowRow>();
  /** Rows whose telling may differ from what is true. */
  readonly #touched = new Set<WindowRow>();
  /** Rows no longer kept, of which that was not told yet. */
  readonly #gone = new Map<string, WindowRow>();
  #boundary: Position | undefined;
  #bytes = 0;

  constructor({ order, limit, spareMax, after, onDropped }: WindowOptions) {
    assert(limit >= 0 && spareMax >= 1, `window of ${limit} rows and ${spareMax}`);
    this.limit = limit;
    this.#order = order;
    this.rowsMax = limit + spareMax;
    this.#after = after;
    this.#onDropped = onDropped;
  }

  /** Rows kept, those of the window included. */
  get size(): number {
    return this.#rows.length;
  }

  /** Bytes of the keys and sorted values of the rows kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** True when there are wanted rows behind the window. */
  get hasMore(): boolean {
    return this.#rows.length > this.limit || this.#boundary !== undefined;
  }

  /** True when the window may lack a row that it does not know. */
  get needsRefill(): boolean {
    return this.#boundary !== undefined && this.#rows.length < this.limit;
  }

  get isTouched(): boolean {
    return this.#touched.size > 0;
  }

  /** Where rows begin that are wanted but were not kept: what stands there, or behind it, is refused. */
  get boundary(): Position | undefined {
    return this.#boundary;
  }

  /** The rows of the window, in their order. */
  window(): readonly WindowRow[] {
    return this.#rows.length > this.limit ? this.#rows.slice(0, this.limit) : this.#rows;
  }

  keys(): IterableIterator<string> {
    return this.#byKey.keys();
  }

  get(key: string): WindowRow | undefined {
    return this.#byKey.get(key);
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** All rows are about to be put again: none is refused for the boundary. */
  reopen(): void {
    this.#boundary = undefined;
  }

  /**
   * The row is wanted, at this place. `isChanged`: its value is another one even if its version is not.
   * Returns the row if it is kept.
   */
  put(key: string, sort: readonly unknown[], version: number, isChanged = false): WindowRow | undefined {
    const row = this.#byKey.get(key) ?? this.#gone.get(key);
    if (row === undefined) return this.#insertNew(new WindowRow(key, sort, version));
    if (isChanged || row.version !== version) {
      row.isStale = true;
    }
    row.version = version;
    this.#touch(row);
    if (this.#byKey.has(key)) {
      if (this.#order.compareSort(row.sort, sort) === 0) return row;
      this.#take(row);
    }
    row.sort = sort;
    return this.#insert(row) ? row : undefined;
  }

  /** The row is not wanted, or not there, any more. */
  remove(key: string): void {
    const row = this.#byKey.get(key);
    if (row !== undefined) this.#take(row);
  }

  /** What is to be told since the last time: rows that left, then those that came, then those that changed. Counts as told. */
  take(): RowChange[] {
    const changes: Record<ChangeType, RowChange[]> = { LEAVE: [], ENTER: [], UPDATE: [] };
    for (const row of this.#touched) {
      const type = pendingChange(row);
      if (type !== undefined) changes[type].push({ type, row });
      row.isTold = row.inWindow;
      row.isStale = false;
    }
    this.#touched.clear();
    this.#gone.clear();
    return [...changes.LEAVE, ...changes.ENTER, ...changes.UPDATE];
  }

  /** Rows of the window that `take` gave and that were not told after all: the next one gives them again, as they are then. */
  giveBack(changes: readonly RowChange[]): void {
    for (const { type, row } of changes) {
      assert(type !== 'LEAVE' && row.inWindow, 'rows that left are told');
      row.isTold = type === 'UPDATE';
      row.isStale = row.isTold;
      this.#touched.add(row);
    }
  }

  /** Rows whose values the next `take` tells. */
  *valuesToTell(): Generator<WindowRow> {
    for (const row of this.#touched) if (row.inWindow && (!row.isTold || row.isStale)) yield row;
  }

  /** The whole window is told as it is now. */
  tellAll(): void {
    this.take();
  }

  #insertNew(row: WindowRow): WindowRow | undefined {
    return this.#insert(row) ? row : undefined;
  }

  /** False when the row is not kept. */
  #insert(row: WindowRow): boolean {
    const isWanted = this.#after === undefined || this.#order.compare(row, this.#after) > 0;
    if (!isWanted || (this.#boundary !== undefined && this.#order.compare(row, this.#boundary) >= 0)) return this.#lose(row);
    const index = this.#indexOf(row);
    this.#rows.splice(index, 0, row);
    this.#bytes += positionBytes(row);
    this.#byKey.set(row.key, row);
    this.#gone.delete(row.key);
    if (index < this.limit) {
      this.#setInWindow(row, true);
      const pushedOut = this.#rows[this.limit];
      if (pushedOut !== undefined) this.#setInWindow(pushedOut, false);
    }
    if (this.#rows.length > this.rowsMax) this.#dropLast();
    return this.#byKey.has(row.key);
  }

  /** Takes the row out of the order. */
  #take(row: WindowRow): void {
    const index = this.#indexOf(row);
    assert(this.#rows[index] === row, 'a row stands where its order says');
    this.#rows.splice(index, 1);
    this.#bytes -= positionBytes(row);
    this.#byKey.delete(row.key);
    this.#setInWindow(row, false);
    this.#lose(row);
    if (index >= this.limit) return;
    const next = this.#rows[this.limit - 1];
    if (next !== undefined) this.#setInWindow(next, true);
  }

  #dropLast(): void {
    const last = this.#rows.pop();
    assert(last !== undefined && !last.inWindow, 'what is dropped is behind the window');
    this.#byKey.delete(last.key);
    this.#bytes -= positionBytes(last);
    this.#boundary = { sort: last.sort, key: last.key };
    this.#lose(last);
    this.#onDropped?.(last.key);
  }

  /** The row is not kept: if somebody was told of it, its end must be told. */
  #lose(row: WindowRow): false {
    if (row.isTold) {
      this.#gone.set(row.key, row);
      this.#touched.add(row);
    } else this.#touched.delete(row);
    return false;
  }

  #setInWindow(row: WindowRow, inWindow: boolean): void {
    row.inWindow = inWindow;
    this.#touched.add(row);
  }

  #touch(row: WindowRow): void {
    if (row.inWindow || row.isTold) this.#touched.add(row);
  }

  /** Where the position stands, or would stand. */
  #indexOf(position: Position): number {
    let low = 0;
    let high = this.#rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#order.compare(this.#rows[middle] as WindowRow, position) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function pendingChange(row: WindowRow): ChangeType | undefined {
  if (!row.inWindow) return row.isTold ? 'LEAVE' : undefined;
  if (!row.isTold) return 'ENTER';
  return row.isStale ? 'UPDATE' : undefined;
}
