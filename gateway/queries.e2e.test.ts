/** Live queries of clients over real sockets, threads and Postgres: views against the rows, whatever happens meanwhile. */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { compareValues } from '../engine/domains/query/comparison.ts';
import type { ClientQueryView } from './testing/client-queries.ts';
import { SharedNode } from './testing/shared-node.ts';
import { eventually, startGrid, testStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { uniqueName } from './testing/wire-ops.ts';

interface Todo {
  readonly owner: number;
  readonly done: boolean;
  readonly ts: number;
}

/** Rows as a query sees them: what `SELECT … WHERE owner = ? AND NOT done ORDER BY ts LIMIT ?` would answer. */
function openTodos(todos: ReadonlyMap<string, Todo>, owner: number, limit: number): [string, Todo][] {
  const wanted = [...todos].filter(([, todo]) => todo.owner === owner && !todo.done);
  wanted.sort(([keyA, a], [keyB, b]) => compareValues(a.ts, b.ts) || (keyA < keyB ? -1 : 1));
  return wanted.slice(0, limit);
}

function assertView(view: ClientQueryView, expected: readonly (readonly [string, unknown])[]): void {
  assert.deepEqual(new Map([...view.rows].sort()), new Map([...expected].sort()));
}

function queryOf(owner: number, limit: number): object {
  return { where: { owner, done: false }, sort: [{ field: 'ts', direction: 'asc' }], limit };
}

/** Writes and removals of some rows, in a model and by the client. */
class Writer {
  readonly todos = new Map<string, Todo>();
  readonly #client: TopGunClient;
  readonly #map: string;
  #n = 0;

  constructor(client: TopGunClient, map: string) {
    this.#client = client;
    this.#map = map;
  }

  some(count: number): void {
    this.#client.together(() => {
      for (let left = count; left > 0; left--) this.#one();
    });
  }

  #one(): void {
    this.#n += 1;
    const key = `todo-${(this.#n * 7919) % 60}`;
    if (this.#n % 5 === 0) {
      this.todos.delete(key);
      this.#client.remove(this.#map, key);
      return;
    }
    const todo = { owner: this.#n % 3, done: this.#n % 4 === 0, ts: (this.#n * 31) % 17 };
    this.todos.set(key, todo);
    this.#client.set(this.#map, key, todo);
  }
}

describe('a live query', () => {
  const node = new SharedNode({ gatewayThreads: 2 });

  test('shows the first rows at every moment that all is quiet, to readers and to the writer', { timeout: 60_000 }, async () => {
    const map = uniqueName('todos');
    const [ann, ben] = [node.client('a0a1'), node.client('b0b1')];
    await Promise.all([ann.connected(), ben.connected()]);
    const writer = new Writer(ann, map);
    writer.some(100);
    const views = [0, 1, 2].flatMap((owner) => [ann.query(map, queryOf(owner, 5)), ben.query(map, queryOf(owner, 5))]);
    for (let round = 0; round < 20; round++) {
      writer.some(1 + (round % 7));
      await eventually(() => {
        for (const [index, view] of views.entries()) assertView(view, openTodos(writer.todos, Math.floor(index / 2), 5));
      });
    }
    for (const view of views) assert.deepEqual([view.responses, view.faults], [1, []]);
    assert.deepEqual([...ann.errors, ...ben.errors], []);
  });

  test('is asked again by a client that reconnects, and shows what happened meanwhile', { timeout: 60_000 }, async () => {
    const map = uniqueName('todos');
    const [ann, ben] = [node.client('a0a2'), node.client('b0b2')];
    await Promise.all([ann.connected(), ben.connected()]);
    const writer = new Writer(ann, map);
    writer.some(50);
    const view = ben.query(map, queryOf(1, 10));
    await eventually(() => assertView(view, openTodos(writer.todos, 1, 10)));
    ben.drop();
    writer.some(50);
    await eventually(() => assertView(view, openTodos(writer.todos, 1, 10)));
    assert.equal(view.responses, 2);
    ben.queries.end(view);
  });
});

test('when a worker is replaced the view goes on, with the differences and nothing twice', { timeout: 120_000 }, async (t) => {
  const storage = await testStorage();
  const node = await startGrid({ ...storage.config, store: 'write-behind', workerThreads: 2, logLevel: 'silent' });
  t.after(async () => {
    await node.grid.stop();
    await storage.close();
    assert.deepEqual(node.fatal, []);
  });
  const [ann, ben] = ['a0a3', 'b0b3'].map((nodeId) => new TopGunClient({ port: node.port, nodeId, reconnectDelayMs: 20 }));
  assert.ok(ann !== undefined && ben !== undefined);
  t.after(() => {
    ann.close();
    ben.close();
  });
  await Promise.all([ann.connected(), ben.connected()]);
  const writer = new Writer(ann, 'todos');
  writer.some(120);
  await ann.settled();
  const [window, whole] = [ben.query('todos', queryOf(1, 6)), ben.query('todos', { where: { owner: 2, done: false } })];
  const assertAll = (): void => {
    assertView(window, openTodos(writer.todos, 1, 6));
    assertView(whole, openTodos(writer.todos, 2, 1000));
  };
  await eventually(assertAll);
  for (const worker of [0, 1]) {
    assert.equal(node.grid.crashWorker(worker, 'throw'), true);
    writer.some(30);
    await eventually(assertAll, 30_000);
  }
  for (const view of [window, whole]) assert.deepEqual([view.responses, view.faults], [1, []]);
});
