import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { decode } from '../../protocol/codec.ts';
import { matchesGlob } from './glob.ts';
import { addDecimals } from './long-double.ts';
import { integerOf } from './numbers.ts';
import { decodeValue, encodeValue, VALUE_HEADER_BYTES } from './value.ts';

function stored(value: Uint8Array): Uint8Array {
  const target = new Uint8Array(value.length + VALUE_HEADER_BYTES);
  const encoded = encodeValue(value, target, 0);
  return typeof encoded === 'number' ? target.subarray(0, encoded) : encoded;
}

function asStored(text: string): unknown {
  return decode(stored(Buffer.from(text)));
}

test('any value comes back as the bytes it was', () => {
  const json = fc.json().map((text) => Buffer.from(text));
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 70_000, size: 'max' }),
        fc.string().map((text) => Buffer.from(text)),
        json,
      ),
      (value) => {
        const encoded = stored(value);
        assert.deepEqual(Buffer.from(decodeValue(encoded, 0, encoded.length)), Buffer.from(value));
      },
    ),
  );
});

test('only JSON that prints as it was written is an object to a browser', () => {
  assert.deepEqual(
    asStored('{"a":1,"b":[true,null]}'),
    Object.assign(Object.create(Object.getPrototypeOf(asStored('{}'))), { a: 1, b: [true, null] }),
  );
  assert.deepEqual(asStored('[1,2]'), [1, 2]);
  for (const text of [
    '{"a": 1}',
    '[1.0]',
    '{"2":1,"1":2}',
    '{"a":1,"a":2}',
    '{',
    '5',
    'true',
    '"x"',
    '007',
    `${'['.repeat(100)}${']'.repeat(100)}`,
  ]) {
    assert.equal(asStored(text), text);
  }
  assert.deepEqual(
    asStored('{"__proto__":{"x":1}}') === '{"__proto__":{"x":1}}' || Object.keys(asStored('{"__proto__":{"x":1}}') ?? {}),
    ['__proto__'],
  );
  assert.ok(decode(stored(Uint8Array.of(0xff, 0xfe))) instanceof Uint8Array);
  assert.ok(decode(stored(Uint8Array.of(0xed, 0xa0, 0x80))) instanceof Uint8Array, 'a lone surrogate is no text');
  const long = Buffer.from('я'.repeat(5000));
  assert.equal(decode(stored(long)), long.toString());
  assert.ok(decode(stored(Buffer.concat([long, Buffer.of(0xed, 0xa0, 0x80)]))) instanceof Uint8Array, 'nor is it in a long one');
});

test('integers are those of 64 bits in their only spelling', () => {
  const of = (text: string): number | bigint | undefined => integerOf(Buffer.from(text));
  assert.equal(of('0'), 0);
  assert.equal(of('-15'), -15);
  assert.equal(of('9223372036854775807'), 2n ** 63n - 1n);
  assert.equal(of('-9223372036854775808'), -(2n ** 63n));
  for (const text of ['', '-', '-0', '+1', '01', ' 1', '1 ', '1.0', '9223372036854775808', '99999999999999999999'])
    assert.equal(of(text), undefined, text);
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => BigInt(of(String(value)) ?? 0) === value),
  );
});

test('decimals are added as an 80-bit float adds them', () => {
  const cases: [string, string, string | undefined][] = [
    ['0.1', '0.2', '0.3'],
    ['10.50', '0.1', '10.6'],
    ['5.0e3', '2.0e2', '5200'],
    ['3', '-3', '0'],
    ['1234567890.1', '0.01', '1234567890.10999999998603016'],
    ['-0.5', '0.25', '-0.25'],
    ['1e17', '0.5', '100000000000000000.5'],
    ['abc', '1', undefined],
    ['', '1', undefined],
    ['1', '1e999999', undefined],
    ['0', '1e4933', undefined],
    ['0', '1e5000', undefined],
    ['0', '1e-4951', undefined],
    ['1e4932', '9e4931', undefined],
    ['-1e4932', '-9e4931', undefined],
    ['0', '1e-4950', '0'],
  ];
  for (const [left, right, sum] of cases) assert.equal(addDecimals(left, right), sum, `${left} + ${right}`);
});

test('patterns match as in Redis', () => {
  const cases: [string, string, boolean][] = [
    ['*', '', true],
    ['h?llo', 'hello', true],
    ['h[ae]llo', 'hillo', false],
    ['h[^e]llo', 'hallo', true],
    ['h[a-c]llo', 'hbllo', true],
    ['h[c-a]llo', 'hbllo', true],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'axb', false],
    ['*a*b*c*', 'xxaxxbxxcxx', true],
    ['[', '[', false],
    ['a[', 'a', false],
  ];
  for (const [pattern, text, matches] of cases)
    assert.equal(matchesGlob(Buffer.from(pattern), Buffer.from(text)), matches, `${pattern} ${text}`);
});

test('a pattern of many stars costs no more than pattern times text', () => {
  const pattern = Buffer.from(`${'*a'.repeat(200)}b`);
  const startedMs = performance.now();
  assert.equal(matchesGlob(pattern, Buffer.from('a'.repeat(20_000))), false);
  assert.ok(performance.now() - startedMs < 30_000, 'not for ever');
});
