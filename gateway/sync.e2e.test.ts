/** How a client catches up: Merkle walks of LWW and OR maps, equal roots, events by interest. */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { LwwMap, OrMap } from '../engine/crdt/model.ts';
import { listIn, mapIn, mapsIn, payloadOf, serverEvent, textsIn } from './testing/client-fields.ts';
import { rootOf } from './testing/client-maps.ts';
import { rootAt } from './testing/root-at.ts';
import { ackOf, SharedNode } from './testing/shared-node.ts';
import { eventually } from './testing/test-grid.ts';
import { nextStamp, orAdd, orRemove, put, tagOf, uniqueName } from './testing/wire-ops.ts';

const node = new SharedNode();

describe('a client that was offline', () => {
  for (const records of [20, 1500]) {
    test(`learns writes and deletes of a map of ${records} records by a Merkle walk`, async () => {
      const map = uniqueName('offline');
      const [ann, bob] = [node.client('a001'), node.client('b001')];
      bob.lww(map);
      await Promise.all([ann.connected(), bob.connected()]);
      ann.together(() => {
        for (let index = 0; index < records; index++) ann.set(map, `k${index}`, { index });
      });
      await ann.settled();
      await eventually(() => assert.equal(bob.root(map), ann.root(map)));
      await bob.settled();
      const { walks } = { ...bob.sync.counts };
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
      assert.equal(bob.sync.counts.walks, walks + 1);
    });
  }

  test('sends what it wrote meanwhile, and both sides end equal', async () => {
    const map = uniqueName('both');
    const [ann, bob] = [node.client('a002'), node.client('b002')];
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
    await eventually(() =>
      assert.deepEqual(new Map([...bob.lww(map).records].sort()), new Map([...ann.lww(map).records].sort())),
    );
    assert.equal(ann.get(map, 'shared'), 59, 'the later write won');
  });

  test('learns OR-adds and OR-removes, and pushes the adds that never reached the server', async () => {
    const map = uniqueName('or');
    const [ann, bob, eve] = [node.client('a003'), node.client('b003'), node.client('e003')];
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
    const ann = node.client('a004');
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
    const ann = node.client('a005');
    await ann.connected();
    const values = [
      'text',
      42,
      1.5,
      true,
      null,
      { b: 1, a: 'x' },
      { a: { z: 1, b: 2 }, b: [{ a: 1, q: 2 }] },
      [1, 2, { a: 1 }],
      'é😀',
    ];
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
    const session = await node.wire();
    assert.equal(await rootAt(session, uniqueName('none'), 'lww'), 0);
    assert.equal(await rootAt(session, uniqueName('none'), 'or'), 0);
    session.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'nothing-here', path: '' } });
    assert.deepEqual(listIn(payloadOf(await session.next('SYNC_RESP_LEAF')), 'records'), []);
  });

  test('hold with a TTL, which is hashed for OR-Maps only', async () => {
    const [map, or] = [uniqueName('ttl'), uniqueName('ttl-or')];
    const ann = node.client('a006');
    await ann.connected();
    ann.set(map, 'k', 'v', 60_000);
    const stamp = ann.clock.now();
    const orRecord = { value: 'v', timestamp: stamp, tag: tagOf(stamp), ttlMs: 5000 };
    ann.or(or).apply('k', orRecord);
    ann.send({
      type: 'OP_BATCH',
      payload: { ops: [{ mapName: or, opType: 'OR_ADD', key: 'k', orRecord, timestamp: stamp, id: 'x' }] },
    });
    await ann.settled();
    await ann.resynced();
    assert.equal(ann.sync.serverRoots.get(map), ann.root(map));
    assert.equal(ann.sync.serverRoots.get(or), rootOf(ann.or(or).tree()));
    const late = node.client('b006');
    late.lww(map);
    await late.connected();
    await late.settled();
    assert.equal(late.lww(map).records.get('k')?.ttlMs, 60_000);
  });
});

describe('a walk', () => {
  test('names buckets that add up over the workers, down to leaves with tombstones', async () => {
    const map = uniqueName('walk');
    const session = await node.wire();
    const ops = Array.from({ length: 200 }, (_, index) => put(String(index + 1), map, `k${index}`, index));
    await ackOf(session, ...ops);
    await ackOf(session, {
      mapName: map,
      opType: 'REMOVE',
      key: 'k7',
      record: { value: null, timestamp: nextStamp() },
      id: '300',
    });
    const keys = new Map<string, unknown>();
    const ask = async (path: string): Promise<void> => {
      session.send({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: map, path } });
      if (path.length === 3) {
        const leaf = payloadOf(await session.next('SYNC_RESP_LEAF'));
        for (const item of mapsIn(leaf, 'records')) keys.set(String(item.key), mapIn(item, 'record').value);
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
    const session = await node.wire();
    const [live, dead] = [nextStamp(), nextStamp()];
    await ackOf(
      session,
      orAdd('1', map, 'k', 'live', live),
      orAdd('2', map, 'k', 'dead', dead),
      orRemove('3', map, 'k', tagOf(dead)),
    );
    let path = '';
    while (path.length < 3) {
      session.send({ type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: map, path } });
      path += Object.keys(mapIn(payloadOf(await session.next('ORMAP_SYNC_RESP_BUCKETS')), 'buckets'))[0] ?? 'none';
    }
    session.send({ type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: map, path } });
    const [entry] = mapsIn(payloadOf(await session.next('ORMAP_SYNC_RESP_LEAF')), 'entries');
    assert.ok(entry !== undefined);
    assert.deepEqual(textsIn(entry, 'tombstones'), [tagOf(dead)]);
    assert.ok(
      mapsIn(entry, 'records').every((record) => !('ttlMs' in record)),
      'a null TTL would change the client’s hash',
    );
  });

  test('of a name that clients may not use is refused', async () => {
    const session = await node.wire();
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
    const [reader, writer] = [await node.wire('/ws?events=interest'), await node.wire('/?events=interest')];
    await rootAt(reader, wanted, 'lww');
    await rootAt(reader, orWanted, 'or');
    await ackOf(
      writer,
      put('1', unwanted, 'k', 1),
      put('2', wanted, 'k', 2),
      orAdd('3', orWanted, 'k', 3),
      put('4', unwanted, 'k', 4),
    );
    const maps = new Set<string>();
    await eventually(() => {
      for (const { payload, type } of [...reader.take('SERVER_EVENT'), ...reader.take('SERVER_BATCH_EVENT')]) {
        const events = type === 'SERVER_EVENT' ? [payload] : listIn(payloadOf({ payload }), 'events');
        for (const event of events) maps.add(serverEvent(payloadOf({ payload: event })).mapName);
      }
      assert.deepEqual(maps, new Set([wanted, orWanted]));
    });
    await ackOf(writer, put('5', unwanted, 'k', 5), put('6', unwanted, 'k2', 6));
    await rootAt(reader, wanted, 'lww');
    assert.deepEqual(reader.take('SERVER_EVENT'), []);
    assert.deepEqual(reader.take('SERVER_BATCH_EVENT'), []);
    await writer.barrier();
    assert.deepEqual(writer.take('SERVER_EVENT'), []);
  });
});
