import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type BatchDetails, CALLS_MAX, CallTable, SESSION_CALLS_MAX } from './call-table.ts';
import type { Connection } from './connection.ts';
import { Session } from './session.ts';

const CONNECTION: Connection = { send: () => true, cork: (write) => write(), end: () => {}, bufferedBytes: () => 0 };

function newSession(): Session {
  return new Session(1, CONNECTION, false, 0);
}

/** Claims a call for a batch with these ids, as the dispatcher does. */
function claim(calls: CallTable, session: Session, ids: readonly number[]): number {
  const slot = calls.claim(session, 0);
  assert.ok(slot >= 0);
  calls.describe(slot, ids.length === 0 ? 0 : Math.min(...ids), Math.max(0, ...ids), ids.length);
  const isDense = ids.every((id, index) => index === 0 || id === (ids[index - 1] ?? 0) + 1);
  if (!isDense) calls.details[slot] = detailsOf(ids);
  return slot;
}

function detailsOf(ids: readonly number[]): BatchDetails {
  return { ids: ids.map(String), rejected: new Map(), refusals: new Map(), levels: undefined };
}

/** The ack rule in its plain form: every op that was ever sent, and whether some batch with it was handled. */
class NaiveSession {
  readonly #handled = new Map<number, boolean>();
  #said = 0;

  sent(ids: readonly number[]): void {
    for (const id of ids) if (!this.#handled.has(id)) this.#handled.set(id, false);
  }

  settled(ids: readonly number[]): void {
    for (const id of ids) this.#handled.set(id, true);
  }

  /** The highest id such that every op up to it was handled, 0 when there is none. What was said once stays said. */
  get lastId(): number {
    let last = 0;
    for (const id of [...this.#handled.keys()].sort((a, b) => a - b)) {
      if (this.#handled.get(id) !== true) break;
      last = id;
    }
    this.#said = Math.max(this.#said, last);
    return this.#said;
  }
}

interface Step {
  readonly ids: readonly number[];
  /** Which of the open calls ends next, when one does. */
  readonly ends: number;
  readonly sends: boolean;
}

function run(
  steps: readonly Step[],
  check: (lastId: number, naive: NaiveSession, ids: readonly number[], open: number) => void,
): void {
  const calls = new CallTable();
  const session = newSession();
  const naive = new NaiveSession();
  const open: { slot: number; ids: readonly number[] }[] = [];
  const end = (index: number): void => {
    const [call] = open.splice(index, 1);
    if (call === undefined) return;
    naive.settled(call.ids);
    check(calls.settle(call.slot), naive, call.ids, open.length);
  };
  for (const { ids, ends, sends } of steps) {
    if (sends || open.length === 0) {
      naive.sent(ids);
      open.push({ slot: claim(calls, session, ids), ids });
    } else end(ends % open.length);
  }
  while (open.length > 0) end(0);
  assert.equal(calls.open, 0);
}

const arbitrarySteps = fc.array(
  fc.record({ ids: fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 5 }), ends: fc.nat(), sends: fc.boolean() }),
  { maxLength: 40 },
);

test('an ack never covers an op that is not handled, and never goes back, whatever ids a client sends', () => {
  fc.assert(
    fc.property(arbitrarySteps, (steps) => {
      let before = 0;
      run(steps, (lastId, naive, _ids, open) => {
        assert.ok(lastId <= naive.lastId, `acknowledged ${lastId}, handled up to ${naive.lastId}`);
        if (lastId < before) assert.fail(`${lastId} after ${before}`);
        before = lastId;
        if (open === 0) assert.equal(lastId, naive.lastId);
      });
    }),
    { numRuns: 500 },
  );
});

test('batches that follow one another are acknowledged exactly, in whatever order they end', () => {
  const step = fc.record({
    size: fc.integer({ min: 1, max: 4 }),
    gap: fc.integer({ min: 0, max: 2 }),
    ends: fc.nat(),
    sends: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let next = 1;
      const rising = steps.map(({ size, gap, ends, sends }) => {
        const ids = Array.from({ length: size }, (_, index) => next + gap + index);
        next += gap + size;
        return { ids, ends, sends };
      });
      run(rising, (lastId, naive) => assert.equal(lastId, naive.lastId));
    }),
    { numRuns: 300 },
  );
});

test('a client that sends all it has unacknowledged with each write, as the real one does, is acknowledged in the end', () => {
  fc.assert(
    fc.property(fc.array(fc.record({ ends: fc.nat(), sends: fc.boolean() }), { maxLength: 40 }), (steps) => {
      const calls = new CallTable();
      const session = newSession();
      const naive = new NaiveSession();
      const open: { slot: number; ids: readonly number[] }[] = [];
      let acked = 0;
      let newest = 0;
      for (const { ends, sends } of [...steps, ...steps.map(() => ({ ends: 0, sends: false }))]) {
        if (sends) {
          newest += 1;
          const ids = Array.from({ length: newest - acked }, (_, index) => acked + 1 + index);
          naive.sent(ids);
          open.push({ slot: claim(calls, session, ids), ids });
          continue;
        }
        const [call] = open.splice(ends % Math.max(1, open.length), 1);
        if (call === undefined) continue;
        naive.settled(call.ids);
        const lastId = calls.settle(call.slot);
        assert.ok(lastId >= acked && lastId <= naive.lastId);
        acked = lastId;
      }
      assert.equal(acked, newest);
    }),
    { numRuns: 300 },
  );
});

test('an older id that is sent late keeps the acks below it', () => {
  const calls = new CallTable();
  const session = newSession();
  const twenty = claim(calls, session, [20]);
  const five = claim(calls, session, [5]);
  const eight = claim(calls, session, [8]);
  assert.equal(calls.settle(eight), 0);
  assert.equal(calls.settle(twenty), 0);
  assert.equal(calls.settle(five), 20);
});

test('a slot that is used again has another call id, and the old one finds nothing', () => {
  const calls = new CallTable();
  const session = newSession();
  const seen = new Set<number>();
  for (let time = 0; time < 4000; time++) {
    const slot = calls.claim(session, 0);
    const callId = calls.callId(slot);
    assert.equal(calls.slotOf(callId), slot);
    assert.ok(!seen.has(callId) && callId > 0);
    seen.add(callId);
    calls.release(slot);
    assert.equal(calls.slotOf(callId), -1);
  }
  assert.equal(calls.slotOf(0), -1);
});

test('a table that is full says so, and takes calls again after one ended', () => {
  const calls = new CallTable();
  const sessions = Array.from({ length: CALLS_MAX / SESSION_CALLS_MAX }, newSession);
  const slots = sessions.flatMap((session) => Array.from({ length: SESSION_CALLS_MAX }, () => calls.claim(session, 0)));
  assert.equal(new Set(slots).size, CALLS_MAX);
  const late = newSession();
  assert.equal(calls.claim(late, 0), -1);
  calls.release(slots[77] ?? 0);
  assert.equal(calls.claim(late, 0), 77);
});

test('a session has its share of the calls and no more', () => {
  const calls = new CallTable();
  const [greedy, modest] = [newSession(), newSession()];
  const slots = Array.from({ length: SESSION_CALLS_MAX }, () => calls.claim(greedy, 0));
  assert.equal(calls.claim(greedy, 0), -1);
  assert.notEqual(calls.claim(modest, 0), -1);
  calls.release(slots[0] ?? 0);
  assert.notEqual(calls.claim(greedy, 0), -1);
});

test('a session that goes ends its calls and no others', () => {
  const calls = new CallTable();
  const [gone, stays] = [newSession(), newSession()];
  const mine = [claim(calls, gone, [1]), claim(calls, gone, [2])].map((slot) => calls.callId(slot));
  const other = calls.callId(claim(calls, stays, [1]));
  calls.abandon(gone);
  assert.deepEqual(
    mine.map((callId) => calls.slotOf(callId)),
    [-1, -1],
  );
  assert.notEqual(calls.slotOf(other), -1);
  assert.deepEqual([calls.open, gone.oldestCall, gone.newestCall], [1, -1, -1]);
});

test('calls whose deadline passed are visited, each once, and may be ended while they are', () => {
  const calls = new CallTable();
  const session = newSession();
  const slots = [10, 20, 30].map((deadlineMs) => calls.claim(session, deadlineMs));
  const visited: number[] = [];
  calls.forEachExpired(25, (slot) => {
    visited.push(slot);
    calls.release(slot);
  });
  assert.deepEqual(visited, slots.slice(0, 2));
  assert.equal(calls.open, 1);
});
