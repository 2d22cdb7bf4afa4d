import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { KvUnderTest } from '../testing/kv-under-test.ts';

test('the length that LCS tells is that of what it finds', () => {
  const kv = new KvUnderTest();
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  fc.assert(
    fc.property(text, text, (left, right) => {
      kv.run('MSET', 'left', left, 'right', right);
      const [, found = ''] = kv.run('LCS', 'left', 'right').split('\r\n');
      assert.equal(kv.run('LCS', 'left', 'right', 'LEN'), `:${found.length}\r\n`);
    }),
  );
});
