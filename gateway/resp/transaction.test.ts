import assert from 'node:assert/strict';
import test from 'node:test';
import { OneThreadNode } from '../testing/one-thread-node.ts';
import { settle } from '../testing/policy-node.ts';
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
