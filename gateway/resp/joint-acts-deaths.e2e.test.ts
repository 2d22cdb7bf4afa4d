/** What is one over several workers stays so when servers are killed and workers die. */
import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { testFolder } from '../../workers/postgres/test-postgres.ts';
import { clients, PATIENCE_MS, pipelined, spread, stringsOf } from '../testing/joint-acts.ts';
import { endProcesses, NodeProcess } from '../testing/node-process.ts';
import { freePort } from '../testing/redis-server.ts';
import { encodeCommand, RespClient } from '../testing/resp-client.ts';
import { eventually, startGrid, type TestGrid, type TestStorage, testStorage } from '../testing/test-grid.ts';

after(() => endProcesses());

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
