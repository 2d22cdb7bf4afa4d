/**
 * Expires records whose TTL has passed: a slice at a time, on the thread that owns them.
 *
 *   ExpiryQueue ─ due ─▶ RecordStore.expire ─▶ removal: staged, logged ─▶ REMOVE | OR_REMOVE to every session
 *
 * The removal is stamped by the record itself (storage/expired-record.ts), so when a slice reaches it is of no matter
 * to the outcome. It matters to nobody's reads either: who answers questions asks `nowMs` and shows a record that is
 * expired and not yet reached as the removal that it is about to become. Only the Merkle sums are behind: until then they
 * contain the record, as they do at a client, which hides what has expired and goes on hashing it.
 *
 * While writes are refused (log or disk full, read-only) nothing is expired: a removal is a write.
 */
import { OP_OR_REMOVE, OP_REMOVE } from '../../protocol/op-index.ts';
import { type ExpiringStore, type ExpiryQueue, NOTHING_DUE } from '../../storage/expiry-queue.ts';
import { KIND_OR, RecordImage } from '../../storage/record.ts';
import type { ChangeEvents } from './change-events.ts';
import type { GridMap, MapCatalogue } from './map-catalogue.ts';

export interface ExpiryOptions {
  readonly queue: ExpiryQueue;
  readonly maps: MapCatalogue;
  readonly changes: ChangeEvents;
  /** False while writes are refused. */
  readonly mayWrite: () => boolean;
  /** The clock, in ms. */
  readonly nowMs: () => number;
}

/** Expired in one slice at most: about a millisecond of merges, and of events that gateways must take. */
export const SLICE_RECORDS_MAX = 1000;
/** Queue entries looked at in one slice: stale ones and those of refreshed records cost less than a removal. */
const SLICE_ENTRIES_MAX = 4 * SLICE_RECORDS_MAX;
/** Entries between two looks at the clock. */
const CLOCK_ENTRIES = 64;
/** Stale entries looked for on each run. */
const TIDY_ENTRIES = 2000;

export class Expiry {
  readonly name = 'expiry';
  /** Time between two runs, in ms. */
  readonly intervalMs = 100;
  /** Records expired since the start. */
  expired = 0;
  readonly #options: ExpiryOptions;
  readonly #image = new RecordImage();
  #map: GridMap | undefined;

  constructor(options: ExpiryOptions) {
    this.#options = options;
  }

  /** The clock that says what has expired, in ms. */
  nowMs(): number {
    return this.#options.nowMs();
  }

  /** Entries of the queue: at most one for each record with a TTL, and stale ones. */
  get entries(): number {
    return this.#options.queue.entries;
  }

  /** A slice of the rhythm: about `budgetMs`, and never more than SLICE_RECORDS_MAX records. */
  run(nowMs: number, budgetMs: number = Number.POSITIVE_INFINITY): 'done' | 'more' {
    this.#options.queue.tidy(TIDY_ENTRIES);
    return this.#slice(nowMs, nowMs + budgetMs);
  }

  /** Expires what is due, before a question is answered; at most one slice, the rest is hidden by who answers. */
  catchUp(): void {
    this.#slice(this.#options.nowMs(), Number.POSITIVE_INFINITY);
  }

  #slice(nowMs: number, endAtMs: number): 'done' | 'more' {
    const { queue, mayWrite, nowMs: clock } = this.#options;
    if (!mayWrite()) return 'done';
    let expired = 0;
    for (let entry = 1; entry <= SLICE_ENTRIES_MAX && expired < SLICE_RECORDS_MAX; entry++) {
      const ref = queue.poll(nowMs);
      if (ref === NOTHING_DUE) return 'done';
      if (ref > 0 && queue.dueStore !== undefined) {
        this.#expire(queue.dueStore, ref, nowMs);
        expired += 1;
      }
      if (entry % CLOCK_ENTRIES === 0 && clock() >= endAtMs) return 'more';
    }
    return 'more';
  }

  #expire(store: ExpiringStore, ref: number, nowMs: number): void {
    if (!store.expire(ref, nowMs)) return;
    this.expired += 1;
    const map = this.#mapOf(store);
    if (map === undefined) return;
    store.read(store.lastRef, this.#image);
    this.#options.changes.changed(map, store.kind === KIND_OR ? OP_OR_REMOVE : OP_REMOVE, this.#image, 0, 0, false);
  }

  /** The map of a store. Records of one map often expire together. */
  #mapOf(store: ExpiringStore): GridMap | undefined {
    if (this.#map?.name !== store.map) this.#map = this.#options.maps.find(store.map);
    return this.#map;
  }
}
