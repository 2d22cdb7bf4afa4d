import assert from 'node:assert/strict';
import test from 'node:test';
import { RequestRate } from './request-rate.ts';

test('a bucket holds the burst, fills at the rate, and is one for each who asks', () => {
  const rate = new RequestRate(10, 3);
  assert.deepEqual(
    [1, 2, 3, 4].map(() => rate.admit('ann', 1, 0)),
    [true, true, true, false],
  );
  assert.equal(rate.admit('bob', 1, 0), true);
  assert.equal(rate.admit('ann', 1, 99), false);
  assert.equal(rate.admit('ann', 1, 200), true);
  assert.equal(rate.admit('ann', 3, 100_000), true, 'no more than the burst waits');
  assert.equal(rate.admit('ann', 1, 100_000), false);
});

test('what costs more than a full bucket passes when it is full, and is paid off', () => {
  const rate = new RequestRate(10, 3);
  assert.equal(rate.admit('ann', 10, 0), true);
  assert.equal(rate.admit('ann', 1, 700), false);
  assert.equal(rate.admit('ann', 1, 900), true);
});

test('buckets are bounded: those that were not used for longest are forgotten first', () => {
  const rate = new RequestRate(1, 1, 2);
  for (const who of ['ann', 'bob']) assert.equal(rate.admit(who, 1, 0), true);
  assert.equal(rate.admit('ann', 1, 0), false);
  assert.equal(rate.admit('eve', 1, 0), true, 'bob is forgotten');
  assert.equal(rate.admit('ann', 1, 0), false);
  assert.equal(rate.admit('bob', 1, 0), true);
});

test('a rate of 0 is none', () => {
  const rate = new RequestRate(0, 1);
  for (let n = 0; n < 10; n++) assert.equal(rate.admit('ann', 5, 0), true);
});
