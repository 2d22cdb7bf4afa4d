/** What clients send about queries (docs/PROTOCOL.md §6). What a query says stays as it came: domains/query reads it. */
import type { Data } from './codec.ts';

export interface QuerySubscribeMessage {
  readonly type: 'QUERY_SUB';
  readonly queryId: string;
  /** Any value: what is no map's name is refused with an answer. */
  readonly mapName: unknown;
  readonly query: unknown;
  readonly fields: unknown;
}

export interface QueryUnsubscribeMessage {
  readonly type: 'QUERY_UNSUB';
  readonly queryId: string;
}

/** Asks whether a result is still the one of that hash. None is ever sent, so there is nothing to say. */
export interface QuerySyncInitMessage {
  readonly type: 'QUERY_SYNC_INIT';
  readonly queryId: string;
}

export type QueryMessage = QuerySubscribeMessage | QueryUnsubscribeMessage | QuerySyncInitMessage;

const QUERY_ID_CHARS_MAX = 256;

/** @param body what the message wraps in `payload` */
export function parseQueryMessage(type: QueryMessage['type'], body: Data): QueryMessage | undefined {
  const { queryId, mapName, query, fields } = body;
  if (typeof queryId !== 'string' || queryId.length > QUERY_ID_CHARS_MAX) return undefined;
  return type === 'QUERY_SUB' ? { type, queryId, mapName, query, fields } : { type, queryId };
}
