/** What is one over several workers, over real sockets and threads: never seen in part, whatever reads and whoever dies. */
import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fnv1a, PARTITION_COUNT, partitionOf } from '../../engine/partition/hash.ts';
import { testFolder } from '../../workers/postgres/test-postgres.ts';
import { endProcesses, NodeProcess } from '../testing/node-process.ts';
import { freePort } from '../testing/redis-server.ts';
import { encodeCommand, RespClient } from '../testing/resp-client.ts';
import { eventually, startGrid, type TestGrid, type TestStorage, testStorage } from '../testing/test-grid.ts';
import { put } from '../testing/wire-ops.ts';
import { WireSession } from '../testing/wire-session.ts';

/** Keys whose partitions, and so whose workers, lie far apart. */
function spread(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const isThere = (key: string): boolean => Math.floor((partitionOf(fnv1a(key)) * count) / PARTITION_COUNT) === index;
    for (let number = 0; ; number++) if (isThere(`${number}:${name}`)) return `${number}:${name}`;
  });
}

const KEYS = spread('torn', 6);

/** What one worker sees before another it sees well before. */
const SLOW_RINGS = { faultInjection: true, faultRingDelayMs: 4 };
/** A worker, or a server, is back within it, also where the cores are busy. */
const PATIENCE_MS = 30_000;
/** Writes that readers look at. */
const WRITES = 60;
const JSON_TYPE = { 'content-type': 'application/json' };

let node: TestGrid;
let port: number;

before(async () => {
  port = await freePort();
  node = await startGrid({ respPort: port, workerThreads: 3, gatewayThreads: 2, ...SLOW_RINGS });
});

after(async () => {
  await node.grid.stop();
  await endProcesses();
});

async function clients(count: number, at: number = port): Promise<RespClient[]> {
  return Promise.all(Array.from({ length: count }, () => RespClient.open(at)));
}

/** Strings of an array reply; null for nil. */
function stringsOf(reply: string): (string | null)[] {
  const lines = reply.split('\r\n');
  assert.equal(lines[0]?.[0], '*', reply);
  const strings: (string | null)[] = [];
  for (let at = 1; at < lines.length - 1; at++) strings.push(lines[at] === '$-1' ? null : (lines[++at] ?? null));
  return strings;
}

async function pipelined(client: RespClient, ...commands: readonly (readonly string[])[]): Promise<string[]> {
  client.send(Buffer.concat(commands.map(encodeCommand)));
  const replies: string[] = [];
  for (let index = 0; index < commands.length; index++) replies.push((await client.reply()).toString());
  return replies;
}

/** Repeats `work` until `isOver`, at least once. */
async function whileRunning(isOver: () => boolean, work: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; round === 0 || !isOver(); round++) await work(round);
}

test('MSET and EXEC over several workers are never seen in part: by MGET, EXEC, single reads, HTTP', async () => {
  const [writer, second, ...readers] = await clients(6);
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
  const [writer, other] = await clients(2);
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
  const connections = await clients(10);
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
  const [client] = await clients(1);
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
  const [client] = await clients(1);
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
  const [client] = await clients(1);
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
  const [one, other] = await clients(2);
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

test('a queue that grows too large is refused, and EXEC runs nothing of it', async () => {
  const [client] = await clients(1);
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
  const [client] = await clients(1);
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

test('kill -9 in the middle of MSETs and EXECs: each is there whole or not at all, and what was acknowledged is there', async () => {
  const respPort = await freePort();
  const server = new NodeProcess(await testFolder(), {
    LATTICE_WORKER_THREADS: '3',
    LATTICE_RESP_PORT: String(respPort),
    LATTICE_FAULT_INJECTION: 'true',
    LATTICE_FAULT_RING_DELAY_MS: '3',
  });
  const groups = Array.from({ length: 4 }, (_, group) => spread(`group:${group}`, 5));
  const acknowledged = groups.map(() => 0);
  const tried = groups.map(() => 0);
  for (let kill = 0; kill < 2; kill++) {
    await server.start();
    await eventually(async () => (await RespClient.open(respPort)).close(), PATIENCE_MS);
    const connections = await clients(groups.length, respPort);
    const writing = groups.map(async (keys, group) => {
      const client = connections[group];
      assert.ok(client !== undefined);
      try {
        const found = stringsOf(await client.text('MGET', ...keys)).map((one) => Number(one ?? 0));
        assert.equal(new Set(found).size, 1, `group ${group} is torn after kill ${kill}: ${found}`);
        assert.ok((found[0] ?? -1) >= (acknowledged[group] ?? 0), `group ${group} lost an acknowledged write: ${found}`);
        assert.ok((found[0] ?? -1) <= (tried[group] ?? 0));
        for (let value = (tried[group] ?? 0) + 1; ; value++) {
          tried[group] = value;
          const pairs = keys.flatMap((key) => [key, String(value)]);
          if (group % 2 === 0) assert.equal(await client.text('MSET', ...pairs), '+OK\r\n');
          else {
            const sets = keys.map((key) => ['SET', key, String(value)]);
            assert.match((await pipelined(client, ['MULTI'], ...sets, ['EXEC'])).at(-1) ?? '', /^\*5\r\n/);
          }
          acknowledged[group] = value;
        }
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error; // else the connection is cut
      }
    });
    const goal = Math.max(...acknowledged) + 40;
    while (Math.max(...acknowledged) < goal) await new Promise((resolve) => setTimeout(resolve, 1));
    await server.kill();
    await Promise.all(writing);
  }
  await server.start();
  await eventually(async () => (await RespClient.open(respPort)).close(), PATIENCE_MS);
  const [client] = await clients(1, respPort);
  for (const [group, keys] of groups.entries()) {
    const found = stringsOf((await client?.text('MGET', ...keys)) ?? '').map(Number);
    assert.equal(new Set(found).size, 1, `group ${group} is torn: ${found}`);
    assert.ok((found[0] ?? -1) >= (acknowledged[group] ?? 0));
  }
  client?.close();
  await server.kill('SIGTERM');
});

const DATABASE_KEYS = 120;

/** What the databases 0 and 1 hold: how many keys, and of which of the two first contents. */
async function contentsOf(client: RespClient): Promise<string[]> {
  const contents: string[] = [];
  for (const db of ['0', '1']) {
    await client.command('SELECT', db);
    const keys = stringsOf(await client.text('KEYS', '*')).map((key) => String(key));
    const values = keys.length === 0 ? [] : stringsOf(await client.text('MGET', ...keys)).map((value) => value?.slice(0, 1));
    contents.push(`${keys.length} ${[...new Set(values)].sort().join('')}`);
  }
  return contents;
}

test('kill -9 in the middle of SWAPDB and FLUSHDB of large databases: each is there whole or not at all', async () => {
  const respPort = await freePort();
  const dataDir = await testFolder();
  const server = new NodeProcess(dataDir, {
    LATTICE_RESP_PORT: String(respPort),
    LATTICE_FAULT_INJECTION: 'true',
    LATTICE_FAULT_RING_DELAY_MS: '40',
  });
  const logBytes = async (): Promise<string> => {
    const sizes = new Map<string, number>();
    for (const name of await readdir(join(dataDir, 'wal'))) sizes.set(name, (await stat(join(dataDir, 'wal', name))).size);
    return JSON.stringify([...sizes]);
  };
  const value = 'x'.repeat(200_000);
  let client: RespClient | undefined;
  /** Workers may be more or fewer than before. */
  const restart = async (workers: number): Promise<RespClient> => {
    client?.close();
    await server.start({ LATTICE_WORKER_THREADS: String(workers) });
    await eventually(async () => (await RespClient.open(respPort)).close(), PATIENCE_MS);
    client = (await clients(1, respPort))[0];
    assert.ok(client !== undefined);
    return client;
  };
  /** Sends the command, and kills the server as soon as a worker has logged something of it. */
  const killedIn = async (one: RespClient, ...command: readonly string[]): Promise<void> => {
    const before = await logBytes();
    one.send(encodeCommand(command));
    while ((await logBytes()) === before) await new Promise((resolve) => setTimeout(resolve, 1));
    await server.kill();
  };
  let one = await restart(3);
  const fill = async (db: string, letter: string): Promise<void> => {
    await one.command('SELECT', db);
    const keys = Array.from({ length: DATABASE_KEYS }, (_, index) => `${letter}:${index}`);
    for (let first = 0; first < DATABASE_KEYS; first += 40) {
      const sets = keys.slice(first, first + 40).map((key) => ['SET', key, letter + value]);
      assert.equal((await pipelined(one, ...sets)).join(''), '+OK\r\n'.repeat(sets.length));
    }
  };
  await fill('0', 'a');
  await fill('1', 'b');
  const [full, other] = [`${DATABASE_KEYS} a`, `${DATABASE_KEYS} b`];
  let now = [full, other];
  for (const [round, workers] of [2, 3].entries()) {
    await killedIn(one, 'SWAPDB', '0', '1');
    one = await restart(workers);
    const found = await contentsOf(one);
    const swapped = [...now].reverse();
    assert.ok([String(now), String(swapped)].includes(String(found)), `SWAPDB ${round} is torn: ${found}`);
    now = found;
  }
  await one.command('SELECT', '1');
  await killedIn(one, 'FLUSHDB');
  one = await restart(2);
  const found = await contentsOf(one);
  assert.ok([String(now), String([now[0], '0 '])].includes(String(found)), `FLUSHDB is torn: ${found}`);
  await one.command('SELECT', '1');
  const added = spread('new', 30);
  await one.command('MSET', ...added.flatMap((key) => [key, 'n']));
  await server.kill();
  one = await restart(3);
  await one.command('SELECT', '1');
  const behind = stringsOf(await one.text('MGET', ...added));
  assert.equal(behind.join(''), 'n'.repeat(30), 'what came behind stays when the log is read once more');
  one.close();
  await server.kill('SIGTERM');
});

async function mortalGrid(use: (grid: TestGrid, at: number) => Promise<void>): Promise<void> {
  const storage: TestStorage = await testStorage();
  const respPort = await freePort();
  const grid = await startGrid({
    ...storage.config,
    store: 'write-behind',
    flushDelayMs: 60_000,
    workerThreads: 2,
    respPort,
    logLevel: 'silent',
  });
  try {
    await use(grid, respPort);
  } finally {
    await grid.grid.stop();
    await storage.close();
  }
}

test('INCR from 64 connections while workers die: each acknowledged one counts, and no connection is left without an answer', () =>
  mortalGrid(async (grid, at) => {
    const connections = await clients(64, at);
    let acknowledged = 0;
    let unknown = 0;
    let crashed = 0;
    await Promise.all(
      connections.map(async (client, which) => {
        for (let round = 0; round < 40; round++) {
          if (which === 0 && (round === 10 || round === 25)) {
            assert.equal(grid.grid.crashWorker(crashed % 2), true);
            crashed += 1;
            await eventually(async () => assert.equal(await client.text('SET', `alive:${round}`, '1'), '+OK\r\n'), PATIENCE_MS);
          }
          const reply = await client.text('INCR', `counted:${which % 3}`);
          if (/^:\d+/.test(reply)) acknowledged += 1;
          else {
            assert.match(reply, /^-(UNKNOWN|TRYAGAIN)/);
            if (!/was not run|takes no requests/.test(reply)) unknown += 1;
          }
        }
      }),
    );
    const [client] = connections;
    assert.ok(client !== undefined);
    let counted: number[] = [];
    await eventually(async () => {
      counted = stringsOf(await client.text('MGET', 'counted:0', 'counted:1', 'counted:2')).map(Number);
    }, PATIENCE_MS);
    const sum = counted.reduce((one, other) => one + other, 0);
    assert.ok(
      sum >= acknowledged && sum <= acknowledged + unknown,
      `${sum} counted, ${acknowledged} acknowledged, ${unknown} unknown`,
    );
    assert.equal(crashed, 2);
    for (const one of connections) one.close();
  }));

test('a worker that dies in the middle of acts leaves each whole or undone, and the next ones run', () =>
  mortalGrid(async (grid, at) => {
    const connections = await clients(6, at);
    const groups = connections.map((_, group) => spread(`mortal:${group}`, 4));
    const acknowledged = groups.map(() => 0);
    let isOver = false;
    const writing = groups.map(async (keys, group) => {
      const client = connections[group];
      assert.ok(client !== undefined);
      for (let value = 1; !isOver; value++) {
        const reply = await client.text('MSET', ...keys.flatMap((key) => [key, String(value)]));
        if (reply === '+OK\r\n') acknowledged[group] = value;
        else assert.match(reply, /^-(UNKNOWN|TRYAGAIN)/);
        const found: string = await client.text('MGET', ...keys);
        if (found.startsWith('-')) continue;
        const values: number[] = stringsOf(found).map(Number);
        assert.equal(new Set(values).size, 1, `group ${group} is torn: ${values}`);
        assert.ok(
          (values[0] ?? -1) >= (acknowledged[group] ?? 0),
          `group ${group} lost a write: ${values} after ${acknowledged[group]}`,
        );
      }
    });
    for (let crash = 0; crash < 3; crash++) {
      const goal = acknowledged.map((value) => value + 5);
      await eventually(
        () =>
          assert.ok(
            acknowledged.every((value, group) => value >= (goal[group] ?? 0)),
            `after crash ${crash}`,
          ),
        PATIENCE_MS,
      );
      await eventually(() => assert.equal(grid.grid.crashWorker(crash % 2), true), PATIENCE_MS);
    }
    const goal = acknowledged.map((value) => value + 5);
    await eventually(() => assert.ok(acknowledged.every((value, group) => value >= (goal[group] ?? 0))), PATIENCE_MS);
    isOver = true;
    await Promise.all(writing);
    for (const one of connections) one.close();
  }));
