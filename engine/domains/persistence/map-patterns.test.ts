import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { MapPatterns } from './map-patterns.ts';

test('without patterns every map is meant, and exclusions take some out', () => {
  assert.equal(new MapPatterns([]).fits('orders'), true);
  const patterns = new MapPatterns(['!audit.*', '!secret']);
  assert.deepEqual(
    ['orders', 'audit.log', 'secret', 'secrets', 'audit'].map((map) => patterns.fits(map)),
    [true, false, false, true, true],
  );
});

test('with patterns only what one of them fits is meant', () => {
  const patterns = new MapPatterns(['orders', 'user.*', '*-tags', '!user.internal']);
  const fitting = ['orders', 'orders2', 'user.a', 'user.', 'user', 'x-tags', '-tags', 'user.internal'].filter((map) =>
    patterns.fits(map),
  );
  assert.deepEqual(fitting, ['orders', 'user.a', 'user.', 'x-tags', '-tags']);
});

test('a pattern fits what the same regular expression fits', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '+'), maxLength: 12 });
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '.', '+', '*'), minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(pattern, text, (one, name) => {
      const escaped = one.replaceAll(/[.+]/g, '\\$&').replaceAll('*', '.*');
      assert.equal(new MapPatterns([one]).fits(name), new RegExp(`^${escaped}$`, 's').test(name));
    }),
    { numRuns: 2000 },
  );
});

test('a pattern of stars is walked in time', () => {
  assert.equal(new MapPatterns([`${'*a'.repeat(200)}b`]).fits('a'.repeat(400)), false);
});
