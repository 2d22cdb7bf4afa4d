/**
 * What a worker says of its queries to their gateways: rows as they are stored, or as their subjects may see them.
 *
 *   rows to be told ─ values in memory? ─ no: `missing`, read back, `keep` ─ yes ─▶ one push per gateway (query-wire.ts)
 */
import type { PushSink } from '../../operation/request-handler.ts';
import { encode } from '../../protocol/codec.ts';
import { PUSH_QUERY } from '../../protocol/envelope.ts';
import type { ErrorCode } from '../../protocol/errors.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { LoadedValues } from '../../storage/value-loader.ts';
import type { LiveQuery, QueryOwner } from './live-query.ts';
import { QueryPushWriter } from './query-wire.ts';
import { RowLookup, type Span } from './row-lookup.ts';

export class QueryTeller {
  readonly #writers: readonly QueryPushWriter[];
  readonly #lookup = new RowLookup();

  constructor(pushes: PushSink, gateways: number) {
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

  /** The rows to be told whose values are not in memory; `'large'` when they alone are too much for a first result. */
  missing(query: LiveQuery, store: RecordStore | undefined): readonly RecordRef[] | 'large' {
    const refs = this.#lookup.missing(store, query.valuesToTell());
    return refs.length > 0 && !query.isReady && !takesMore(query, this.#lookup.evictedBytes) ? 'large' : refs;
  }

  /** Puts values that were read back where `write` finds them. */
  keep(store: RecordStore, values: LoadedValues): void {
    this.#lookup.keep(store, values);
  }

  /** Writes what changed of the query. False when its first result is larger than its gateway wants to hold. */
  write(query: LiveQuery, store: RecordStore | undefined): boolean {
    const { owner } = query;
    const writer = this.#writers[owner.gateway];
    if (writer === undefined) return true;
    for (const { type, row } of query.takeRows()) {
      if (type === 'LEAVE') {
        writer.leave(owner, row.key);
        continue;
      }
      const stored = this.#lookup.value(store, row.key);
      if (stored === undefined) continue; // cannot be: a row in the view is in the store
      const value = query.tellsWholeValues ? stored : this.#shown(query, row.key, stored);
      if (!query.isReady && !takesMore(query, value.length)) return false;
      writer.row(owner, type, row.key, row.version, row.sort, value);
    }
    for (const partial of query.takeGroups()) writer.group(owner, partial);
    if (query.isReady) return true;
    query.isReady = true;
    writer.ready(owner, query.hasMore);
    return true;
  }

  #shown(query: LiveQuery, key: string, stored: Span): Span {
    const source = encode(query.shown(this.#lookup.decode(stored), key));
    return { source, start: 0, length: source.length };
  }
}

/** Counts bytes of a first result. */
function takesMore(query: LiveQuery, bytes: number): boolean {
  query.snapshotBytes += bytes;
  return query.snapshotBytes <= query.bytesMax;
}
