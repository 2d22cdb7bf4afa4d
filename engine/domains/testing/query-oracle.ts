/**
 * For tests: what a query answers, computed from all rows anew, without windows, indexes or the predicate engine. Only the order of
 * values is the engine's own (comparison.ts, tested by itself).
 */
import { assert } from '../../assert.ts';
import { compareValues } from '../query/comparison.ts';

export interface OracleNode {
  readonly op: string;
  readonly attribute?: string;
  readonly value?: unknown;
  readonly valueRef?: string;
  readonly children?: readonly OracleNode[];
}

export interface OracleQuery {
  readonly where?: Readonly<Record<string, unknown>>;
  readonly predicate?: OracleNode;
  readonly sort?: readonly { readonly field: string; readonly direction: 'asc' | 'desc' }[];
  readonly limit?: number;
  readonly groupBy?: readonly string[];
  readonly aggregations?: readonly { readonly func: string; readonly field?: string }[];
}

export type OracleRow = Readonly<Record<string, unknown>>;

export interface OracleAsk {
  readonly query: OracleQuery;
  readonly fields?: readonly string[] | undefined;
  /** Rows up to here are left out. */
  readonly after?: { readonly sort: readonly unknown[]; readonly key: string } | undefined;
}

/** The result in its order. */
export function oracleResult(
  { query, fields, after }: OracleAsk,
  rows: Iterable<readonly [string, OracleRow]>,
): [string, unknown][] {
  const wanted = [...rows].filter(([key, row]) => isWanted(query, key, row));
  if (query.groupBy !== undefined || query.aggregations !== undefined)
    return groupsOf(
      query,
      wanted.map(([, row]) => row),
    );
  const placed = wanted.map(([key, row]) => ({ key, row, sort: sortOf(query, key, row) }));
  placed.sort((a, b) => order(query, a, b));
  const behind = after === undefined ? placed : placed.filter((one) => order(query, one, after) > 0);
  return behind.slice(0, query.limit ?? behind.length).map(({ key, row }) => [key, projected(row, fields)]);
}

/** Where a row stands, as a cursor names it. */
export function sortOf({ sort = [] }: OracleQuery, key: string, row: OracleRow): readonly unknown[] {
  return sort.map(({ field }) => {
    const value = read(row, key, field) ?? null;
    return typeof value === 'object' && value !== null ? [] : value;
  });
}

interface Placed {
  readonly sort: readonly unknown[];
  readonly key: string;
}

function order({ sort = [] }: OracleQuery, a: Placed, b: Placed): number {
  for (const [index, { direction }] of sort.entries()) {
    const compared = compareValues(a.sort[index], b.sort[index]);
    if (compared !== 0) return direction === 'asc' ? compared : -compared;
  }
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

function projected(row: OracleRow, fields: readonly string[] | undefined): unknown {
  if (fields === undefined) return row;
  return Object.fromEntries(Object.entries(row).filter(([name]) => fields.includes(name)));
}

function read(row: unknown, key: string, path: string): unknown {
  if (path === '_key') return key;
  let at: unknown = row;
  for (const part of path.split('.')) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, part)) return undefined;
    at = Reflect.get(at, part);
  }
  return at;
}

function isWanted({ where = {}, predicate }: OracleQuery, key: string, row: OracleRow): boolean {
  if (!Object.entries(where).every(([field, value]) => row[field] === value)) return false;
  return predicate === undefined || holds(predicate, key, row);
}

/** `isTurned`: an odd number of `not`s is around the node. A reference that names nothing makes its leaf false all the same. */
function holds(node: OracleNode, key: string, row: OracleRow, isTurned = false): boolean {
  const children = node.children ?? [];
  const inner = (child: OracleNode): boolean => holds(child, key, row, isTurned);
  if (node.op === 'and' || node.op === 'or')
    return (node.op === 'and') === isTurned ? children.some(inner) : children.every(inner);
  if (node.op === 'not') return children[0] === undefined ? !isTurned : holds(children[0], key, row, !isTurned);
  const field = read(row, key, node.attribute ?? '');
  if (node.valueRef === undefined) return leaf(node.op, field, node.value) !== isTurned;
  const value = read(row, key, node.valueRef.slice('data.'.length)) ?? undefined;
  return value !== undefined && leaf(node.op, field, value) !== isTurned;
}

function leaf(op: string, field: unknown, value: unknown): boolean {
  const list = Array.isArray(value) ? value : [];
  switch (op) {
    case 'eq':
      return field === value;
    case 'neq':
      return field !== value;
    case 'gt':
      return isOrdered(field, value) && compareValues(field, value) > 0;
    case 'gte':
      return isOrdered(field, value) && compareValues(field, value) >= 0;
    case 'lt':
      return isOrdered(field, value) && compareValues(field, value) < 0;
    case 'lte':
      return isOrdered(field, value) && compareValues(field, value) <= 0;
    case 'between':
      return leaf('gte', field, list[0]) && leaf('lte', field, list[1]);
    case 'in':
      return list.includes(field);
    case 'isNull':
      return field === null || field === undefined;
    case 'isNotNull':
      return field !== null && field !== undefined;
    case 'startsWith':
      return typeof field === 'string' && field.indexOf(String(value)) === 0;
    case 'endsWith':
      return typeof field === 'string' && field.slice(-String(value).length) === value;
    case 'contains':
      if (Array.isArray(field)) return field.includes(value);
      return typeof field === 'string' && field.toLowerCase().includes(String(value).toLowerCase());
    case 'containsAny':
      return list.some((item) => leaf('contains', field, item));
    case 'containsAll':
      return list.every((item) => leaf('contains', field, item));
    case 'regex':
      return typeof field === 'string' && new RegExp(String(value)).test(field);
    default:
      assert(op === 'like', `the oracle knows no ${op}`);
      return typeof field === 'string' && likePattern(String(value)).test(field);
  }
}

function likePattern(text: string): RegExp {
  return new RegExp(`^${text.replaceAll('%', '.*').replaceAll('_', '.')}$`, 'i');
}

function isOrdered(a: unknown, b: unknown): boolean {
  return typeof a === typeof b && (typeof a === 'number' || typeof a === 'string' || typeof a === 'boolean');
}

function groupsOf({ groupBy, aggregations = [] }: OracleQuery, rows: readonly OracleRow[]): [string, unknown][] {
  const groups = new Map<string, OracleRow[]>();
  for (const row of rows) {
    const id = groupBy === undefined ? '*' : groupId(groupBy.map((column) => read(row, '', column) ?? null));
    groups.set(id, [...(groups.get(id) ?? []), row]);
  }
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, members]) => [id, groupOf(id, members, groupBy ?? [], aggregations)]);
}

function groupId(columns: readonly unknown[]): string {
  const [only] = columns;
  return columns.length === 1 && typeof only === 'string' && only !== ''
    ? only
    : JSON.stringify(columns.length === 1 ? only : columns);
}

function groupOf(
  id: string,
  members: readonly OracleRow[],
  groupBy: readonly string[],
  aggregations: NonNullable<OracleQuery['aggregations']>,
): object {
  const group: Record<string, unknown> = { __key: id, __count: members.length };
  for (const { func, field = '' } of aggregations) {
    if (func === 'count') continue;
    const numbers = members.map((row) => read(row, '', field)).filter((value): value is number => typeof value === 'number');
    const sum = numbers.reduce((total, number) => total + number, 0);
    const none = numbers.length === 0;
    const results: Record<string, unknown> = {
      sum,
      min: none ? null : Math.min(...numbers),
      max: none ? null : Math.max(...numbers),
      avg: none ? null : sum / numbers.length,
    };
    group[`__${func}_${field}`] = results[func];
  }
  for (const column of groupBy) group[column] = (members[0] && read(members[0], '', column)) ?? null;
  return group;
}
