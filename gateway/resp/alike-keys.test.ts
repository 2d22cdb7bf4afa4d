/** Keys that were made to have one hash, at the doors: each refuses the same number of them. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { fnv1a, partitionOf } from '../../engine/partition/hash.ts';
import { alikeKeys } from '../../engine/partition/testing/alike-keys.ts';
import { ALIKE_MAX } from '../../engine/storage/record-store.ts';
import { OneThreadNode } from '../testing/one-thread-node.ts';
import { RedisEnd } from '../testing/subject-doors.ts';

const keys = alikeKeys(8);
const ownerOf = (node: OneThreadNode, key: string): number => node.table.ownerOf(partitionOf(fnv1a(key)));

async function answer(node: OneThreadNode, redis: RedisEnd, ...words: string[]): Promise<string> {
  redis.say(...words);
  for (let step = 0; step < 4; step++) {
    await node.pump();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return redis.heard();
}

test('commands of one worker and acts over several take so many new keys with one hash, and no more', async () => {
  const node = await OneThreadNode.create({ workers: 2, takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  const far = Array.from({ length: 100 }, (_, n) => `far${n}`).find((key) => ownerOf(node, key) !== ownerOf(node, keys[0] ?? ''));
  assert.ok(far !== undefined);
  const pairs = (of: readonly string[]): string[] => [...of, far].flatMap((key) => [key, '1']);
  assert.match(await answer(node, redis, 'MSET', ...pairs(keys)), /^-ERR KEYS_ALIKE /);
  assert.equal(await answer(node, redis, 'EXISTS', ...keys, far), ':0\r\n');
  assert.equal(await answer(node, redis, 'MSET', ...pairs(keys.slice(0, ALIKE_MAX - 1))), '+OK\r\n');
  assert.equal(await answer(node, redis, 'SET', keys[ALIKE_MAX - 1] ?? '', '1'), '+OK\r\n');
  assert.match(await answer(node, redis, 'SET', keys[ALIKE_MAX] ?? '', '1'), /^-ERR KEYS_ALIKE /);
  assert.match(await answer(node, redis, 'MSET', ...pairs([keys[ALIKE_MAX] ?? ''])), /^-ERR KEYS_ALIKE /);
  assert.equal(await answer(node, redis, 'INCR', keys[0] ?? ''), ':2\r\n');
});

test('a command of one worker that writes several such keys writes all of them or none', async () => {
  const node = await OneThreadNode.create({ takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  const pairs = (of: readonly string[]): string[] => of.flatMap((key) => [key, '1']);
  const many = [...keys, ...keys];
  for (const name of ['MSET', 'MSETNX']) assert.match(await answer(node, redis, name, ...pairs(many)), /^-ERR KEYS_ALIKE /);
  assert.match(await answer(node, redis, 'HSET', 'map', ...pairs(keys)), /^-ERR KEYS_ALIKE /);
  assert.equal(await answer(node, redis, 'EXISTS', ...keys, 'map'), ':0\r\n');
  const few = keys.slice(0, ALIKE_MAX);
  assert.equal(await answer(node, redis, 'MSETNX', ...pairs([...few, ...few])), ':1\r\n');
  assert.equal(await answer(node, redis, 'HSET', 'map', ...pairs([...few, ...few])), `:${ALIKE_MAX}\r\n`);
  assert.equal(await answer(node, redis, 'MSET', ...pairs([...few, 'another'])), '+OK\r\n');
  assert.match(await answer(node, redis, 'MSET', 'third', '1', keys[ALIKE_MAX] ?? '', '1'), /^-ERR KEYS_ALIKE /);
  assert.equal(await answer(node, redis, 'EXISTS', 'third', 'another'), ':1\r\n');
});
