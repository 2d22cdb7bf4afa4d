/**
 * How the rows of a query are found on a worker: by the way that looks at the fewest.
 *
 *   keys     the filter names the keys                                     _key = …, _key in […]
 *   index    a condition that every wanted row fulfils is on an indexed attribute: =, in, <, ≤, >, ≥, between, startsWith
 *            or, in order: the first sorted attribute has an ordered index and the filter asks for nothing else: rows come in
 *            the order of the query, until no later one can come into its window
 *   scan     all rows; shared by all queries that wait for one
 *
 * Finding a row by its key costs about twice what the next row of a scan does: an index that leaves more than half of the rows is
 * not worth it. Whatever the way, each row is judged in full: a plan decides what is looked at, never what is found.
 */
import type { RecordStore } from '../../storage/record-store.ts';
import { ALL_ROWS, type RowView } from '../security/access.ts';
import type { AttributeIndex, IndexCursor, IndexKind } from './attribute-index.ts';
import { isScalar } from './comparison.ts';
import {
  comparedRange,
  type IndexCondition,
  type IndexRange,
  indexValueOf,
  type IndexValue,
  intersect,
  prefixRange,
  WHOLE_RANGE,
} from './index-value.ts';
import { pinnedKeys } from './pinned-keys.ts';
import { conjunctsOf, type PredicateLeaf, type PredicateTree } from './predicate.ts';
import type { QuerySpec } from './query-spec.ts';

/** An index that has all rows of its map on this worker. */
export interface UsableIndex {
  readonly attribute: string;
  readonly index: AttributeIndex;
}

/** What a plan must know of a query. */
export interface PlannedQuery {
  readonly spec: QuerySpec;
  readonly view: RowView;
  /** Rows behind which its window refuses every further one. */
  readonly windowRowsMax: number;
  /** True when no row at, or behind, this value of its first sorted attribute would be kept. */
  isEnough(value: IndexValue): boolean;
}

/** Keys of rows to be looked at; undefined at the end. */
export type NextKey = () => string | undefined;

export interface QueryPlan {
  readonly access: 'keys' | 'index' | 'scan';
  /** Of an index. */
  readonly attribute?: string;
  readonly kind?: IndexKind;
  /** Rows come in the order of the query, and it ends with its window. */
  readonly inOrder: boolean;
  /** Rows to be looked at, by estimate. */
  readonly rows: number;
  /** Starts the walk; undefined for a scan. */
  readonly open: (() => NextKey) | undefined;
}

/** An `in` with more values is not looked up one by one. */
const VALUES_MAX = 1000;
/** Share of the rows up to which looking them up is cheaper than the scan. */
const WORTH_SHARE = 0.5;

export function planQuery(query: PlannedQuery, store: RecordStore | undefined, indexes: readonly UsableIndex[]): QueryPlan {
  const { tree } = query.spec.predicate;
  const scan: QueryPlan = { access: 'scan', inOrder: false, rows: store?.records ?? 0, open: undefined };
  const keys = pinnedKeys(tree);
  if (keys !== undefined) return { access: 'keys', inOrder: false, rows: keys.length, open: () => nextOf(keys) };
  const plans = indexes.flatMap((usable) => [...filterPlan(query, usable), ...orderPlan(query, usable)]);
  const [first, ...others] = plans;
  if (first === undefined) return scan;
  const best = others.reduce((least, plan) => (plan.rows < least.rows ? plan : least), first);
  return best.rows <= scan.rows * WORTH_SHARE ? best : scan;
}

function nextOf(keys: readonly string[]): NextKey {
  let at = 0;
  return () => keys[at++];
}

function filterPlan({ spec, view }: PlannedQuery, { attribute, index }: UsableIndex): QueryPlan[] {
  // A hidden field `a.b` would let `b` of the map `a` be seen in its place, under the same name.
  if (view !== ALL_ROWS && attribute.includes('.')) return [];
  const condition = conditionOf(
    conjunctsOf(spec.predicate.tree).filter((leaf) => leaf.attribute === attribute),
    index.kind,
  );
  if (condition === undefined) return [];
  const open = (): NextKey => keysOf(index.cursor(condition));
  return [{ access: 'index', attribute, kind: index.kind, inOrder: false, rows: index.count(condition), open }];
}

function orderPlan(query: PlannedQuery, { attribute, index }: UsableIndex): QueryPlan[] {
  const { spec, view } = query;
  const [first] = spec.order.fields;
  if (view !== ALL_ROWS || first?.field !== attribute || spec.grouping !== undefined || index.kind !== 'ordered') return [];
  const asked = onlyRange(spec.predicate.tree, attribute);
  if (asked === undefined || !isSorted(index)) return [];
  const range = intersect(asked, behind(spec, first.direction));
  const rows = Math.min(index.count({ kind: 'range', range }), query.windowRowsMax + 1);
  const open = (): NextKey => {
    const cursor = index.walk(range, first.direction);
    let isOver = false;
    return () => {
      const entry = isOver ? undefined : cursor.next();
      isOver = entry === undefined || query.isEnough(entry.value);
      return isOver ? undefined : entry?.key;
    };
  };
  return [{ access: 'index', attribute, kind: index.kind, inOrder: true, rows, open }];
}

function isSorted(index: AttributeIndex): index is AttributeIndex & { walk(range: IndexRange, to: 'asc' | 'desc'): IndexCursor } {
  return index.kind === 'ordered';
}

/** What a cursor leaves of the order: rows from where it stands. */
function behind({ after }: QuerySpec, direction: 'asc' | 'desc'): IndexRange {
  if (after === undefined) return WHOLE_RANGE;
  const bound = { value: indexValueOf(after.sort[0]), inclusive: true };
  return direction === 'asc' ? { low: bound } : { high: bound };
}

/** The range of the attribute that is all the filter asks for; undefined when it asks for anything else. */
function onlyRange(tree: PredicateTree, attribute: string): IndexRange | undefined {
  if (!isConjunction(tree)) return undefined;
  const leaves = conjunctsOf(tree);
  if (leaves.length === 0) return WHOLE_RANGE;
  if (leaves.some((leaf) => leaf.attribute !== attribute || rangeOfLeaf(leaf) === undefined)) return undefined;
  const condition = conditionOf(leaves, 'ordered');
  return condition?.kind === 'range' ? condition.range : undefined;
}

function isConjunction(tree: PredicateTree): boolean {
  if (tree.kind === 'leaf') return true;
  return (tree.kind === 'all' || tree.children.length === 1) && tree.children.every(isConjunction);
}

/** The narrowest that an index of the kind can answer of these leaves, which all must hold. */
function conditionOf(leaves: readonly PredicateLeaf[], kind: IndexKind): IndexCondition | undefined {
  let values: readonly IndexValue[] | undefined;
  let range: IndexRange | undefined;
  for (const leaf of leaves) {
    const asked = valuesOfLeaf(leaf);
    if (asked !== undefined && (values === undefined || asked.length < values.length)) values = asked;
    const between = rangeOfLeaf(leaf);
    if (between !== undefined) range = range === undefined ? between : intersect(range, between);
  }
  if (values !== undefined) return { kind: 'equal', values };
  return range === undefined || kind === 'hash' ? undefined : { kind: 'range', range };
}

function valuesOfLeaf({ op, operand, negated }: PredicateLeaf): readonly IndexValue[] | undefined {
  if (negated) return undefined;
  const operands = op === 'eq' ? [operand] : op === 'in' && Array.isArray(operand) ? operand : undefined;
  if (operands === undefined || operands.length > VALUES_MAX) return undefined;
  if (!operands.every((value) => isScalar(value) && value !== null)) return undefined;
  return [...new Set(operands.map(indexValueOf))];
}

function rangeOfLeaf({ op, operand, negated }: PredicateLeaf): IndexRange | undefined {
  if (negated || operand === undefined) return undefined;
  if (op === 'gt' || op === 'gte' || op === 'lt' || op === 'lte') return comparedRange(op, operand);
  if (op === 'startsWith') return typeof operand === 'string' ? prefixRange(operand) : undefined;
  if (op !== 'between' || !Array.isArray(operand)) return undefined;
  const low = comparedRange('gte', operand[0]);
  const high = comparedRange('lte', operand[1]);
  return low === undefined || high === undefined ? undefined : intersect(low, high);
}

function keysOf(cursor: IndexCursor): NextKey {
  return () => cursor.next()?.key;
}
