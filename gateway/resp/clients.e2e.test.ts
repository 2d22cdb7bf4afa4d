/** The clients that people use, against a real server. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { freePort } from '../testing/redis-server.ts';
import { startGrid, type TestGrid } from '../testing/test-grid.ts';

const PASSWORD = 'a password of the test';

let port = 0;
let node: TestGrid | undefined;

before(async () => {
  port = await freePort();
  node = await startGrid({ respPort: port, respPassword: PASSWORD, workerThreads: 2 });
});

after(async () => {
  await node?.grid.stop();
});

for (const RESP of [2, 3] as const) {
  test(`node-redis connects, speaks RESP${RESP}, and reads what it wrote`, async () => {
    const client = createClient({
      RESP,
      password: PASSWORD,
      name: `test-${RESP}`,
      database: RESP,
      socket: { port, host: '127.0.0.1' },
    });
    client.on('error', () => {});
    await client.connect();
    assert.equal(await client.ping(), 'PONG');
    assert.equal(await client.set('key', 'välue', { expiration: { type: 'EX', value: 100 } }), 'OK');
    assert.equal(await client.get('key'), 'välue');
    assert.equal(await client.get('nothing'), null);
    assert.deepEqual(await Promise.all([client.incr('n'), client.incr('n'), client.incrBy('n', 40)]), [1, 2, 42]);
    assert.equal(await client.hSet(`hash-${RESP}`, { a: '1', b: '{"x":[1,2]}' }), 2);
    assert.deepEqual({ ...(await client.hGetAll(`hash-${RESP}`)) }, { a: '1', b: '{"x":[1,2]}' });
    assert.deepEqual(await client.hmGet(`hash-${RESP}`, ['b', 'nothing', 'a']), ['{"x":[1,2]}', null, '1']);
    assert.equal(await client.clientGetName(), `test-${RESP}`);
    const keys: string[] = [];
    for await (const page of client.scanIterator({ MATCH: 'k*' })) keys.push(...page);
    assert.deepEqual(keys, ['key']);
    await assert.rejects(client.sendCommand(['LPUSH', 'l', 'x']), /unknown command 'LPUSH', with args beginning with: 'l' 'x' /);
    await client.close();
  });
}

test('ioredis passes its ready check, pipelines, and keeps the order of replies', async () => {
  const client = new Redis({ port, host: '127.0.0.1', password: PASSWORD, db: 5, connectionName: 'io' });
  assert.equal(await client.set('k', 'v', 'PX', 100_000), 'OK');
  const pipeline = client.pipeline();
  for (let index = 0; index < 500; index++) pipeline.set(`p${index}`, String(index)).get(`p${index}`);
  const replies = (await pipeline.exec()) ?? [];
  assert.deepEqual(
    replies.filter((_, index) => index % 2 === 1),
    Array.from({ length: 500 }, (_, index) => [null, String(index)]),
  );
  assert.equal(await client.dbsize(), 501);
  assert.equal(await client.del(...Array.from({ length: 500 }, (_, index) => `p${index}`)), 500);
  assert.deepEqual(await client.keys('k*'), ['k']);
  assert.match(String(await client.client('LIST')), /name=io /);
  client.disconnect();
});

test('a client whose connection is ended connects again and goes on', async () => {
  const client = new Redis({ port, host: '127.0.0.1', password: PASSWORD, db: 6 });
  await client.set('k', '1');
  const admin = new Redis({ port, host: '127.0.0.1', password: PASSWORD });
  const id = await client.client('ID');
  await admin.call('CLIENT', 'KILL', 'ID', String(id));
  assert.equal(await client.incr('k'), 2);
  assert.notEqual(await client.client('ID'), id);
  client.disconnect();
  admin.disconnect();
});

test('a wrong password is refused', async () => {
  const client = createClient({ password: 'wrong', socket: { port, host: '127.0.0.1', reconnectStrategy: false } });
  client.on('error', () => {});
  await assert.rejects(client.connect(), /WRONGPASS/);
  client.destroy();
});
