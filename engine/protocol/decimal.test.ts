import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { decimalBytes, writeDecimal } from './decimal.ts';

test('every safe whole number is written as JavaScript prints it, and nothing around it', () => {
  const edges = fc.constantFrom(0, -0, 1, -1, 9, 10, 99, 100, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER);
  fc.assert(
    fc.property(fc.oneof(fc.maxSafeInteger(), fc.integer({ min: -2000, max: 2000 }), edges), (value) => {
      const target = new Uint8Array(24).fill(0x2e);
      const end = writeDecimal(target, 2, value);
      assert.equal(end, 2 + decimalBytes(value));
      assert.equal(Buffer.from(target).toString('latin1'), `..${value}`.padEnd(24, '.'));
    }),
  );
});
