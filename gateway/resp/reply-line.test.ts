import assert from 'node:assert/strict';
import test from 'node:test';
import { OneThreadNode } from '../testing/one-thread-node.ts';
import { settle } from '../testing/policy-node.ts';
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

for (const priorities of [false, true])
  test(`what a client says before it goes is done, priorities ${priorities ? 'on' : 'off'}`, async () => {
    const node = await OneThreadNode.create({ takesRedis: true, config: { priorities } });
    const [leaving, wrong, staying] = [0, 1, 2].map(() => new RedisEnd(node, undefined));
    assert.ok(leaving !== undefined && wrong !== undefined && staying !== undefined);
    node.state.setWorkerState(0, 'loading');
    leaving.connection.received(new TextEncoder().encode('SET a 1\r\nQUIT\r\nSET a 2\r\n'));
    wrong.connection.received(new TextEncoder().encode('SET b 1\r\n*x\r\n'));
    assert.deepEqual([leaving.heard(), leaving.isOpen, leaving.connection.openCalls], ['', true, 1]);
    node.state.setWorkerState(0, 'ready');
    node.gateways[0]?.retry();
    await node.pump();
    assert.deepEqual([leaving.heard(), leaving.isOpen, leaving.connection.openCalls], ['+OK\r\n+OK\r\n', false, 0]);
    assert.deepEqual([wrong.heard().slice(0, 10), wrong.isOpen], ['+OK\r\n-ERR ', false]);
    staying.say('MGET', 'a', 'b');
    await node.pump();
    assert.equal(staying.heard(), '*2\r\n$1\r\n1\r\n$1\r\n1\r\n');
  });

test('a connection that is killed while a worker takes nothing leaves nothing to be done', async () => {
  const node = await OneThreadNode.create({ takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  node.state.setWorkerState(0, 'loading');
  redis.say('SET', 'a', '1');
  redis.connection.kill();
  assert.equal(redis.connection.openCalls, 0);
  node.state.setWorkerState(0, 'ready');
  node.gateways[0]?.retry();
  await node.pump();
  assert.equal(redis.heard(), '');
});

test('large replies are not asked for ahead of a client that does not read', async () => {
  const node = await OneThreadNode.create({ ringBytes: 1 << 26, takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  redis.say('SET', 'k', 'x'.repeat(1 << 20));
  await node.pump();
  assert.equal(redis.heard(), '+OK\r\n');
  redis.reads = false;
  const commands = 16;
  for (let command = 0; command < commands; command++) redis.say('GET', 'k');
  await node.pump();
  assert.ok(redis.connection.unreadBytes < 5 << 20, `${redis.connection.unreadBytes} bytes unread`);
  for (let step = 0; step < commands; step++) {
    redis.read();
    await node.pump();
  }
  assert.equal(redis.heard().split('$1048576\r\n').length - 1, commands);
});

test('what was sent behind replies that wait to be written is run when they are', async () => {
  const node = await OneThreadNode.create({ takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  redis.unreadBytes = 2 << 20;
  redis.connection.received(new TextEncoder().encode('PING\r\n'));
  redis.unreadBytes = 0;
  redis.reads = false;
  for (let command = 0; command < 12; command++) redis.say('ECHO', 'x'.repeat(300_000));
  for (let step = 0; step < 12; step++) redis.read();
  assert.equal(redis.heard().split('$300000\r\n').length - 1, 12);
});

test('what a client says of itself is short, and a transaction whose replies are too large says so', async () => {
  const node = await OneThreadNode.create({ takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  const long = 'n'.repeat(257);
  redis.say('CLIENT', 'SETNAME', long);
  redis.say('CLIENT', 'SETINFO', 'lib-name', long);
  redis.say('CLIENT', 'SETINFO', 'lib-ver', long);
  redis.say('HELLO', '2', 'SETNAME', long);
  await node.pump();
  assert.deepEqual(redis.heard().match(/cannot be longer than 256 characters/g)?.length, 4);
  redis.say('CLIENT', 'SETNAME', long.slice(1));
  redis.say('CLIENT', 'SETINFO', 'lib-name', long.slice(1));
  redis.say('CLIENT', 'SETINFO', 'lib-ver', long.slice(1));
  redis.say('MULTI');
  for (let command = 0; command < 42_000; command++) redis.say('CLIENT', 'INFO');
  redis.heard();
  redis.say('EXEC');
  for (let step = 0; step < 3; step++) await node.pump();
  await new Promise((resolve) => setImmediate(resolve));
  const told = redis.heard();
  assert.ok(told.startsWith('*42000\r\n$940\r\n') && told.length < 40 << 20, 'as many as there is room for');
  assert.ok(told.endsWith('-ERR the reply is too large to be told with the transaction\r\n'), 'it was run: the others say so');
  redis.say('PING');
  assert.equal(redis.heard(), '+PONG\r\n');
});

test('what nobody expects ends the connection that it befalls, and no other', async () => {
  const node = await OneThreadNode.create({ takesRedis: true });
  const [faulty, other] = [new RedisEnd(node, undefined), new RedisEnd(node, undefined)];
  other.say('SET', 'a', '1');
  await node.pump();
  Object.defineProperty(faulty.connection, 'name', {
    get: () => {
      throw new RangeError('Invalid string length');
    },
  });
  faulty.connection.received(new TextEncoder().encode('GET a\r\nCLIENT INFO\r\nGET a\r\n'));
  await node.pump();
  assert.deepEqual([faulty.isOpen, faulty.connection.isClosing], [false, true]);
  other.heard();
  other.say('GET', 'a');
  await node.pump();
  assert.equal(other.heard(), '$1\r\n1\r\n');
});

test('what a transaction publishes to its own connection follows the reply of EXEC', async () => {
  const node = await OneThreadNode.create({ takesRedis: true });
  const redis = new RedisEnd(node, undefined);
  redis.say('HELLO', '3');
  for (const words of [['MULTI'], ['SUBSCRIBE', 'a'], ['PUBLISH', 'a', 'x'], ['PING']]) redis.say(...words);
  await settle(node);
  redis.heard();
  redis.say('EXEC');
  for (let step = 0; step < 4; step++) await settle(node);
  const message = '>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n';
  assert.equal(redis.heard(), `*3\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n:1\r\n+PONG\r\n${message}`);
  redis.say('PUBLISH', 'a', 'x');
  await settle(node);
  assert.ok(redis.heard().includes(message));
});
