import assert from 'node:assert/strict';
import test from 'node:test';
import { OneThreadNode } from '../testing/one-thread-node.ts';
import { RedisEnd } from '../testing/subject-doors.ts';

for (const priorities of [false, true])
  test(`commands that find no room again and again are all answered, priorities ${priorities ? 'on' : 'off'}`, async () => {
    const node = await OneThreadNode.create({ ringBytes: 1 << 16, takesRedis: true, config: { priorities } });
    const redis = new RedisEnd(node, undefined);
    const value = 'x'.repeat(100_000);
    const commands = 20;
    for (let command = 0; command < commands; command++) redis.say('SET', `k${command}`, value);
    for (let step = 0; step < commands; step++) await node.pump();
    assert.equal(redis.heard(), '+OK\r\n'.repeat(commands));
    redis.say('STRLEN', `k${commands - 1}`);
    await node.pump();
    assert.equal(redis.heard(), ':100000\r\n');
  });
