import assert from 'node:assert/strict';
import test from 'node:test';
import type { SpaceKey } from '../../engine/domains/kv/touched-keys.ts';
import { KnownHashes } from './known-hashes.ts';

const key = (space: string, name: string): SpaceKey => ({ space: Buffer.from(space), key: Buffer.from(name) });

test('a name is known in its database until it is forgotten', () => {
  const known = new KnownHashes(10);
  known.add(key('db0', 'h'));
  assert.equal(known.has(key('db0', 'h')), true);
  assert.equal(known.has(key('db1', 'h')), false);
  known.forget([key('db1', 'h'), key('db0', 'h')]);
  assert.equal(known.has(key('db0', 'h')), false);
  known.add(key('db0', 'h'));
  known.forgetAll();
  assert.equal(known.has(key('db0', 'h')), false);
});

test('of more names than there is room for the oldest are forgotten', () => {
  const known = new KnownHashes(2);
  for (const name of ['a', 'b', 'c']) known.add(key('db0', name));
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => known.has(key('db0', name))),
    [false, true, true],
  );
});
