/** How what a client missed or kept too long is put right: pushes of OR-Maps, resets, pruned tombstones. */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import type { Message } from './testing/client-codec.ts';
import { mapsIn, opAck, orEntry, payloadOf, serverEvent, stampIn } from './testing/client-fields.ts';
import { rootAt } from './testing/root-at.ts';
import { ackOf, SharedNode } from './testing/shared-node.ts';
import { eventually, startGrid, testStorage } from './testing/test-grid.ts';
import { nextStamp, orAdd, orRemove, put, tagOf, uniqueName } from './testing/wire-ops.ts';

const node = new SharedNode();

describe('a push', () => {
  function push(
    map: string,
    key: string,
    tags: readonly { stamp: ReturnType<typeof nextStamp>; value: unknown }[],
    tombstones: readonly string[],
  ): Message {
    const records = tags.map(({ stamp, value }) => ({ value, timestamp: stamp, tag: tagOf(stamp) }));
    return { type: 'ORMAP_PUSH_DIFF', payload: { mapName: map, entries: [{ key, records, tombstones }] } };
  }

  test('is silent, idempotent, and tells others only what changed', async () => {
    const map = uniqueName('push');
    const [pusher, other] = [await node.wire(), await node.wire()];
    const stamp = nextStamp();
    const message = push(map, 'k', [{ stamp, value: 'v' }], []);
    for (let time = 0; time < 3; time++) pusher.send(message);
    const root = await rootAt(pusher, map, 'or');
    assert.notEqual(root, 0);
    assert.deepEqual(pusher.messages, [], 'no OP_ACK, no echo');
    await rootAt(other, map, 'or');
    const events = other.take('SERVER_EVENT').map((event) => serverEvent(payloadOf(event)));
    assert.deepEqual(
      events.map(({ eventType, orRecord }) => [eventType, orRecord?.tag]),
      [['OR_ADD', tagOf(stamp)]],
    );

    pusher.send(push(map, 'k', [], [tagOf(stamp)]));
    pusher.send(push(map, 'k', [], [tagOf(stamp), '1:0:unknown']));
    assert.equal(await rootAt(pusher, map, 'or'), 0, 'the pushed tombstone killed the record');
    await rootAt(other, map, 'or');
    const removals = other.take('SERVER_EVENT').map((event) => serverEvent(payloadOf(event)));
    assert.deepEqual(
      removals.map(({ eventType, orTag }) => [eventType, orTag]),
      [['OR_REMOVE', tagOf(stamp)]],
    );
  });

  test('of a tag that is removed here is answered with the tombstone', async () => {
    const map = uniqueName('dead');
    const session = await node.wire();
    const stamp = nextStamp();
    await ackOf(session, orAdd('1', map, 'k', 'v', stamp), orRemove('2', map, 'k', tagOf(stamp)));
    session.send(push(map, 'k', [{ stamp, value: 'v' }], []));
    const diff = payloadOf(await session.next('ORMAP_DIFF_RESPONSE'));
    const [entry] = mapsIn(diff, 'entries').map(orEntry);
    assert.deepEqual([entry?.key, entry?.records, entry?.tombstones], ['k', [], [tagOf(stamp)]]);
  });

  test('lets a client that missed a removal converge though the server has no bucket left', async () => {
    const map = uniqueName('stale');
    const [ann, bob] = [node.client('a007'), node.client('b007')];
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
    const session = await node.wire();
    const stamps = Array.from({ length: 12 }, () => nextStamp());
    session.send(push(map, 'somewhere', [], stamps.map(tagOf)));
    await ackOf(session, ...stamps.map((stamp, index) => orAdd(String(index + 1), map, `key-${index}`, 'v', stamp)));
    assert.equal(await rootAt(session, map, 'or'), 0, 'none of them lives');
  });

  test('and ORMAP_DIFF_REQUEST are answered with entries', async () => {
    const map = uniqueName('diff');
    const session = await node.wire();
    const [live, dead] = [nextStamp(), nextStamp()];
    await ackOf(
      session,
      orAdd('1', map, 'k', 'live', live),
      orAdd('2', map, 'k', 'dead', dead),
      orRemove('3', map, 'k', tagOf(dead)),
    );
    session.send({ type: 'ORMAP_DIFF_REQUEST', payload: { mapName: map, keys: ['k', 'absent'] } });
    const entries = mapsIn(payloadOf(await session.next('ORMAP_DIFF_RESPONSE')), 'entries').map(orEntry);
    assert.deepEqual(
      entries.map(({ key, records, tombstones }) => [key, records.map(({ value }) => value), tombstones]),
      [['k', ['live'], [tagOf(dead)]]],
    );
  });
});

describe('a device that was away longer than tombstones are kept', () => {
  test('is told to reset, and GC_PRUNE tells all clients what is forgotten', async (t) => {
    const short = await startGrid({ tombstoneHorizonMs: 1500 });
    t.after(() => short.grid.stop());
    const [map, or] = [uniqueName('gone'), uniqueName('gone-or')];
    const [ann, bob] = [node.client('a008', short.port), node.client('b008', short.port)];
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
    const probe = await node.wire('/ws?events=interest', short.port);
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
      const session = await node.wire('/ws', short.port);
      const { millis } = stampIn(payloadOf(await session.next('GC_PRUNE')), 'olderThan');
      assert.ok(Number.isSafeInteger(millis), `a stamp counts whole milliseconds: ${millis}`);
      const old = { millis: Date.now() - 120_000, counter: 0, nodeId: 'aaaa' };
      session.sendOps(put('1', 'm', 'absent', 1, old), put('2', 'm', 'fresh', 1));
      const ack = opAck(payloadOf(await session.next('OP_ACK')));
      assert.deepEqual([ack.lastId, ack.results.map(({ opId, success }) => [opId, success])], ['2', [['1', false]]]);
      assert.equal(payloadOf(await session.next('OP_REJECTED')).code, 410);
      await eventually(async () => assert.equal((await own.rows('select * from lattice.dead_letters')).length, 1));
    } finally {
      await short.grid.stop();
      await own.close();
    }
  });
});
