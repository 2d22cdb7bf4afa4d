/** How a client catches up: Merkle walks of LWW and OR maps, pushes, resets, and events by interest. */
import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';
import { OrMap, LwwMap } from '../engine/crdt/model.ts';
import type { Message } from './testing/client-codec.ts';
import { listIn, mapIn, mapsIn, opAck, orEntry, payloadOf, serverEvent, stampIn, textsIn } from './testing/client-fields.ts';
import { rootOf } from './testing/client-maps.ts';
import { eventually, startGrid, type TestGrid, testStorage, type TestStorage } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { nextStamp, orAdd, orRemove, put, tagOf, uniqueName } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

let storage: TestStorage;
let node: TestGrid;
const sessions: WireSession[] = [];
const clients: TopGunClient[] = [];

before(async () => {
  storage = await testStorage();
  node = await startGrid({ ...storage.config, store: 'write-behind', workerThreads: 2 });
});

after(async () => {
  for (const session of sessions) session.socket.terminate();
  for (const client of clients) client.close();
  await node.grid.stop();
  await storage.close();
  assert.deepEqual(node.fatal, []);
});

async function wire(path = '/ws', port = node.port): Promise<WireSession> {
  const session = await WireSession.open({ port, path });
  sessions.push(session);
  return session;
}

function newClient(nodeId: string, port = node.port): TopGunClient {
  const client = new TopGunClient({ port, nodeId });
  clients.push(client);
  return client;
}

async function acked(session: WireSession, ...ops: readonly Message[]): Promise<void> {
  session.sendOps(...ops);
  opAck(payloadOf(await session.next('OP_ACK')));
}

async function rootAt(session: WireSession, mapName: string, kind: 'lww' | 'or'): Promise<number> {
  if (kind === 'lww') session.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 });
  else session.send({ type: 'ORMAP_SYNC_INIT', mapName, rootHash: 0, bucketHashes: {}, lastSyncTimestamp: 0, claimedEpoch: 0 });
  const root = await session.next(kind === 'lww' ? 'SYNC_RESP_ROOT' : 'ORMAP_SYNC_RESP_ROOT');
  const payload = payloadOf(root);
  stampIn(payload);
  return Number(payload['rootHash']);
}

describe('a client that was offline', () => {
  for (const records of [20, 1500]) {
    test(`learns writes and deletes of a map of ${records} records by a Merkle walk`, async () => {
      const map = uniqueName('offline');
      const [ann, bob] = [newClient('a001'), newClient('b001')];
      bob.lww(map);
      await Promise.all([ann.connected(), bob.connected()]);
      ann.together(() => {
        for (let index = 0; index < records; index++) ann.set(map, `k${index}`, { index });
      });
      await ann.settled();
      await eventually(() => assert.equal(bob.root(map), ann.root(map)));
      bob.offline();
      ann.together(() => {
        for (let index = 0; index < records; index += 3) ann.remove(map, `k${index}`);
        for (let index = 1; index < records; index += 3) ann.set(map, `k${index}`, { index, again: true });
        ann.set(map, 'new', 1);
      });
      await ann.settled();
      await bob.connected();
      await bob.settled();
      assert.deepEqual(bob.lww(map).records, ann.lww(map).records);
      assert.equal(bob.get(map, 'k0'), undefined);
      assert.equal(bob.sync.counts.walks, 1);
    });
  }

  test('sends what it wrote meanwhile, and both sides end equal', async () => {
    const map = uniqueName('both');
    const [ann, bob] = [newClient('a002'), newClient('b002')];
    bob.lww(map);
    await Promise.all([ann.connected(), bob.connected()]);
    bob.offline();
    for (let index = 0; index < 60; index++) {
      bob.set(map, `bob${index}`, index);
      ann.set(map, `ann${index}`, index);
      (index % 2 === 0 ? bob : ann).set(map, 'shared', index);
    }
    await bob.connected();
    await Promise.all([ann.settled(), bob.settled()]);
    await eventually(() => assert.deepEqual(new Map([...bob.lww(map).records].sort()), new Map([...ann.lww(map).records].sort())));
    assert.equal(ann.get(map, 'shared'), 59, 'the later write won');
  });

  test('learns OR-adds and OR-removes, and pushes the adds that never reached the server', async () => {
    const map = uniqueName('or');
    const [ann, bob, eve] = [newClient('a003'), newClient('b003'), newClient('e003')];
    bob.or(map);
    eve.or(map);
    await Promise.all([ann.connected(), bob.connected(), eve.connected()]);
    for (let index = 0; index < 40; index++) ann.add(map, `k${index % 10}`, `v${index}`);
    await ann.settled();
    await eventually(() => assert.equal(bob.root(map), ann.root(map)));
    bob.offline();
    ann.removeValue(map, 'k0', 'v0');
    ann.removeValue(map, 'k1', 'v1');
    ann.add(map, 'k0', 'late');
    // An add that is in the map but no longer in the log, as after a restored backup of the server.
    const timestamp = bob.clock.now();
    bob.or(map).apply('k5', { value: 'pushed', timestamp, tag: `${timestamp.millis}:${timestamp.counter}:${timestamp.nodeId}` });
    await ann.settled();
    await bob.connected();
    await bob.settled();
    await eventually(() => {
      assert.ok(ann.or(map).values('k5').includes('pushed'), 'the push reaches others as an event');
      assert.equal(bob.root(map), ann.root(map));
      assert.equal(eve.root(map), ann.root(map));
    });
    assert.ok(!bob.or(map).values('k0').includes('v0') && bob.or(map).values('k0').includes('late'));
    await bob.resynced();
    assert.equal(bob.sync.serverRoots.get(map), bob.root(map));
  });
});

describe('equal roots', () => {
  test('end the walk of an LWW map at once, tombstones included', async () => {
    const map = uniqueName('equal');
    const ann = newClient('a004');
    await ann.connected();
    for (let index = 0; index < 50; index++) ann.set(map, `k${index}`, index);
    for (let index = 0; index < 50; index += 2) ann.remove(map, `k${index}`);
    await ann.settled();
    const { walks, rootsEqual } = { ...ann.sync.counts };
    await ann.resynced();
    assert.deepEqual([ann.sync.counts.walks, ann.sync.counts.rootsEqual], [walks, rootsEqual + 1]);
    const model = new LwwMap();
    for (const [key, { value, timestamp }] of ann.lww(map).records) {
      model.put(key, { ...timestamp, value: value === null ? new Uint8Array(0) : Uint8Array.of(Number(value)) });
    }
    assert.equal(model.tree().root, ann.sync.serverRoots.get(map), 'and equal the model’s');
  });

  test('end the walk of an OR-Map at once, with values of every kind', async () => {
    const map = uniqueName('equal-or');
    const ann = newClient('a005');
    await ann.connected();
    const values = ['text', 42, 1.5, true, null, { b: 1, a: 'x' }, { a: { z: 1, b: 2 }, b: [{ a: 1, q: 2 }] }, [1, 2, { a: 1 }], 'é😀'];
    values.forEach((value, index) => {
      ann.add(map, `k${index}`, value);
      ann.add(map, 'all', value);
    });
    ann.removeValue(map, 'k1', 42);
    ann.removeValue(map, 'all', 'text');
    await ann.settled();
    const { walks, rootsEqual } = { ...ann.sync.counts };
    await ann.resynced();
    assert.deepEqual([ann.sync.counts.walks, ann.sync.counts.rootsEqual], [walks, rootsEqual + 1]);
    const model = new OrMap();
    for (const [key, records] of ann.or(map).items) {
      for (const { tag, value, timestamp } of records.values()) model.add(key, { tag, value, ...timestamp });
    }
    assert.equal(model.tree().root, ann.sync.serverRoots.get(map));
  });

  test('of a map that does not exist are 0', async () => {
    const session = await wire();
    assert.equal(await rootAt(session, uniqueName('none'), 'lww'), 0);
    assert.equal(await rootAt(session, uniqueName('none'), 'or'), 0);
    session.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'nothing-here', path: '' } });
    assert.deepEqual(listIn(payloadOf(await session.next('SYNC_RESP_LEAF')), 'records'), []);
  });

  test('hold with a TTL, which is hashed for OR-Maps only', async () => {
    const [map, or] = [uniqueName('ttl'), uniqueName('ttl-or')];
    const ann = newClient('a006');
    await ann.connected();
    ann.set(map, 'k', 'v', 60_000);
    const stamp = ann.clock.now();
    const orRecord = { value: 'v', timestamp: stamp, tag: tagOf(stamp), ttlMs: 5000 };
    ann.or(or).apply('k', orRecord);
    ann.send({ type: 'OP_BATCH', payload: { ops: [{ mapName: or, opType: 'OR_ADD', key: 'k', orRecord, timestamp: stamp, id: 'x' }] } });
    await ann.settled();
    await ann.resynced();
    assert.equal(ann.sync.serverRoots.get(map), ann.root(map));
    assert.equal(ann.sync.serverRoots.get(or), rootOf(ann.or(or).tree()));
    const late = newClient('b006');
    late.lww(map);
    await late.connected();
    await late.settled();
    assert.equal(late.lww(map).records.get('k')?.ttlMs, 60_000);
  });
});

describe('a push', () => {
  function push(map: string, key: string, tags: readonly { stamp: ReturnType<typeof nextStamp>; value: unknown }[], tombstones: readonly string[]): Message {
    const records = tags.map(({ stamp, value }) => ({ value, timestamp: stamp, tag: tagOf(stamp) }));
    return { type: 'ORMAP_PUSH_DIFF', payload: { mapName: map, entries: [{ key, records, tombstones }] } };
  }

  test('is silent, idempotent, and tells others only what changed', async () => {
    const map = uniqueName('push');
    const [pusher, other] = [await wire(), await wire()];
    const stamp = nextStamp();
    const message = push(map, 'k', [{ stamp, value: 'v' }], []);
    for (let time = 0; time < 3; time++) pusher.send(message);
    const root = await rootAt(pusher, map, 'or');
    assert.notEqual(root, 0);
    assert.deepEqual(pusher.messages, [], 'no OP_ACK, no echo');
    await rootAt(other, map, 'or');
    const events = other.take('SERVER_EVENT').map((event) => serverEvent(payloadOf(event)));
    assert.deepEqual(events.map(({ eventType, orRecord }) => [eventType, orRecord?.tag]), [['OR_ADD', tagOf(stamp)]]);

    pusher.send(push(map, 'k', [], [tagOf(stamp)]));
    pusher.send(push(map, 'k', [], [tagOf(stamp), '1:0:unknown']));
    assert.equal(await rootAt(pusher, map, 'or'), 0, 'the pushed tombstone killed the record');
    await rootAt(other, map, 'or');
    const removals = other.take('SERVER_EVENT').map((event) => serverEvent(payloadOf(event)));
    assert.deepEqual(removals.map(({ eventType, orTag }) => [eventType, orTag]), [['OR_REMOVE', tagOf(stamp)]]);
  });

  test('of a tag that is removed here is answered with the tombstone', async () => {
    const map = uniqueName('dead');
    const session = await wire();
    const stamp = nextStamp();
    await acked(session, orAdd('1', map, 'k', 'v', stamp), orRemove('2', map, 'k', tagOf(stamp)));
    session.send(push(map, 'k', [{ stamp, value: 'v' }], []));
    const diff = payloadOf(await session.next('ORMAP_DIFF_RESPONSE'));
    const [entry] = mapsIn(diff, 'entries').map(orEntry);
    assert.deepEqual([entry?.key, entry?.records, entry?.tombstones], ['k', [], [tagOf(stamp)]]);
  });

  test('lets a client that missed a removal converge though the server has no bucket left', async () => {
    const map = uniqueName('stale');
    const [ann, bob] = [newClient('a007'), newClient('b007')];
    bob.or(map);
    await Promise.all([ann.connected(), bob.connected()]);
    ann.add(map, 'k', 'v');
    ann.add(map, 'other', 'w');
    await ann.settled();
    await eventually(() => assert.deepEqual(bob.or(map).values('k'), ['v']));
    bob.offline();
    ann.removeValue(map, 'k', 'v');
    await ann.settled();
    await bob.connected();
    await bob.settled();
    await eventually(() => assert.equal(bob.root(map), ann.root(map)));
    assert.deepEqual(bob.or(map).values('k'), []);
  });

  test('remembers tombstones of tags that the server has never seen, on every worker', async () => {
    const map = uniqueName('orphan');
    const session = await wire();
    const stamps = Array.from({ length: 12 }, () => nextStamp());
    session.send(push(map, 'somewhere', [], stamps.map(tagOf)));
    await acked(session, ...stamps.map((stamp, index) => orAdd(String(index + 1), map, `key-${index}`, 'v', stamp)));
    assert.equal(await rootAt(session, map, 'or'), 0, 'none of them lives');
  });

  test('and ORMAP_DIFF_REQUEST are answered with entries', async () => {
    const map = uniqueName('diff');
    const session = await wire();
    const [live, dead] = [nextStamp(), nextStamp()];
    await acked(session, orAdd('1', map, 'k', 'live', live), orAdd('2', map, 'k', 'dead', dead), orRemove('3', map, 'k', tagOf(dead)));
    session.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: map, keys: ['k', 'absent'] } });
    const entries = mapsIn(payloadOf(await session.next('ORMAP_DIFF_RESPONSE')), 'entries').map(orEntry);
    assert.deepEqual(entries.map(({ key, records, tombstones }) => [key, records.map(({ value }) => value), tombstones]), [
      ['k', ['live'], [tagOf(dead)]],
    ]);
  });
});

describe('a walk', () => {
  test('names buckets that add up over the workers, down to leaves with tombstones', async () => {
    const map = uniqueName('walk');
    const session = await wire();
    const ops = Array.from({ length: 200 }, (_, index) => put(String(index + 1), map, `k${index}`, index));
    await acked(session, ...ops);
    await acked(session, { mapName: map, opType: 'REMOVE', key: 'k7', record: { value: null, timestamp: nextStamp() }, id: '300' });
    const keys = new Map<string, unknown>();
    const ask = async (path: string): Promise<void> => {
      session.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: map, path } });
      if (path.length === 3) {
        const leaf = payloadOf(await session.next('SYNC_RESP_LEAF'));
        for (const item of mapsIn(leaf, 'records')) keys.set(String(item['key']), mapIn(item, 'record')['value']);
        return;
      }
      const { buckets } = payloadOf(await session.next('SYNC_RESP_BUCKETS'));
      assert.ok(typeof buckets === 'object' && buckets !== null);
      for (const digit of Object.keys(buckets)) await ask(path + digit);
    };
    await ask('');
    assert.equal(keys.size, 200);
    assert.equal(keys.get('k7'), null);
    assert.equal(keys.get('k8'), 8);
  });

  test('of an OR-Map carries the tombstones of each key', async () => {
    const map = uniqueName('or-walk');
    const session = await wire();
    const [live, dead] = [nextStamp(), nextStamp()];
    await acked(session, orAdd('1', map, 'k', 'live', live), orAdd('2', map, 'k', 'dead', dead), orRemove('3', map, 'k', tagOf(dead)));
    let path = '';
    while (path.length < 3) {
      session.send({ type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: map, path } });
      path += Object.keys(mapIn(payloadOf(await session.next('ORMAP_SYNC_RESP_BUCKETS')), 'buckets'))[0] ?? 'none';
    }
    session.send({ type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: map, path } });
    const [entry] = mapsIn(payloadOf(await session.next('ORMAP_SYNC_RESP_LEAF')), 'entries');
    assert.ok(entry !== undefined);
    assert.deepEqual(textsIn(entry, 'tombstones'), [tagOf(dead)]);
    assert.ok(mapsIn(entry, 'records').every((record) => !('ttlMs' in record)), 'a null TTL would change the client’s hash');
  });

  test('of a name that clients may not use is refused', async () => {
    const session = await wire();
    for (const mapName of ['a:b', '', '_topgun_x', '__TOPGUN_y']) {
      session.send({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 });
      const { code } = payloadOf(await session.next('ERROR'));
      assert.ok(code === 400 || code === 403, mapName);
    }
  });
});

describe('events by interest', () => {
  test('come only for maps that the connection synced', async () => {
    const [wanted, orWanted, unwanted] = [uniqueName('wanted'), uniqueName('wanted-or'), uniqueName('unwanted')];
    const [reader, writer] = [await wire('/ws?events=interest'), await wire('/?events=interest')];
    await rootAt(reader, wanted, 'lww');
    await rootAt(reader, orWanted, 'or');
    await acked(writer, put('1', unwanted, 'k', 1), put('2', wanted, 'k', 2), orAdd('3', orWanted, 'k', 3), put('4', unwanted, 'k', 4));
    const maps = new Set<string>();
    await eventually(() => {
      for (const { payload, type } of [...reader.take('SERVER_EVENT'), ...reader.take('SERVER_BATCH_EVENT')]) {
        const events = type === 'SERVER_EVENT' ? [payload] : listIn(payloadOf({ payload }), 'events');
        for (const event of events) maps.add(serverEvent(payloadOf({ payload: event })).mapName);
      }
      assert.deepEqual(maps, new Set([wanted, orWanted]));
    });
    await acked(writer, put('5', unwanted, 'k', 5), put('6', unwanted, 'k2', 6));
    await rootAt(reader, wanted, 'lww');
    assert.deepEqual(reader.take('SERVER_EVENT'), []);
    assert.deepEqual(reader.take('SERVER_BATCH_EVENT'), []);
    await writer.barrier();
    assert.deepEqual(writer.take('SERVER_EVENT'), []);
  });
});

describe('a device that was away longer than tombstones are kept', () => {
  test('is told to reset, and GC_PRUNE tells all clients what is forgotten', async (t) => {
    const short = await startGrid({ tombstoneHorizonMs: 1500 });
    t.after(() => short.grid.stop());
    const [map, or] = [uniqueName('gone'), uniqueName('gone-or')];
    const [ann, bob] = [newClient('a008', short.port), newClient('b008', short.port)];
    for (const client of [ann, bob]) {
      client.lww(map);
      client.or(or);
      await client.connected();
    }
    ann.set(map, 'kept', 1);
    ann.set(map, 'removed', 2);
    ann.add(or, 'k', 'kept');
    ann.add(or, 'k', 'removed');
    await ann.settled();
    await eventually(() => assert.equal(bob.root(map), ann.root(map)));
    await eventually(() => assert.equal(bob.root(or), ann.root(or)));
    await bob.resynced();
    bob.offline();
    ann.remove(map, 'removed');
    ann.removeValue(or, 'k', 'removed');
    await ann.settled();
    await eventually(() => {
      assert.ok((ann.received.get('GC_PRUNE') ?? 0) >= 3);
      assert.ok(!ann.lww(map).records.has('removed'), 'the tombstone is forgotten by the client');
      assert.equal(ann.or(or).tombstones.size, 0);
    });
    const probe = await wire('/ws?events=interest', short.port);
    await eventually(async () => assert.equal(await rootAt(probe, map, 'lww'), ann.root(map), 'and by the server'));
    assert.equal(bob.get(map, 'removed'), 2, 'the device that is away still has it');
    bob.set(map, 'offline', 3);
    await bob.connected();
    await bob.settled();
    assert.equal(bob.sync.counts.resets, 1);
    assert.equal(bob.sync.counts.fullResyncs, 1);
    assert.equal(bob.get(map, 'removed'), undefined, 'the deleted record did not come back');
    assert.deepEqual(bob.or(or).values('k'), ['kept']);
    await eventually(() => assert.equal(ann.get(map, 'offline'), 3, 'and a new write was not lost'));
    assert.deepEqual(ann.or(or).values('k'), ['kept']);
  });

  test('has its old write to an absent key refused, acknowledged, and kept as a dead letter', async () => {
    const own = await testStorage();
    const short = await startGrid({ ...own.config, store: 'write-behind', tombstoneHorizonMs: 60_000 });
    try {
      const session = await wire('/ws', short.port);
      await session.next('GC_PRUNE');
      const old = { millis: Date.now() - 120_000, counter: 0, nodeId: 'aaaa' };
      session.sendOps(put('1', 'm', 'absent', 1, old), put('2', 'm', 'fresh', 1));
      const ack = opAck(payloadOf(await session.next('OP_ACK')));
      assert.deepEqual([ack.lastId, ack.results.map(({ opId, success }) => [opId, success])], ['2', [['1', false]]]);
      assert.equal(payloadOf(await session.next('OP_REJECTED'))['code'], 410);
      await eventually(async () => assert.equal((await own.rows('select * from lattice.dead_letters')).length, 1));
    } finally {
      await short.grid.stop();
      await own.close();
    }
  });
});
