/** Indexes of a worker: when they are used, how they are built beside the work, and what happens when they grow too large. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { QueryGrid, type QueryGridOptions } from '../testing/query-grid.ts';
import { utf8 } from '../testing/scanned-ops.ts';

const ROWS = 1000;

function gridOf(options: Partial<QueryGridOptions> = {}): QueryGrid {
  const grid = new QueryGrid({ workers: 1, ...options });
  for (let n = 0; n < ROWS; n++) put(grid, n);
  return grid;
}

function put(grid: QueryGrid, n: number, mapName = 'map'): void {
  const value = { n, owner: n % 100, name: `name-${n % 50}`, done: n % 2 === 0, at: { rank: n % 10 } };
  grid.write({ key: `k${n}`, value, millis: n + 1, mapName });
}

async function planOf(grid: QueryGrid, query: object): Promise<unknown[]> {
  const { access, attribute, inOrder, rowsTouched, rowsMatched } = await grid.plan(0, query);
  return [access, attribute, inOrder, rowsTouched, rowsMatched];
}

describe('a plan', () => {
  const where = { owner: 7, done: false };

  test('is the scan where there is no index, and the look-up of the keys where they are named', async () => {
    const grid = gridOf();
    assert.deepEqual(await planOf(grid, { where }), ['scan', undefined, false, ROWS, 10]);
    const predicate = { op: 'in', attribute: '_key', value: ['k1', 'k2', 'nobody'] };
    assert.deepEqual(await planOf(grid, { predicate }), ['keys', undefined, false, 2, 2]);
  });

  test('takes the index that leaves the fewest rows, and none that leaves most of them', async () => {
    const grid = gridOf();
    grid.index('owner', 'hash');
    grid.index('done', 'hash');
    grid.index('n', 'ordered');
    assert.equal((await planOf(grid, { where }))[0], 'scan', 'an index that is not built is not used');
    grid.tick();
    assert.deepEqual(await planOf(grid, { where }), ['index', 'owner', false, 10, 10]);
    assert.deepEqual(await planOf(grid, { where: { done: true } }), ['index', 'done', false, ROWS / 2, ROWS / 2]);
    const most = { op: 'gte', attribute: 'n', value: 100 };
    assert.deepEqual(await planOf(grid, { predicate: most }), ['scan', undefined, false, ROWS, ROWS - 100]);
    const both = { op: 'and', children: [most, { op: 'lt', attribute: 'n', value: 105 }] };
    assert.deepEqual(await planOf(grid, { where, predicate: both }), ['index', 'n', false, 5, 0]);
    const either = { op: 'or', children: [both, { op: 'eq', attribute: 'owner', value: 1 }] };
    assert.equal((await planOf(grid, { predicate: either }))[0], 'scan', 'what need not hold finds nothing');
    const negated = { op: 'not', children: [{ op: 'eq', attribute: 'owner', value: 1 }] };
    assert.equal((await planOf(grid, { predicate: negated }))[0], 'scan');
  });

  test('looks at few rows in a slice when they are long, or costly to judge', async () => {
    let turns = 0;
    let clock = 0;
    const nextTurn = (): Promise<void> => {
      turns += 1;
      return Promise.resolve();
    };
    const grid = new QueryGrid({ workers: 1, clockMs: () => (clock += 10), nextTurn });
    const turnsOf = async (mapName: string, query: object): Promise<number> => {
      turns = 0;
      await grid.plan(0, query, mapName);
      return turns;
    };
    for (let n = 0; n < 20; n++) {
      grid.write({ key: `k${n}`, value: { t: 'x'.repeat(100_000) }, millis: n + 1, mapName: 'long' });
      grid.write({ key: `k${n}`, value: { t: 'x'.repeat(500) }, millis: n + 1, mapName: 'short' });
    }
    const words = Array.from({ length: 200 }, (_, at) => `y${at}`);
    assert.ok((await turnsOf('long', {})) >= 10);
    assert.equal(await turnsOf('short', {}), 0);
    assert.ok((await turnsOf('short', { predicate: { op: 'containsAny', attribute: 't', value: words } })) >= 10);
  });

  test('finds ranges, prefixes and paths by an ordered index', async () => {
    const grid = gridOf();
    for (const attribute of ['n', 'name', 'at.rank']) grid.index(attribute, 'ordered');
    grid.tick();
    const one = (op: string, attribute: string, value: unknown): object => ({ predicate: { op, attribute, value } });
    assert.deepEqual(await planOf(grid, one('between', 'n', [10, 19])), ['index', 'n', false, 10, 10]);
    assert.deepEqual(await planOf(grid, one('startsWith', 'name', 'name-4')), ['index', 'name', false, 220, 220]);
    assert.deepEqual(await planOf(grid, one('eq', 'at.rank', 3)), ['index', 'at.rank', false, 100, 100]);
    assert.deepEqual(await planOf(grid, one('in', 'n', [1, 2, 5000])), ['index', 'n', false, 2, 2]);
    assert.equal((await planOf(grid, one('like', 'name', 'name-4%')))[0], 'scan');
  });

  test('ends with the window when rows come in the order of the query', async () => {
    const grid = gridOf({ bounds: { spareRowsMax: 64 } });
    grid.index('n', 'ordered');
    grid.tick();
    for (const direction of ['asc', 'desc']) {
      const [access, attribute, inOrder, touched] = await planOf(grid, { sort: [{ field: 'n', direction }], limit: 10 });
      assert.deepEqual([access, attribute, inOrder], ['index', 'n', true]);
      assert.ok(Number(touched) <= 10 + 64 + 2, `${touched} rows touched`);
    }
    const ranged = { predicate: { op: 'gt', attribute: 'n', value: 500 }, sort: { n: 'asc' }, limit: 10 };
    assert.ok(Number((await planOf(grid, ranged))[3]) <= 10 + 64 + 2);
    const filtered = { where: { done: true }, sort: { n: 'asc' }, limit: 10 };
    assert.equal((await planOf(grid, filtered))[0], 'scan', 'how many rows a filter leaves of a window is not known');
  });
});

describe('the keeper', () => {
  test('watches nothing while there are no indexes', () => {
    const grid = gridOf();
    const [worker] = grid.workers;
    assert.ok(worker !== undefined);
    let told = 0;
    worker.observers.add({ changed: () => (told += 1) });
    const { changed } = worker.indexes;
    worker.indexes.changed = (...change) => {
      told += 1000;
      changed.apply(worker.indexes, change);
    };
    put(grid, 5000);
    assert.equal(told, 1);
    grid.index('n', 'hash');
    put(grid, 5001);
    assert.equal(told, 1002);
    grid.index('n', undefined);
    put(grid, 5002);
    assert.equal(told, 1003);
  });

  test('builds in slices, takes in what changes meanwhile, and is used once it has all', async () => {
    let clock = 0;
    const turns: (() => void)[] = [];
    const grid = gridOf({ clockMs: () => clock++, nextTurn: () => new Promise((resolve) => turns.push(resolve)) });
    const [worker] = grid.workers;
    assert.ok(worker !== undefined);
    const map = utf8('map');
    grid.index('owner', 'hash');
    grid.tick();
    let slices = 0;
    for (; turns.length > 0; slices++) {
      assert.equal(worker.indexes.of(map).length, 0);
      put(grid, slices);
      grid.write({ key: `k${ROWS - 1 - slices}`, value: undefined, millis: 10_000 });
      put(grid, ROWS + slices);
      for (const resume of turns.splice(0)) resume();
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    }
    assert.ok(slices >= 4, `${slices} slices`);
    const [usable] = worker.indexes.of(map);
    assert.equal(usable?.index.entries, ROWS);
  });

  test('an index that takes too much memory is emptied, warned of and not used; others stay', async () => {
    const grid = gridOf({ indexBytesMax: 180_000 });
    const [worker] = grid.workers;
    assert.ok(worker !== undefined);
    grid.index('owner', 'hash');
    grid.tick();
    assert.ok(worker.indexes.bytes > 50_000);
    grid.index('name', 'ordered');
    grid.tick();
    assert.deepEqual(
      worker.indexes.of(utf8('map')).map(({ attribute }) => attribute),
      ['owner'],
    );
    assert.ok(worker.indexes.bytes <= 180_000);
    assert.match(worker.warnings.join(), /the index of 'name' of map 'map' is not kept/);
    const name = { predicate: { op: 'startsWith', attribute: 'name', value: 'name-1' } };
    assert.equal((await planOf(grid, name))[0], 'scan');
    assert.deepEqual(await planOf(grid, { where: { owner: 7, done: false } }), ['index', 'owner', false, 10, 10]);
    grid.index('owner', undefined);
    assert.equal(worker.indexes.bytes, 0);
  });

  test('an index of another map, and a definition that is none, change nothing here', async () => {
    const grid = gridOf();
    grid.index('owner', 'hash', 'elsewhere');
    for (const { definitions } of grid.workers) definitions.apply({ kind: 'index', name: 'x', version: 1, body: '{"map":7}' });
    grid.tick();
    put(grid, 1, 'elsewhere');
    assert.equal((await planOf(grid, { where: { owner: 7 } }))[0], 'scan');
    assert.equal(grid.workers[0]?.indexes.of(utf8('elsewhere'))[0]?.index.entries, 1);
    assert.match(grid.workers[0]?.warnings.join() ?? '', /index x is not kept/);
  });
});
