import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CircuitBreaker, openMs } from './circuit-breaker.ts';

function breaker(failuresMax: number): CircuitBreaker {
  return new CircuitBreaker({ failuresMax, openMinMs: 100, openMaxMs: 1000, random: () => 1 });
}

test('a closed breaker opens at the last allowed failure and refuses until its time has passed', () => {
  const subject = breaker(2);
  subject.failed(0);
  assert.equal(subject.admits(0), true);
  subject.failed(0);
  assert.equal(subject.state, 'OPEN');
  assert.equal(subject.retryAfterMs(40), 60);
  assert.equal(subject.admits(99), false);
  assert.equal(subject.admits(100), true);
});

test('half open, one call probes and the others are refused', () => {
  const subject = breaker(1);
  subject.failed(0);
  assert.equal(subject.admits(100), true);
  assert.equal(subject.state, 'HALF_OPEN');
  assert.equal(subject.admits(100), false);
  subject.succeeded();
  assert.equal(subject.state, 'CLOSED');
  assert.equal(subject.admits(100), true);
});

test('each failed probe doubles the open time up to its maximum, a success starts over', () => {
  const subject = breaker(1);
  const waits: number[] = [];
  let nowMs = 0;
  for (let attempt = 0; attempt < 6; attempt++) {
    subject.failed(nowMs);
    waits.push(subject.retryAfterMs(nowMs));
    nowMs += subject.retryAfterMs(nowMs);
    assert.equal(subject.admits(nowMs), true);
  }
  assert.deepEqual(waits, [100, 200, 400, 800, 1000, 1000]);
  subject.succeeded();
  subject.failed(nowMs);
  assert.equal(subject.retryAfterMs(nowMs), 100);
});

test('a success between failures starts the count again', () => {
  const subject = breaker(2);
  subject.failed(0);
  subject.succeeded();
  subject.failed(0);
  assert.equal(subject.state, 'CLOSED');
});

test('the open time lies between half and all of its nominal length, also after very many failures', () => {
  const options = { openMinMs: 100, openMaxMs: 10_000 };
  assert.equal(openMs(0, 0, options), 50);
  assert.equal(openMs(0, 0.5, options), 75);
  assert.equal(openMs(5000, 0, options), 5000);
});
