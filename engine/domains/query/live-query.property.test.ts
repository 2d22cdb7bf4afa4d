/**
 * Live queries against an oracle that knows no windows: after each change, what a client was told must be what a fresh query
 * over all rows would answer. Random rows, queries, changes, removals, expiry, OR-Map noise, replaced workers.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ClientView, QueryGrid } from '../testing/query-grid.ts';
import { compareValues } from './comparison.ts';
import { fieldOf } from './attribute.ts';

const SEEDS = Number(process.env.QUERY_SEEDS ?? 1000);
const FIRST_SEED = Number(process.env.QUERY_SEED ?? 1);
const CHANGES = 30;

/** Mulberry32. */
function randomOf(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

interface OracleRow {
  readonly value: Record<string, unknown>;
  readonly expiresMs: number;
}

type Random = (below: number) => number;
type Asked = {
  readonly where?: Record<string, unknown>;
  readonly predicate?: { op: string; attribute: string; value: unknown };
  readonly sort?: readonly { readonly field: string; readonly direction: 'asc' | 'desc' }[];
  readonly limit?: number;
  readonly groupBy?: readonly string[];
  readonly aggregations?: readonly { readonly func: string; readonly field?: string }[];
};

function pick<T>(random: Random, items: readonly T[]): T {
  return items[random(items.length)] as T;
}

function randomRow(random: Random): Record<string, unknown> {
  const row: Record<string, unknown> = { n: random(6), group: pick(random, ['a', 'b', 'c']), done: random(2) === 0 };
  if (random(4) === 0) delete row.n;
  if (random(6) === 0) row.n = null;
  if (random(8) === 0) row.n = pick(random, ['x', 'y', 2.5, -1]);
  return row;
}

function randomQuery(random: Random): Asked {
  const filters: Asked[] = [
    {},
    { where: { done: false } },
    { where: { group: 'a', done: true } },
    { predicate: { op: 'gt', attribute: 'n', value: 2 } },
  ];
  const filter = pick(random, filters);
  if (random(6) === 0) {
    const aggregations = [
      { func: 'count' },
      { func: 'sum', field: 'n' },
      { func: 'min', field: 'n' },
      { func: 'max', field: 'n' },
      { func: 'avg', field: 'n' },
    ];
    return { ...filter, ...(random(3) === 0 ? {} : { groupBy: ['group'] }), aggregations };
  }
  const direction = (): 'asc' | 'desc' => pick(random, ['asc', 'desc'] as const);
  const sorts: Asked[] = [
    {},
    { sort: [{ field: 'n', direction: direction() }] },
    {
      sort: [
        { field: 'group', direction: direction() },
        { field: 'n', direction: direction() },
      ],
    },
  ];
  return { ...filter, ...pick(random, sorts), ...(random(4) === 0 ? {} : { limit: pick(random, [1, 2, 3, 5, 10]) }) };
}

/** The result as a list, from the rows alone. */
function oracle(asked: Asked, rows: ReadonlyMap<string, OracleRow>, nowMs: number): [string, unknown][] {
  const wanted = [...rows].filter(([, { value, expiresMs }]) => expiresMs >= nowMs && matches(asked, value));
  if (asked.aggregations !== undefined)
    return groupsOf(
      asked,
      wanted.map(([, { value }]) => value),
    );
  wanted.sort(([keyA, a], [keyB, b]) => {
    for (const { field, direction } of asked.sort ?? []) {
      const order = compareValues(a.value[field], b.value[field]);
      if (order !== 0) return direction === 'asc' ? order : -order;
    }
    return keyA < keyB ? -1 : 1;
  });
  return wanted.slice(0, asked.limit ?? wanted.length).map(([key, { value }]) => [key, value]);
}

function matches({ where, predicate }: Asked, value: Record<string, unknown>): boolean {
  const isEqual = Object.entries(where ?? {}).every(([field, wanted]) => value[field] === wanted);
  if (predicate === undefined) return isEqual;
  const field = value[predicate.attribute];
  return isEqual && typeof field === 'number' && field > (predicate.value as number);
}

function groupsOf(asked: Asked, values: readonly Record<string, unknown>[]): [string, unknown][] {
  const groups = new Map<string, Record<string, unknown>[]>();
  for (const value of values) {
    const name = asked.groupBy === undefined ? '*' : String(value.group);
    groups.set(name, [...(groups.get(name) ?? []), value]);
  }
  const result: [string, unknown][] = [];
  for (const [name, members] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const numbers = members.map(({ n }) => n).filter((n): n is number => typeof n === 'number');
    const sum = numbers.reduce((total, n) => total + n, 0);
    result.push([
      name,
      {
        __key: name,
        __count: members.length,
        __sum_n: sum,
        __min_n: numbers.length > 0 ? Math.min(...numbers) : null,
        __max_n: numbers.length > 0 ? Math.max(...numbers) : null,
        __avg_n: numbers.length > 0 ? sum / numbers.length : null,
        ...(asked.groupBy === undefined ? {} : { group: name }),
      },
    ]);
  }
  return result;
}

class Run {
  readonly random: Random;
  readonly grid: QueryGrid;
  readonly rows = new Map<string, OracleRow>();
  readonly views: { readonly asked: Asked; readonly view: ClientView }[] = [];
  #millis = 1;

  constructor(seed: number) {
    this.random = randomOf(seed);
    this.grid = new QueryGrid({ workers: 1 + this.random(3), bounds: { spareRowsMax: pick(this.random, [1, 2, 4, 1000]) } });
  }

  play(): void {
    for (let row = this.random(40); row > 0; row--) this.change();
    for (let query = 0; query < 3; query++) this.subscribe();
    this.check('the first result');
    for (let change = 0; change < CHANGES; change++) {
      this.step();
      this.grid.settle();
      this.check(`change ${change}`);
    }
  }

  step(): void {
    const { random } = this;
    const what = random(20);
    if (what === 0) this.grid.pass(1 + random(50));
    else if (what === 1) this.grid.replace(random(this.grid.workers.length));
    else if (what === 2) this.subscribe();
    else if (what === 3 && this.views.length > 0) this.unsubscribe();
    else if (what === 4) this.grid.writeOr(this.key(), `tag-${random(5)}`, randomRow(random), random(2) === 0);
    else if (what < 8) for (let change = 1 + random(6); change > 0; change--) this.change();
    else this.change();
  }

  key(): string {
    return `key-${this.random(30)}`;
  }

  change(): void {
    const { random, grid, rows } = this;
    const key = this.key();
    this.#millis += 1;
    if (random(4) === 0) {
      rows.delete(key);
      grid.write({ key, value: undefined, millis: grid.nowMs + this.#millis });
      return;
    }
    const value = randomRow(random);
    const isMortal = random(10) === 0;
    const millis = grid.nowMs + this.#millis;
    const ttlMs = isMortal ? 1 + random(60) : Number.NaN;
    grid.write({ key, value, millis, ttlMs });
    rows.set(key, { value, expiresMs: isMortal ? millis + ttlMs : Number.POSITIVE_INFINITY });
  }

  subscribe(): void {
    const asked = randomQuery(this.random);
    this.views.push({ asked, view: this.grid.subscribe(asked) });
    this.grid.settle();
  }

  unsubscribe(): void {
    const [gone] = this.views.splice(this.random(this.views.length), 1);
    if (gone !== undefined) this.grid.unsubscribe(gone.view);
  }

  check(when: string): void {
    for (const { asked, view } of this.views) {
      const expected = oracle(asked, this.rows, this.grid.nowMs);
      assert.deepEqual(
        new Map([...view.rows].sort(byKey)),
        new Map([...expected].sort(byKey)),
        `${when}: ${JSON.stringify(asked)}`,
      );
    }
  }
}

function byKey([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

test('after every change each view is what a fresh query over all rows would answer', () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    try {
      new Run(seed).play();
    } catch (error) {
      assert(error instanceof Error);
      error.message = `seed ${seed} (QUERY_SEED=${seed} QUERY_SEEDS=1), ${error.message}`;
      throw error;
    }
  }
});

test('the first result comes in the order of the query', () => {
  const grid = new QueryGrid({ workers: 3 });
  for (let n = 0; n < 20; n++) grid.write({ key: `k${n}`, value: { n: n % 5 }, millis: n + 1 });
  const view = grid.subscribe({ sort: [{ field: 'n', direction: 'desc' }], limit: 7 });
  grid.settle();
  assert.deepEqual(
    view.response?.map(({ key, value }) => [key, fieldOf(value, 'n')]),
    [
      ['k14', 4],
      ['k19', 4],
      ['k4', 4],
      ['k9', 4],
      ['k13', 3],
      ['k18', 3],
      ['k3', 3],
    ],
  );
  assert.equal(view.hasMore, true);
});
