/** The measuring client against the real server: what it calls done is done, and a changed map costs what changed. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { App, us_socket_local_port } from 'uWebSockets.js';
import { encode } from '../engine/protocol/codec.ts';
import { startGrid } from '../gateway/testing/test-grid.ts';
import { RawWebSocket } from '../gateway/testing/raw-websocket.ts';
import { framesFile, measure, replayed } from './cold-sync.bench.ts';
import { frameOf } from './memory-records.ts';
import { SyncWalker } from './sync-walk.ts';

const RECORDS = 5000;

test('a walk brings every record, the next one what changed, and a run without one is void', { timeout: 60_000 }, async (t) => {
  const { grid, port } = await startGrid({ workerThreads: 2 });
  t.after(() => grid.stop());
  await write(port, RECORDS, 1000);
  const walker = new SyncWalker('bench');
  const cold = await walker.walk(port);
  assert.equal(walker.records, RECORDS);
  assert.equal(cold.records, RECORDS);
  assert.equal(
    cold.bytesDown,
    cold.frames.reduce((sum, { length }) => sum + length, 0),
  );

  const same = await walker.walk(port);
  assert.deepEqual([same.questions, same.records], [1, 0], 'equal roots end it');

  await write(port, 20, 2000);
  const root = walker.root;
  const warm = await walker.walk(port);
  assert.notEqual(walker.root, root);
  assert.ok(warm.records >= 20 && warm.records < 400, `${warm.records} records came`);
  assert.ok(warm.bytesDown * 4 < cold.bytesDown);

  const folder = mkdtempSync(join(tmpdir(), 'lattice-bench-walk-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const settings = { quick: true, runs: 1, progress: () => {}, scenarios: undefined, pinning: undefined };
  const figures = await replayed(cold, new SyncWalker('bench'), folder, settings);
  assert.equal(figures.downMb, cold.bytesDown / 1e6);
  const shorter = { ...cold, bytesDown: cold.bytesDown - 1 };
  await assert.rejects(replayed(shorter, new SyncWalker('bench'), folder, settings), /the replay was another walk/);
  const server = { variant: 'alone', port, pid: process.pid } as const;
  assert.equal(await measure(server, RECORDS + 1, folder, settings), 'void: 5001 records sent, 5000 there');
});

test('a walk that ends at another root than the server said is an error', async () => {
  const answers: object[] = [
    { type: 'SYNC_RESP_ROOT', payload: { mapName: 'bench', rootHash: 7, timestamp: { millis: 0, counter: 0, nodeId: 'n' } } },
    { type: 'SYNC_RESP_BUCKETS', payload: { mapName: 'bench', path: '', buckets: {} } },
  ];
  const app = App().ws('/ws', { message: (socket) => void socket.send(encode(answers.shift()).slice(), true) });
  const port = await new Promise<number>((resolve) => {
    app.listen('127.0.0.1', 0, (socket) => resolve(socket === false ? 0 : us_socket_local_port(socket)));
  });
  try {
    await assert.rejects(new SyncWalker('bench').walk(port), /the roots differ at the end: 0 here, 7 there/);
  } finally {
    app.close();
  }
});

test('the file of a walk is its frames, each behind its length', () => {
  assert.deepEqual([...framesFile([Uint8Array.of(7), new Uint8Array(0)])], [1, 0, 0, 0, 7, 0, 0, 0, 0]);
});

async function write(port: number, records: number, millis: number): Promise<void> {
  const socket = await RawWebSocket.open({ port, path: '/ws?events=interest' });
  for (let first = 0; first < records; first += 1000) {
    const acked = new Promise<void>((resolve) => {
      socket.onMessage = () => resolve();
    });
    socket.send(frameOf(first, Math.min(1000, records - first), millis));
    await acked;
  }
  socket.terminate();
}
