import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { KvUnderTest } from '../testing/kv-under-test.ts';

const LARGE_BYTES = 4 << 20;

const OPERATIONS = {
  AND: (left: number, right: number): number => left & right,
  OR: (left: number, right: number): number => left | right,
  XOR: (left: number, right: number): number => left ^ right,
};

test('BITOP makes of its sources, however often one is named, what byte by byte is made of them', () => {
  const lengths = fc.array(fc.oneof(fc.uint8Array({ maxLength: 9 }), fc.uint8Array({ minLength: 16_380, maxLength: 16_390 })), {
    minLength: 1,
    maxLength: 4,
  });
  const named = fc.array(fc.nat(4), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.constantFrom('AND', 'OR', 'XOR'), lengths, named, (name, values, indexes) => {
      const kv = new KvUnderTest();
      for (const [index, value] of values.entries()) kv.run('SET', `k${index}`, value);
      const sources = indexes.map((index) => values[index] ?? new Uint8Array(0));
      const size = Math.max(...sources.map(({ length }) => length));
      const expected = Buffer.alloc(size);
      for (let at = 0; at < size; at++) expected[at] = sources.map((source) => source[at] ?? 0).reduce(OPERATIONS[name]);
      assert.equal(kv.run('BITOP', name, 'to', ...indexes.map((index) => `k${index}`)), `:${size}\r\n`);
      const told = size === 0 ? '$-1\r\n' : `$${size}\r\n${expected.toString('latin1')}\r\n`;
      assert.ok(kv.run('GET', 'to') === told);
    }),
    { numRuns: 200 },
  );
});

test('BITOP NOT turns every bit of a value of any length', () => {
  const kv = new KvUnderTest();
  for (const length of [1, 3, 4, 16_384, 16_387]) {
    kv.run('SET', 'k', new Uint8Array(length).fill(0x0f));
    assert.equal(kv.run('BITOP', 'NOT', 'to', 'k'), `:${length}\r\n`);
    assert.equal(kv.run('BITCOUNT', 'to'), `:${length * 4}\r\n`);
    assert.equal(kv.run('BITCOUNT', 'k'), `:${length * 4}\r\n`);
  }
});

test('a large key that BITOP names a thousand times is read once', () => {
  const kv = new KvUnderTest();
  kv.run('SETRANGE', 'large', LARGE_BYTES - 1, 'x');
  for (const name of Object.keys(OPERATIONS)) {
    // a look at each of a thousand values takes minutes, and a copy of each all memory
    assert.equal(kv.run('BITOP', name, 'to', ...new Array<string>(1000).fill('large')), `:${LARGE_BYTES}\r\n`);
  }
});

test('BITOP refuses sources that are too much together, and writes nothing', () => {
  const kv = new KvUnderTest();
  const keys = Array.from({ length: 17 }, (_, index) => `large:${index}`);
  for (const key of keys) kv.run('SETRANGE', key, LARGE_BYTES - 1, 'x');
  assert.match(kv.run('BITOP', 'OR', 'to', ...keys), /^-ERR the sources of BITOP are longer than 64 MiB/);
  assert.equal(kv.run('EXISTS', 'to'), ':0\r\n');
  assert.equal(kv.run('BITOP', 'OR', 'to', ...keys.slice(1)), `:${LARGE_BYTES}\r\n`);
});
