import assert from 'node:assert/strict';
import test from 'node:test';
import { us_socket_local_port } from 'uWebSockets.js';
import { decode, isData } from '../../engine/protocol/codec.ts';
import { startServer } from '../harness.ts';
import { type LiveQueryReport, runLiveQuery } from './live-query-load.ts';
import { rawQueryApp } from './raw-query-app.ts';
import { forEachPassed, rawFrame } from './raw-query-frames.ts';
import { keyOf, TodoModel, VIEW_ROWS } from './todo-model.ts';

test('the views of the model are the first open todos of each owner, and its changes lead from one to the next', () => {
  const model = new TodoModel(3, 400);
  const views = Array.from({ length: 3 }, (_, owner) => new Map(model.view(owner).map(({ key, value }) => [key, value])));
  for (let number = 0; number < 150; number++) {
    const { changes, key, value, isShown } = model.write(number);
    for (const change of changes) {
      if (change.value === undefined) views[change.owner]?.delete(change.key);
      else views[change.owner]?.set(change.key, change.value);
    }
    for (const [owner, view] of views.entries()) {
      const open = model.rows.flatMap((row, index) =>
        row.owner === owner && !row.done ? [{ key: keyOf(index), value: row }] : [],
      );
      open.sort((a, b) => a.value.ts - b.value.ts || (a.key < b.key ? -1 : 1));
      assert.deepEqual(model.view(owner), open.slice(0, VIEW_ROWS));
      assert.deepEqual(
        new Map([...view].sort()),
        new Map(
          model
            .view(owner)
            .map((one) => [one.key, one.value] as const)
            .sort(),
        ),
      );
    }
    assert.equal(isShown, views[value.owner]?.get(key)?.write === number);
  }
});

test('what is passed on is cut where it was joined', () => {
  const passed = [
    { connection: undefined, message: Uint8Array.of(1, 2, 3) },
    { connection: 7, message: new Uint8Array(70_000) },
    { connection: 0, message: new Uint8Array(0) },
  ];
  const found: { connection: number | undefined; message: Uint8Array }[] = [];
  forEachPassed(rawFrame(passed), (connection, message) => found.push({ connection, message: Uint8Array.from(message) }));
  assert.deepEqual(found, passed);
});

test('a short run measures the raw server and the product, and their views are right', { timeout: 120_000 }, async () => {
  for (const [variant, target, index] of [
    ['raw-query', 'raw'],
    ['lattice', 'lattice', 'owner'],
  ] as const) {
    const server = await startServer(variant);
    try {
      const report: LiveQueryReport = await runLiveQuery({
        target,
        port: server.port,
        serverPid: server.pid,
        mapName: 'w4',
        ...(index === undefined ? {} : { index }),
        owners: 20,
        rows: 2000,
        connections: 4,
        writesPerSecond: 200,
        warmUpMs: 100,
        measureMs: 500,
      });
      assert.deepEqual([report.reason, report.wrongViews], [undefined, 0]);
      assert.ok(report.updates > 10 && report.p50Us > 0 && report.p99Us >= report.p50Us);
    } finally {
      await server.stop();
    }
  }
});

test('a run is void when views stay wrong for what was lost, and when a row enters a view twice', async () => {
  let passed = 0;
  const loses = await runAgainst(() => (++passed > 60 ? 0 : 1));
  assert.match(String(loses.reason), /^void: \d+ views are wrong$/);
  assert.ok(loses.wrongViews > 0);

  let repeated = 0;
  const repeats = await runAgainst((message) => (changeTypeOf(message) === 'ENTER' && repeated++ === 0 ? 2 : 1));
  assert.match(String(repeats.reason), /^void: ENTER of todo-\d+, which is there$/);
  assert.equal(repeats.wrongViews, 0);
});

/** A short run against the raw server, which sends each message to a viewer so often. */
async function runAgainst(copiesOf: (message: Uint8Array) => number): Promise<LiveQueryReport> {
  const app = rawQueryApp(copiesOf);
  const port = await new Promise<number>((resolve) => {
    app.listen('127.0.0.1', 0, (socket) => resolve(socket === false ? 0 : us_socket_local_port(socket)));
  });
  try {
    return await runLiveQuery({
      target: 'raw',
      port,
      serverPid: process.pid,
      mapName: 'w4',
      owners: 20,
      rows: 2000,
      connections: 4,
      writesPerSecond: 500,
      warmUpMs: 100,
      measureMs: 300,
      settleMs: 2000,
    });
  } finally {
    app.close();
  }
}

function changeTypeOf(message: Uint8Array): unknown {
  const { payload } = Object(decode(message));
  return isData(payload) ? payload.changeType : undefined;
}
