/**
 * A query as it is asked, checked: the same text is parsed at the gateway, which answers what is wrong with it, and on the
 * workers, which run it.
 *
 *   where, predicate   both must hold        sort, limit, cursor   which of them, in which order
 *   fields             what of each row      groupBy, aggregations   rows of groups instead
 */
import { isData } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';
import { fieldOf } from './attribute.ts';
import { type CursorStatus, queryHash, readCursor } from './cursor.ts';
import { type Grouping, parseGrouping } from './grouping.ts';
import { allOf, compileNode, compileWhere, EVERY_ROW, type Predicate } from './predicate.ts';
import { parseSort, type Position, type SortOrder } from './sort-order.ts';

const FIELDS_MAX = 256;

export interface QuerySpec {
  readonly predicate: Predicate;
  readonly order: SortOrder;
  /** Most rows of the result. */
  readonly limit: number;
  /** The client named a limit; without one the server's own holds. */
  readonly hasLimit: boolean;
  readonly cursorStatus: CursorStatus;
  readonly after: Position | undefined;
  /** Top-level fields that rows are reduced to; undefined = whole rows. */
  readonly fields: readonly string[] | undefined;
  readonly grouping: Grouping | undefined;
  /** Of map, filter and order: what a cursor belongs to. */
  readonly hash: number;
}

export interface SpecOptions {
  readonly mapName: string;
  /** Rows that a result may have. */
  readonly rowsMax: number;
  /** Wall clock, ms. */
  readonly nowMs: number;
  /** What `valueRef: "auth.…"` names. */
  readonly auth?: unknown;
}

/** Throws GridError BAD_REQUEST, saying what is wrong. `fields` beside the query wins over `fields` in it. */
export function parseQuery(query: unknown, fields: unknown, { mapName, rowsMax, nowMs, auth }: SpecOptions): QuerySpec {
  if (!isData(query)) throw new GridError('BAD_REQUEST', 'a query is a map');
  const where = fieldOf(query, 'where') ?? undefined;
  const node = fieldOf(query, 'predicate') ?? undefined;
  const predicates = [
    where === undefined ? EVERY_ROW : compileWhere(where),
    node === undefined ? EVERY_ROW : compileNode(node, { auth }),
  ];
  const order = parseSort(fieldOf(query, 'sort'));
  const asked = fieldOf(query, 'limit') ?? undefined;
  if (asked !== undefined && (typeof asked !== 'number' || !Number.isSafeInteger(asked) || asked < 0))
    throw new GridError('BAD_REQUEST', '`limit` is an integer from 0');
  const hash = queryHash({ mapName, where, node, sort: order.fields });
  const cursor = readCursor(fieldOf(query, 'cursor'), hash, order.fields.length, nowMs);
  return {
    predicate: allOf(predicates),
    order,
    limit: Math.min(asked ?? rowsMax, rowsMax),
    hasLimit: asked !== undefined,
    cursorStatus: cursor.status,
    after: cursor.after,
    fields: parseFields(fields ?? fieldOf(query, 'fields') ?? undefined),
    grouping: parseGrouping(fieldOf(query, 'groupBy'), fieldOf(query, 'aggregations')),
    hash,
  };
}

function parseFields(fields: unknown): readonly string[] | undefined {
  if (fields === undefined) return undefined;
  if (!Array.isArray(fields) || fields.length > FIELDS_MAX)
    throw new GridError('BAD_REQUEST', `\`fields\` is an array of up to ${FIELDS_MAX} names`);
  const names = fields.filter((field): field is string => typeof field === 'string');
  if (names.length !== fields.length) throw new GridError('BAD_REQUEST', '`fields` is an array of names');
  return names.length === 0 ? undefined : [...new Set(names)];
}

/** The row reduced to the fields; what is no map stays as it is. */
export function project(value: unknown, fields: readonly string[] | undefined): unknown {
  if (fields === undefined || !isData(value)) return value;
  const kept = Object.create(null) as Record<string, unknown>;
  for (const field of fields) if (Object.hasOwn(value, field)) kept[field] = value[field];
  return kept;
}
