import assert from 'node:assert/strict';
import test from 'node:test';
import { plain } from '../engine/domains/testing/scanned-ops.ts';
import { ackLevels } from '../engine/protocol/ack-level.ts';
import { decode } from '../engine/protocol/codec.ts';
import { errorNumber } from '../engine/protocol/errors.ts';
import { BatchAnswers, denseDetails } from './batch-answers.ts';
import { type BatchDetails, CallTable } from './call-table.ts';
import { Session } from './session.ts';

class AnswersUnderTest {
  readonly calls = new CallTable();
  readonly session = new Session(1, { send: () => true, cork: () => {}, end: () => {}, bufferedBytes: () => 0 }, false, 0);
  readonly sent: unknown[] = [];
  readonly #levels = ackLevels({ store: 'write-behind', wal: true, walFsync: 'off' });
  readonly #answers = new BatchAnswers(this.calls, this.#levels, (_session, frame) => {
    this.sent.push(typeof frame === 'number' ? frame : plain(decode(frame)));
  });

  claim(lowId: number, highId: number, details?: BatchDetails): number {
    const slot = this.calls.claim(this.session, 0);
    this.calls.describe(slot, lowId, highId, lowId === 0 ? 0 : highId - lowId + 1);
    this.calls.details[slot] = details;
    return slot;
  }

  settle(slot: number): unknown {
    this.sent.length = 0;
    this.#answers.settle(slot);
    return [...this.sent];
  }
}

function results(frames: unknown): unknown {
  const ack = (frames as { type?: string; payload?: { lastId: string; results?: object[] } }[]).at(-1);
  assert.equal(ack?.type, 'OP_ACK');
  return [ack?.payload?.lastId, ack?.payload?.results];
}

test('a batch whose ops were all taken is answered by the number of its plain ack', () => {
  const under = new AnswersUnderTest();
  assert.deepEqual(under.settle(under.claim(1, 3)), [3]);
  assert.deepEqual(under.settle(under.claim(2, 3)), [3]);
  assert.deepEqual(under.settle(under.claim(0, 0)), [3]); // no ops at all: what was handled before
});

test('a batch that ends before an older one names its ops, and is covered by a later ack', () => {
  const under = new AnswersUnderTest();
  const [first, second] = [under.claim(1, 2), under.claim(3, 4)];
  const named = ['3', '4'].map((opId) => ({ opId, success: true, achievedLevel: 'APPLIED' }));
  assert.deepEqual(results(under.settle(second)), ['0', named]);
  assert.deepEqual(under.settle(first), [4]);
});

test('a refused op is rejected, named as failed and covered by the ack', () => {
  const under = new AnswersUnderTest();
  const details = denseDetails();
  details.rejected.set(1, errorNumber('KEY_TOO_LARGE'));
  const frames = under.settle(under.claim(5, 7, details));
  assert.deepEqual(
    (frames as { type: string; payload: { opId?: string; code?: number } }[]).map(({ type, payload }) => [
      type,
      payload.opId,
      payload.code,
    ]),
    [
      ['OP_REJECTED', '6', 413],
      ['OP_ACK', undefined, undefined],
    ],
  );
  const [lastId, list] = results(frames) as [string, { opId: string; success: boolean; error: string }[]];
  assert.equal(lastId, '7');
  assert.deepEqual(
    list.map(({ opId, success }) => [opId, success]),
    [['6', false]],
  );
  assert.match(list[0]?.error ?? '', /^KEY_TOO_LARGE: /);
});

test('ids that are no numbers are named, once each, and never become the last id', () => {
  const under = new AnswersUnderTest();
  const details = { ids: ['x', '2', 'x', '', '9007199254740993'], rejected: new Map(), refusals: new Map(), levels: undefined };
  const [lastId, list] = results(under.settle(under.claim(2, 2, details))) as [string, { opId: string }[]];
  assert.deepEqual([lastId, list.map(({ opId }) => opId)], ['2', ['x', '9007199254740993']]);
});

test('a session that is being closed is told nothing more, and its calls end all the same', () => {
  const under = new AnswersUnderTest();
  const slot = under.claim(1, 1);
  under.session.closing = 'OVERLOADED';
  assert.deepEqual(under.settle(slot), []);
  assert.equal(under.calls.open, 0);
});
