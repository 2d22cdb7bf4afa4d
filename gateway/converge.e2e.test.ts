/** Fifty clients, random writes, lost connections: in the end everybody holds the same, and so does Postgres. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { decode } from '@msgpack/msgpack';
import { stampText } from './testing/client-maps.ts';
import { GridModel } from './testing/grid-model.ts';
import { Random } from './testing/random.ts';
import { eventually, startGrid, testStorage, type TestStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';

const CLIENTS = 50;
const STEPS = 40;
const KEYS = 30;
const LWW = ['todos', 'notes'] as const;
const OR = ['tags', 'members'] as const;
const VALUES = ['x', 'y', 7, 1.5, true, null, 'é😀'] as const;

test('50 clients with random writes, re-sends, drops and reconnects end equal to the model, the server and Postgres', async (t) => {
  const random = Random.ofThisRun();
  t.diagnostic(`LATTICE_TEST_SEED=${random.seed}`);
  const storage = await testStorage();
  const node = await startGrid({
    ...storage.config,
    store: 'write-behind',
    workerThreads: 2,
    gatewayThreads: 2,
    flushDelayMs: 20,
  });
  const model = new GridModel();
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    newClient(node.port, `c${String(index).padStart(3, '0')}`, model),
  );
  try {
    await Promise.all(clients.map((client) => client.connected()));
    await Promise.all(clients.map((client) => live(client, random)));
    await Promise.all(clients.map((client) => client.connected()));
    await Promise.all(clients.map((client) => client.settled()));
    await Promise.all(clients.map((client) => client.resynced()));
    const roots = model.roots();
    await eventually(() => {
      for (const client of clients) assert.deepEqual(rootsOf(client), roots, client.nodeId);
    });
    const fresh = newClient(node.port, 'f4e5', new GridModel());
    clients.push(fresh);
    await fresh.connected();
    await fresh.settled();
    assert.deepEqual(rootsOf(fresh), roots, 'a client that comes now gets all of it from the server');
    await fresh.resynced();
    assert.deepEqual(
      new Map([...fresh.sync.serverRoots].sort(([a], [b]) => (a < b ? -1 : 1))),
      roots,
      'the server says the same',
    );
    for (const name of LWW) assert.deepEqual(lwwOf(fresh, name), modelLwwOf(model, name));
    assert.ok(
      clients.some((client) => client.closes.length > 2),
      'connections were lost',
    );
    for (const client of clients) client.close();
    await node.grid.stop();
    await assertStored(storage, model);
    assert.deepEqual(node.fatal, []);
  } finally {
    for (const client of clients) client.close();
    await node.grid.stop();
    await storage.close();
  }
});

function newClient(port: number, nodeId: string, model: GridModel): TopGunClient {
  const client = new TopGunClient({ port, nodeId, reconnectDelayMs: 20 });
  for (const name of LWW) client.lww(name);
  for (const name of OR) client.or(name);
  client.onWrite = model.take;
  return client;
}

async function live(client: TopGunClient, random: Random): Promise<void> {
  for (let step = 0; step < STEPS; step++) {
    act(client, random);
    await delay(random.below(12));
  }
}

function act(client: TopGunClient, random: Random): void {
  const key = `key-${random.below(KEYS)}`;
  const dice = random.below(100);
  if (dice < 40) client.set(random.pick(LWW), key, { by: client.nodeId, n: random.below(1000) });
  else if (dice < 52) client.remove(random.pick(LWW), key);
  else if (dice < 78) client.add(random.pick(OR), key, random.pick(VALUES));
  else if (dice < 90) removeSomething(client, random);
  else if (dice < 95) client.drop();
  else if (dice < 98) client.offline();
  else client.online();
}

function removeSomething(client: TopGunClient, random: Random): void {
  const map = random.pick(OR);
  const [key] = [...client.or(map).items.keys()].slice(random.below(client.or(map).items.size || 1));
  const [value] = key === undefined ? [] : client.or(map).values(key);
  if (key !== undefined && value !== undefined) client.removeValue(map, key, value);
}

function rootsOf(client: TopGunClient): Map<string, number> {
  return new Map([...LWW, ...OR].sort().map((name) => [name, client.root(name)]));
}

function lwwOf(client: TopGunClient, name: string): Map<string, unknown> {
  const records = [...client.lww(name).records].map(
    ([key, { value, timestamp }]) => [key, [stampText(timestamp), value]] as const,
  );
  return new Map(records.sort());
}

function modelLwwOf(model: GridModel, name: string): Map<string, unknown> {
  const records = [...model.lwwMap(name).records].map(
    ([key, record]) => [key, [stampText(record), record.value.length === 0 ? null : decode(record.value)]] as const,
  );
  return new Map(records.sort());
}

async function assertStored(storage: TestStorage, model: GridModel): Promise<void> {
  const lww = await storage.rows('select map, key, millis, counter, node, value, json from lattice.lww');
  for (const name of LWW) {
    const rows = lww.filter((row) => text(row.map) === name);
    const stored = rows.map(
      (row) => [text(row.key), [`${row.millis}:${row.counter}:${text(row.node)}`, decodedOf(row.value)]] as const,
    );
    assert.deepEqual(new Map(stored.sort()), modelLwwOf(model, name), `rows of ${name}`);
    for (const row of rows) assert.deepEqual(row.json, row.value === null ? null : decodedOf(row.value), 'the copy for people');
  }
  const or = await storage.rows('select map, key, tag, tombstone, value from lattice.or_map');
  for (const name of OR) {
    const rows = or.filter((row) => text(row.map) === name);
    const live = rows.filter((row) => row.tombstone === false).map((row) => `${text(row.key)} ${text(row.tag)}`);
    const expected = model.orMap(name).keys.flatMap((key) =>
      model
        .orMap(name)
        .records(key)
        .map(({ tag }) => `${key} ${tag}`),
    );
    assert.deepEqual(live.sort(), expected.sort(), `live rows of ${name}`);
    const removed = rows.filter((row) => row.tombstone === true).map((row) => text(row.tag));
    assert.deepEqual(removed.sort(), [...model.orMap(name).tombstones].sort(), `tombstones of ${name}`);
  }
}

function text(bytes: unknown): string {
  assert.ok(bytes instanceof Uint8Array);
  return Buffer.from(bytes).toString('utf8');
}

function decodedOf(bytes: unknown): unknown {
  if (bytes === null) return null;
  assert.ok(bytes instanceof Uint8Array);
  return decode(bytes);
}
