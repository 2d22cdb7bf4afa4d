/** Indexes over HTTP, and what queries make of them, on a real grid: made, used, told of, lasting, removed. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually, startGrid, testStorage } from '../testing/test-grid.ts';
import { TopGunClient } from '../testing/topgun-client.ts';

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function ask(port: number, method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${port}/api/admin/${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, body: Object(await response.json()) };
}

const ROWS = 200;
const CITY = { map: 'people', attribute: 'home.city', kind: 'hash' };
const AGE = { map: 'people', attribute: 'age', kind: 'ordered' };
const IN_OSLO = { predicate: { op: 'eq', attribute: 'home.city', value: 'Oslo' } };

/** What the explanation of a query comes to. */
async function explain(port: number, query: object): Promise<Record<string, unknown>> {
  const { status, body } = await ask(port, 'POST', 'explain', { map: 'people', query });
  assert.equal(status, 200, JSON.stringify(body));
  const { plans } = body;
  assert.ok(Array.isArray(plans));
  const ways = plans.map((plan) => [plan.access, plan.attribute, plan.inOrder].filter((part) => part !== undefined).join(' '));
  return { ...body, ways: [...new Set(ways)] };
}

async function stateOf(port: number): Promise<unknown[]> {
  const { body } = await ask(port, 'GET', 'indexes');
  assert.ok(Array.isArray(body.indexes));
  return body.indexes.map(({ attribute, state, entries }) => [attribute, state, entries]);
}

test('indexes are made, used, told of, last over a restart and are removed', { timeout: 120_000 }, async (t) => {
  const storage = await testStorage();
  const config = { ...storage.config, store: 'write-behind', workerThreads: 2, logLevel: 'silent' } as const;
  let node = await startGrid(config);
  t.after(async () => {
    await node.grid.stop();
    await storage.close();
    assert.deepEqual(node.fatal, []);
  });
  const client = new TopGunClient({ port: node.port, nodeId: 'a1', reconnectDelayMs: 20 });
  t.after(() => client.close());
  await client.connected();
  client.together(() => {
    for (let n = 0; n < ROWS; n++)
      client.set('people', `p${n}`, { age: n, home: { city: n % 10 === 0 ? 'Oslo' : 'Rome' }, club: n % 2 });
  });
  await client.settled();

  await t.test('a query without one looks at all rows', async () => {
    const { ways, rowsTouched, rowsMatched, workersAsked, partitionsAsked } = await explain(node.port, IN_OSLO);
    assert.deepEqual([ways, rowsTouched, rowsMatched], [['scan false'], ROWS, ROWS / 10]);
    assert.deepEqual([workersAsked, partitionsAsked], [[0, 1], 271]);
  });

  await t.test('it is made once, and refused when it is none', async () => {
    assert.deepEqual(await ask(node.port, 'POST', 'indexes', CITY), { status: 201, body: { ...CITY, version: 1 } });
    assert.deepEqual(await ask(node.port, 'POST', 'indexes', CITY), { status: 200, body: { ...CITY, version: 1 } });
    assert.equal((await ask(node.port, 'POST', 'indexes', { ...CITY, kind: 'ordered' })).status, 409);
    assert.equal((await ask(node.port, 'POST', 'indexes', { ...CITY, kind: 'wide' })).status, 400);
    assert.equal((await ask(node.port, 'POST', 'indexes', { ...CITY, attribute: '' })).status, 400);
    assert.equal((await ask(node.port, 'POST', 'indexes', { ...CITY, attribute: '_key' })).status, 400);
    assert.equal((await ask(node.port, 'POST', 'indexes', { ...CITY, map: '_lattice_x' })).status, 403);
    assert.equal((await ask(node.port, 'POST', 'indexes', AGE)).status, 201);
    const { body } = await ask(node.port, 'GET', 'audit');
    assert.ok(Array.isArray(body.entries));
    const made = body.entries.filter(({ action, outcome }) => action === 'POST index' && outcome === 'done');
    assert.deepEqual(
      made.map(({ target }) => target),
      ['["people","age"]', '["people","home.city"]', '["people","home.city"]'],
    );
  });

  await t.test('it is built and used, and the plan says how', async () => {
    await eventually(async () => {
      assert.deepEqual(await stateOf(node.port), [
        ['age', 'ready', ROWS],
        ['home.city', 'ready', ROWS],
      ]);
    });
    const oslo = await explain(node.port, IN_OSLO);
    assert.deepEqual([oslo.ways, oslo.rowsTouched, oslo.rowsMatched], [['index home.city false'], ROWS / 10, ROWS / 10]);
    const young = await explain(node.port, { predicate: { op: 'lt', attribute: 'age', value: 20 } });
    assert.deepEqual([young.ways, young.rowsTouched], [['index age false'], 20]);
    const pinned = await explain(node.port, { where: { _key: 'p7' } });
    assert.deepEqual([pinned.ways, pinned.rowsTouched, pinned.partitionsAsked], [['keys false'], 1, 1]);
    assert.ok(Array.isArray(pinned.workersAsked) && pinned.workersAsked.length === 1, 'the other worker is not asked');
    assert.equal((await ask(node.port, 'POST', 'explain', { map: 'people', query: { sort: 7 } })).status, 400);
    assert.equal((await ask(node.port, 'POST', 'explain', { map: 'nobody', query: {} })).status, 200);
  });

  await t.test('a live query that was filled by it stays right', async () => {
    const view = client.query('people', { ...IN_OSLO, sort: [{ field: 'age', direction: 'desc' }], limit: 3 });
    const shown = (): string[] => [...view.rows.keys()].sort();
    await eventually(() => assert.deepEqual(shown(), ['p170', 'p180', 'p190']));
    client.set('people', 'p1', { age: 999, home: { city: 'Oslo' } });
    client.set('people', 'p190', { age: 190, home: { city: 'Rome' } });
    await eventually(() => assert.deepEqual(shown(), ['p1', 'p170', 'p180']));
    const again = client.query('people', { ...IN_OSLO, sort: [{ field: 'age', direction: 'desc' }], limit: 2 });
    await eventually(() => assert.deepEqual([...again.rows.keys()].sort(), ['p1', 'p180']));
    await client.settled();
  });

  await t.test('it is there again after a restart, and after a worker has died', async () => {
    await node.grid.stop();
    node = await startGrid(config);
    const isReady = async (): Promise<void> =>
      assert.deepEqual(await stateOf(node.port), [
        ['age', 'ready', ROWS],
        ['home.city', 'ready', ROWS],
      ]);
    await eventually(isReady);
    const { ways, rowsMatched } = await explain(node.port, IN_OSLO);
    assert.deepEqual([ways, rowsMatched], [['index home.city false'], ROWS / 10]);
    node.grid.crashWorker(1, 'throw');
    await eventually(isReady, 30_000);
  });

  await t.test('removed it is not used any more', async () => {
    const path = `indexes/people/${encodeURIComponent('home.city')}`;
    assert.equal((await ask(node.port, 'DELETE', path)).status, 200);
    assert.equal((await ask(node.port, 'DELETE', path)).status, 404);
    await eventually(async () => assert.deepEqual((await explain(node.port, IN_OSLO)).ways, ['scan false']));
    await eventually(async () => assert.deepEqual(await stateOf(node.port), [['age', 'ready', ROWS]]), 30_000);
  });
});
