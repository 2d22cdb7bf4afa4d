import assert from 'node:assert/strict';
import test from 'node:test';
import { SLICE_RECORDS_MAX } from '../engine/domains/crdt/expiry.ts';
import { EngineUnderTest, utf8 } from '../engine/domains/testing/scanned-ops.ts';
import { KIND_LWW } from '../engine/storage/record.ts';
import { Answers } from './answers.ts';
import { CounterRow, createCounters } from './counters.ts';
import { mayExpire } from './expiry-gate.ts';
import { createRing } from './ring-layout.ts';
import { RingConsumer, RingProducer } from './ring.ts';
import { RingWriter } from './ring-writer.ts';
import { WORKER_COUNTERS } from './worker-counters.ts';

const RECORDS = 5 * SLICE_RECORDS_MAX;
const TTL_MS = 10;

test('behind a gateway that does not read, what expires waits: its events do not pile up', () => {
  const ring = createRing({ capacityBytes: 1 << 16, messageBytesMax: 1 << 20 });
  const outbox = new RingWriter(new RingProducer(ring, () => {}));
  let answers: Answers | undefined;
  let nowMs = 1_700_000_000_000;
  const engine = new EngineUnderTest({
    nowMs: () => nowMs,
    mayWrite: () => answers !== undefined && mayExpire({ mayChange: true }, answers),
    listeners: [1],
  });
  answers = new Answers([outbox], engine.changes, new CounterRow(createCounters(WORKER_COUNTERS, 1), WORKER_COUNTERS, 0));
  for (let number = 0; number < RECORDS; number += 100) {
    const ops = Array.from({ length: 100 }, (_, index) => ({
      mapName: 'm',
      key: `k${number + index}`,
      opType: 'PUT',
      record: { value: 1, ttlMs: TTL_MS, timestamp: { millis: nowMs, counter: 0, nodeId: 'n' } },
    }));
    engine.apply(ops, nowMs);
  }
  const gateway = new RingConsumer(ring, 0);
  const read = (): void => {
    while (outbox.blocked || gateway.pending) {
      gateway.drain(1000, { onRecord: () => {} });
      gateway.release();
      outbox.flush();
    }
  };
  answers.writeEvents();
  read();
  nowMs += 2 * TTL_MS;

  const tick = (): void => {
    engine.expiry.run(nowMs);
    answers.writeEvents();
  };
  const tombstones = (): number => engine.maps.find(utf8('m'))?.existing(KIND_LWW)?.tombstones ?? 0;
  for (let time = 0; time < 4; time++) tick();
  assert.equal(outbox.blocked, true);
  const [expired, waiting] = [tombstones(), outbox.backlogBytes];
  assert.ok(expired < RECORDS);
  for (let time = 0; time < 20; time++) tick();
  assert.deepEqual([tombstones(), outbox.backlogBytes], [expired, waiting]);
  for (let time = 0; time < 20; time++) {
    read();
    tick();
  }
  assert.equal(tombstones(), RECORDS);
});
