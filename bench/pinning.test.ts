import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pinningOf } from './pinning.ts';

test('the generator has the last core and the server the others, on small machines only when asked', () => {
  assert.deepEqual(pinningOf(false, 8, true), { server: '0-6', generator: '7' });
  assert.deepEqual(pinningOf(false, 4, true), { server: '0-2', generator: '3' });
  assert.equal(pinningOf(false, 3, true), undefined);
  assert.deepEqual(pinningOf(true, 3, true), { server: '0-1', generator: '2' });
  assert.deepEqual(pinningOf(true, 2, true), { server: '0', generator: '1' });
});

test('where there is one core, or no taskset, nothing is pinned', () => {
  assert.equal(pinningOf(true, 1, true), undefined);
  assert.equal(pinningOf(true, 8, false), undefined);
});
