import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { valueText } from './value-text.ts';

test('nested properties survive only when their name is a name at the top', () => {
  assert.equal(valueText({ a: { z: 1, b: 2 }, b: [{ a: 1, q: 2 }] }), '{"a":{"b":2},"b":[{"a":1}]}');
  assert.equal(valueText([1, 2, { a: 1 }]), '[1,2,{}]');
});

test('strings stand unquoted, and null and undefined by their names', () => {
  assert.deepEqual(['x"y', '', null, undefined, 0, -0, false].map(valueText), [
    'x"y',
    '',
    'null',
    'undefined',
    '0',
    '0',
    'false',
  ]);
});

test('it is the text that JSON makes of the value with the names of its top level, whatever it is', () => {
  const names = fc.constantFrom(
    'a',
    'b',
    '0',
    '1',
    '10',
    '2',
    '01',
    'é',
    '😀',
    '"',
    'length',
    'BYTES_PER_ELEMENT',
    'toString',
    'constructor',
  );
  const leaves = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.double(),
    fc.boolean(),
    fc.constantFrom(null, undefined, -0, '\ud800'),
    fc.uint8Array({ maxLength: 130 }),
  );
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaves,
      fc.array(tie('value'), { maxLength: 12 }),
      fc.uniqueArray(fc.tuple(names, tie('value')), { maxLength: 6, selector: ([name]) => name }).map(mapOf),
    ),
  }));
  fc.assert(
    fc.property(value, (it) => {
      if (typeof it === 'object' && it !== null) assert.equal(valueText(it), JSON.stringify(it, Object.keys(it).sort()));
    }),
    { numRuns: 3000 },
  );
});

/** As the codec makes maps: without inherited names. */
function mapOf(members: readonly (readonly [string, unknown])[]): object {
  const map: object = Object.create(null);
  for (const [name, member] of members) Reflect.set(map, name, member);
  return map;
}

test('a list of very many maps takes no longer than its size', () => {
  const text = valueText(Array.from({ length: 150_000 }, () => ({ a: 1, 7: 2 })));
  assert.equal(text.length, 150_000 * '{"7":2},'.length + 1);
});

test('bytes are maps of their indices, in the order of texts', () => {
  const text = valueText(new Uint8Array(2 << 20).fill(7));
  assert.ok(text.startsWith('{"0":7,"1":7,"10":7,"100":7,"1000":7,'));
  assert.equal(text.split(',').length, 2 << 20);
});
