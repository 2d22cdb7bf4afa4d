import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonMiscounted } from './resp.bench.ts';

test('a run of INCR is void when the counters rose by more or by less than was sent', () => {
  assert.equal(reasonMiscounted(500, 1000, 1500), undefined);
  assert.equal(reasonMiscounted(500, 1000, 1499), 'void: 500 INCR sent, the counters rose by 499');
  assert.equal(reasonMiscounted(500, 1000, 1501), 'void: 500 INCR sent, the counters rose by 501');
});
