/** The process as a whole: one line on stdout, one owner of the data, and an end that loses nothing acknowledged. */
import assert from 'node:assert/strict';
import test, { after } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { testFolder } from '../workers/postgres/test-postgres.ts';
import { compareStampsOf } from './testing/client-maps.ts';
import { Random } from './testing/random.ts';
import { ServerProcess } from './testing/server-process.ts';
import { eventually } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';

const CLIENTS = 8;
const LOAD_MS = 1200;
/** The signal comes after so many writes were acknowledged: otherwise there would be nothing to lose. */
const CHECKED_MIN = 50;
const MAP = 'load';
const TAGS = 'load-tags';

const processes: ServerProcess[] = [];

after(async () => {
  for (const server of processes) await server.end();
});

function start(flags: readonly string[], env: Readonly<Record<string, string>>): ServerProcess {
  const server = new ServerProcess(flags, env);
  processes.push(server);
  return server;
}

for (const fused of ['off', 'on']) {
  test(`a signal at a random moment under load loses nothing acknowledged, and the port can be bound again at once (fused ${fused})`, async (t) => {
    const random = Random.ofThisRun();
    t.diagnostic(`LATTICE_TEST_SEED=${random.seed}`);
    const env = { LATTICE_DATA_DIR: await testFolder(), LATTICE_FUSED: fused };
    let server = start(['--port', '0'], env);
    const port = await server.port();
    const clients = Array.from({ length: CLIENTS }, (_, index) => new TopGunClient({ port, nodeId: `c00${index}` }));
    t.after(() => {
      for (const client of clients) client.close();
    });
    let deviceToken: string | undefined;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      await Promise.all(clients.map((client) => client.connected()));
      assert.equal(clients[0]?.deviceToken, deviceToken ?? clients[0]?.deviceToken, 'the device is known after a restart');
      deviceToken = clients[0]?.deviceToken;
      let isOver = false;
      const load = Promise.all(clients.map((client) => writeUntil(client, () => isOver, random)));
      await eventually(() => assert.ok(acknowledged(clients).length > CHECKED_MIN));
      await delay(random.below(LOAD_MS));
      server.signal(signal);
      const exit = await server.exited;
      assert.deepEqual(exit, { code: 0, signal: null }, server.stderr.slice(-2000));
      assert.equal(server.stdout, `PORT=${port}\n`, 'stdout has exactly one line');
      for (const client of clients) client.offline();
      isOver = true;
      await load;
      server = start(['--port', String(port)], env);
      assert.equal(await server.port(), port);
      await assertNothingLost(port, clients);
    }
    await Promise.all(clients.map((client) => client.connected()));
    await Promise.all(clients.map((client) => client.settled()));
    const fresh = await synced(port);
    for (const client of clients) {
      await client.resynced();
      assert.equal(client.root(MAP), fresh.root(MAP));
      assert.equal(client.root(TAGS), fresh.root(TAGS));
    }
  });
}

test('a second process on the same data directory says who holds it and ends', async () => {
  const env = { LATTICE_DATA_DIR: await testFolder() };
  const first = start(['--port', '0'], env);
  await first.port();
  const second = start(['--port', '0'], env);
  const { code } = await second.exited;
  assert.equal(code, 1);
  assert.match(second.stderr, new RegExp(`in use by process ${first.pid}\\b`));
  assert.equal(second.stdout, '');
  const third = start(['--port', String(await first.port())], { LATTICE_DATA_DIR: await testFolder() });
  assert.equal((await third.exited).code, 1, 'the port of another is not shared');
  assert.match(third.stderr, /cannot be bound/);
  first.signal('SIGTERM');
  assert.equal((await first.exited).code, 0);
});

test('binding another address than loopback without a secret is refused with status 2 and the way out', async () => {
  const server = start(['--host', '0.0.0.0', '--port', '0'], { LATTICE_DATA_DIR: await testFolder() });
  assert.deepEqual(await server.exited, { code: 2, signal: null });
  assert.match(server.stderr, /JWT_SECRET/);
  assert.equal(server.stdout, '');
});

test('a configuration with a mistake is refused with status 2, the name and its range', async () => {
  const server = start(['--port', '70000'], { LATTICE_FLUSH_DELAY: '5' });
  assert.deepEqual(await server.exited, { code: 2, signal: null });
  assert.match(server.stderr, /--port: 70000 .*65535/);
  assert.match(server.stderr, /LATTICE_FLUSH_DELAY is unknown; the nearest name is LATTICE_FLUSH_DELAY_MS/);
});

/** Records of the clients' own writes that they no longer wait for. */
function acknowledged(clients: readonly TopGunClient[]): string[] {
  return clients.flatMap((client) => {
    const pending = new Set(client.log.pending.map(({ mapName, key }) => `${mapName} ${key}`));
    const keys = [...client.lww(MAP).records].filter(([, { timestamp }]) => timestamp.nodeId === client.nodeId);
    return keys.map(([key]) => key).filter((key) => !pending.has(`${MAP} ${key}`));
  });
}

/** Writes, mostly without waiting, until it is over. */
async function writeUntil(client: TopGunClient, isOver: () => boolean, random: Random): Promise<void> {
  while (!isOver()) {
    if (client.log.size < 200) {
      const key = `${client.nodeId}-${random.below(400)}`;
      const dice = random.below(10);
      if (dice < 7) client.set(MAP, key, { text: 'x'.repeat(random.below(300)) });
      else if (dice < 8) client.remove(MAP, key);
      else client.add(TAGS, key, random.below(5));
    }
    await delay(random.below(3));
  }
}

async function synced(port: number): Promise<TopGunClient> {
  const fresh = new TopGunClient({ port, nodeId: `f${port}` });
  fresh.lww(MAP);
  fresh.or(TAGS);
  await fresh.connected();
  await fresh.settled();
  fresh.close();
  return fresh;
}

/** What a client holds and no longer waits for was acknowledged: the server has it, or something newer. */
async function assertNothingLost(port: number, clients: readonly TopGunClient[]): Promise<void> {
  const fresh = await synced(port);
  let checked = 0;
  for (const client of clients) {
    const pending = new Set(client.log.pending.map(({ mapName, key }) => `${mapName} ${key}`));
    for (const [key, record] of client.lww(MAP).records) {
      if (record.timestamp.nodeId !== client.nodeId || pending.has(`${MAP} ${key}`)) continue;
      const stored = fresh.lww(MAP).records.get(key);
      assert.ok(
        stored !== undefined && compareStampsOf(stored.timestamp, record.timestamp) >= 0,
        `${key} was acknowledged and is gone`,
      );
      checked += 1;
    }
    for (const [key, records] of client.or(TAGS).items) {
      for (const { tag, timestamp } of records.values()) {
        if (timestamp.nodeId !== client.nodeId || pending.has(`${TAGS} ${key}`)) continue;
        assert.ok(fresh.or(TAGS).items.get(key)?.has(tag), `${tag} was acknowledged and is gone`);
        checked += 1;
      }
    }
  }
  assert.ok(checked > 0, 'no record to look at');
}
