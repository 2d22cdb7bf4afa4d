import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode as decodeByOther, encode as encodeByOther } from '@msgpack/msgpack';
import fc from 'fast-check';
import { pack, unpack } from 'msgpackr';
import { type Data, decode, encode, isData, toBytes } from './codec.ts';
import { GridError } from './errors.ts';
import { encodeWild, Random } from './wild-encoder.ts';
import { decodeText, encodeText } from './wire-text.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const plain = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(plain);
  return isData(value) ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)])) : value;
};
const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'));

/** Plain data without what has several encodings of one meaning (-0) or none (undefined). */
const data = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true }).map((number) => (number === 0 ? 0 : number)),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array({ maxLength: 20 }),
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(
      fc.string({ unit: 'grapheme' }).filter((key) => key !== '__proto__'),
      tie('value'),
      { maxKeys: 5, noNullPrototype: true },
    ),
  ),
})).value;

test('what one codec writes, the other reads: ours, @msgpack/msgpack and msgpackr, both ways', () => {
  fc.assert(
    fc.property(data, (value) => {
      assert.deepEqual(plain(decode(encode(value))), value);
      assert.deepEqual(plain(decode(encodeByOther(value))), value);
      assert.deepEqual(plain(decode(new Uint8Array(pack(value)))), value);
      assert.deepEqual(decodeByOther(encode(value)), value);
      assert.deepEqual(decodeByOther(encode(decode(encode(value)))), value);
    }),
    { numRuns: 300 },
  );
});

test('every width of every header and number decodes to the same', () => {
  fc.assert(
    fc.property(data, fc.integer(), (value, seed) => {
      assert.deepEqual(plain(decode(encodeWild(value, new Random(seed)))), value);
    }),
    { numRuns: 300 },
  );
});

test('the encoder keeps to the dialect', () => {
  assert.equal(hex(encode({ a: 1, b: undefined })), '81a16101');
  assert.equal(hex(encode([undefined])), '91c0');
  assert.equal(hex(encode(1_700_000_000_000)), 'cb4278bcfe56800000');
  assert.equal(hex(encode(4_294_967_295)), 'ceffffffff');
  assert.equal(hex(encode(Uint8Array.of(1, 2))), 'c4020102');
  assert.equal(unpack(encode({ type: 'PONG', serverTime: 1 })).type, 'PONG');
});

test('names that objects inherit are data: nothing is polluted, nothing is found that was not sent', () => {
  const names = ['__proto__', 'constructor', 'toString', 'toJSON', 'hasOwnProperty', 'valueOf'];
  for (const name of names) {
    const bytes = encodeByOther(JSON.parse(`{"${name}":{"polluted":true}}`));
    const decoded = decode(bytes) as Data;
    assert.deepEqual(Object.keys(decoded), [name]);
    assert.deepEqual(Object.keys(decoded[name] as Data), ['polluted']);
    assert.deepEqual(encode(decoded), encode(decode(encode(decoded))));
    assert.deepEqual(Object.keys(decode(encode(decoded)) as Data), [name]);
  }
  const empty = decode(Uint8Array.of(0x80)) as Data;
  for (const name of names) assert.equal(empty[name], undefined);
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
});

test('equal keys: the last wins; keys that are no strings become strings', () => {
  assert.deepEqual(plain(decode(bytesOf('82 a161 01 a161 02'))), { a: 2 });
  assert.deepEqual(plain(decode(bytesOf('84 05 01 c3 02 c0 03 cb3ff8000000000000 04'))), { 5: 1, true: 2, null: 3, 1.5: 4 });
});

test('64-bit integers become doubles', () => {
  assert.equal(decode(bytesOf('cf0000018bcfe56800')), 1_700_000_000_000);
  assert.equal(decode(bytesOf('cfffffffffffffffff')), 2 ** 64);
  assert.equal(decode(bytesOf('d3ffffffffffffffff')), -1);
  assert.equal(decode(bytesOf('d38000000000000000')), -(2 ** 63));
});

test('malformed bytes, extension types and records of msgpackr are a BAD_REQUEST', () => {
  for (const bytes of [
    '',
    'c1',
    'a2 61',
    '92 01',
    'c0 c0',
    'd6ff00000000',
    'd4 72 40 91a161 01',
    'd40000',
    'c70cff000000000000000000000000',
    'df ffffffff',
  ]) {
    assert.throws(
      () => decode(bytesOf(bytes)),
      (error) => error instanceof GridError && error.code === 'BAD_REQUEST',
      bytes,
    );
  }
});

test('decoded bytes are a copy, and a part of a frame can be decoded', () => {
  const frame = bytesOf('93 c4020102 05 06');
  const bytes = decode(frame, 1, 5);
  frame.fill(0);
  assert.deepEqual(bytes, Uint8Array.of(1, 2));
});

test('bytes come as bin or as the map that the client makes of them', () => {
  const sent = Uint8Array.from({ length: 12 }, (_, index) => index * 20);
  const asClient = JSON.parse(JSON.stringify({ ...sent }));
  assert.deepEqual(toBytes(decode(encode(sent))), sent);
  assert.deepEqual(toBytes(decode(new Uint8Array(pack(asClient)))), sent);
  assert.deepEqual(toBytes(decode(encodeWild({ 1: 7, 0: 8 }, new Random(1)))), Uint8Array.of(8, 7));
  for (const wrong of [null, 'text', [1], { 1: 5 }, { 0: 256 }, { 0: -1 }, { 0: 1.5 }, { 0: 1, x: 2 }, { length: 2 }]) {
    assert.equal(toBytes(decode(encode(wrong))), undefined, JSON.stringify(wrong));
  }
});

test('text keeps lone surrogates, byte order marks and zeroes', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.nat(0xffff).map((unit) => String.fromCharCode(unit)), maxLength: 60 }), (text) => {
      const bytes = encodeText(text);
      assert.equal(decodeText(bytes, 0, bytes.length), text);
    }),
    { numRuns: 500 },
  );
  for (const text of ['\ud800', 'a\udfff\ufeffb', '\ufeff', '\0', `${'x'.repeat(30)}\ud800😀`]) {
    const bytes = encodeText(text);
    assert.equal(decodeText(bytes, 0, bytes.length), text);
  }
  assert.equal(decodeText(Uint8Array.of(0xff, 0x61), 0, 2), '\ufffda');
});

test('text is read from shared memory, too', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(64));
  shared.set(encodeText('é and thirty bytes of plain text'));
  assert.equal(decodeText(shared, 0, 33), 'é and thirty bytes of plain text');
});
