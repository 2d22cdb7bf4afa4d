/**
 * A question about a map in the query of a URL, asked once as a live query is:
 *
 *   where    JSON: {"done": false}, or a predicate {"op": "lt", "attribute": "n", "value": 5}
 *   sort     fields with commas between them, each with a minus in front for the largest first
 *   limit    rows of a page             cursor   of the page before
 *
 * It goes to the gateway as QUERY_SUB and QUERY_UNSUB of a session that lives so long: predicates, order, policies and bounds
 * are those of every query.
 */
import { z } from 'zod';
import { decode, isData } from '../../engine/protocol/codec.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { encodeText } from '../../engine/protocol/wire-text.ts';
import type { Principal } from '../authentication.ts';
import type { HttpDoor } from './http-door.ts';
import { jsonOf, valueOfJson } from './json-value.ts';
import { SyncSession } from './sync-session.ts';

const WHERE_BYTES_MAX = 8192;
const SORT_FIELDS_MAX = 8;
const QUERY_ID = 'page';

export const MAP_QUERY = {
  where: z
    .string()
    .max(WHERE_BYTES_MAX)
    .optional()
    .describe('Only records that meet this, in JSON: fields and their values, or a predicate with `op`'),
  sort: z
    .string()
    .max(1024)
    .regex(/^[^\p{Cc}]*$/u)
    .optional()
    .describe('Fields to order by, with commas; a minus in front: the largest first'),
};

export interface MapQuery {
  readonly where?: string | undefined;
  readonly sort?: string | undefined;
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface MapRows {
  readonly rows: readonly { readonly key: string; readonly value: unknown }[];
  /** Where the next page begins. */
  readonly cursor: string | undefined;
}

/** Rejects with GridError BAD_REQUEST for what is no question, FORBIDDEN, or why it cannot be answered now. */
export async function queryMap(
  door: HttpDoor,
  principal: Principal | undefined,
  map: string,
  { where, sort, limit, cursor }: MapQuery,
): Promise<MapRows> {
  const query = { ...filterOf(where), ...orderOf(sort), limit, ...(cursor === undefined ? {} : { cursor }) };
  const session = new SyncSession(door, principal);
  try {
    const { results, nextCursor } = await session.ask(QUERY_ID, map, query);
    const rows = (Array.isArray(results) ? results : []).filter(isData);
    return {
      rows: rows.map(({ key, value }) => ({ key: String(key), value: jsonOf(value) })),
      cursor: typeof nextCursor === 'string' ? nextCursor : undefined,
    };
  } finally {
    session.close();
  }
}

function filterOf(text: string | undefined): object {
  if (text === undefined) return {};
  const filter = decode(valueOfJson(encodeText(text)));
  if (!isData(filter)) throw new GridError('BAD_REQUEST', 'query: where: an object is needed');
  return Object.hasOwn(filter, 'op') ? { predicate: filter } : { where: filter };
}

function orderOf(text: string | undefined): object {
  if (text === undefined || text === '') return {};
  const fields = text.split(',');
  if (fields.length > SORT_FIELDS_MAX) throw new GridError('BAD_REQUEST', `query: sort: at most ${SORT_FIELDS_MAX} fields`);
  return {
    sort: fields.map((field) =>
      field.startsWith('-') ? { field: field.slice(1), direction: 'desc' } : { field, direction: 'asc' },
    ),
  };
}
