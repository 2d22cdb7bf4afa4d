/** The door as its clients see it: bytes in, bytes out, over a real socket. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { after, before, test } from 'node:test';
import { freePort } from '../testing/redis-server.ts';
import { RespClient } from '../testing/resp-client.ts';
import { put } from '../testing/wire-ops.ts';
import { WireSession } from '../testing/wire-session.ts';
import { eventually, metricOf, startGrid, type TestGrid } from '../testing/test-grid.ts';

const SECRET = 'a secret of the test, long enough for HS256';

interface Node {
  readonly node: TestGrid;
  readonly port: number;
}
let open: Node;
let guarded: Node;

before(async () => {
  const [openPort, guardedPort] = [await freePort(), await freePort()];
  open = { node: await startGrid({ respPort: openPort, workerThreads: 2 }), port: openPort };
  const overrides = { respPort: guardedPort, jwtSecret: SECRET, respPassword: 'secret', idleTimeoutMs: 1000 };
  guarded = { node: await startGrid(overrides), port: guardedPort };
});

after(async () => {
  await open.node.grid.stop();
  await guarded.node.grid.stop();
});

async function withClient(port: number, use: (client: RespClient) => Promise<void>): Promise<void> {
  const client = await RespClient.open(port);
  try {
    await use(client);
  } finally {
    client.close();
  }
}

function token(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ exp: Math.floor(Date.now() / 1000) + 60, ...claims })}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

test('replies that are too large to be sent in one go are errors, and the others are as they would be', () =>
  withClient(open.port, async (client) => {
    const tooLarge = '-ERR the replies to what was sent in one go are too large: read some, then send the rest\r\n';
    const value = 'x'.repeat((4 << 20) - 100);
    const all = Array.from({ length: 17 }, () => 'large');
    await client.command('SET', 'large', value);
    assert.equal(await client.text('MGET', ...all), tooLarge);
    assert.equal((await client.text('MGET', ...all.slice(0, 10))).length, 10 * value.length + 10 * 12 + 5);
    assert.equal(await client.text('MULTI'), '+OK\r\n');
    for (const command of [
      ['MGET', ...all],
      ['STRLEN', 'large'],
      ['GET', 'large'],
    ])
      await client.command(...command);
    assert.equal(await client.text('EXEC'), `*3\r\n${tooLarge}:${value.length}\r\n$${value.length}\r\n${value}\r\n`);
    await client.command('DEL', 'large');
  }));

test('errors have the texts of Redis', () =>
  withClient(open.port, async (client) => {
    const cases: [string[], string][] = [
      [['FOO', 'bar', 'baz'], "-ERR unknown command 'FOO', with args beginning with: 'bar' 'baz' \r\n"],
      [['GET'], "-ERR wrong number of arguments for 'get' command\r\n"],
      [['CLIENT', 'FOO'], "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.\r\n"],
      [['CLIENT', 'SETNAME'], "-ERR wrong number of arguments for 'client|setname' command\r\n"],
      [['SELECT', '16'], '-ERR DB index is out of range\r\n'],
      [['SELECT', 'x'], '-ERR value is not an integer or out of range\r\n'],
      [['HELLO', '4'], '-NOPROTO unsupported protocol version\r\n'],
      [['HELLO', 'abc'], '-ERR Protocol version is not an integer or out of range\r\n'],
      [['HELLO', '3', 'FOO'], "-ERR Syntax error in HELLO option 'FOO'\r\n"],
      [
        ['AUTH', 'x'],
        '-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n',
      ],
      [['CONFIG', 'SET', 'x', 'y'], "-ERR Unknown option or number of arguments for CONFIG SET - 'x'\r\n"],
      [['CONFIG', 'GET', 'nothing'], '*0\r\n'],
      [['PING', 'a', 'b'], "-ERR wrong number of arguments for 'ping' command\r\n"],
      [['CLIENT', 'SETNAME', 'a b'], '-ERR Client names cannot contain spaces, newlines or special characters.\r\n'],
      [['FUNCTION', 'FLUSH'], '+OK\r\n'],
      [['FUNCTION', 'FLUSH', 'x'], '-ERR FUNCTION FLUSH only supports SYNC|ASYNC option\r\n'],
      [['OBJECT', 'FOO', 'k'], "-ERR unknown subcommand 'FOO'. Try OBJECT HELP.\r\n"],
      [['OBJECT', 'ENCODING'], "-ERR wrong number of arguments for 'object|encoding' command\r\n"],
      [['MEMORY', 'USAGE'], "-ERR wrong number of arguments for 'memory|usage' command\r\n"],
      [['COMMAND', 'COUNT', 'x'], "-ERR wrong number of arguments for 'command|count' command\r\n"],
      [['COMMAND', 'INFO', 'nosuch'], '*1\r\n$-1\r\n'],
      [['SLOWLOG', 'GET', 'x'], '-ERR count should be greater than or equal to -1\r\n'],
      [['SLOWLOG', 'FOO'], "-ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.\r\n"],
      [['LATENCY', 'HISTORY'], "-ERR wrong number of arguments for 'latency|history' command\r\n"],
      [
        ['CONFIG', 'SET', 'slowlog-max-len', 'x'],
        "-ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - argument couldn't be parsed into an integer\r\n",
      ],
      [
        ['CONFIG', 'SET', 'slowlog-max-len', '5', 'slowlog-max-len', '6'],
        "-ERR CONFIG SET failed (possibly related to argument 'slowlog-max-len') - duplicate parameter\r\n",
      ],
      [['WAIT', '0', '0'], ':0\r\n'],
      [['WAIT', '0', 'x'], '-ERR timeout is not an integer or out of range\r\n'],
      [['WAITAOF', '1', '0', '0'], '-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n'],
      [['WAITAOF', '2', '0', '0'], '-ERR value is out of range, value must between 0 and 1\r\n'],
      [['SHUTDOWN', 'ABORT'], '-ERR No shutdown in progress.\r\n'],
    ];
    for (const [words, reply] of cases) assert.equal(await client.text(...words), reply, words.join(' '));
  }));

test('what breaks the protocol is told once, and ends the connection', async () => {
  const cases: [string, string][] = [
    ['*1\r\nfoo\r\n', "-ERR Protocol error: expected '$', got 'f'\r\n"],
    ['*x\r\n', '-ERR Protocol error: invalid multibulk length\r\n'],
    ['*1\r\n$-5\r\n', '-ERR Protocol error: invalid bulk length\r\n'],
    ['get "x\r\n', '-ERR Protocol error: unbalanced quotes in request\r\n'],
    [`${'x'.repeat(70_000)}`, '-ERR Protocol error: too big inline request\r\n'],
  ];
  for (const [stream, reply] of cases) {
    await withClient(open.port, async (client) => {
      client.send(stream);
      assert.equal((await client.reply()).toString(), reply);
      await client.ended();
    });
  }
});

test('a line of HTTP ends the connection without a word', async () => {
  for (const line of ['POST / HTTP/1.1\r\n', 'Host: localhost\r\n']) {
    await withClient(open.port, async (client) => {
      client.send(line);
      await assert.rejects(client.reply());
    });
  }
});

test('QUIT is answered, and what follows it is not run', () =>
  withClient(open.port, async (client) => {
    client.send('SET quit 1\r\nQUIT\r\nSET quit 2\r\n');
    assert.equal((await client.reply()).toString(), '+OK\r\n');
    assert.equal((await client.reply()).toString(), '+OK\r\n');
    await client.ended();
    await withClient(open.port, async (other) => assert.equal(await other.text('GET', 'quit'), '$1\r\n1\r\n'));
  }));

test('typed lines and pipelines of any mixture are answered in order', () =>
  withClient(open.port, async (client) => {
    const lines: string[] = [];
    const expected: string[] = [];
    for (let index = 0; index < 2000; index++) {
      lines.push(`SET order:${index % 50} ${index}\r\nGET order:${index % 50}\r\nPING ${index}\r\nMGET order:${index % 50}\r\n`);
      expected.push('+OK\r\n', `$${String(index).length}\r\n${index}\r\n`, `$${String(index).length}\r\n${index}\r\n`);
      expected.push(`*1\r\n$${String(index).length}\r\n${index}\r\n`);
    }
    client.send(lines.join(''));
    for (const reply of expected) assert.equal((await client.reply()).toString(), reply);
  }));

test('before AUTH nothing but AUTH is answered; a password or a token opens the door', () =>
  withClient(guarded.port, async (client) => {
    assert.equal(await client.text('GET', 'k'), '-NOAUTH Authentication required.\r\n');
    assert.equal(await client.text('PING'), '-NOAUTH Authentication required.\r\n');
    assert.match(await client.text('HELLO', '3'), /^-NOAUTH HELLO must be called/);
    const wrong = '-WRONGPASS invalid username-password pair or user is disabled.\r\n';
    assert.equal(await client.text('AUTH', 'wrong'), wrong);
    assert.equal(await client.text('AUTH', token({ sub: 'ada' }).slice(0, -2)), wrong);
    assert.equal(await client.text('AUTH', 'eve', token({ sub: 'ada' })), wrong);
    assert.equal(await client.text('AUTH', token({ sub: 'ada' })), '+OK\r\n');
    assert.match(await client.text('CLIENT', 'INFO'), / user=ada /);
    assert.equal(await client.text('SHUTDOWN'), "-NOPERM this user has no permissions to run the 'shutdown' command\r\n");
    assert.equal(await client.text('RESET'), '+RESET\r\n');
    assert.equal(await client.text('GET', 'k'), '-NOAUTH Authentication required.\r\n');
    assert.match(await client.text('HELLO', '3', 'AUTH', 'default', 'secret'), /^%7\r\n/);
    assert.equal(await client.text('GET', 'k'), '_\r\n');
  }));

test('who has not authenticated may not send much', () =>
  withClient(guarded.port, async (client) => {
    client.send('*2\r\n$4\r\nAUTH\r\n$100000\r\n');
    assert.equal((await client.reply()).toString(), '-ERR Protocol error: unauthenticated bulk length\r\n');
    await client.ended();
  }));

test('the end of a token is the end of what it allowed', () =>
  withClient(guarded.port, async (client) => {
    const exp = Math.floor(Date.now() / 1000) + 1;
    assert.equal(await client.text('AUTH', token({ sub: 'ada', exp })), '+OK\r\n');
    await eventually(async () => assert.equal(await client.text('GET', 'k'), '-NOAUTH Authentication required.\r\n'));
  }));

test('CLIENT REPLY turns replies off and on, and skips one', () =>
  withClient(open.port, async (client) => {
    client.send('CLIENT REPLY OFF\r\nPING 1\r\nGET k\r\nCLIENT REPLY ON\r\nPING 2\r\nCLIENT REPLY SKIP\r\nPING 3\r\nPING 4\r\n');
    for (const reply of ['+OK\r\n', '$1\r\n2\r\n', '$1\r\n4\r\n']) assert.equal((await client.reply()).toString(), reply);
  }));

test('a client that does not read costs no more than a bound, and is closed when it has not read for long', () =>
  withClient(guarded.port, async (client) => {
    await client.command('AUTH', 'secret');
    await client.command('CLIENT', 'SETNAME', 'sleeper');
    await client.command('SET', 'big', 'x'.repeat(1 << 20));
    client.pause();
    for (let index = 0; index < 300; index++) client.send('GET big\r\n');
    await withClient(guarded.port, async (other) => {
      await other.command('AUTH', 'secret');
      let mostBytes = 0;
      await eventually(async () => {
        const list = await other.text('CLIENT', 'LIST');
        const [, omem] = /name=sleeper .*omem=(\d+)/.exec(list) ?? [];
        mostBytes = Math.max(mostBytes, Number(omem ?? 0));
        assert.equal(omem, undefined, 'it is gone');
      });
      assert.ok(mostBytes > 0 && mostBytes < 40 << 20, `${mostBytes} bytes waited for one client`);
      assert.equal(await other.text('PING'), '+PONG\r\n');
    });
  }));

test('large replies in one pipeline arrive whole, or are refused before they are run', () =>
  withClient(open.port, async (client) => {
    await client.command('SET', 'large', 'x'.repeat(4 << 20));
    client.send('GET large\r\n'.repeat(20));
    const replies: number[] = [];
    for (let index = 0; index < 20; index++) {
      const reply = await client.reply();
      replies.push(reply.length);
      assert.ok(reply.length === (4 << 20) + 12 || reply.toString().startsWith('-ERR the replies'), `${reply.length} bytes`);
    }
    assert.ok(replies.filter((bytes) => bytes > 4 << 20).length >= 8);
    assert.equal(await client.text('DEL', 'large'), ':1\r\n');
  }));

test('SCAN and HSCAN over several workers tell all keys once each while nothing changes', () =>
  withClient(open.port, async (client) => {
    const names = Array.from({ length: 300 }, (_, index) => `scan:${index}`);
    await client.command('SELECT', '7');
    await client.command('MSET', ...names.slice(0, 1).flatMap((name) => [name, 'v']));
    for (const name of names) {
      await client.command('SET', name, 'v');
      await client.command('HSET', 'scanned', name, 'v');
    }
    for (const [command, step] of [
      [['SCAN'], 1],
      [['HSCAN', 'scanned'], 2],
    ] as const) {
      const seen: string[] = [];
      let cursor = '0';
      do {
        const reply = (await client.text(...command, cursor, 'COUNT', '17', 'MATCH', 'scan:*')).split('\r\n');
        cursor = reply[2] ?? '0';
        for (let index = 5; index < reply.length; index += 2 * step)
          if (reply[index] !== undefined && reply[index] !== '') seen.push(reply[index] ?? '');
      } while (cursor !== '0');
      assert.deepEqual(seen.sort(), [...names].sort(), command.join(' '));
    }
    assert.equal(await client.text('DBSIZE'), ':300\r\n');
    assert.equal(await client.text('HLEN', 'scanned'), ':300\r\n');
    assert.equal(await client.text('FLUSHDB'), '+OK\r\n');
    assert.equal(await client.text('DBSIZE'), ':0\r\n');
  }));

test('INFO has the sections that clients look for, COMMAND knows every command', () =>
  withClient(open.port, async (client) => {
    const info = await client.text('INFO');
    for (const line of ['# Server', 'redis_version:', 'loading:0', 'role:master', '# Keyspace', 'connected_clients:'])
      assert.ok(info.includes(line), line);
    const count = Number((await client.text('COMMAND', 'COUNT')).slice(1));
    assert.equal((await client.text('COMMAND', 'LIST')).split('\r\n')[0], `*${count}`);
    assert.match(await client.text('COMMAND', 'INFO', 'get', 'nothing'), /^\*2\r\n\*10\r\n\$3\r\nget\r\n:2\r\n/);
    assert.equal(await client.text('COMMAND', 'GETKEYS', 'MSET', 'a', '1', 'b', '2'), '*2\r\n$1\r\na\r\n$1\r\nb\r\n');
    assert.ok((await metricOf(open.node.port, 'lattice_resp_commands_total')) >= 0);
  }));

test('a hash is a key at every worker, wherever its fields are', () =>
  withClient(open.port, async (client) => {
    for (let index = 0; index < 12; index++) {
      const name = `part:${index}`;
      assert.equal(await client.text('HSET', name, `field:${index * 7}`, 'v'), ':1\r\n');
      assert.equal(await client.text('TYPE', name), '+hash\r\n', name);
      assert.equal(await client.text('EXISTS', name), ':1\r\n', name);
      assert.equal(await client.text('EXISTS', name, name), ':2\r\n', name);
      for (let field = 0; field < 10; field++) await client.command('HSET', name, `more:${field}`, 'v');
      assert.equal(await client.text('DEL', name), ':1\r\n', name);
      assert.equal(await client.text('HLEN', name), ':0\r\n', name);
      assert.equal(await client.text('TYPE', name), '+none\r\n', name);
      assert.equal(await client.text('UNLINK', name), ':0\r\n', name);
      assert.equal(await client.text('SET', name, 'a string'), '+OK\r\n');
      assert.equal(await client.text('TYPE', name), '+string\r\n');
      assert.equal(await client.text('DEL', name), ':1\r\n');
    }
  }));

test('a map of a WebSocket client is a hash, also when this door has made none', async () => {
  const port = await freePort();
  const node = await startGrid({ respPort: port, workerThreads: 3 });
  try {
    const session = await WireSession.open({ port: node.port });
    for (const map of ['one', 'two', 'three', 'four']) session.sendOps(put(`op-${map}`, map, 'key', { n: 1 }));
    await withClient(port, async (client) => {
      for (const map of ['one', 'two', 'three', 'four']) {
        await eventually(async () => assert.equal(await client.text('TYPE', map), '+hash\r\n'));
        assert.equal(await client.text('EXISTS', map), ':1\r\n');
      }
    });
    session.socket.terminate();
  } finally {
    await node.grid.stop();
  }
});
