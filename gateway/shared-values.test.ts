import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedValues } from './shared-values.ts';

function longValue(byte: number): Uint8Array {
  return new Uint8Array(2000).fill(byte);
}

test('a long value that is told again of the same row is the same bytes', () => {
  const values = new SharedValues();
  const first = longValue(1);
  assert.equal(values.of('a', first), first);
  assert.equal(values.of('b', longValue(1)).length, 2000);
  assert.equal(values.of('a', longValue(1)), first);
});

test('another value of the row, and a short one, stay what they are', () => {
  const values = new SharedValues();
  values.of('a', longValue(1));
  const next = longValue(2);
  assert.equal(values.of('a', next), next);
  assert.equal(values.of('a', longValue(2)), next);
  const short = Uint8Array.of(1);
  values.of('c', Uint8Array.of(1));
  assert.equal(values.of('c', short), short);
});

test('values that were told long ago are let go', () => {
  const values = new SharedValues(5000);
  const [a, c] = [longValue(1), longValue(3)];
  values.of('a', a);
  values.of('b', longValue(2));
  values.of('c', c);
  assert.equal(values.of('c', longValue(3)), c);
  assert.notEqual(values.of('a', longValue(1)), a);
});
