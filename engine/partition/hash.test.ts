import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { PARTITION_COUNT, fmix32, fnv1a, fnv1aUnit, fnv1aUtf8, fnv1aUtf8From, isUtf8, partitionOf, FNV_OFFSET } from './hash.ts';

/** String, hash, partition, leaf path: docs/PROTOCOL.md §4.1, §4.3. */
const VECTORS: readonly (readonly [string, number, number, string])[] = [
  ['', 2166136261, 199, '811'],
  ['a', 3826002220, 101, 'e40'],
  ['b', 3876335077, 128, 'e70'],
  ['key1', 927623783, 268, '374'],
  ['hello', 1335831723, 95, '4f9'],
  ['user:1', 1830439627, 208, '6d1'],
  ['todo-1', 3550467539, 63, 'd39'],
  ['key:with:colons', 1394041836, 221, '531'],
  ['A very long key name with spaces 1234567890', 2271280452, 184, '876'],
  ['\u00dcn\u00efc\u00f6d\u00e9', 4191047478, 229, 'f9c'],
  ['\u00e9', 1812687940, 105, '6c0'],
  ['e\u0301', 2484688179, 18, '941'],
  ['日本語', 1409693518, 27, '540'],
  ['😀', 3409036472, 102, 'cb3'],
  ['👨\u200d👩\u200d👧', 4192660920, 137, 'f9e'],
  ['\u0000', 84696351, 179, '050'],
  ['\ud800', 75617567, 166, '048'],
];

/** UTF-8 that spells a lone surrogate with three bytes, as the grid keeps it; TextEncoder would replace it. */
function utf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    if (point < 0x80) bytes.push(point);
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), 0x80 | (point & 0x3f));
    else if (point < 0x10000) bytes.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
    else bytes.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 0x3f), 0x80 | ((point >> 6) & 0x3f), 0x80 | (point & 0x3f));
  }
  return Uint8Array.from(bytes);
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 }).map((units) => String.fromCharCode(...units)),
);

/** FNV-1a with each byte as a unit. */
function fnv1aBytes(bytes: readonly number[]): number {
  return fnv1a(String.fromCharCode(...bytes));
}

test('strings hash, fall into partitions and get leaf paths as the client computes them', () => {
  for (const [text, hash, partition, path] of VECTORS) {
    assert.equal(fnv1a(text), hash, JSON.stringify(text));
    assert.equal(partitionOf(fnv1a(text)), partition);
    assert.equal(fnv1a(text).toString(16).padStart(8, '0').slice(0, 3), path);
  }
});

test('the bytes of a key hash like its string', () => {
  for (const [text, hash] of VECTORS) {
    const bytes = utf8(text);
    assert.equal(fnv1aUtf8(bytes, 0, bytes.length), hash, JSON.stringify(text));
  }
});

test('any string, lone surrogates included, hashes alike as units and as UTF-8, wherever it stands in a buffer', () => {
  fc.assert(
    fc.property(anyText, fc.nat(9), fc.nat(9), (text, before, after) => {
      const bytes = utf8(text);
      const buffer = new Uint8Array(before + bytes.length + after).fill(0xe2);
      buffer.set(bytes, before);
      assert.ok(isUtf8(buffer, before, before + bytes.length));
      assert.equal(fnv1aUtf8(buffer, before, before + bytes.length), fnv1a(text));
    }),
    { numRuns: 2000 },
  );
});

test('what TextEncoder writes hashes like the string that it was given', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const bytes = new TextEncoder().encode(text);
      assert.equal(fnv1aUtf8(bytes, 0, bytes.length), fnv1a(text));
    }),
  );
});

test('hashing goes on from a state: the parts of a text hash like the whole', () => {
  fc.assert(
    fc.property(anyText, anyText, (head, tail) => {
      const bytes = utf8(tail);
      const state = fnv1aUnit(fnv1a(head), 0x3a);
      assert.equal(fnv1aUtf8From(state, bytes, 0, bytes.length) >>> 0, fnv1a(`${head}:${tail}`));
    }),
  );
});

test('bytes that are not UTF-8 count as one unit each', () => {
  const invalid: readonly (readonly number[])[] = [
    [0x80],
    [0xff],
    [0x61, 0xc3],
    [0x61, 0x62, 0xc3, 0x28],
    [0xc0, 0xaf],
    [0xc1, 0x81],
    [0xe0, 0x80, 0xaf],
    [0xe2, 0x82],
    [0xf0, 0x80, 0x80, 0xaf],
    [0xf4, 0x90, 0x80, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
    [0xc3, 0xa9, 0xff],
  ];
  for (const bytes of invalid) {
    assert.equal(isUtf8(Uint8Array.from(bytes), 0, bytes.length), false, String(bytes));
    assert.equal(fnv1aUtf8(Uint8Array.from(bytes), 0, bytes.length), fnv1aBytes(bytes), String(bytes));
  }
});

test('bytes are UTF-8 exactly when the decoder of the platform takes them, lone surrogates aside', () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const interesting = fc.constantFrom(
    0x00,
    0x41,
    0x7f,
    0x80,
    0x8f,
    0x90,
    0x9f,
    0xa0,
    0xbf,
    0xc2,
    0xdf,
    0xe0,
    0xe1,
    0xef,
    0xf0,
    0xf4,
    0xf5,
  );
  fc.assert(
    fc.property(fc.array(interesting, { maxLength: 8 }), (list) => {
      const bytes = Uint8Array.from(list);
      let text: string | null = null;
      try {
        text = decoder.decode(bytes);
      } catch (error) {
        assert.ok(error instanceof TypeError);
      }
      assert.equal(isUtf8(bytes, 0, bytes.length), text !== null);
      assert.equal(fnv1aUtf8(bytes, 0, bytes.length), text === null ? fnv1aBytes(list) : fnv1a(text));
    }),
    { numRuns: 3000 },
  );
});

test('the finaliser gives the numbers of the client for single hashes', () => {
  assert.equal(fmix32(0), 0);
  assert.equal(fmix32(1), 1364076727);
  assert.equal(fmix32(100), 4258159850);
  assert.equal(fmix32(4294967295), 2180083513);
  assert.equal(fmix32(2166136261), 2872998923);
});

test('the finaliser reads signed and unsigned hashes alike', () => {
  fc.assert(fc.property(fc.integer(), (hash) => assert.equal(fmix32(hash), fmix32(hash >>> 0))));
});

test('every hash, signed or not, has a partition', () => {
  assert.equal(FNV_OFFSET >>> 0, 2166136261);
  fc.assert(
    fc.property(fc.integer(), (hash) => {
      const partition = partitionOf(hash);
      assert.equal(partition, (hash >>> 0) % 271);
      assert.ok(partition >= 0 && partition < PARTITION_COUNT);
    }),
  );
});
