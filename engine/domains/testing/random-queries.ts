/** For tests: rows and queries of a small world, at random by a seed, so that conditions often hold and values often tie. */
import type { OracleNode, OracleQuery, OracleRow } from './query-oracle.ts';

export type Random = (below: number) => number;

/** Mulberry32. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export function pick<T>(random: Random, items: readonly [T, ...T[]]): T {
  return items[random(items.length)] ?? items[0];
}

const TEXTS = ['', 'a', 'ab', 'abc', 'B', 'banana', 'Äpfel', 'x'.repeat(300), `${'x'.repeat(300)}y`] as const;
const GROUPS = ['a', 'b', 'c'] as const;

export function randomRow(random: Random): OracleRow {
  const row: Record<string, unknown> = {
    n: random(6),
    m: random(6),
    group: pick(random, GROUPS),
    done: random(2) === 0,
    text: pick(random, TEXTS),
    at: { rank: random(5) },
  };
  if (random(4) === 0) delete row.n;
  if (random(6) === 0) row.n = null;
  if (random(8) === 0) row.n = pick<unknown>(random, ['x', 'y', 2.5, -1, 0.5, [1], { one: 1 }]);
  if (random(6) === 0) row.at = pick<unknown>(random, [{}, 'far', null]);
  if (random(3) === 0) row.tags = [...'uvw'].slice(random(3));
  return row;
}

function randomLeaf(random: Random): OracleNode {
  const number = random(6);
  const leaves: [OracleNode, ...OracleNode[]] = [
    { op: pick(random, ['eq', 'neq', 'gt', 'gte', 'lt', 'lte']), attribute: pick(random, ['n', 'm', 'at.rank']), value: number },
    { op: pick(random, ['eq', 'gt', 'lte']), attribute: 'text', value: pick(random, TEXTS) },
    { op: pick(random, ['eq', 'neq', 'gte']), attribute: 'm', valueRef: 'data.n' },
    { op: 'between', attribute: pick(random, ['n', 'm', 'at.rank']), value: [number, number + random(3)] },
    { op: 'between', attribute: 'text', value: ['a', 'c'] },
    { op: 'in', attribute: pick(random, ['n', 'm', 'group']), value: [number, 'a', 2.5].slice(random(3)) },
    { op: 'in', attribute: 'done', value: [true] },
    { op: 'eq', attribute: 'done', value: random(2) === 0 },
    { op: 'eq', attribute: 'group', value: pick(random, GROUPS) },
    { op: 'startsWith', attribute: 'text', value: pick(random, ['', 'a', 'ab', 'x', 'x'.repeat(299), 'x'.repeat(301)]) },
    { op: 'endsWith', attribute: 'text', value: pick(random, ['a', 'y']) },
    { op: 'contains', attribute: pick(random, ['text', 'tags']), value: pick(random, ['A', 'v', 'an']) },
    { op: pick(random, ['containsAny', 'containsAll']), attribute: 'tags', value: ['u', 'w'] },
    { op: pick(random, ['isNull', 'isNotNull']), attribute: pick(random, ['n', 'tags', 'at.rank']) },
    { op: 'like', attribute: 'text', value: pick(random, ['a%', '%an%', '_b%', 'b']) },
    { op: 'regex', attribute: 'text', value: pick(random, ['^a.?$', 'an+', '[xy]$']) },
    { op: pick(random, ['eq', 'gt']), attribute: '_key', value: `key-${random(30)}` },
    { op: 'in', attribute: '_key', value: [`key-${random(30)}`, `key-${random(30)}`, `key-${random(30)}`, 7] },
  ];
  return pick(random, leaves);
}

function randomNode(random: Random, depth: number): OracleNode {
  if (depth === 0 || random(3) === 0) return randomLeaf(random);
  const op = pick(random, ['and', 'and', 'or', 'not']);
  const children = Array.from({ length: op === 'not' ? 1 : 1 + random(3) }, () => randomNode(random, depth - 1));
  return { op, children };
}

function randomFilter(random: Random): OracleQuery {
  switch (random(6)) {
    case 0:
      return {};
    case 1:
      return { where: { done: false } };
    case 2:
      return { where: { group: 'a', done: true } };
    case 3:
      return { where: { done: false }, predicate: randomNode(random, 1) };
    default:
      return { predicate: randomNode(random, 2) };
  }
}

export function randomQuery(random: Random): OracleQuery {
  const filter = randomFilter(random);
  if (random(6) === 0) {
    const aggregations = ['count', 'sum', 'min', 'max', 'avg'].map((func) =>
      func === 'count' ? { func } : { func, field: 'n' },
    );
    const groupBy = pick(random, [undefined, ['group'], ['done', 'at.rank']]);
    return { ...filter, ...(groupBy === undefined ? {} : { groupBy }), aggregations: aggregations.slice(random(5)) };
  }
  const direction = (): 'asc' | 'desc' => pick(random, ['asc', 'desc']);
  const field = (): string => pick(random, ['n', 'm', 'text', 'at.rank', 'group', 'done']);
  const sort = Array.from({ length: random(3) }, () => ({ field: field(), direction: direction() }));
  return {
    ...filter,
    ...(sort.length === 0 ? {} : { sort }),
    ...(random(4) === 0 ? {} : { limit: pick(random, [0, 1, 2, 3, 5, 10]) }),
  };
}
