/**
 * One client's query at its gateway: what several workers have of it, put together.
 *
 *   worker 0 ─ its first N ─┐
 *   worker 1 ─ its first N ─┼─▶ window over all of them: the first N ─▶ QUERY_RESP once, then ENTER, UPDATE, LEAVE
 *   …                       ┘
 *
 * The first N of a whole are among the first N of its parts, so this window never lacks a row. Nothing is told until every worker
 * is ready. A worker that is replaced says all it has anew: rows that it does not name again are gone, and what is told are the
 * differences. Pure: bytes in, changes out.
 */
import type { CursorStatus } from './cursor.ts';
import { type GroupPartial, type Grouping, groupBytes, groupRow } from './grouping.ts';
import { OrderedWindow, type RowChange, type WindowRow } from './ordered-window.ts';
import type { QueryItem } from './query-wire.ts';
import type { Position, SortOrder } from './sort-order.ts';

export interface GatheredOptions {
  readonly order: SortOrder;
  readonly limit: number;
  readonly grouping: Grouping | undefined;
  /** Numbers of the workers that are asked. */
  readonly workers: readonly number[];
  readonly cursorStatus: CursorStatus;
}

interface Part {
  isReady: boolean;
  hasMore: boolean;
  /** While the worker says all anew: the keys, or groups, that it has named so far. */
  named: Set<string> | undefined;
  /** What it names is told, changed or not. */
  isSeenAnew: boolean;
  /** Its rows: key by key. Not kept while it is the only worker, whose rows are all there are. */
  readonly groups: Map<string, GroupPartial>;
}

export interface ResultRow {
  readonly key: string;
  readonly value: unknown;
}

export class GatheredQuery {
  readonly #options: GatheredOptions;
  readonly #parts: ReadonlyMap<number, Part>;
  readonly #window: OrderedWindow;
  /** Values of rows that stand in the window, or may come to stand there, are kept only when several workers answer. */
  readonly #keepsValues: boolean;
  #areGroupsTouched = false;
  #valueBytes = 0;
  #groupBytes = 0;

  constructor(options: GatheredOptions) {
    this.#options = options;
    this.#parts = new Map(
      options.workers.map((worker) => [
        worker,
        { isReady: false, hasMore: false, named: new Set(), isSeenAnew: false, groups: new Map() },
      ]),
    );
    this.#keepsValues = options.workers.length > 1;
    const rowsMax = options.limit * options.workers.length + options.workers.length;
    this.#window = new OrderedWindow({ order: options.order, limit: options.limit, spareMax: Math.max(1, rowsMax) });
  }

  get isGrouped(): boolean {
    return this.#options.grouping !== undefined;
  }

  /** True when what all workers have is known. */
  get isReady(): boolean {
    for (const part of this.#parts.values()) if (!part.isReady) return false;
    return true;
  }

  get isTouched(): boolean {
    return this.#window.isTouched || this.#areGroupsTouched;
  }

  /** Rows and groups kept here. */
  get rows(): number {
    let groups = 0;
    for (const part of this.#parts.values()) groups += part.groups.size;
    return this.#window.size + groups;
  }

  /** Bytes of what is kept here: values, keys, sorted values, and groups. */
  get bytes(): number {
    return this.#valueBytes + this.#window.bytes + this.#groupBytes;
  }

  get hasMore(): boolean {
    for (const part of this.#parts.values()) if (part.hasMore) return true;
    return this.#window.hasMore;
  }

  asks(worker: number): boolean {
    return this.#parts.has(worker);
  }

  /** True when the worker has said all that it has. */
  hasAllOf(worker: number): boolean {
    return this.#parts.get(worker)?.isReady === true;
  }

  /** The worker will say anew what it has. @param isSeenAnew its rows are to be told though they have not changed: other fields are seen. */
  restart(worker: number, isSeenAnew = false): void {
    const part = this.#parts.get(worker);
    if (part === undefined) return;
    part.isReady = false;
    part.named = new Set();
    part.isSeenAnew ||= isSeenAnew;
  }

  /** What a worker said; FAILED is not for here. */
  apply(worker: number, items: readonly QueryItem[]): void {
    const part = this.#parts.get(worker);
    if (part === undefined) return;
    for (const item of items) {
      if (item.type === 'ENTER' || item.type === 'UPDATE') this.#put(worker, part, item);
      else if (item.type === 'LEAVE') this.#remove(worker, item.key);
      else if (item.type === 'GROUP') this.#group(part, item.partial);
      else if (item.type === 'READY') this.#ready(worker, part, item.hasMore);
    }
  }

  /** The rows of the whole result, which count as told. Rows carry their encoded values. */
  takeAll(): readonly WindowRow[] {
    const rows = this.#window.window();
    this.#window.tellAll();
    return rows;
  }

  /** The changes since the last time. Until every worker is ready there are none. */
  takeChanges(): readonly RowChange[] {
    return this.isReady ? this.#window.take() : [];
  }

  /** Lets go of values that nobody will ask for again. Call it when what was taken is written. */
  forgetValues(rows: Iterable<WindowRow>): void {
    if (this.#keepsValues) return;
    for (const row of rows) this.#setValue(row, undefined);
  }

  /** The groups of all workers as rows, in their order and limit. */
  takeGroups(): readonly ResultRow[] {
    this.#areGroupsTouched = false;
    const { grouping, order, limit } = this.#options;
    if (grouping === undefined) return [];
    const partials = new Map<string, GroupPartial[]>();
    for (const part of this.#parts.values()) {
      for (const partial of part.groups.values()) {
        const list = partials.get(partial.id);
        if (list === undefined) partials.set(partial.id, [partial]);
        else list.push(partial);
      }
    }
    const rows = [...partials].map(([key, list]) => {
      const value = groupRow(grouping, list);
      return { key, value, sort: order.valuesOf(value, key) };
    });
    const ordered = rows.sort((a, b) => order.compare(a, b)).slice(0, limit);
    return ordered.map(({ key, value }) => ({ key, value }));
  }

  /** Groups of all workers, before the limit. */
  get groupCount(): number {
    const ids = new Set<string>();
    for (const part of this.#parts.values()) for (const id of part.groups.keys()) ids.add(id);
    return ids.size;
  }

  /** Where the next page starts, when there is one. */
  get lastPosition(): Position | undefined {
    return this.#window.window().at(-1);
  }

  #put(worker: number, part: Part, item: QueryItem & { readonly type: 'ENTER' | 'UPDATE' }): void {
    part.named?.add(item.key);
    const known = this.#window.get(item.key);
    const isChanged = part.isSeenAnew || (item.type === 'UPDATE' && part.named === undefined);
    const row = this.#window.put(item.key, item.sort, item.version, isChanged);
    if (known !== undefined && known !== row) this.#setValue(known, undefined);
    if (row === undefined) return;
    row.part = worker;
    this.#setValue(row, item.value);
  }

  #remove(worker: number, key: string): void {
    const row = this.#window.get(key);
    if (row === undefined || row.part !== worker) return;
    this.#setValue(row, undefined);
    this.#window.remove(key);
  }

  #group(part: Part, partial: GroupPartial): void {
    this.#areGroupsTouched = true;
    part.named?.add(partial.id);
    this.#forgetGroup(part, partial.id);
    if (partial.count === 0) return;
    part.groups.set(partial.id, partial);
    this.#groupBytes += groupBytes(partial);
  }

  #forgetGroup(part: Part, id: string): void {
    const known = part.groups.get(id);
    if (known === undefined) return;
    part.groups.delete(id);
    this.#groupBytes -= groupBytes(known);
  }

  #ready(worker: number, part: Part, hasMore: boolean): void {
    const { named } = part;
    part.isReady = true;
    part.hasMore = hasMore;
    part.named = undefined;
    part.isSeenAnew = false;
    if (named === undefined) return;
    for (const key of [...this.#window.keys()]) if (!named.has(key)) this.#remove(worker, key);
    for (const id of [...part.groups.keys()]) {
      if (named.has(id)) continue;
      this.#forgetGroup(part, id);
      this.#areGroupsTouched = true;
    }
  }

  #setValue(row: WindowRow, value: Uint8Array | undefined): void {
    this.#valueBytes += (value?.length ?? 0) - (row.value?.length ?? 0);
    row.value = value;
  }
}
