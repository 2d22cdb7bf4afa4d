import assert from 'node:assert/strict';
import test from 'node:test';
import { ackLevels } from '../engine/protocol/ack-level.ts';
import { errorNumber } from '../engine/protocol/errors.ts';
import {
  FLAG_MORE,
  FLAG_REFUSED,
  RECORD_ACKS,
  RECORD_PUSH,
  RECORD_REPLY,
  RECORD_RESULT,
  writeEnvelope,
} from '../engine/protocol/envelope.ts';
import { RingConsumer, RingProducer } from '../workers/ring.ts';
import { createRing } from '../workers/ring-layout.ts';
import { BatchAnswers } from './batch-answers.ts';
import { CallTable } from './call-table.ts';
import { FanOut } from './fan-out.ts';
import { OpAckFrames } from './op-ack.ts';
import { MapNames } from './map-names.ts';
import { Outbox } from './outbox.ts';
import { Outgoing } from './outgoing.ts';
import { PersistedWaits } from './persisted-waits.ts';
import { Session } from './session.ts';

class OutboxUnderTest {
  readonly calls = new CallTable();
  readonly acked: number[] = [];
  readonly refused: string[] = [];
  readonly session = new Session(1, { send: () => true, cork: () => {}, end: () => {}, bufferedBytes: () => 0 }, false, 0);
  readonly pushed: number[][] = [];
  turns = 0;
  readonly #rings = [0, 1].map(() => createRing({ capacityBytes: 1 << 16, messageBytesMax: 1 << 16 }));
  readonly #producers = this.#rings.map((ring) => new RingProducer(ring, () => {}));
  readonly #consumers = this.#rings.map((ring, worker) => new RingConsumer(ring, worker));
  readonly #levels = ackLevels({ store: 'none', wal: false, walFsync: 'off' });
  readonly #answers = new BatchAnswers(
    this.calls,
    this.#levels,
    (_session, frame) => void (typeof frame === 'number' && this.acked.push(frame)),
  );
  readonly #outbox = new Outbox({
    calls: this.calls,
    answers: this.#answers,
    waits: new PersistedWaits({
      calls: this.calls,
      answers: this.#answers,
      levels: this.#levels,
      workers: [],
      counters: { levelTimeouts: 0 },
      onRefused: () => {},
    }),
    fanOut: new FanOut(
      () => {},
      new MapNames(10),
      () => {},
      () => {},
    ),
    outgoing: new Outgoing(new OpAckFrames('MEMORY'), 1000),
    breakers: undefined,
    onRefused: (_session, reason) => void this.refused.push(reason),
    onPush: (worker, session, kind, body) => void this.pushed.push([worker, session, kind, ...body]),
    onTurn: () => {
      this.turns += 1;
    },
    onTick: () => {},
    tickIntervalMs: 10,
  });

  /** A call for ids `low` to `high` that waits for both workers. */
  claim(low: number, high: number): number {
    const slot = this.calls.claim(this.session, 0);
    this.calls.describe(slot, low, high, high - low + 1);
    this.calls.waiting[slot] = 3;
    return this.calls.callId(slot);
  }

  write(worker: number, type: number, callId: number, count: number, body: Int32Array, flags = 0, session = 0): void {
    const bytes = new Uint8Array(32 + body.byteLength + 7 - ((body.byteLength + 7) % 8));
    const memory = { bytes, words: new Int32Array(bytes.buffer), floats: new Float64Array(bytes.buffer) };
    writeEnvelope(memory, 0, type, callId, session, count, body.byteLength, flags, Number.NaN);
    memory.words.set(body, 8);
    assert.equal(this.#producers[worker]?.tryWrite(bytes), true);
  }

  ack(worker: number, ...callIds: number[]): void {
    this.write(worker, RECORD_ACKS, 0, callIds.length, Int32Array.from(callIds));
  }

  drain(): void {
    for (const ring of this.#consumers) {
      ring.drain(100, this.#outbox);
      ring.release();
    }
    this.#outbox.onBatchEnd();
  }
}

test('a call is answered when every worker has, however often one says so', () => {
  const under = new OutboxUnderTest();
  const callId = under.claim(1, 2);
  under.ack(0, callId, callId);
  under.ack(0, callId);
  under.drain();
  assert.deepEqual(under.acked, []);
  under.ack(1, callId);
  under.ack(1, callId);
  under.ack(0, callId);
  under.drain();
  assert.deepEqual([under.acked, under.calls.open, under.turns], [[2], 0, 2]);
});

test('a late answer does not settle the call that has taken its slot', () => {
  const under = new OutboxUnderTest();
  const old = under.claim(1, 1);
  under.calls.release(under.calls.slotOf(old));
  const young = under.claim(2, 2);
  under.ack(0, old);
  under.ack(1, old);
  under.write(0, RECORD_RESULT, old, 1, Int32Array.of(0, errorNumber('INVALID_OPERATION')));
  under.write(1, RECORD_REPLY, old, 0, Int32Array.of(0));
  under.drain();
  assert.deepEqual(under.acked, []);
  assert.equal(under.calls.waiting[under.calls.slotOf(young)], 3);
});

test('rejected ops of several workers are gathered, and the batch is answered once', () => {
  const under = new OutboxUnderTest();
  const callId = under.claim(1, 4);
  under.write(0, RECORD_RESULT, callId, 1, Int32Array.of(1, errorNumber('STALE_OPERATION')));
  under.drain();
  const slot = under.calls.slotOf(callId);
  under.write(1, RECORD_RESULT, callId, 2, Int32Array.of(0, errorNumber('TOO_MANY_MAPS'), 3, errorNumber('TOO_MANY_MAPS')));
  const details = under.calls.details[slot];
  under.drain();
  assert.deepEqual([...(details?.rejected.keys() ?? [])].sort(), [0, 1, 3]);
  assert.deepEqual([under.acked, under.calls.open], [[], 0]); // the ack carries results, so it is no plain number
});

test('rejections of an early part are kept until the last part is answered, by whichever worker thread', () => {
  const under = new OutboxUnderTest();
  const callId = under.claim(1, 4);
  under.write(0, RECORD_RESULT, callId, 1, Int32Array.of(1, errorNumber('STALE_OPERATION')), FLAG_MORE);
  under.ack(1, callId);
  under.drain();
  assert.equal(under.calls.open, 1, 'the last part is not answered');
  const details = under.calls.details[under.calls.slotOf(callId)];
  under.ack(0, callId); // of a thread that knows nothing of the first part
  under.drain();
  assert.deepEqual([[...(details?.rejected.keys() ?? [])], under.calls.open], [[1], 0]);
});

test('a part that was refused ends the call: its session must send again', () => {
  const under = new OutboxUnderTest();
  const callId = under.claim(1, 1);
  under.write(0, RECORD_RESULT, callId, 1, Int32Array.of(0, errorNumber('OVERLOADED')), FLAG_REFUSED);
  under.ack(1, callId);
  under.drain();
  assert.deepEqual([under.refused, under.acked, under.calls.open], [['OVERLOADED'], [], 0]);
});

test('replies are gathered part by part, and a worker that answers again is not heard', () => {
  const under = new OutboxUnderTest();
  const callId = under.claim(0, 0);
  const heard: string[] = [];
  under.calls.gathers[under.calls.slotOf(callId)] = {
    answered: (worker, error, body) => void heard.push(`${worker} ${error} ${new Int32Array(body.slice().buffer)[0]}`),
    complete: () => void heard.push('complete'),
    expired: () => void heard.push('expired'),
  };
  under.write(0, RECORD_REPLY, callId, 0, Int32Array.of(10), FLAG_MORE);
  under.write(0, RECORD_REPLY, callId, 0, Int32Array.of(11));
  under.write(0, RECORD_REPLY, callId, 0, Int32Array.of(10), FLAG_MORE);
  under.write(1, RECORD_REPLY, callId, errorNumber('UNAVAILABLE') + 1, Int32Array.of(20));
  under.write(1, RECORD_REPLY, callId, 0, Int32Array.of(21));
  under.drain();
  assert.deepEqual(heard, ['0 -1 10', '0 -1 11', `1 ${errorNumber('UNAVAILABLE')} 20`, 'complete']);
  assert.equal(under.calls.open, 0);
});

test('what a service tells a session is handed on with its kind', () => {
  const under = new OutboxUnderTest();
  under.write(1, RECORD_PUSH, 0, 21, Int32Array.of(258), 0, 7);
  under.drain();
  assert.deepEqual(under.pushed, [[1, 7, 21, 2, 1, 0, 0]]);
});
