import assert from 'node:assert/strict';
import test from 'node:test';
import { KvUnderTest } from '../testing/kv-under-test.ts';

test('patterns that are held against all keys may not be longer than 4 KiB', () => {
  const kv = new KvUnderTest();
  kv.run('SET', 'k', '1');
  kv.run('HSET', 'h', 'f', '1');
  const [most, tooLong] = [`*[${'k'.repeat(4093)}]`, `*[${'k'.repeat(4094)}]`];
  assert.equal(kv.run('KEYS', most), '*1\r\n$1\r\nk\r\n');
  const refused = [
    ['KEYS', tooLong],
    ['SCAN', '0', 'MATCH', tooLong],
    ['HSCAN', 'h', '0', 'MATCH', tooLong],
  ];
  for (const words of refused) assert.equal(kv.run(...words), '-ERR the pattern is longer than 4096 bytes\r\n', words[0]);
});
