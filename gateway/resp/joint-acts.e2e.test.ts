/** What is one over several workers, over real sockets and threads: never seen in part, whatever reads. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { clients, pipelined, spread, stringsOf } from '../testing/joint-acts.ts';
import { freePort } from '../testing/redis-server.ts';
import { encodeCommand, type RespClient } from '../testing/resp-client.ts';
import { startGrid, type TestGrid } from '../testing/test-grid.ts';
import { put } from '../testing/wire-ops.ts';
import { WireSession } from '../testing/wire-session.ts';

const KEYS = spread('torn', 6);

/** What one worker sees before another it sees well before. */
const SLOW_RINGS = { faultInjection: true, faultRingDelayMs: 4 };
/** Writes that readers look at. */
const WRITES = 60;
const JSON_TYPE = { 'content-type': 'application/json' };

let node: TestGrid;
let port: number;

before(async () => {
  port = await freePort();
  node = await startGrid({ respPort: port, workerThreads: 3, gatewayThreads: 2, ...SLOW_RINGS });
});

after(() => node.grid.stop());

/** Repeats `work` until `isOver`, at least once. */
async function whileRunning(isOver: () => boolean, work: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; round === 0 || !isOver(); round++) await work(round);
}

test('MSET and EXEC over several workers are never seen in part: by MGET, EXEC, single reads, HTTP', async () => {
  const [writer, second, ...readers] = await clients(6, port);
  assert.ok(writer !== undefined && second !== undefined);
  await writer.command('MSET', ...KEYS.flatMap((key) => [key, '0']));
  let value = 0;
  const isOver = (): boolean => value >= WRITES;
  const http = async (key: string): Promise<number> =>
    Number(await (await fetch(`http://127.0.0.1:${node.port}/maps/db0/${key}`)).text().then((text) => JSON.parse(text)));
  const write = whileRunning(isOver, async () => {
    value += 1;
    const pairs = KEYS.flatMap((key) => [key, String(value)]);
    if (value % 2 === 0) assert.equal(await writer.text('MSET', ...pairs), '+OK\r\n');
    else {
      const sets = KEYS.map((key) => ['SET', key, String(value)]);
      const replies = await pipelined(writer, ['MULTI'], ...sets, ['EXEC']);
      assert.equal(replies.at(-1), `*${KEYS.length}\r\n${'+OK\r\n'.repeat(KEYS.length)}`);
    }
  });
  const reads = readers.map((reader, which) =>
    whileRunning(isOver, async (round) => {
      if (which === 0) {
        const values = stringsOf(await reader.text('MGET', ...KEYS));
        assert.equal(new Set(values).size, 1, `MGET saw ${values}`);
      } else if (which === 1) {
        const replies = await pipelined(reader, ['MULTI'], ...KEYS.map((key) => ['GET', key]), ['EXEC']);
        const values = stringsOf(replies.at(-1) ?? '');
        assert.equal(new Set(values).size, 1, `EXEC saw ${values}`);
      } else if (which === 2) {
        const [one, other] = [KEYS[round % KEYS.length] ?? '', KEYS[(round + 1) % KEYS.length] ?? ''];
        const [before = '', behind = ''] = [await reader.text('GET', one), await reader.text('GET', other)];
        assert.ok(Number(before.split('\r\n')[1]) <= Number(behind.split('\r\n')[1]), `${one} was newer than ${other} later`);
      } else {
        const [one, other] = [KEYS[round % KEYS.length] ?? '', KEYS[(round + 2) % KEYS.length] ?? ''];
        const before = await http(one);
        assert.ok(before <= (await http(other)), `HTTP: ${one} was newer than ${other} later`);
      }
    }),
  );
  await Promise.all([write, ...reads]);
  for (const client of [writer, second, ...readers]) client.close();
});

test('MSET and EXEC over several workers are never seen in part by pages over HTTP, queries and POST /sync', async () => {
  const [writer, other] = await clients(2, port);
  assert.ok(writer !== undefined && other !== undefined);
  for (const client of [writer, other]) await client.command('SELECT', '9');
  let value = 0;
  const isOver = (): boolean => value >= WRITES;
  const write = async (client: RespClient): Promise<void> => {
    value += 1;
    const json = JSON.stringify({ n: value });
    const pairs = KEYS.flatMap((key) => [key, json]);
    if (value % 2 === 0) return void assert.equal(await client.text('MSET', ...pairs), '+OK\r\n');
    const sets = [...KEYS.map((key) => ['SET', key, json]), ['HSET', 'torn-hash', ...pairs]];
    const replies = await pipelined(client, ['MULTI'], ...sets, ['EXEC']);
    assert.match(replies.at(-1) ?? '', /^\*7\r\n/);
  };
  await write(writer);
  const get = async (path: string): Promise<number[]> => {
    const answer = await fetch(`http://127.0.0.1:${node.port}/maps/db9${path}`);
    const page: { readonly entries: readonly { readonly value: { readonly n: number } }[] } = JSON.parse(await answer.text());
    assert.equal(page.entries.length, KEYS.length, path);
    return page.entries.map((entry) => entry.value.n);
  };
  const sync = async (): Promise<number[][]> => {
    const maps = ['db9', 'torn-hash'];
    const body = {
      syncMaps: maps.map((mapName) => ({ mapName, lastSyncTimestamp: { millis: 0, counter: 0, nodeId: '' } })),
      queries: maps.map((mapName) => ({ queryId: mapName, mapName, filter: {} })),
    };
    const answer = await fetch(`http://127.0.0.1:${node.port}/sync`, {
      method: 'POST',
      headers: JSON_TYPE,
      body: JSON.stringify(body),
    });
    const found: {
      readonly deltas: readonly {
        readonly records: readonly { readonly record: { readonly value: { readonly n: number } } }[];
      }[];
      readonly queryResults: readonly { readonly results: readonly { readonly n: number }[] }[];
      readonly errors?: unknown;
    } = JSON.parse(await answer.text());
    assert.equal(found.errors, undefined);
    const deltas = found.deltas.map(({ records }) => records.map(({ record }) => record.value.n));
    return [...deltas, ...found.queryResults.map(({ results }) => results.map(({ n }) => n))];
  };
  const where = `?where=${encodeURIComponent('{"op":"gte","attribute":"n","value":0}')}&sort=-n`;
  const reads: (() => Promise<void>)[] = [
    async () => assert.equal(new Set(await get('')).size, 1, 'a page'),
    async () => assert.equal(new Set(await get(where)).size, 1, 'a query'),
    async () => {
      const [records = [], ofHash = [], rows = [], rowsOfHash = []] = await sync();
      for (const part of [records, ofHash, rows, rowsOfHash]) {
        assert.equal(part.length, KEYS.length);
        assert.equal(new Set(part).size, 1, `POST /sync saw ${part}`);
      }
      assert.equal(records[0], rows[0]);
      assert.equal(ofHash[0], rowsOfHash[0]);
      assert.equal((ofHash[0] ?? 0) + ((records[0] ?? 0) % 2 === 0 ? 1 : 0), records[0], 'maps of one answer');
    },
  ];
  const writes = whileRunning(isOver, async () => write(writer));
  await Promise.all([writes, ...reads.map((read) => whileRunning(isOver, read))]);
  for (const client of [writer, other]) client.close();
});

test('transfers between accounts on several workers keep their sum, and increments meanwhile are exact', async () => {
  const accounts = spread('account', 8);
  const connections = await clients(10, port);
  await connections[0]?.command('MSET', ...accounts.flatMap((name) => [name, '1000']));
  const rounds = 60;
  const counts = connections.map(() => 0);
  await Promise.all(
    connections.map(async (client, which) => {
      for (let round = 0; round < rounds; round++) {
        const [from, to] = [accounts[(which + round) % 8] ?? '', accounts[(which * 3 + round * 5 + 1) % 8] ?? ''];
        if (which < 6) {
          const replies = await pipelined(client, ['MULTI'], ['DECRBY', from, '7'], ['INCRBY', to, '7'], ['EXEC']);
          assert.match(replies.at(-1) ?? '', /^\*2\r\n:/);
        } else if (which < 8) {
          const values = stringsOf(await client.text('MGET', ...accounts)).map(Number);
          assert.equal(values.slice(0, 8).reduce((sum, one) => sum + one, 0) % 1000, 0, `sum of ${values}`);
        } else {
          // a thousand more: the sum stays a multiple of it
          assert.match(await client.text('INCRBY', from, '1000'), /^:/);
          counts[which] = (counts[which] ?? 0) + 1000;
        }
      }
    }),
  );
  const values = stringsOf((await connections[0]?.text('MGET', ...accounts)) ?? '').map(Number);
  const added = counts.reduce((sum, one) => sum + one, 0);
  assert.equal(
    values.reduce((sum, one) => sum + one, 0),
    8000 + added,
  );
  for (const client of connections) client.close();
});

test('WATCH sees writes from the WebSocket and over HTTP, also to a field of a hash', async () => {
  const [client] = await clients(1, port);
  assert.ok(client !== undefined);
  const wire = await WireSession.open({ port: node.port });
  const others = spread('other', 4);
  const ways: [string, () => Promise<void>][] = [
    [
      'HTTP',
      async () =>
        void (await fetch(`http://127.0.0.1:${node.port}/maps/db0/watched`, { method: 'PUT', body: '"x"', headers: JSON_TYPE })),
    ],
    [
      'WebSocket',
      async () => {
        wire.sendOps(put('1', 'db0', 'watched', 'y'));
        await wire.next('OP_ACK');
      },
    ],
  ];
  for (const [way, write] of ways) {
    assert.equal(await client.text('WATCH', 'watched', others[0] ?? ''), '+OK\r\n');
    await write();
    for (const key of ['watched', ...others.slice(2)]) {
      assert.equal(await client.text('MULTI'), '+OK\r\n');
      await client.text('SET', key, '1');
      await client.text('SET', others[1] ?? '', '1');
      const expected = key === 'watched' ? '*-1\r\n' : '*2\r\n+OK\r\n+OK\r\n'; // EXEC forgets what was watched
      assert.equal(await client.text('EXEC'), expected, way);
    }
  }
  const fields = spread('field', 8);
  for (let index = 0; index < 8; index++) await client.command('HSET', 'profile', fields[index] ?? '', '0');
  assert.equal(await client.text('WATCH', 'profile'), '+OK\r\n');
  await fetch(`http://127.0.0.1:${node.port}/maps/profile/${fields[5]}`, { method: 'PUT', body: '"new"', headers: JSON_TYPE });
  assert.deepEqual(await pipelined(client, ['MULTI'], ['HSET', 'profile', fields[1] ?? '', '1'], ['EXEC']), [
    '+OK\r\n',
    '+QUEUED\r\n',
    '*-1\r\n',
  ]);
  assert.equal(await client.text('WATCH', 'profile'), '+OK\r\n');
  assert.equal((await pipelined(client, ['MULTI'], ['HSET', 'profile', fields[1] ?? '', '1'], ['EXEC'])).at(-1), '*1\r\n:0\r\n');
  client.close();
  wire.socket.terminate();
});

test('any mixture of commands runs in EXEC: hashes, scans, whole databases, other databases', async () => {
  const [client] = await clients(1, port);
  assert.ok(client !== undefined);
  await client.command('SELECT', '4');
  await client.command('FLUSHDB');
  const replies = await pipelined(
    client,
    ['MULTI'],
    ['HSET', 'mixed', 'a', '1', 'b', '2', 'c', '3', 'd', '4'],
    ['HINCRBY', 'mixed', 'a', '41'],
    ['HGETALL', 'mixed'],
    ['HDEL', 'mixed', 'b', 'd', 'nothing'],
    ['HLEN', 'mixed'],
    ['MSET', 'x:1', 'one', 'x:2', 'two', 'x:3', 'three'],
    ['GET', 'mixed'],
    ['DBSIZE'],
    ['RENAME', 'x:1', 'x:9'],
    ['COPY', 'x:2', 'x:3', 'DB', '5', 'REPLACE'],
    ['SELECT', '5'],
    ['GET', 'x:3'],
    ['SELECT', '4'],
    ['SWAPDB', '4', '6'],
    ['DBSIZE'],
    ['EXISTS', 'mixed', 'x:9', 'x:2'],
    ['INCR', 'x:new'],
    ['EXEC'],
  );
  const outcome = replies.at(-1) ?? '';
  const expected = [
    ':4',
    ':42',
    '*8',
    ...['a', '42', 'b', '2', 'c', '3', 'd', '4'].flatMap((word) => [`$${word.length}`, word]),
    ':2',
    ':2',
    '+OK',
    '-WRONGTYPE Operation against a key holding the wrong kind of value',
    ':3',
    '+OK',
    ':1',
    '+OK',
    '$3',
    'two',
    '+OK',
    '+OK',
    ':0',
    ':1',
    ':1',
  ];
  assert.deepEqual(outcome.split('\r\n').slice(1, -1).sort(), [...expected].sort());
  assert.equal(await client.text('DBSIZE'), ':1\r\n');
  await client.command('SELECT', '6');
  assert.deepEqual(stringsOf(await client.text('MGET', 'x:1', 'x:2', 'x:3', 'x:9')), [null, 'two', 'three', 'one']);
  client.close();
});

test('the name of a map is a hash wherever its fields lie: TYPE, EXISTS, GET and DEL know', async () => {
  const [client] = await clients(1, port);
  assert.ok(client !== undefined);
  for (let number = 0; number < 8; number++) {
    const name = `hash:${number}`;
    assert.equal(await client.text('HSET', name, 'only', '1'), ':1\r\n');
    assert.equal(await client.text('TYPE', name), '+hash\r\n');
    assert.equal(await client.text('EXISTS', name, 'nothing'), ':1\r\n');
    assert.match(await client.text('GET', name), /^-WRONGTYPE /);
    assert.match(await client.text('SET', name, 'x'), /^-WRONGTYPE /);
    assert.deepEqual(stringsOf(await client.text('MGET', name, 'nothing')), [null, null]);
    const fields = spread('field', 6);
    await client.command('HSET', name, ...fields.flatMap((field) => [field, 'x']));
    assert.equal(await client.text('HLEN', name), ':7\r\n');
    const replies = await pipelined(client, ['MULTI'], ['DEL', name, 'nothing'], ['EXISTS', name], ['SET', name, 'x'], ['EXEC']);
    assert.equal(replies.at(-1), '*3\r\n:1\r\n:0\r\n+OK\r\n');
    assert.equal(await client.text('DEL', name), ':1\r\n');
    assert.equal(await client.text('HSET', name, ...fields.flatMap((field) => [field, 'x'])), ':6\r\n');
    assert.equal(await client.text('UNLINK', name), ':1\r\n');
    assert.equal(await client.text('HLEN', name), ':0\r\n');
    assert.equal(await client.text('TYPE', name), '+none\r\n');
  }
  client.close();
});

test('a name is a string or a hash, never both, wherever its fields lie and whoever comes first', async () => {
  const [one, other] = await clients(2, port);
  assert.ok(one !== undefined && other !== undefined);
  const fields = spread('field', 3);
  for (let round = 0; round < 60; round++) {
    const name = `either:${round % 5}`;
    const field = fields[round % 3] ?? '';
    const [asString, asHash]: readonly string[] = await Promise.all([
      one.text('SET', name, 'x'),
      round % 2 === 0 ? other.text('HSET', name, field, '1') : other.text('HINCRBY', name, field, '1'),
    ]);
    const isString: boolean = asString === '+OK\r\n';
    assert.match((isString ? asHash : asString) ?? '', /^-WRONGTYPE /, `SET: ${asString}, of the hash: ${asHash}`);
    assert.equal(isString || asHash === ':1\r\n', true);
    assert.equal(await other.text('TYPE', name), isString ? '+string\r\n' : '+hash\r\n');
    for (const each of fields) {
      const expected = each === field && !isString ? /^\$1\r\n1/ : isString ? /^-WRONGTYPE / : /^\$-1/;
      assert.match(await one.text('HGET', name, each), expected);
    }
    if (isString) assert.match(await one.text('HSCAN', name, '0'), /^-WRONGTYPE /);
    assert.equal(await one.text('DEL', name), ':1\r\n');
  }
  for (const client of [one, other]) client.close();
});

test('EXEC swaps databases that have nothing in common, and refuses what would be too long there before it changes anything', async () => {
  const [client] = await clients(1, port);
  assert.ok(client !== undefined);
  await client.command('SELECT', '1');
  const keys = Array.from({ length: 200 }, (_, index) => `swapped:${index}`);
  await client.command('MSET', ...keys.flatMap((key) => [key, key]));
  const swap = async (): Promise<string> => (await pipelined(client, ['MULTI'], ['SWAPDB', '1', '10'], ['EXEC'])).at(-1) ?? '';
  assert.equal(await swap(), '*1\r\n+OK\r\n');
  assert.equal(await client.text('DBSIZE'), ':0\r\n');
  await client.command('SELECT', '10');
  assert.deepEqual(stringsOf(await client.text('MGET', ...keys)), keys);
  await client.command('SELECT', '1');
  await client.command('SET', 'k'.repeat(2045), 'v');
  assert.match(await swap(), /^\*1\r\n-ERR key is longer/);
  assert.equal(await client.text('DBSIZE'), ':1\r\n');
  for (const db of ['1', '10']) await pipelined(client, ['SELECT', db], ['FLUSHDB']);
  client.close();
});

test('EXEC that would write more than can be written as one is refused as a whole', async () => {
  const [client] = await clients(1, port);
  assert.ok(client !== undefined);
  await client.command('SET', 'big', 'x'.repeat(4 << 20));
  const copies = spread('copy', 9);
  const replies = await pipelined(client, ['MULTI'], ...copies.map((copy) => ['COPY', 'big', copy]), ['EXEC']);
  assert.match(replies.at(-1) ?? '', /^-ERR what the commands write or answer is too large/);
  assert.equal(await client.text('EXISTS', ...copies), ':0\r\n');
  const gets = await pipelined(client, ['MULTI'], ...copies.map(() => ['GET', 'big']), ['SET', copies[0] ?? '', 'x'], ['EXEC']);
  assert.match(gets.at(-1) ?? '', /^-ERR what the commands write or answer is too large/);
  assert.match(await client.text('MGET', ...copies.map(() => 'big'), ...copies), /^-ERR what the commands look at is too large/);
  assert.equal(await client.text('EXISTS', ...copies), ':0\r\n');
  const readBig = ['MGET', ...Array.from({ length: 1000 }, () => 'big')]; // 4 GiB of replies, of one value that is told
  const many = await pipelined(client, ['MULTI'], readBig, ...copies.map((copy) => ['SET', copy, 'x']), ['EXEC']);
  assert.match(many.at(-1) ?? '', /^-ERR what the commands write or answer is too large/);
  assert.equal(await client.text('EXISTS', ...copies), ':0\r\n');
  await client.command('DEL', 'big');
  client.close();
});

test('a queue that grows too large is refused, and EXEC runs nothing of it', async () => {
  const [client] = await clients(1, port);
  assert.ok(client !== undefined);
  await client.command('MULTI');
  const large = 'x'.repeat(4 << 20);
  const replies: string[] = [];
  for (let index = 0; index < 5; index++) replies.push(await client.text('SET', `queued:${index}`, large));
  assert.equal(replies.filter((reply) => reply === '+QUEUED\r\n').length, 3);
  assert.match(replies.at(-1) ?? '', /^-ERR the transaction is too large/);
  assert.match(await client.text('EXEC'), /^-EXECABORT /);
  assert.equal(await client.text('EXISTS', 'queued:0'), ':0\r\n');
  client.close();
});

test('CLIENT REPLY silences what several workers do, and nothing before it', async () => {
  const [client] = await clients(1, port);
  assert.ok(client !== undefined);
  const pairs = KEYS.flatMap((key) => [key, 'muted']);
  client.send(
    Buffer.concat(
      [
        ['PING', '1'],
        ['CLIENT', 'REPLY', 'SKIP'],
        ['MSET', ...pairs],
        ['PING', '2'],
      ].map(encodeCommand),
    ),
  );
  assert.equal((await client.reply()).toString(), '$1\r\n1\r\n');
  assert.equal((await client.reply()).toString(), '$1\r\n2\r\n');
  assert.deepEqual(
    stringsOf(await client.text('MGET', ...KEYS)),
    KEYS.map(() => 'muted'),
  );
  client.close();
});
