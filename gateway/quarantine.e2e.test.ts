/** A clock that runs hours ahead: its stamps are corrected by one fixed offset, and nobody follows it. */
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { opAck, payloadOf, serverEvent } from './testing/client-fields.ts';
import { eventually, startGrid, type TestGrid, testStorage, type TestStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { orAdd, put, tagOf } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const AHEAD_MS = 7_200_000;
const CLOSE_MS = 60_000;

let storage: TestStorage;
let node: TestGrid;
const clients: TopGunClient[] = [];

before(async () => {
  storage = await testStorage();
  node = await start();
});

after(async () => {
  for (const client of clients) client.close();
  await node.grid.stop();
  await storage.close();
});

function start(): Promise<TestGrid> {
  return startGrid({ ...storage.config, store: 'write-behind', workerThreads: 2 });
}

function newClient(nodeId: string, aheadMs = 0): TopGunClient {
  const client = new TopGunClient({ port: node.port, nodeId, wallClock: () => Date.now() + aheadMs });
  clients.push(client);
  return client;
}

/** Millis of the stored stamps of a map, by key. */
async function storedMillis(map: string): Promise<Map<string, number>> {
  const rows = await storage.rows(
    `select convert_from(key, 'utf8') as key, millis from lattice.lww where map = convert_to('${map}', 'utf8')`,
  );
  return new Map(rows.map(({ key, millis }) => [String(key), Number(millis)]));
}

test('a client two hours ahead writes at about the present, and others are not dragged along', async () => {
  const [wild, ann] = [newClient('a0ad', AHEAD_MS), newClient('a001')];
  ann.lww('present');
  await Promise.all([wild.connected(), ann.connected()]);
  wild.set('present', 'k', 'from the future');
  await wild.settled();
  await eventually(() => assert.equal(ann.get('present', 'k'), 'from the future'));
  const stamp = ann.lww('present').records.get('k')?.timestamp;
  assert.ok(Math.abs((stamp?.millis ?? 0) - Date.now()) < CLOSE_MS, `stamped ${stamp?.millis}`);
  assert.equal(stamp?.nodeId, 'a0ad', 'it is still its write');
  assert.ok(ann.clock.now().millis < Date.now() + CLOSE_MS, 'the clock of another client does not follow');
  ann.set('present', 'k', 'later');
  await ann.settled();
  const late = newClient('c001');
  late.lww('present');
  await late.connected();
  await late.settled();
  assert.equal(late.get('present', 'k'), 'later', 'a later write of another wins');
});

test('the writes of the client keep their own order', async () => {
  const [wild, ann] = [newClient('a0ae', AHEAD_MS), newClient('a002')];
  ann.lww('order');
  await Promise.all([wild.connected(), ann.connected()]);
  for (let index = 0; index < 50; index++) wild.set('order', 'k', index);
  await wild.settled();
  await eventually(() => assert.equal(ann.get('order', 'k'), 49));
});

test('an op is corrected to the same stamp each time it is sent, also after a restart', async () => {
  const millis = Date.now() + AHEAD_MS;
  const op = put('1', 'again', 'k', 'v', { millis, counter: 3, nodeId: 'a0af' });
  const other = put('2', 'again', 'k2', 'v', { millis: millis + 5, counter: 0, nodeId: 'a0af' });
  const first = await WireSession.open({ port: node.port });
  first.sendOps(op);
  first.sendOps(op, other);
  await first.next('OP_ACK', (message) => opAck(payloadOf(message)).lastId === '2');
  first.socket.terminate();
  await eventually(async () => assert.equal((await storedMillis('again')).size, 2));
  const before = await storedMillis('again');
  await node.grid.stop();
  node = await start();
  const second = await WireSession.open({ port: node.port });
  const watcher = await WireSession.open({ port: node.port });
  second.sendOps(op, other);
  await second.next('OP_ACK');
  second.sendOps(put('3', 'again', 'end', 'v'));
  await second.next('OP_ACK');
  const event = serverEvent(payloadOf(await watcher.next('SERVER_EVENT')));
  assert.equal(event.key, 'end', 'the ops that were sent again changed nothing');
  await eventually(async () => assert.equal((await storedMillis('again')).size, 3));
  const after = await storedMillis('again');
  after.delete('end');
  assert.deepEqual(after, before);
  assert.equal((after.get('k2') ?? 0) - (after.get('k') ?? 0), 5, 'one offset for all its stamps');
  for (const session of [second, watcher]) session.socket.terminate();
});

test('tags and stamps of OR-Maps stay as they were sent, and the server’s clock does not follow them', async () => {
  const stamp = { millis: Date.now() + AHEAD_MS, counter: 0, nodeId: 'a0b0' };
  const [writer, reader] = [await WireSession.open({ port: node.port }), await WireSession.open({ port: node.port })];
  writer.sendOps(orAdd('1', 'tags', 'k', 'v', stamp));
  await writer.next('OP_ACK');
  const event = serverEvent(payloadOf(await reader.next('SERVER_EVENT')));
  assert.deepEqual([event.orRecord?.tag, event.orRecord?.timestamp], [tagOf(stamp), stamp]);
  reader.send({ type: 'ORMAP_SYNC_INIT', mapName: 'tags', rootHash: 0, bucketHashes: {}, lastSyncTimestamp: 0 });
  const root = payloadOf(await reader.next('ORMAP_SYNC_RESP_ROOT'));
  const { timestamp } = root;
  assert.ok(typeof timestamp === 'object' && timestamp !== null && 'millis' in timestamp);
  assert.ok(Number(timestamp.millis) < Date.now() + CLOSE_MS);
  for (const session of [writer, reader]) session.socket.terminate();
});

test('a clock within the bound is left alone', async () => {
  const [writer, reader] = [await WireSession.open({ port: node.port }), await WireSession.open({ port: node.port })];
  const stamp = { millis: Date.now() + 30_000, counter: 0, nodeId: 'a0b1' };
  writer.sendOps(put('1', 'near', 'k', 'v', stamp));
  assert.deepEqual(serverEvent(payloadOf(await reader.next('SERVER_EVENT'))).record?.timestamp, stamp);
  for (const session of [writer, reader]) session.socket.terminate();
});
