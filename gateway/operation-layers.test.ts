import assert from 'node:assert/strict';
import test from 'node:test';
import { OperationMetrics } from '../engine/operation/operation-metrics.ts';
import { Observability } from './observability.ts';
import { SlowOperations } from './slow-operations.ts';
import type { TestClient } from './testing/one-thread-node.ts';
import { PlayedNode } from './testing/played-node.ts';

function write(client: TestClient, key: string): void {
  const timestamp = { millis: 1_700_000_000_000, counter: 0, nodeId: 'node-a' };
  client.write({ id: '1', mapName: 'todos', opType: 'PUT', key, record: { value: 1, timestamp } });
}

test('requests above the bound of calls under way are refused at once; PING and DEVICE_HELLO are not', async () => {
  const node = await PlayedNode.create({ config: { callsInFlightMax: 2 } });
  const clients = [0, 1, 2].map(() => node.client());
  for (const client of clients) write(client, 'a');
  const asking = node.client();
  asking.say({ type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 0 });
  asking.say({ type: 'PING', timestamp: 1 });
  asking.say({ type: 'DEVICE_HELLO' });
  const message = 'OVERLOADED: too many requests are under way, try again later';
  const heard = asking.heard();
  assert.deepEqual(
    heard.map(({ type }) => type),
    ['ERROR', 'PONG', 'DEVICE_ACK'],
  );
  assert.deepEqual(heard[0]?.payload, { code: 429, message });
  assert.deepEqual(
    clients.map(({ closes }) => closes.length),
    [0, 0, 1],
  );
  assert.equal(node.counters.loadShed, 2);
  const [first] = node.received();
  node.ack(0, 1, first?.callId ?? 0);
  const next = node.client();
  write(next, 'a');
  assert.deepEqual(next.closes, []);
});

test('what waited for room is not shed when its turn comes', async () => {
  const node = await PlayedNode.create({ config: { callsInFlightMax: 1 } });
  node.state.setWorkerState(0, 'loading');
  const client = node.client();
  write(client, 'a');
  write(client, 'b');
  node.state.setWorkerState(0, 'ready');
  node.gateway.retry();
  assert.deepEqual([client.closes, node.counters.loadShed], [[], 0]);
});

test('operations are measured from their frame to their answer, each once, and /metrics shows them', async () => {
  const node = await PlayedNode.create({ config: { operationMetrics: true } });
  const client = node.client();
  write(client, 'a');
  node.pass(6); // the gateway looks at its clock
  node.ack(0, 1, node.callAt(0));
  client.say({ type: 'DEVICE_HELLO' });
  const batches = new OperationMetrics(node.memory.operationCounters).read('OP_BATCH');
  assert.deepEqual([batches.handled.WAIT, batches.totalMs, batches.within[2], batches.within[3]], [1, 6, 0, 1]);
  const text = await new Observability({ memory: node.memory, version: '0', nowMs: () => 0 }).render();
  assert.match(text, /lattice_operations_total\{operation="OP_BATCH",status="WAIT"\} 1\n/);
  assert.match(text, /lattice_operations_ended_total\{operation="OP_BATCH",le="4"\} 0\n/);
  assert.match(text, /lattice_operations_ended_total\{operation="OP_BATCH",le="\+Inf"\} 1\n/);
  assert.match(text, /lattice_operations_ended_total\{operation="DEVICE_HELLO",le="1"\} 1\n/);
});

test('slow operations are told, ten a second, and how many were not', () => {
  let now = 0;
  const told: [string, number, number][] = [];
  const slow = new SlowOperations(
    100,
    () => now,
    (...one) => void told.push(one),
  );
  slow.ended('OP_BATCH', 99);
  for (let time = 0; time < 12; time++) slow.ended('OP_BATCH', 100);
  assert.equal(told.length, 10);
  now = 1000;
  slow.ended('SYNC_INIT', 250);
  assert.deepEqual(told.at(-1), ['SYNC_INIT', 250, 2]);
});
