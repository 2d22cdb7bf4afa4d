/**
 * What a worker says of its queries to their gateways: rows as they are stored, or as their subjects may see them.
 *
 *   rows to be told ─ values in memory? ─ no: `missing`, read back, `keep` ─ yes ─▶ one push per gateway (query-wire.ts)
 *
 * What waits for a gateway is bounded, whatever was written: once it `isFull`, rows stay untold, and what changes meanwhile is
 * told as one with them. So do values beyond those that are read back at a time. A first result is told whole: it is bounded.
 */
import { assert } from '../../assert.ts';
import type { PushSink } from '../../operation/request-handler.ts';
import { encode } from '../../protocol/codec.ts';
import { PUSH_QUERY } from '../../protocol/envelope.ts';
import type { ErrorCode } from '../../protocol/errors.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { LoadedValues } from '../../storage/value-loader.ts';
import { positionBytes } from './kept-bytes.ts';
import type { LiveQuery, QueryOwner } from './live-query.ts';
import type { RowChange } from './ordered-window.ts';
import { QueryPushWriter } from './query-wire.ts';
import { RowLookup, type Span } from './row-lookup.ts';

/** Once so much waits for a gateway, in bytes, no more is written for it: later is early enough, and tells newer values. */
const WAITING_BYTES_MAX = 1024 * 1024;
/** Values that are read back at a time for a query that has had its first result, in bytes. */
const READ_BYTES_MAX = 4 * 1024 * 1024;

export class QueryTeller {
  readonly #writers: readonly QueryPushWriter[];
  readonly #lookup = new RowLookup();
  readonly #pushes: PushSink;

  constructor(pushes: PushSink, gateways: number) {
    this.#pushes = pushes;
    this.#writers = Array.from(
      { length: gateways },
      (_, gateway) => new QueryPushWriter((body) => pushes.push(gateway, 0, PUSH_QUERY, body)),
    );
  }

  failed(owner: QueryOwner, code: ErrorCode, reason: string): void {
    this.#writers[owner.gateway]?.failed(owner, code, reason);
  }

  /** Sends what was written. */
  flush(): void {
    for (const writer of this.#writers) writer.flush();
  }

  /** True when the gateway has enough to read for now. */
  isFull(gateway: number): boolean {
    const unsent = this.#writers[gateway]?.length ?? 0;
    return unsent + (this.#pushes.waitingBytes?.(gateway) ?? 0) >= WAITING_BYTES_MAX;
  }

  /** Bytes of the values that the last `missing` found missing. */
  get missingBytes(): number {
    return this.#lookup.evictedBytes;
  }

  /** Rows to be told whose values are not in memory: all, or a good few; `'large'` when these, or all keys and sorted values, are too much for a first result. */
  missing(query: LiveQuery, store: RecordStore | undefined): readonly RecordRef[] | 'large' {
    if (!query.isReady && toldPositionBytes(query) > query.bytesMax) return 'large';
    const refs = this.#lookup.missing(store, query.valuesToTell(), query.isReady ? READ_BYTES_MAX : query.bytesMax + 1);
    return refs.length > 0 && !query.isReady && !takesMore(query, this.#lookup.evictedBytes) ? 'large' : refs;
  }

  /** Puts values that were read back where `write` finds them. */
  keep(store: RecordStore, values: LoadedValues): void {
    this.#lookup.keep(store, values);
  }

  /**
   * Writes what changed of the query: `'more'` when its gateway has enough before all is written, or values are not in memory;
   * `'large'` when a first result is larger than the gateway wants to hold.
   * @param isReadBack values were: as much is written in any case, before they may be dropped again
   */
  write(query: LiveQuery, store: RecordStore | undefined, isReadBack: boolean): 'done' | 'more' | 'large' {
    const { owner } = query;
    const writer = this.#writers[owner.gateway];
    if (writer === undefined) return 'done';
    let bytesDue = isReadBack ? READ_BYTES_MAX : 0;
    const untold: RowChange[] = [];
    for (const change of query.takeRows()) {
      const { type, row } = change;
      if (type === 'LEAVE') {
        writer.leave(owner, row.key);
        continue;
      }
      const isLater = query.isReady && bytesDue <= 0 && this.isFull(owner.gateway);
      const stored = isLater ? 'evicted' : this.#lookup.value(store, row.key);
      if (stored === undefined) continue; // cannot be: a row in the view is in the store
      if (stored === 'evicted') {
        assert(query.isReady, 'values of a first result are read back before it is told');
        untold.push(change);
        continue;
      }
      bytesDue -= stored.length;
      const value = query.tellsWholeValues ? stored : this.#shown(query, row.key, stored);
      if (!query.isReady && !takesMore(query, value.length + positionBytes(row))) return 'large';
      query.readings = 0; // it gets on
      writer.row(owner, type, row.key, row.version, row.sort, value);
    }
    if (untold.length > 0) {
      query.giveBack(untold);
      return 'more';
    }
    for (const partial of query.takeGroups()) writer.group(owner, partial);
    if (query.isReady) return 'done';
    query.isReady = true;
    writer.ready(owner, query.hasMore);
    return 'done';
  }

  #shown(query: LiveQuery, key: string, stored: Span): Span {
    const source = encode(query.shown(this.#lookup.decode(stored), key));
    return { source, start: 0, length: source.length };
  }
}

/** Bytes of the keys and sorted values of the rows to be told. */
function toldPositionBytes(query: LiveQuery): number {
  let bytes = 0;
  for (const row of query.valuesToTell()) bytes += positionBytes(row);
  return bytes;
}

/** Counts bytes of a first result. */
function takesMore(query: LiveQuery, bytes: number): boolean {
  query.snapshotBytes += bytes;
  return query.snapshotBytes <= query.bytesMax;
}
