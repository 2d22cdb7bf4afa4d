import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decode, encode } from './codec.ts';
import { JsonTranscoder, NOT_JSON } from './json-transcoder.ts';
import { encodeWild, Pairs, Random } from './wild-encoder.ts';

const transcoder = new JsonTranscoder();

function jsonOf(bytes: Uint8Array): string | undefined {
  transcoder.reset();
  const length = transcoder.transcode(bytes, 0, bytes.length);
  assert.equal(transcoder.length, Math.max(0, length));
  return length === NOT_JSON ? undefined : new TextDecoder('utf-8', { fatal: true }).decode(transcoder.bytes.subarray(0, length));
}

const text = fc.string({ unit: 'binary', maxLength: 30 }).filter((string) => !string.includes('\0') && string.isWellFormed());
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    text,
    fc.array(tie('value'), { maxLength: 5 }),
    fc
      .array(fc.tuple(fc.oneof(text, fc.integer(), fc.boolean()), tie('value')), { maxLength: 5 })
      .map((entries) => new Pairs(entries)),
  ),
})).value;

test('the JSON is that of the decoded value, for every value that has one', () => {
  fc.assert(
    fc.property(json, fc.integer(), (value, seed) => {
      const bytes = encodeWild(value, new Random(seed));
      const written = jsonOf(bytes);
      assert.ok(written !== undefined);
      assert.deepEqual(JSON.parse(written), JSON.parse(JSON.stringify(decode(bytes))));
    }),
    { numRuns: 1000 },
  );
});

test('quotes, backslashes, control characters and every width of UTF-8 come through', () => {
  const all = `"\\/\b\f\n\r\t\u0001\u001f\u007f é ߿ ࠀ 日本 ퟿  ￿ 😀 \u{10ffff}`;
  assert.equal(JSON.parse(jsonOf(encode(all)) ?? ''), all);
  assert.equal(
    jsonOf(encode({ a: [1, -0, 1e21, 5e-324, true, null], '"': 'x' })),
    '{"a":[1,0,1e+21,5e-324,true,null],"\\"":"x"}',
  );
});

test('what has no JSON, or none that jsonb can hold, is refused as a whole and leaves nothing behind', () => {
  const lone = Uint8Array.of(0xa3, 0xed, 0xa0, 0x80);
  const overlong = Uint8Array.of(0xa2, 0xc0, 0xaf);
  const cut = Uint8Array.of(0xa2, 0x61, 0xc3);
  const beyond = Uint8Array.of(0xa4, 0xf4, 0x90, 0x80, 0x80);
  const values = [
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    'a\0b',
    { 'a\0': 1 },
    Uint8Array.of(1),
    { deep: [1, [Number.NaN]] },
  ];
  for (const bytes of [...values.map((value) => encode(value).slice()), lone, overlong, cut, beyond])
    assert.equal(jsonOf(bytes), undefined);
  const malformed = [
    Uint8Array.of(0xc1),
    Uint8Array.of(0x92, 1),
    Uint8Array.of(0xd6, 0xff, 0, 0, 0, 0),
    Uint8Array.of(1, 1),
    new Uint8Array(0),
  ];
  for (const bytes of malformed) assert.equal(jsonOf(bytes), undefined);
});

test('texts are appended one behind the other, and a refused one between them leaves no trace', () => {
  const bytes = encode([{ a: 1 }, Number.NaN, 'é']);
  transcoder.reset();
  assert.equal(transcoder.transcode(bytes, 1, 5), 7);
  assert.equal(transcoder.transcode(bytes, 0, bytes.length), NOT_JSON);
  assert.equal(transcoder.transcode(bytes, bytes.length - 3, bytes.length), 4);
  assert.equal(new TextDecoder().decode(transcoder.bytes.subarray(0, transcoder.length)), '{"a":1}"é"');
});

test('a value of 256 levels is written, and one larger than the buffer grows it', () => {
  let nested: unknown = 1;
  for (let level = 0; level < 256; level++) nested = [nested];
  assert.equal(jsonOf(encode(nested)), `${'['.repeat(256)}1${']'.repeat(256)}`);
  const large = '\u0001'.repeat(5000);
  assert.equal(jsonOf(encode(large))?.length, 5000 * 6 + 2);
});
