import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PartitionTable } from '../engine/partition/partition-table.ts';
import { createGridMemory } from '../workers/grid-memory.ts';
import { RingConsumer, RingProducer } from '../workers/ring.ts';
import { createRing } from '../workers/ring-layout.ts';
import { RingWriter } from '../workers/ring-writer.ts';
import { WorkerLinks } from './worker-links.ts';

const CAPACITY_BYTES = 65_536;
const RECORD_BYTES = 4096;

test('who waits for room in a ring is called at each release until there is enough of it, though nothing else comes back', () => {
  const memory = createRing({ capacityBytes: CAPACITY_BYTES });
  const producer = new RingProducer(memory, () => {});
  let rooms = 0;
  const consumer = new RingConsumer(memory, 0, () => {
    rooms += 1;
  });
  const { table } = createGridMemory({
    gateways: 1,
    workers: 1,
    ringBytes: CAPACITY_BYTES,
    messageBytesMax: CAPACITY_BYTES,
    gatewayCounterNames: [],
    countsOperations: false,
  });
  const links = new WorkerLinks(new PartitionTable(table), [new RingWriter(producer)], () => true);
  while (producer.tryWrite(new Uint8Array(RECORD_BYTES)));

  let releases = 0;
  while (!links.hasRoom(0)) {
    assert.equal(rooms, releases, 'no release passed unheard');
    consumer.drain(1, { onRecord: () => {} });
    consumer.release();
    releases += 1;
  }
  assert.equal(rooms, releases);
  assert.ok(releases > 2, `${releases} releases made room`);
});
