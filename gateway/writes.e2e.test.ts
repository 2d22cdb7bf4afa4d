/** Writes over real sockets: who sees them, and how they are acknowledged. */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import type { Message } from './testing/client-codec.ts';
import { opAck, payloadOf, serverEvent } from './testing/client-fields.ts';
import { ackOf, SharedNode } from './testing/shared-node.ts';
import { eventually } from './testing/test-grid.ts';
import { nextStamp, orAdd, orRemove, put, tagOf, uniqueName } from './testing/wire-ops.ts';

const node = new SharedNode();

describe('two clients', () => {
  test('see each other’s writes, deletes, OR-adds and OR-removes as they happen', async () => {
    const map = uniqueName('todos');
    const tags = uniqueName('tags');
    const [ann, bob] = [await node.client('a001').connected(), await node.client('b001').connected()];
    bob.lww(map);
    bob.or(tags);
    ann.set(map, 'milk', { text: 'buy milk', done: false });
    ann.add(tags, 'milk', 'urgent');
    ann.add(tags, 'milk', 'cheap');
    await eventually(() => {
      assert.deepEqual(bob.get(map, 'milk'), { text: 'buy milk', done: false });
      assert.deepEqual(bob.or(tags).values('milk').sort(), ['cheap', 'urgent']);
    });
    bob.remove(map, 'milk');
    bob.removeValue(tags, 'milk', 'urgent');
    await eventually(() => {
      assert.equal(ann.get(map, 'milk'), undefined);
      assert.equal(ann.lww(map).records.get('milk')?.value, null, 'the removal carries a record');
      assert.deepEqual(ann.or(tags).values('milk'), ['cheap']);
    });
    await Promise.all([ann.settled(), bob.settled()]);
  });

  test('end with the same record when they write one key at once, and the older stamp never wins', async () => {
    const map = uniqueName('race');
    const [ann, bob, eve] = [
      await node.client('a002').connected(),
      await node.client('b002').connected(),
      await node.client('e002').connected(),
    ];
    eve.lww(map);
    for (let round = 0; round < 20; round++) {
      ann.set(map, 'k', `a${round}`);
      bob.set(map, 'k', `b${round}`);
    }
    await Promise.all([ann.settled(), bob.settled()]);
    await eventually(() => {
      const record = eve.lww(map).records.get('k');
      assert.deepEqual(ann.lww(map).records.get('k'), record);
      assert.deepEqual(bob.lww(map).records.get('k'), record);
    });
  });

  test('the writer does not get its own events back', async () => {
    const [session, other] = [await node.wire(), await node.wire()];
    const map = uniqueName('own');
    await ackOf(session, put('1', map, 'k', 1));
    await other.next('SERVER_EVENT', (message) => payloadOf(message).mapName === map);
    await session.barrier();
    assert.deepEqual(session.take('SERVER_EVENT'), []);
  });

  test('several events of one drain travel as SERVER_BATCH_EVENT, in the order of the writes to a key', async () => {
    const [session, other] = [await node.wire(), await node.wire()];
    const map = uniqueName('drain');
    const ops = Array.from({ length: 50 }, (_, index) => put(String(index + 1), map, `k${index % 5}`, index));
    assert.equal((await ackOf(session, ...ops)).lastId, '50');
    const seen = new Map<string, unknown>();
    let batches = 0;
    await eventually(() => {
      for (const message of other.take('SERVER_BATCH_EVENT')) {
        batches += 1;
        const { events } = payloadOf(message);
        assert.ok(Array.isArray(events) && events.length > 1);
        for (const event of events.map(serverEvent)) if (event.mapName === map) seen.set(event.key, event.record?.value);
      }
      assert.deepEqual([...seen].sort(), [
        ['k0', 45],
        ['k1', 46],
        ['k2', 47],
        ['k3', 48],
        ['k4', 49],
      ]);
    });
    assert.ok(batches >= 1);
  });
});

describe('acknowledgements', () => {
  test('name the highest id of the batch and the level APPLIED', async () => {
    const session = await node.wire();
    const ack = await ackOf(session, put('1', uniqueName('m'), 'a', 1), put('2', uniqueName('m'), 'b', 2));
    assert.deepEqual(ack, { lastId: '2', achievedLevel: 'APPLIED', results: [] });
  });

  test('come once for a batch with the same op twice, and again for an op that is sent again', async () => {
    const session = await node.wire();
    const op = put('7', uniqueName('m'), 'a', 1);
    assert.equal((await ackOf(session, op, op)).lastId, '7');
    assert.equal((await ackOf(session, op)).lastId, '7');
    await session.barrier();
    assert.deepEqual(session.take('OP_ACK'), []);
  });

  test('of an empty batch name nothing new', async () => {
    const session = await node.wire();
    assert.equal((await ackOf(session)).lastId, '0');
    assert.equal((await ackOf(session, put('3', uniqueName('m'), 'a', 1))).lastId, '3');
    assert.equal((await ackOf(session)).lastId, '3');
  });

  test('of ops without an id name 0, and the ops are applied', async () => {
    const [session, other] = [await node.wire(), await node.wire()];
    const map = uniqueName('m');
    assert.equal((await ackOf(session, put(undefined, map, 'a', 1))).lastId, '0');
    await other.next('SERVER_EVENT', (message) => payloadOf(message).mapName === map);
  });

  test('of ids that are no numbers list each in the results and never in lastId', async () => {
    const session = await node.wire();
    const map = uniqueName('m');
    const ack = await ackOf(session, put('first', map, 'a', 1), put('1', map, 'b', 2), put('0x10', map, 'c', 3));
    assert.equal(ack.lastId, '1');
    assert.deepEqual(
      ack.results.map(({ opId, success }) => [opId, success]),
      [
        ['first', true],
        ['0x10', true],
      ],
    );
  });

  test('report the level reached to an op that asks for one, without keeping it pending', async () => {
    const session = await node.wire();
    const map = uniqueName('m');
    const reached: [string, boolean, string][] = [
      ['MEMORY', true, 'APPLIED'],
      ['APPLIED', true, 'APPLIED'],
      ['REPLICATED', false, 'APPLIED'],
      ['PERSISTED', true, 'PERSISTED'],
      ['FIRE_AND_FORGET', true, 'FIRE_AND_FORGET'],
    ];
    for (const [position, [level, succeeds, achieved]] of reached.entries()) {
      const id = String(position + 1);
      const ack = await ackOf(session, { ...put(id, map, 'a', position), writeConcern: level });
      assert.deepEqual(
        ack.results.map(({ opId, success, achievedLevel }) => ({ opId, success, achievedLevel })),
        [{ opId: id, success: succeeds, achievedLevel: achieved }],
      );
      if (!succeeds) assert.match(ack.results[0]?.error ?? '', new RegExp(`LEVEL_UNAVAILABLE: .*${level}`));
      assert.equal(ack.lastId, id);
    }
    session.send({ type: 'OP_BATCH', payload: { ops: [put('9', map, 'a', 9)], writeConcern: 'PERSISTED', timeout: 5000 } });
    assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).results[0]?.success, true);
  });

  test('of a batch with refused ops name those as rejected, and the good ones are applied', async () => {
    const [session, other] = [await node.wire(), await node.wire()];
    const map = uniqueName('m');
    const ack = await ackOf(
      session,
      put('1', map, 'good', 1),
      put('2', '_topgun_secret', 'k', 1),
      put('3', 'a:b', 'k', 1),
      put('4', '', 'k', 1),
      put('5', '__TOPGUN_x', 'k', 1),
      { ...put('6', map, 'bad clock', 1), record: { value: 1, timestamp: { millis: -5, counter: 0, nodeId: 'aa' } } },
      { ...put('7', map, 'bad node', 1), record: { value: 1, timestamp: { millis: 5, counter: 0, nodeId: 'a:a' } } },
      put('8', map, 'k'.repeat(2100), 1),
      put('9', map, 'good too', 1),
    );
    assert.equal(ack.lastId, '9', 'nothing stays pending');
    assert.deepEqual(
      ack.results.map(({ opId, success }) => [opId, success]),
      ['2', '3', '4', '5', '6', '7', '8'].map((id) => [id, false]),
    );
    const rejected = session.take('OP_REJECTED').map(payloadOf);
    assert.deepEqual(
      rejected.map(({ opId, code }) => [opId, code]),
      [
        ['2', 403],
        ['3', 400],
        ['4', 400],
        ['5', 403],
        ['6', 400],
        ['7', 400],
        ['8', 413],
      ],
    );
    assert.ok(rejected.every(({ reason }) => typeof reason === 'string' && reason.length > 0));
    const keys = new Set<string>();
    await eventually(() => {
      for (const type of ['SERVER_EVENT', 'SERVER_BATCH_EVENT']) {
        for (const message of other.take(type)) {
          const { events } = payloadOf(message);
          for (const event of Array.isArray(events) ? events : [payloadOf(message)]) keys.add(serverEvent(event).key);
        }
      }
      assert.ok(keys.has('good') && keys.has('good too'));
    });
    assert.ok(!keys.has('k') && !keys.has('bad clock'));
  });

  test('come for CLIENT_OP as for a batch of one', async () => {
    const session = await node.wire();
    session.send({ type: 'CLIENT_OP', payload: put('1', uniqueName('m'), 'a', 1) });
    assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).lastId, '1');
  });

  test('a removal without a timestamp is stamped by the server and wins over a stamp that is ahead', async () => {
    const [session, other] = [await node.wire(), await node.wire()];
    const map = uniqueName('m');
    const ahead = { millis: Date.now() + 30_000, counter: 4, nodeId: 'ffff' };
    await ackOf(session, put('1', map, 'a', 'old', ahead));
    await ackOf(session, { mapName: map, opType: 'REMOVE', key: 'a', id: '2' });
    const isRemoval = (message: Message): boolean => serverEvent(payloadOf(message)).eventType === 'REMOVE';
    const event = serverEvent(payloadOf(await other.next('SERVER_EVENT', isRemoval)));
    assert.equal(event.record?.value, null);
    const { millis, counter } = event.record?.timestamp ?? { millis: 0, counter: 0 };
    assert.ok(millis > ahead.millis || (millis === ahead.millis && counter > ahead.counter), `${millis}:${counter}`);
    const third = await node.wire();
    await ackOf(third, { mapName: map, key: 'b', record: null, id: '1' });
    await other.next('SERVER_EVENT', (message) => serverEvent(payloadOf(message)).key === 'b');
  });

  test('an older write is acknowledged and changes nothing', async () => {
    const [session, other] = [await node.wire(), await node.wire()];
    const map = uniqueName('m');
    const stamp = nextStamp();
    await ackOf(session, put('1', map, 'a', 'new', stamp));
    await other.next('SERVER_EVENT');
    assert.equal((await ackOf(session, put('2', map, 'a', 'old', { ...stamp, millis: stamp.millis - 1000 }))).lastId, '2');
    await ackOf(session, put('3', map, 'z', 'end'));
    const event = serverEvent(payloadOf(await other.next('SERVER_EVENT')));
    assert.equal(event.key, 'z');
  });

  test('a removed tag never comes back, whatever the order of add and remove', async () => {
    const [session, other] = [await node.wire(), await node.wire()];
    const map = uniqueName('or');
    const stamp = nextStamp();
    await ackOf(session, orRemove('1', map, 'k', tagOf(stamp)));
    await ackOf(session, orAdd('2', map, 'k', 'v', stamp));
    await ackOf(session, orAdd('3', map, 'k', 'w'));
    const added = await other.next('SERVER_EVENT', (message) => serverEvent(payloadOf(message)).eventType === 'OR_ADD');
    assert.equal(serverEvent(payloadOf(added)).orRecord?.value, 'w');
  });
});
