import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rotated } from './run-order.ts';

test('each run begins with another variant, and all have as many turns', () => {
  const orders = [1, 2, 3, 4].map((run) => rotated(['a', 'b', 'c'], run).join(''));
  assert.deepEqual(orders, ['abc', 'bca', 'cab', 'abc']);
  assert.deepEqual(rotated([], 1), []);
});
