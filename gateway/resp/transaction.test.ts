import assert from 'node:assert/strict';
import test from 'node:test';
import { OneThreadNode } from '../testing/one-thread-node.ts';
import { define, newNode, settle } from '../testing/policy-node.ts';
import { RedisEnd } from '../testing/subject-doors.ts';

test('more keys than may be watched are refused before any worker is asked', async () => {
  const node = await OneThreadNode.create({ workers: 2, takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  const keys = Array.from({ length: 6000 }, (_, index) => `k${index}`);
  redis.say('WATCH', ...keys);
  await settle(node);
  assert.equal(redis.heard(), '+OK\r\n');
  redis.say('WATCH', ...keys);
  assert.equal(redis.heard(), '-ERR too many keys are watched\r\n');
  redis.say('UNWATCH');
  for (const letter of ['a', 'b', 'c']) redis.say('WATCH', letter.repeat(6 << 20));
  for (let step = 0; step < 2; step++) await settle(node);
  assert.equal(redis.heard(), '+OK\r\n+OK\r\n+OK\r\n-ERR too many keys are watched\r\n', 'their names count, too');
});

test('who may not read a map is not told by WATCH that somebody writes into it', async () => {
  const node = await newNode(true);
  define(node, [{ id: 'own', pattern: 'db0', actions: ['read', 'write'], effect: 'allow', subjects: ['eve'] }], 1);
  const principalOf = (id: string) => ({ id, roles: [], claims: new Map(), expiresSeconds: 4_000_000_000 });
  const [eve, root] = [new RedisEnd(node, principalOf('eve')), new RedisEnd(node, principalOf('root'))];
  const answer = async (redis: RedisEnd, ...words: string[]): Promise<string> => {
    redis.say(...words);
    let heard = '';
    for (let step = 0; step < 20 && heard === ''; step++) {
      await settle(node);
      heard = redis.heard();
    }
    return heard;
  };
  assert.equal(await answer(eve, 'WATCH', 'later', 'plain'), '+OK\r\n', 'no map has that name');
  assert.equal(await answer(root, 'HSET', 'secret', 'a', '1'), ':1\r\n');
  assert.equal(await answer(eve, 'WATCH', 'plain', 'secret'), `-${NOT_ALLOWED.replace('later', 'secret')}\r\n`);
  assert.equal(await answer(root, 'WATCH', 'secret'), '+OK\r\n');
  assert.equal(await answer(root, 'HSET', 'later', 'a', '1'), ':1\r\n');
  assert.equal(await answer(eve, 'MULTI'), '+OK\r\n');
  assert.equal(await answer(eve, 'SET', 'k', '1'), '+QUEUED\r\n');
  assert.equal(await answer(eve, 'EXEC'), `-${NOT_ALLOWED.replace('watch', 'exec')}\r\n`, 'one has now');
});

const NOT_ALLOWED = "NOPERM this user has no permissions to run the 'watch' command on the map 'later'";

test('a queued command costs more than its bytes', async () => {
  const node = await OneThreadNode.create({ takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  redis.connection.received(new TextEncoder().encode(`MULTI\r\n${'PING\r\n'.repeat(60_000)}`));
  const replies = redis.heard().split('\r\n');
  const queued = replies.filter((reply) => reply === '+QUEUED').length;
  assert.ok(queued > 50_000 && queued < 56_000, `${queued} are queued`);
  assert.equal(replies.at(-2), '-ERR the transaction is too large');
});
