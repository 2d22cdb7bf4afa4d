/** The clients that people use, against a real server. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { freePort, isRedisInstalled } from '../testing/redis-server.ts';
import { encodeCommand } from '../testing/resp-client.ts';
import { startGrid, type TestGrid } from '../testing/test-grid.ts';

const run = promisify(execFile);
const without = !isRedisInstalled() && 'no tools of Redis on PATH';
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

test('transactions of node-redis and ioredis come back as one', async () => {
  const node = createClient({ RESP: 3, password: PASSWORD, socket: { port, host: '127.0.0.1' } });
  node.on('error', () => {});
  await node.connect();
  assert.deepEqual(await node.multi().set('{t}a', '1').incr('{t}a').get('{t}a').ping().exec(), ['OK', 2, '2', 'PONG']);
  await node.watch('{t}a');
  const other = new Redis({ port, host: '127.0.0.1', password: PASSWORD });
  assert.equal(await other.set('{t}a', 'changed'), 'OK');
  await assert.rejects(node.multi().set('{t}a', 'mine').exec(), /watched keys/);
  assert.deepEqual(await other.multi().get('{t}a').strlen('{t}a').exec(), [
    [null, 'changed'],
    [null, 7],
  ]);
  await node.close();
  other.disconnect();
});

/** Runs redis-cli; `input` is what is typed. */
async function cli(args: readonly string[], input?: string | Buffer): Promise<string> {
  const connected = ['-p', String(port), '-a', PASSWORD, '--no-auth-warning', ...args];
  const running = run('redis-cli', connected, { encoding: 'utf8', timeout: 20_000 });
  running.child.stdin?.end(input);
  return (await running).stdout;
}

test('redis-cli asks one thing, many things, in both protocols, scans, and loads a pipe', { skip: without }, async () => {
  assert.equal(await cli(['-n', '9', 'SET', 'cli', 'a b']), 'OK\n');
  assert.equal(await cli(['-n', '9', '-3', 'GET', 'cli']), 'a b\n');
  assert.equal(
    await cli(['-n', '9'], 'incr n\nincr n\nget n\nnosuch\n'),
    "1\n2\n2\nERR unknown command 'nosuch', with args beginning with: \n\n",
  );
  assert.equal(await cli(['-3', 'HSET', 'cli:hash', 'f', 'v']), '1\n');
  assert.match(await cli(['INFO', 'server']), /redis_version:7/);
  const commands = Array.from({ length: 1000 }, (_, index) => encodeCommand(['SET', `pipe:${index}`, String(index)]));
  assert.match(await cli(['-n', '9', '--pipe'], Buffer.concat(commands)), /errors: 0, replies: 1000/);
  const keys = (await cli(['-n', '9', '--scan', '--pattern', 'pipe:99?'])).trim().split('\n');
  assert.deepEqual(
    keys.sort(),
    Array.from({ length: 10 }, (_, index) => `pipe:99${index}`),
  );
  assert.match(await cli(['-n', '9', '--bigkeys']), /Biggest string found .*has \d+ bytes/);
});

test('redis-benchmark runs, with and without pipelines', { skip: without }, async () => {
  for (const pipeline of ['1', '16']) {
    const words = [
      '-p',
      String(port),
      '-a',
      PASSWORD,
      '-t',
      'ping,set,get,incr,hset',
      '-n',
      '2000',
      '-r',
      '100',
      '-P',
      pipeline,
      '--csv',
    ];
    const { stdout } = await run('redis-benchmark', words, { encoding: 'utf8', timeout: 30_000 });
    for (const name of ['PING_INLINE', 'PING_MBULK', 'SET', 'GET', 'INCR', 'HSET']) {
      const line = stdout.split('\n').find((text) => text.startsWith(`"${name}"`)) ?? '';
      assert.ok(Number(line.split(',')[1]?.replaceAll('"', '')) > 0, `${name}: ${stdout}`);
    }
  }
});
