import assert from 'node:assert/strict';
import test from 'node:test';
import { createGridMemory } from './grid-memory.ts';
import { GridState, LIFECYCLES, WORKER_STATES } from './grid-state.ts';
import { RingConsumer, RingProducer } from './ring.ts';

test('two views of the same memory say the same, and no word touches another', () => {
  const writer = new GridState();
  const reader = new GridState(writer.memory);
  for (const lifecycle of LIFECYCLES) {
    writer.lifecycle = lifecycle;
    assert.equal(reader.lifecycle, lifecycle);
  }
  const workers = Array.from({ length: 16 }, (_, worker) => worker);
  for (const worker of workers) writer.setWorkerState(worker, WORKER_STATES[worker % 4] ?? 'down');
  for (const gateway of workers) writer.setBroadcastSessions(gateway, 1000 + gateway);
  writer.pruneWatermarkMs = 1.7e12;
  writer.startedMs = 1.6e12;
  writer.isDatabaseAway = true;
  writer.flushLagMsMax = 10_050;
  writer.workerMemoryBytesMax = 2 ** 40;
  assert.deepEqual(
    workers.map((worker) => reader.workerState(worker)),
    workers.map((worker) => WORKER_STATES[worker % 4]),
  );
  assert.deepEqual(
    workers.map((worker) => reader.isWorkerReady(worker)),
    workers.map((worker) => worker % 4 === 2),
  );
  assert.deepEqual(
    workers.map((gateway) => reader.broadcastSessions(gateway)),
    workers.map((gateway) => 1000 + gateway),
  );
  assert.deepEqual([reader.pruneWatermarkMs, reader.startedMs, reader.lifecycle], [1.7e12, 1.6e12, 'stopped']);
  assert.deepEqual([reader.isDatabaseAway, reader.flushLagMsMax, reader.workerMemoryBytesMax], [true, 10_050, 2 ** 40]);
});

test('a node starts with nothing ready', () => {
  const state = new GridState();
  assert.deepEqual(
    [state.lifecycle, state.workerState(0), state.isWorkerReady(0), state.pruneWatermarkMs],
    ['starting', 'starting', false, 0],
  );
});

test('every gateway has a ring of its own to and from every worker', () => {
  const memory = createGridMemory({
    gateways: 2,
    workers: 3,
    ringBytes: 1 << 12,
    messageBytesMax: 1 << 12,
    gatewayCounterNames: ['a'],
  });
  const rings = [...memory.inboxes.flat(), ...memory.outboxes.flat()];
  assert.equal(rings.length, 12);
  for (const [index, ring] of rings.entries())
    assert.equal(new RingProducer(ring, () => {}).tryWrite(Uint8Array.of(index)), true);
  const read = rings.map((ring) => {
    const values: number[] = [];
    new RingConsumer(ring).drain(1, { onRecord: (from, at) => void values.push(from.bytes[at] ?? -1) });
    return values;
  });
  assert.deepEqual(
    read,
    rings.map((_, index) => [index]),
  );
});
