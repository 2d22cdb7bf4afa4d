/**
 * The live queries of one map on one worker: finds those that a changed row concerns, and judges the row for them.
 *
 *   changed row ─ decoded once ─┬─ queries whose equalities it fulfils (equality-filter.ts)
 *                               └─ queries that hold its key, found by key: it may have to leave
 *
 * Queries that wait for their first rows, or for spare ones, share a pass over the map (row-pass.ts).
 */
import { GridError } from '../../protocol/errors.ts';
import { isExpiredImage } from '../../storage/expired-record.ts';
import { RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { ALL_ROWS, type RowView } from '../security/access.ts';
import { EqualityFilter } from './equality-filter.ts';
import type { LiveQuery } from './live-query.ts';
import { keyOf, type TakeRow, decodedValue, versionOf } from './row-pass.ts';
import { RowSteps } from './step-budget.ts';

export interface MapQueriesEvents {
  /** Something of the query may have to be told. */
  readonly onTouched: (query: LiveQuery) => void;
  /** The query cannot judge a row: it is over. The others go on. */
  readonly onFailed: (query: LiveQuery, error: GridError) => void;
}

export class MapQueries {
  readonly name: Uint8Array;
  /** Once the map has records. */
  store: RecordStore | undefined;
  readonly queries = new Set<LiveQuery>();
  /** Queries that wait for a pass. */
  readonly waiting = new Set<LiveQuery>();
  /** A pass is under way. */
  isFilling = false;
  /** The last pass was for one query that needed its own. */
  wasOwnPass = false;
  readonly #filter = new EqualityFilter<LiveQuery>();
  /** Key → queries that hold it, of those that are found by what rows hold. */
  readonly #holders = new Map<string, Set<LiveQuery>>();
  readonly #events: MapQueriesEvents;
  readonly #image = new RecordImage();
  /** Queries that the row at hand was judged for. */
  readonly #judged = new Set<LiveQuery>();
  /** What all queries may do to the row at hand. */
  readonly #steps = new RowSteps();
  /** The row at hand as others than ALL_ROWS see it: judged once for all queries of one subject. */
  readonly #seen = new Map<RowView, unknown>();

  constructor(name: Uint8Array, store: RecordStore | undefined, events: MapQueriesEvents) {
    this.name = name;
    this.store = store;
    this.#events = events;
  }

  add(query: LiveQuery): void {
    this.queries.add(query);
    this.#filter.add(query);
    this.waiting.add(query);
  }

  remove(query: LiveQuery): void {
    this.queries.delete(query);
    this.waiting.delete(query);
    this.#filter.remove(query);
    if (EqualityFilter.finds(query)) for (const key of query.keys()) this.#forget(key, query);
  }

  /** The query has let go of a key by itself. */
  dropped(query: LiveQuery, key: string): void {
    this.#forget(key, query);
  }

  /** A record was written or removed. Its value is in memory. */
  changed(store: RecordStore, ref: RecordRef, nowMs: number): void {
    const image = this.#image;
    store.read(ref, image);
    const key = keyOf(image);
    if (key === undefined) return;
    const value = image.tombstone || isExpiredImage(image, nowMs) ? undefined : decodedValue(image);
    const version = value === undefined ? 0 : versionOf(image);
    const judged = this.#judged;
    if (value !== undefined) {
      this.#steps.begin();
      this.#filter.forEach(value, key, (query) => {
        judged.add(query);
        this.#judge(query, key, value, version, true);
      });
      this.#seen.clear();
    } else if (this.#filter.size > 0) this.#dropEverywhere(key);
    const holders = this.#holders.get(key);
    if (holders !== undefined) for (const query of [...holders]) if (!judged.has(query)) this.#drop(query, key);
    judged.clear();
  }

  /** Takes the rows of a pass for those of the queries that they may concern. */
  takeFor(queries: readonly LiveQuery[]): TakeRow {
    const filter = new EqualityFilter<LiveQuery>();
    for (const query of queries) filter.add(query);
    return (key, value, version) => {
      this.#steps.begin();
      filter.forEach(value, key, (query) => {
        if (query.state !== 'ended') this.#judge(query, key, value, version, false);
      });
      this.#seen.clear();
      return this.#steps.spent;
    };
  }

  /** Judges a row for a query, as a change or in a pass. */
  #judge(query: LiveQuery, key: string, value: unknown, version: number, isChanged: boolean): void {
    try {
      query.judge(key, this.#seenBy(query.view, value, key), version, isChanged, this.#steps.next());
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      if (!this.#steps.isUsedUpByOthers) return this.#events.onFailed(query, error);
      query.needsOwnPass = true;
      this.waiting.add(query);
      return;
    }
    if (EqualityFilter.finds(query)) {
      if (query.holds(key)) this.#hold(key, query);
      else this.#forget(key, query);
    }
    if (query.isTouched) this.#events.onTouched(query);
  }

  #seenBy(view: RowView, value: unknown, key: string): unknown {
    if (view === ALL_ROWS) return value;
    if (!this.#seen.has(view)) this.#seen.set(view, view.see(value, key));
    return this.#seen.get(view);
  }

  /** The row is gone: queries without equalities may hold it, too. */
  #dropEverywhere(key: string): void {
    for (const query of this.#filter.others()) this.#drop(query, key);
  }

  #drop(query: LiveQuery, key: string): void {
    query.drop(key);
    this.#forget(key, query);
    if (query.isTouched) this.#events.onTouched(query);
  }

  #hold(key: string, query: LiveQuery): void {
    const holders = this.#holders.get(key);
    if (holders === undefined) this.#holders.set(key, new Set([query]));
    else holders.add(query);
  }

  #forget(key: string, query: LiveQuery): void {
    const holders = this.#holders.get(key);
    if (holders === undefined || !holders.delete(query)) return;
    if (holders.size === 0) this.#holders.delete(key);
  }
}
