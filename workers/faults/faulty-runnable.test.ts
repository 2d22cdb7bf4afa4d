import assert from 'node:assert/strict';
import test from 'node:test';
import { type FaultOptions, Faults } from '../../engine/faults.ts';
import {
  CALL_NONE,
  ENVELOPE_BYTES,
  FLAG_MORE,
  RECORD_ACKS,
  RECORD_EVENTS,
  RECORD_INTEREST,
  RECORD_OPS,
  RECORD_PERSISTED,
  RECORD_REPLY,
  RECORD_REQUEST,
  RECORD_RESULT,
  writeEnvelope,
} from '../../engine/protocol/envelope.ts';
import { RingConsumer, RingProducer } from '../ring.ts';
import { createRing, readRingStats } from '../ring-layout.ts';
import { RunLoop } from '../run-loop.ts';
import type { Runnable } from '../runnable.ts';
import { faultOptions } from '../testing/fault-options.ts';
import { FaultyRunnable } from './faulty-runnable.ts';

const LIMIT = { timeout: 20_000 };

/** Writes down what it is given: `type:call` of each record, `|` at the end of a batch, `t` for a tick. */
class Recorder implements Runnable {
  readonly tickIntervalMs = 1;
  readonly log: string[] = [];

  onRecord(ring: RingConsumer, at: number): void {
    const [type, call] = ring.words.subarray(at >> 2);
    this.log.push(`${type}:${call}`);
  }

  onBatchEnd(): void {
    this.log.push('|');
  }

  onTick(): void {
    this.log.push('t');
  }

  async shutdown(): Promise<void> {
    this.log.push('end');
  }
}

interface Fixture {
  readonly inner: Recorder;
  readonly faults: Faults;
  readonly memory: SharedArrayBuffer;
  readonly ring: RingConsumer;
  write(type: number, call: number, flags?: number): void;
}

function fixture(options: Partial<FaultOptions>): Fixture {
  const memory = createRing({ capacityBytes: 1 << 16 });
  const producer = new RingProducer(memory, () => {});
  return {
    inner: new Recorder(),
    faults: new Faults(faultOptions(options), 'worker 0', 0, () => {}),
    memory,
    ring: new RingConsumer(memory, 3),
    write: (type, call, flags = 0) => {
      const at = producer.claim(ENVELOPE_BYTES);
      assert.ok(at >= 0);
      writeEnvelope(producer, at, type, call, 0, 0, 0, flags, Number.NaN);
      producer.commit();
    },
  };
}

test('writes and questions may be lost on the way to a worker, and nothing else', () => {
  const { inner, faults, ring, write } = fixture({ faultRingDropPermille: 1000 });
  for (const type of [RECORD_OPS, RECORD_INTEREST, RECORD_REQUEST]) write(type, 1);
  write(RECORD_REQUEST, CALL_NONE);
  ring.drain(100, FaultyRunnable.ofWorker(inner, faults));
  assert.deepEqual(inner.log, [`${RECORD_INTEREST}:1`, `${RECORD_REQUEST}:${CALL_NONE}`], 'nor what has no deadline');
});

test('answers to writes may be lost on the way back, events and replies never', () => {
  const { inner, faults, ring, write } = fixture({ faultRingDropPermille: 1000 });
  for (const type of [RECORD_ACKS, RECORD_EVENTS, RECORD_RESULT, RECORD_REPLY, RECORD_PERSISTED]) write(type, 1);
  ring.drain(100, FaultyRunnable.ofGateway(inner, faults));
  assert.deepEqual(inner.log, [`${RECORD_EVENTS}:1`, `${RECORD_REPLY}:1`]);
});

test('a call in parts is lost whole or not at all, also when another thread takes the ring over between them', () => {
  const { inner, faults, ring, write } = fixture({ faultRingDropPermille: 500 });
  const calls = 200;
  for (let call = 1; call <= calls; call++) for (const flags of [FLAG_MORE, FLAG_MORE, 0]) write(RECORD_OPS, call, flags);
  ring.drain(301, FaultyRunnable.ofWorker(inner, faults));
  const successor = new Faults(faultOptions({ faultRingDropPermille: 500 }), 'worker 0', 1, () => {});
  ring.drain(1000, FaultyRunnable.ofWorker(inner, successor));
  const parts = new Map<string, number>();
  for (const record of inner.log) parts.set(record, (parts.get(record) ?? 0) + 1);
  assert.ok(parts.size > 50 && parts.size < 150, `${parts.size} of ${calls} calls came`);
  for (const [call, count] of parts) assert.equal(count, 3, call);
});

test(
  'a batch that is delayed is ended in its order, without ticks in between, and space goes back behind it',
  LIMIT,
  async () => {
    const { inner, faults, ring, memory, write } = fixture({ faultRingDelayMs: 30 });
    for (let call = 1; call <= 4; call++) write(RECORD_OPS, call);
    const usedAtTicks: number[] = [];
    inner.onTick = () => {
      inner.log.push('t');
      usedAtTicks.push(readRingStats(memory).usedBytes);
    };
    const loop = new RunLoop(FaultyRunnable.ofWorker(inner, faults), [ring], { batchRecords: 2 });
    loop.stop();
    await loop.run();
    const [one, two, three, four] = [1, 2, 3, 4].map((call) => `${RECORD_OPS}:${call}`);
    assert.equal(inner.log.join(' ').replace(/(t )+/g, ''), [one, two, '|', three, four, '|', 'end'].join(' '));
    assert.equal(inner.log[2], '|', 'no tick while the first batch waited');
    for (const usedBytes of usedAtTicks) assert.ok(usedBytes === 0 || usedBytes === 2 * (ENVELOPE_BYTES + 8), `${usedBytes}`);
  },
);

test('without delay nobody waits', () => {
  const { inner, faults } = fixture({});
  const runnable = FaultyRunnable.ofWorker(inner, faults);
  assert.equal(runnable.onBatchEnd(), undefined);
  runnable.onTick(5);
  assert.deepEqual([inner.log, runnable.tickIntervalMs], [['|', 't'], 1]);
});
