/** Postgres goes away and comes back: the grid serves meanwhile, says so, and loses nothing it acknowledged. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually, healthOf, startGrid, testStorage, type TestStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';

async function rowsOf(storage: TestStorage, map: string): Promise<number> {
  const [row] = await storage.rows(`select count(*)::int as rows from lattice.lww where map = convert_to('${map}', 'utf8')`);
  return Number(row?.rows);
}

async function storageState(port: number): Promise<unknown> {
  const { storage } = await healthOf(port);
  assert.ok(typeof storage === 'object' && storage !== null && 'state' in storage);
  return storage.state;
}

test('while Postgres is away reads and writes go on, health says degraded, and afterwards everything lands', async (t) => {
  const storage = await testStorage();
  const node = await startGrid({ ...storage.config, store: 'write-behind', workerThreads: 2 });
  const [ann, bob] = [
    new TopGunClient({ port: node.port, nodeId: 'a001' }),
    new TopGunClient({ port: node.port, nodeId: 'b001' }),
  ];
  t.after(async () => {
    for (const client of [ann, bob]) client.close();
    await node.grid.stop();
    await storage.close();
  });
  bob.lww('away');
  await Promise.all([ann.connected(), bob.connected()]);
  ann.set('away', 'before', 1);
  await ann.settled();
  await eventually(async () => assert.equal(await rowsOf(storage, 'away'), 1));

  storage.proxy.cut();
  for (let index = 0; index < 300; index++) ann.set('away', `k${index}`, index);
  await ann.settled();
  await eventually(() => assert.equal(bob.root('away'), ann.root('away'), 'events go on'));
  await eventually(async () => {
    assert.equal(await storageState(node.port), 'degraded');
    const { ready, degraded } = await healthOf(node.port);
    assert.equal(ready, true, 'clients may still be sent here');
    assert.match(JSON.stringify(degraded), /storage is away/);
  });
  const late = new TopGunClient({ port: node.port, nodeId: 'c001' });
  t.after(() => late.close());
  late.lww('away');
  await late.connected();
  await late.settled();
  assert.equal(late.root('away'), ann.root('away'), 'sync goes on');
  assert.equal(await rowsOf(storage, 'away'), 1, 'nothing landed meanwhile');

  storage.proxy.restore();
  await eventually(async () => assert.equal(await rowsOf(storage, 'away'), 301), 20_000);
  await eventually(async () => assert.equal(await storageState(node.port), 'normal'));
  assert.deepEqual(node.fatal, []);
  assert.deepEqual([...ann.closes, ...bob.closes], []);
});

test('when staging is full writes are refused with 429 and 1013, and the client brings them again: nothing is lost', async (t) => {
  const storage = await testStorage();
  const node = await startGrid({ ...storage.config, store: 'write-behind', wal: false, stagedBytesMax: 256 * 1024 });
  const ann = new TopGunClient({ port: node.port, nodeId: 'a001', reconnectDelayMs: 100 });
  t.after(async () => {
    ann.close();
    await node.grid.stop();
    await storage.close();
  });
  await ann.connected();
  storage.proxy.cut();
  let written = 0;
  await eventually(() => {
    for (let count = 0; count < 10; count++) ann.set('full', `k${written++}`, 'x'.repeat(2000));
    assert.ok(ann.closes.length > 0);
  });
  assert.deepEqual(ann.closes[0], { code: 1013, reason: 'server overloaded, reconnect to send again' });
  assert.equal(ann.errors[0]?.code, 429);
  assert.ok(ann.log.size > 0, 'the refused ops were not acknowledged');
  storage.proxy.restore();
  await ann.settled();
  await ann.resynced();
  assert.equal(ann.sync.serverRoots.get('full'), ann.root('full'));
  await eventually(async () => assert.equal(await rowsOf(storage, 'full'), written), 20_000);
  assert.deepEqual(node.fatal, []);
});

test('a grid that is stopped while Postgres is away says that something may not have been stored', async () => {
  const storage = await testStorage();
  const node = await startGrid({ ...storage.config, store: 'write-behind', shutdownStorageMs: 700 });
  const ann = new TopGunClient({ port: node.port, nodeId: 'a001' });
  await ann.connected();
  storage.proxy.cut();
  ann.set('lost', 'k', 1);
  await ann.settled();
  ann.close();
  await assert.rejects(node.grid.stop());
  await storage.close();
});
