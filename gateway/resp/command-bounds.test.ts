import assert from 'node:assert/strict';
import test from 'node:test';
import { OneThreadNode } from '../testing/one-thread-node.ts';
import { settle } from '../testing/policy-node.ts';
import { RedisEnd } from '../testing/subject-doors.ts';

test('names and patterns beyond what anybody needs are refused before they are looked at', async () => {
  const node = await OneThreadNode.create({ takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  const many = (count: number): string[] => Array.from<string>({ length: count }).fill('a');
  const long = '*'.repeat(4097);
  for (const [command, error] of [
    [['SUBSCRIBE', ...many(10_001)], 'at most 10000 channels'],
    [['UNSUBSCRIBE', ...many(10_001)], 'at most 10000 channels'],
    [['PUBSUB', 'NUMSUB', ...many(10_001)], 'at most 10000 channels'],
    [['CONFIG', 'GET', ...many(101)], 'at most 100 patterns'],
    [['CONFIG', 'GET', long], 'at most 4096 bytes'],
    [['COMMAND', 'LIST', 'FILTERBY', 'PATTERN', long], 'at most 4096 bytes'],
    [['COMMAND', 'INFO', ...many(1001)], 'at most 1000 commands'],
  ] as const) {
    redis.say(...command);
    assert.ok(redis.heard().includes(error), error);
  }
});

test('a connection has a share of the patterns that a server may have', async () => {
  const node = await OneThreadNode.create({ takesRedis: true, config: { topicsPerSession: 1000 } });
  const redis = new RedisEnd(node, undefined);
  redis.say('PSUBSCRIBE', ...Array.from({ length: 102 }, (_, index) => `p${index}*`));
  await settle(node);
  const heard = redis.heard();
  assert.equal(heard.split('psubscribe').length - 1, 100);
  assert.equal(heard.split('-TRYAGAIN OVERLOADED a connection has at most 100 patterns\r\n').length - 1, 2);
  redis.say('SUBSCRIBE', 'a');
  await settle(node);
  assert.match(redis.heard(), /subscribe\r\n\$1\r\na\r\n:101/);
});
