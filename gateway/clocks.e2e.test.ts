/** Clients with clocks of every kind of wrong on one server: hours off, in another century, at the ends of the numbers. */
import assert from 'node:assert/strict';
import test, { after, before } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Message } from './testing/client-codec.ts';
import { opAck, payloadOf, serverEvent } from './testing/client-fields.ts';
import { eventually, metricOf, startGrid, type TestGrid, testStorage, type TestStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { nextStamp, orAdd, put, tagOf, uniqueName, type WireStamp } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const HOUR_MS = 3_600_000;
const CLOSE_MS = 60_000;
const COUNTER_MAX = 0xffffffff;

let storage: TestStorage;
let node: TestGrid;
const ends: (() => void)[] = [];

before(async () => {
  storage = await testStorage();
  node = await start();
});

after(async () => {
  for (const end of ends) end();
  await node.grid.stop();
  await storage.close();
  assert.deepEqual(node.fatal, []);
});

function start(): Promise<TestGrid> {
  return startGrid({ ...storage.config, store: 'write-behind', workerThreads: 2, gatewayThreads: 2 });
}

async function wire(): Promise<WireSession> {
  const session = await WireSession.open({ port: node.port });
  ends.push(() => session.socket.terminate());
  return session;
}

function newClient(nodeId: string, skewMs: number, map: string): TopGunClient {
  const client = new TopGunClient({ port: node.port, nodeId, wallClock: () => Date.now() + skewMs });
  ends.push(() => client.close());
  client.lww(map);
  return client;
}

/** The next event of the map, whatever it travels in. */
async function eventOf(session: WireSession, map: string): Promise<ReturnType<typeof serverEvent>> {
  const message = await session.next('SERVER_EVENT', (candidate) => payloadOf(candidate).mapName === map);
  return serverEvent(payloadOf(message));
}

async function acked(session: WireSession, ...ops: readonly Message[]): Promise<ReturnType<typeof opAck>> {
  session.sendOps(...ops);
  return opAck(payloadOf(await session.next('OP_ACK')));
}

test('clients hours ahead, hours behind and in 2099 write one key in turn: each write wins over the one before it', async () => {
  const map = uniqueName('turns');
  const skewsMs = [0, 5 * HOUR_MS, -5 * HOUR_MS, Date.UTC(2099, 0) - Date.now()];
  const clients = skewsMs.map((skewMs, index) => newClient(`c10${index}`, skewMs, map));
  for (const client of clients) await client.connected();
  const watcher = await wire();
  for (let turn = 0; turn < 40; turn++) {
    const writer = clients[(turn * 7) % 4 === 0 ? turn % 3 : (turn * 7) % 4];
    assert.ok(writer !== undefined);
    writer.set(map, 'k', turn);
    await writer.settled();
    const event = await eventOf(watcher, map);
    assert.deepEqual([event.record?.value, event.record?.timestamp.nodeId], [turn, writer.nodeId]);
    assert.ok(Math.abs((event.record?.timestamp.millis ?? 0) - Date.now()) < CLOSE_MS, 'at about the present');
    // Clients whose clock is right, or behind, have seen it before the next one writes; a millisecond has passed.
    await eventually(() => {
      for (const client of [clients[0], clients[2]]) assert.equal(client?.get(map, 'k'), turn);
    });
    await delay(2);
  }
  const fresh = newClient('f100', 0, map);
  await fresh.connected();
  await fresh.settled();
  assert.equal(fresh.get(map, 'k'), 39);
});

test('an op of a wild clock has one result, however often, through whichever gateway, and after a restart', async () => {
  const map = uniqueName('again');
  const stamp: WireStamp = { millis: Number.MAX_SAFE_INTEGER, counter: COUNTER_MAX, nodeId: 'c2ff' };
  const op = put('1', map, 'k', 'v', stamp);
  const watcher = await wire();
  assert.equal((await acked(await wire(), op)).lastId, '1');
  const first = await eventOf(watcher, map);
  const millis = first.record?.timestamp.millis ?? 0;
  assert.ok(Math.abs(millis - Date.now()) < CLOSE_MS, `stamped ${millis}`);
  assert.deepEqual([first.record?.timestamp.counter, first.record?.timestamp.nodeId], [COUNTER_MAX, 'c2ff']);
  // Connections are dealt to the gateways in turn.
  for (let connection = 0; connection < 6; connection++) assert.equal((await acked(await wire(), op)).lastId, '1');
  await assertNothingButEnd(watcher, map);
  const rows = async (): Promise<number[]> =>
    (
      await storage.rows(
        `select millis from lattice.lww where map = convert_to('${map}', 'utf8') and key = convert_to('k', 'utf8')`,
      )
    ).map((row) => Number(row.millis));
  await eventually(async () => assert.deepEqual(await rows(), [millis]));

  await node.grid.stop();
  node = await start();
  const again = await wire();
  for (let connection = 0; connection < 4; connection++) assert.equal((await acked(await wire(), op)).lastId, '1');
  await assertNothingButEnd(again, map);
  assert.deepEqual(await rows(), [millis]);
});

/** A marker is the next event of the map: what was sent before it changed nothing. */
async function assertNothingButEnd(watcher: WireSession, map: string): Promise<void> {
  await acked(await wire(), put('9', map, 'end', 'v'));
  assert.equal((await eventOf(watcher, map)).key, 'end');
}

test('counters and times at the ends of their ranges are taken, and beyond them refused by name', async () => {
  const map = uniqueName('ends');
  const session = await wire();
  const at = (millis: number, counter: number): WireStamp => ({ millis, counter, nodeId: 'c300' });
  const ack = await acked(
    session,
    put('1', map, 'highest counter', 1, at(Date.now(), COUNTER_MAX)),
    put('2', map, 'counter beyond', 1, at(Date.now(), COUNTER_MAX + 1)),
    put('3', map, 'counter below', 1, at(Date.now(), -1)),
    put('4', map, 'no whole counter', 1, at(Date.now(), 0.5)),
    put('5', map, 'first time', 1, at(0, 0)),
    put('6', map, 'time beyond', 1, at(2 ** 53, 0)),
    put('7', map, 'no time', 1, at(Number.POSITIVE_INFINITY, 0)),
    put('8', map, 'time below', 1, at(-1, 0)),
    orAdd('9', map, 'tag beyond', 1, at(2 ** 53, 0)),
  );
  assert.equal(ack.lastId, '9', 'nothing stays pending');
  assert.deepEqual(
    ack.results.filter(({ success }) => !success).map(({ opId }) => opId),
    ['2', '3', '4', '6', '7', '8', '9'],
  );
  const rejected = session.take('OP_REJECTED').map(payloadOf);
  assert.deepEqual([rejected.length, new Set(rejected.map(({ code }) => code))], [7, new Set([400])]);
  assert.equal((await acked(session, put('10', map, 'after', 1))).lastId, '10', 'and the connection goes on');
});

test('a write that the server stamps comes after a stored clock that is ahead, and after a counter at its end', async () => {
  const map = uniqueName('server');
  const [session, watcher] = [await wire(), await wire()];
  const ahead: WireStamp = { millis: Date.now() + CLOSE_MS / 2, counter: COUNTER_MAX, nodeId: 'ffff' };
  await acked(session, put('1', map, 'k', 1, ahead));
  assert.deepEqual((await eventOf(watcher, map)).record?.timestamp, ahead);
  const removal = (id: string): Message => ({ id, mapName: map, opType: 'REMOVE', key: 'k' });
  await acked(session, removal('2'));
  const first = (await eventOf(watcher, map)).record?.timestamp;
  assert.deepEqual([first?.millis, first?.counter], [ahead.millis + 1, 0]);
  await acked(session, removal('3'));
  const second = (await eventOf(watcher, map)).record?.timestamp;
  assert.deepEqual([second?.millis, second?.counter], [ahead.millis + 1, 1]);
  await acked(session, put('4', map, 'k', 'older', ahead));
  await assertNothingButEnd(watcher, map);
});

test('tags of a wild clock stay as they are, live and die like others, and the server’s clock does not follow them', async () => {
  const map = uniqueName('tags');
  const [session, watcher] = [await wire(), await wire()];
  const stamps: WireStamp[] = [
    { millis: Date.UTC(2099, 0), counter: 7, nodeId: 'c400' },
    { millis: Number.MAX_SAFE_INTEGER, counter: COUNTER_MAX, nodeId: 'c400' },
  ];
  for (const [index, stamp] of stamps.entries()) {
    await acked(session, orAdd(String(index + 1), map, 'k', 'v', stamp));
    const { orRecord } = await eventOf(watcher, map);
    assert.deepEqual([orRecord?.tag, orRecord?.timestamp], [tagOf(stamp), stamp]);
  }
  watcher.send({ type: 'ORMAP_SYNC_INIT', mapName: map, rootHash: 0, bucketHashes: {}, lastSyncTimestamp: 0 });
  const { timestamp } = payloadOf(await watcher.next('ORMAP_SYNC_RESP_ROOT'));
  assert.ok(typeof timestamp === 'object' && timestamp !== null && 'millis' in timestamp);
  assert.ok(Math.abs(Number(timestamp.millis) - Date.now()) < CLOSE_MS);
  // An LWW write of the same node is still judged by its own stamp: the tags gave the node no offset.
  const present = nextStamp('c400');
  await acked(session, put('5', `${map}-lww`, 'k', 1, present));
  assert.deepEqual((await eventOf(watcher, `${map}-lww`)).record?.timestamp, present);
  for (const [index, stamp] of stamps.entries()) {
    await acked(session, {
      id: String(index + 6),
      mapName: map,
      opType: 'OR_REMOVE',
      key: 'k',
      orTag: tagOf(stamp),
      timestamp: nextStamp(),
    });
    assert.equal((await eventOf(watcher, map)).orTag, tagOf(stamp));
  }
  await acked(session, orAdd('8', map, 'k', 'v', stamps[0]));
  await assertNothingLives(watcher, map);
});

/** A removed tag that is added again changes nothing. */
async function assertNothingLives(watcher: WireSession, map: string): Promise<void> {
  await acked(await wire(), orAdd('9', map, 'end', 'v'));
  assert.equal((await eventOf(watcher, map)).key, 'end');
}

test('a client that is years ahead keeps what it wrote through reconnects, and does not flood the quarantine', async () => {
  const map = uniqueName('years');
  const wild = newClient('c500', 20 * 365 * 24 * HOUR_MS, map);
  await wild.connected();
  for (let index = 0; index < 50; index++) wild.set(map, `k${index % 5}`, index);
  for (let cut = 0; cut < 3; cut++) {
    wild.set(map, 'cut', cut);
    wild.drop();
    await wild.settled();
  }
  const fresh = newClient('f500', 0, map);
  await fresh.connected();
  await fresh.settled();
  for (let key = 0; key < 5; key++) assert.equal(fresh.get(map, `k${key}`), 45 + key);
  assert.equal(fresh.get(map, 'cut'), 2);
  const entries = await storage.rows(`select from lattice.clock_quarantine where node = convert_to('c500', 'utf8')`);
  assert.equal(entries.length, 1);
  assert.equal(await metricOf(node.port, 'lattice_deadlines_exceeded_total'), 0);
});
