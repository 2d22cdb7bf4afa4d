/**
 * One standing query on one worker: which of the worker's rows are in its result, kept as rows change.
 *
 *   filling ── every row was put once ──▶ live ◀── refilled ── filling        (spare rows ran out: ordered-window.ts)
 *
 * A row is judged as its subject sees it: a hidden row is none, a hidden field is missing, for filter, order, groups and
 * result alike. Changes are judged also while it fills: a row is put by whichever comes later, and each shows it as it is then,
 * so at the end nothing is missing and nothing is twice.
 */
import { GridError } from '../../protocol/errors.ts';
import { ALL_ROWS, HIDDEN, type RowView } from '../security/access.ts';
import { compareValues } from './comparison.ts';
import { type GroupPartial, RunningGroups } from './grouping.ts';
import { type IndexValue, indexValueOf } from './index-value.ts';
import { OrderedWindow, type RowChange, type WindowRow } from './ordered-window.ts';
import type { Predicate } from './predicate.ts';
import { project, type QuerySpec } from './query-spec.ts';
import type { Position } from './sort-order.ts';
import type { StepBudget } from './step-budget.ts';

/** Whom a query belongs to: a number of its gateway, and which of the gateway's tries with that number it is. */
export interface QueryOwner {
  readonly gateway: number;
  readonly session: number;
  readonly number: number;
  readonly epoch: number;
}

export interface LiveQueryOptions {
  /** Rows up to here are not wanted. */
  readonly after: Position | undefined;
  /** Bytes of keys, sorted values and values that its first result may have, and of its groups at any time. */
  readonly bytesMax: number;
  /** Rows kept beyond the window, at most: what may leave it before all rows must be looked at again. */
  readonly spareRowsMax: number;
  /** A row that was kept has lost its place. */
  readonly onDropped: (key: string) => void;
}

const SPARE_ROWS_MIN = 64;
/** Bytes of keys and sorted values that may be kept for each byte of a first result: spare rows are kept, too, and results grow. */
const KEPT_BYTES_FACTOR = 4;
/** Bytes of keys, sorted values or groups for which a row counts that is kept. */
const KEPT_ROW_BYTES = 256;

export type QueryState = 'filling' | 'live' | 'ended';

export class LiveQuery {
  readonly owner: QueryOwner;
  readonly spec: QuerySpec;
  readonly view: RowView;
  /** Bytes that its first result may have. */
  readonly bytesMax: number;
  state: QueryState = 'filling';
  /** The gateway was told the first result in full. */
  isReady = false;
  /** Bytes told before it was ready. */
  snapshotBytes = 0;
  /** Rows counted for it. */
  accounted = 0;
  /** Values are being read back for what is to be told. */
  isReading = false;
  /** Times in a row that they were. */
  readings = 0;
  /** Wall clock before which a failed reading is not tried again, ms. */
  retryAtMs = 0;
  readonly #window: OrderedWindow | undefined;
  readonly #groups: RunningGroups | undefined;

  constructor(owner: QueryOwner, spec: QuerySpec, view: RowView, options: LiveQueryOptions) {
    const { after, bytesMax, spareRowsMax, onDropped } = options;
    this.owner = owner;
    this.spec = spec;
    this.view = view;
    this.bytesMax = bytesMax;
    const { order, limit, grouping } = spec;
    const spareMax = Math.min(spareRowsMax, Math.max(SPARE_ROWS_MIN, limit));
    if (grouping !== undefined) this.#groups = new RunningGroups(grouping, bytesMax);
    else this.#window = new OrderedWindow({ order, limit, spareMax, after, onDropped });
  }

  get predicate(): Predicate {
    return this.spec.predicate;
  }

  /** Others had used up the steps of a row before it: it is judged again in a pass of its own, and says nothing until then. */
  needsOwnPass = false;

  /** Rows kept in memory for it. Long ones count as several. */
  get kept(): number {
    const rows = this.#window?.size ?? this.#groups?.rows ?? 0;
    return Math.max(rows, Math.ceil((this.#window?.bytes ?? this.#groups?.bytes ?? 0) / KEPT_ROW_BYTES));
  }

  get groups(): number {
    return this.#groups?.groups ?? 0;
  }

  get hasMore(): boolean {
    return this.#window?.hasMore === true;
  }

  get needsRefill(): boolean {
    return this.#window?.needsRefill === true;
  }

  /** Rows behind which its window refuses every further one; Infinity where it has none. */
  get windowRowsMax(): number {
    return this.#window?.rowsMax ?? Number.POSITIVE_INFINITY;
  }

  /** True when no row at, or behind, this value of its first sorted attribute would be kept. */
  isEnough(value: IndexValue): boolean {
    const boundary = this.#window?.boundary;
    const [first] = this.spec.order.fields;
    if (boundary === undefined || first === undefined) return false;
    const order = compareValues(value, indexValueOf(boundary.sort[0]));
    return first.direction === 'asc' ? order > 0 : order < 0;
  }

  get isTouched(): boolean {
    return this.#window?.isTouched === true || this.#groups?.isTouched === true;
  }

  /** True when what leaves here is the stored value, byte for byte. */
  get tellsWholeValues(): boolean {
    return this.spec.fields === undefined && this.view === ALL_ROWS;
  }

  holds(key: string): boolean {
    return this.#window?.has(key) === true || this.#groups?.has(key) === true;
  }

  keys(): Iterable<string> {
    return this.#window?.keys() ?? this.#groups?.keys() ?? [];
  }

  /** Every row will be put again. */
  beginFill(): void {
    this.state = 'filling';
    this.needsOwnPass = false;
    this.#window?.reopen();
  }

  /**
   * A live row as it is now and as the view sees it. True when the query wants it, whether or not it is kept.
   * Throws GridError for what ends the query: a filter that takes more steps on this row than there are, and
   * FRAME_TOO_LARGE when what is kept of rows, or groups, is larger than it may be.
   */
  judge(key: string, seen: unknown, version: number, isChanged: boolean, steps: StepBudget): boolean {
    if (seen === HIDDEN || !this.spec.predicate.matches(seen, key, steps)) {
      this.drop(key);
      return false;
    }
    if (this.#groups !== undefined) this.#groups.put(seen, key);
    else this.#put(key, seen, version, isChanged);
    return true;
  }

  #put(key: string, seen: unknown, version: number, isChanged: boolean): void {
    const window = this.#window;
    window?.put(key, this.spec.order.valuesOf(seen, key), version, isChanged);
    if (window === undefined || window.bytes <= this.bytesMax * KEPT_BYTES_FACTOR) return;
    const reason = `keys and sorted values are larger than ${this.bytesMax * KEPT_BYTES_FACTOR} bytes`;
    throw new GridError('FRAME_TOO_LARGE', `${reason}: ask for fewer rows (limit), or sort by shorter values`);
  }

  /** The row is gone. */
  drop(key: string): void {
    this.#window?.remove(key);
    this.#groups?.remove(key);
  }

  /** Rows whose values `takeRows` tells. */
  valuesToTell(): Iterable<WindowRow> {
    return this.#window?.valuesToTell() ?? [];
  }

  takeRows(): readonly RowChange[] {
    return this.#window?.take() ?? [];
  }

  /** Rows that came or changed, and were taken, are not told now. */
  giveBack(changes: readonly RowChange[]): void {
    this.#window?.giveBack(changes);
  }

  takeGroups(): readonly GroupPartial[] {
    return this.#groups?.take() ?? [];
  }

  /** What a client may have of the value. */
  shown(value: unknown, key: string): unknown {
    return project(this.view === ALL_ROWS ? value : this.view.see(value, key), this.spec.fields);
  }
}
