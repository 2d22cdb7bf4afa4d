import assert from 'node:assert/strict';
import test from 'node:test';
import { RateLimit } from './rate-limit.ts';
import { Session } from './session.ts';

function newSession(limit: RateLimit): Session {
  const session = new Session(1, { send: () => true, cork: () => {}, end: () => {}, bufferedBytes: () => 0 }, false, 0);
  limit.open(session, 0);
  return session;
}

test('a burst passes at once, then as much as flows in', () => {
  const limit = new RateLimit(1000, 10);
  const session = newSession(limit);
  assert.deepEqual([limit.admit(session, 10, 0), limit.admit(session, 1, 0), limit.admit(session, 3, 2)], [true, false, false]);
  assert.deepEqual([limit.admit(session, 3, 3), limit.admit(session, 1, 3)], [true, false]);
});

test('what flows in stops at the burst', () => {
  const limit = new RateLimit(1000, 10);
  const session = newSession(limit);
  assert.equal(limit.admit(session, 10, 0), true);
  assert.deepEqual([limit.admit(session, 10, 1_000_000), limit.admit(session, 1, 1_000_000)], [true, false]);
});

test('a refused frame takes nothing', () => {
  const limit = new RateLimit(1000, 10);
  const session = newSession(limit);
  limit.admit(session, 8, 0);
  assert.deepEqual([limit.admit(session, 5, 0), limit.admit(session, 2, 0)], [false, true]);
});

test('ops that were seen before cost nothing, also with an empty bucket', () => {
  const limit = new RateLimit(1, 1);
  const session = newSession(limit);
  limit.admit(session, 1, 0);
  assert.equal(limit.admit(session, 0, 0), true);
});

test('a frame larger than the burst passes with a full bucket, and is paid off before the next', () => {
  const limit = new RateLimit(1000, 10);
  const session = newSession(limit);
  assert.deepEqual([limit.admit(session, 30, 0), limit.admit(session, 1, 20)], [true, false]);
  assert.deepEqual([limit.admit(session, 30, 29), limit.admit(session, 30, 30)], [false, true]);
});

test('a clock that goes back gives nothing', () => {
  const limit = new RateLimit(1000, 10);
  const session = newSession(limit);
  limit.admit(session, 10, 100);
  assert.equal(limit.admit(session, 1, 50), false);
});

test('a rate of 0 is no limit', () => {
  const limit = new RateLimit(0, 1);
  assert.equal(limit.admit(newSession(limit), 1e9, 0), true);
});
