/** Frames about queries, put together around values that are never decoded (docs/PROTOCOL.md §6.1). */
import type { CursorStatus } from '../engine/domains/query/cursor.ts';
import type { ResultRow } from '../engine/domains/query/gathered-query.ts';
import type { RowChange, WindowRow } from '../engine/domains/query/ordered-window.ts';
import { encode } from '../engine/protocol/codec.ts';
import type { GridError } from '../engine/protocol/errors.ts';
import { MessageWriter } from '../engine/protocol/msgpack-writer.ts';

/** What a result says beside its rows. */
export interface ResultFooter {
  readonly hasMore: boolean;
  readonly cursorStatus: CursorStatus;
  readonly nextCursor: string | undefined;
}

const out = new MessageWriter(4096);

export function resultFrame(
  queryId: string,
  rows: readonly WindowRow[],
  { hasMore, cursorStatus, nextCursor }: ResultFooter,
): Uint8Array {
  begin('QUERY_RESP', nextCursor === undefined ? 4 : 5, queryId);
  out.string('results');
  out.arrayHeader(rows.length);
  for (const row of rows) {
    out.mapHeader(2);
    out.string('key');
    out.string(row.key);
    out.string('value');
    writeValue(row.value);
  }
  out.string('hasMore');
  out.bool(hasMore);
  out.string('cursorStatus');
  out.string(cursorStatus);
  if (nextCursor !== undefined) {
    out.string('nextCursor');
    out.string(nextCursor);
  }
  return ended();
}

/** Groups are computed here, so they are encoded as they are. */
export function groupsFrame(queryId: string, results: readonly ResultRow[], hasMore: boolean): Uint8Array {
  return encode({ type: 'QUERY_RESP', payload: { queryId, results, hasMore, cursorStatus: 'none' } }).slice();
}

export function updateFrame(queryId: string, { type, row }: RowChange): Uint8Array {
  begin('QUERY_UPDATE', 4, queryId);
  out.string('key');
  out.string(row.key);
  out.string('value');
  writeValue(type === 'LEAVE' ? undefined : row.value);
  out.string('changeType');
  out.string(type);
  return ended();
}

/**
 * ERROR, not a result with an error: the client does not see that one's `error`, and would take it for an empty result.
 */
export function queryErrorFrame(queryId: string, error: GridError): Uint8Array {
  const details = { type: 'QUERY_SUB', id: queryId, code: error.code };
  return encode({ type: 'ERROR', payload: { code: error.status, message: `${error.code}: ${error.message}`, details } }).slice();
}

function begin(type: string, fields: number, queryId: string): void {
  out.reset();
  out.mapHeader(2);
  out.string('type');
  out.string(type);
  out.string('payload');
  out.mapHeader(fields);
  out.string('queryId');
  out.string(queryId);
}

function writeValue(value: Uint8Array | undefined): void {
  if (value === undefined || value.length === 0) out.nil();
  else out.raw(value, 0, value.length);
}

function ended(): Uint8Array {
  return out.bytes.slice(0, out.length);
}
