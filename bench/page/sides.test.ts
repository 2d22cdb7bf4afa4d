import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLattice, isRaw } from './sides.ts';

test('forms and pieces of Lattice are told from what they are compared with', () => {
  for (const name of [
    'lattice-told',
    'log-off',
    'log-1024',
    'fsync-10',
    'flushing',
    'alone',
    'fused',
    'w2-g1',
    '10000-keys',
    'ring-1KB',
  ])
    assert.ok(isLattice(name), name);
  for (const name of [
    'raw',
    'raw-joined',
    'replay',
    'pm',
    'postMessage-64B',
    'map',
    'js-map',
    'lmdb-overlap-64',
    'redis-hset',
    'psql',
  ])
    assert.ok(!isLattice(name), name);
  assert.deepEqual(['raw', 'raw-joined', 'lattice', 'redis'].filter(isRaw), ['raw', 'raw-joined']);
});
