import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryBackoffMs } from './retry-backoff.ts';

test('the wait doubles from 100 ms to 10 s, of which the random half may be left out', () => {
  const ALMOST_ONE = 1 - Number.EPSILON;
  const table: readonly [attempt: number, random: number, ms: number][] = [
    [1, 0, 50],
    [1, ALMOST_ONE, 100],
    [2, 0, 100],
    [2, ALMOST_ONE, 200],
    [3, 0.5, 300],
    [7, 0, 3200],
    [8, 0, 5000],
    [8, ALMOST_ONE, 10_000],
    [5_000, ALMOST_ONE, 10_000],
  ];
  for (const [attempt, random, ms] of table) assert.equal(Math.round(retryBackoffMs(attempt, random)), ms);
});
