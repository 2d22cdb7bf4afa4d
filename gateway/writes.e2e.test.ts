/** Writes over real sockets: who sees them, how they are acknowledged, what is refused and how. */
import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { encodeFrame, type Message } from './testing/client-codec.ts';
import { opAck, payloadOf, serverEvent } from './testing/client-fields.ts';
import { eventually, metricOf, startGrid, type TestGrid, testStorage, type TestStorage } from './testing/test-grid.ts';
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

async function wire(path = '/ws'): Promise<WireSession> {
  const session = await WireSession.open({ port: node.port, path });
  sessions.push(session);
  return session;
}

async function client(nodeId: string): Promise<TopGunClient> {
  const made = await new TopGunClient({ port: node.port, nodeId }).connected();
  clients.push(made);
  return made;
}

async function ackOf(session: WireSession, ...ops: readonly Message[]): Promise<ReturnType<typeof opAck>> {
  session.sendOps(...ops);
  return opAck(payloadOf(await session.next('OP_ACK')));
}

/** Frames need a writer of other rules than the client's: its encoder makes maps of bytes. */
function batchFrame(data: Uint8Array): Uint8Array {
  return encode({ type: 'BATCH', count: 2, data });
}

describe('two clients', () => {
  test('see each other’s writes, deletes, OR-adds and OR-removes as they happen', async () => {
    const map = uniqueName('todos');
    const tags = uniqueName('tags');
    const [ann, bob] = [await client('a001'), await client('b001')];
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
    const [ann, bob, eve] = [await client('a002'), await client('b002'), await client('e002')];
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
    const [session, other] = [await wire(), await wire()];
    const map = uniqueName('own');
    await ackOf(session, put('1', map, 'k', 1));
    await other.next('SERVER_EVENT', (message) => payloadOf(message)['mapName'] === map);
    await session.barrier();
    assert.deepEqual(session.take('SERVER_EVENT'), []);
  });

  test('several events of one drain travel as SERVER_BATCH_EVENT, in the order of the writes to a key', async () => {
    const [session, other] = [await wire(), await wire()];
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
      assert.deepEqual([...seen].sort(), [['k0', 45], ['k1', 46], ['k2', 47], ['k3', 48], ['k4', 49]]);
    });
    assert.ok(batches >= 1);
  });
});

describe('acknowledgements', () => {
  test('name the highest id of the batch and the level MEMORY', async () => {
    const session = await wire();
    const ack = await ackOf(session, put('1', uniqueName('m'), 'a', 1), put('2', uniqueName('m'), 'b', 2));
    assert.deepEqual(ack, { lastId: '2', achievedLevel: 'MEMORY', results: [] });
  });

  test('come once for a batch with the same op twice, and again for an op that is sent again', async () => {
    const session = await wire();
    const op = put('7', uniqueName('m'), 'a', 1);
    assert.equal((await ackOf(session, op, op)).lastId, '7');
    assert.equal((await ackOf(session, op)).lastId, '7');
    await session.barrier();
    assert.deepEqual(session.take('OP_ACK'), []);
  });

  test('of an empty batch name nothing new', async () => {
    const session = await wire();
    assert.equal((await ackOf(session)).lastId, '0');
    assert.equal((await ackOf(session, put('3', uniqueName('m'), 'a', 1))).lastId, '3');
    assert.equal((await ackOf(session)).lastId, '3');
  });

  test('of ops without an id name 0, and the ops are applied', async () => {
    const [session, other] = [await wire(), await wire()];
    const map = uniqueName('m');
    assert.equal((await ackOf(session, put(undefined, map, 'a', 1))).lastId, '0');
    await other.next('SERVER_EVENT', (message) => payloadOf(message)['mapName'] === map);
  });

  test('of ids that are no numbers list each in the results and never in lastId', async () => {
    const session = await wire();
    const map = uniqueName('m');
    const ack = await ackOf(session, put('first', map, 'a', 1), put('1', map, 'b', 2), put('0x10', map, 'c', 3));
    assert.equal(ack.lastId, '1');
    assert.deepEqual(ack.results.map(({ opId, success }) => [opId, success]), [['first', true], ['0x10', true]]);
  });

  test('report the level reached to an op that asks for a higher one, without keeping it pending', async () => {
    const session = await wire();
    const map = uniqueName('m');
    for (const [position, level] of ['APPLIED', 'REPLICATED', 'PERSISTED'].entries()) {
      const id = String(position + 1);
      const ack = await ackOf(session, { ...put(id, map, 'a', position), writeConcern: level });
      assert.deepEqual(ack.results.map(({ opId, success, achievedLevel }) => ({ opId, success, achievedLevel })), [
        { opId: id, success: false, achievedLevel: 'MEMORY' },
      ]);
      assert.match(ack.results[0]?.error ?? '', new RegExp(level));
      assert.equal(ack.lastId, id);
    }
    session.send({ type: 'OP_BATCH', payload: { ops: [put('9', map, 'a', 9)], writeConcern: 'PERSISTED', timeout: 1000 } });
    assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).results[0]?.success, false);
    for (const level of ['FIRE_AND_FORGET', 'MEMORY']) {
      const ack = await ackOf(session, { ...put('10', map, 'a', 10), writeConcern: level });
      assert.ok(ack.results.every(({ success }) => success), level);
    }
  });

  test('of a batch with refused ops name those as rejected, and the good ones are applied', async () => {
    const [session, other] = [await wire(), await wire()];
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
    assert.deepEqual(ack.results.map(({ opId, success }) => [opId, success]), ['2', '3', '4', '5', '6', '7', '8'].map((id) => [id, false]));
    const rejected = session.take('OP_REJECTED').map(payloadOf);
    assert.deepEqual(
      rejected.map(({ opId, code }) => [opId, code]),
      [['2', 403], ['3', 400], ['4', 400], ['5', 403], ['6', 400], ['7', 400], ['8', 413]],
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
    const session = await wire();
    session.send({ type: 'CLIENT_OP', payload: put('1', uniqueName('m'), 'a', 1) });
    assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).lastId, '1');
  });

  test('a removal without a timestamp is stamped by the server and wins over a stamp that is ahead', async () => {
    const [session, other] = [await wire(), await wire()];
    const map = uniqueName('m');
    const ahead = { millis: Date.now() + 30_000, counter: 4, nodeId: 'ffff' };
    await ackOf(session, put('1', map, 'a', 'old', ahead));
    await ackOf(session, { mapName: map, opType: 'REMOVE', key: 'a', id: '2' });
    const isRemoval = (message: Message): boolean => serverEvent(payloadOf(message)).eventType === 'REMOVE';
    const event = serverEvent(payloadOf(await other.next('SERVER_EVENT', isRemoval)));
    assert.equal(event.record?.value, null);
    const { millis, counter } = event.record?.timestamp ?? { millis: 0, counter: 0 };
    assert.ok(millis > ahead.millis || (millis === ahead.millis && counter > ahead.counter), `${millis}:${counter}`);
    const third = await wire();
    await ackOf(third, { mapName: map, key: 'b', record: null, id: '1' });
    await other.next('SERVER_EVENT', (message) => serverEvent(payloadOf(message)).key === 'b');
  });

  test('an older write is acknowledged and changes nothing', async () => {
    const [session, other] = [await wire(), await wire()];
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
    const [session, other] = [await wire(), await wire()];
    const map = uniqueName('or');
    const stamp = nextStamp();
    await ackOf(session, orRemove('1', map, 'k', tagOf(stamp)));
    await ackOf(session, orAdd('2', map, 'k', 'v', stamp));
    await ackOf(session, orAdd('3', map, 'k', 'w'));
    const added = await other.next('SERVER_EVENT', (message) => serverEvent(payloadOf(message)).eventType === 'OR_ADD');
    assert.equal(serverEvent(payloadOf(added)).orRecord?.value, 'w');
  });
});

describe('frames', () => {
  test('in a BATCH are handled in both layouts', async () => {
    const map = uniqueName('batched');
    for (const littleEndian of [true, false]) {
      const session = await wire();
      const items = [1, 2].map((id) => encodeFrame({ type: 'OP_BATCH', payload: { ops: [put(String(id), map, `k${id}`, id)] } }));
      session.socket.send(batchFrame(packed(items, littleEndian)));
      await session.next('OP_ACK', (message) => opAck(payloadOf(message)).lastId === '2');
    }
  });

  test('in a BATCH whose bytes came as a map of numbered bytes are handled as well', async () => {
    const session = await wire();
    const items = [encodeFrame({ type: 'PING', timestamp: 77 })];
    session.send({ type: 'BATCH', count: 1, data: packed(items, true) });
    await session.next('PONG', (message) => message['timestamp'] === 77);
  });

  test('that are malformed, unknown or text are dropped and counted, and the connection lives', async () => {
    const session = await wire();
    const counted = await metricOf(node.port, 'lattice_frames_malformed_total');
    const good = encodeFrame({ type: 'OP_BATCH', payload: { ops: [put('1', uniqueName('m'), 'a', 1)] } });
    const malformed = [
      new Uint8Array(0),
      Uint8Array.of(0xc1),
      good.subarray(0, good.length - 1),
      Uint8Array.of(...good, 0),
      Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff),
      encodeFrame([1, 2, 3]),
      encodeFrame({ type: 'NO_SUCH_TYPE', payload: {} }),
      encodeFrame({ type: 7 }),
      encodeFrame({ type: 'OP_BATCH', payload: { ops: 'none' } }),
      encodeFrame({ type: 'OP_BATCH' }),
      encodeFrame({ type: 'SYNC_INIT' }),
      encodeFrame({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'm', path: 'xyz' } }),
      encodeFrame({ type: 'ORMAP_PUSH_DIFF', payload: { mapName: 'm', entries: [{ key: 4 }, null, { key: 'k', records: [{ tag: 'x' }] }] } }),
      encode({ type: 'BATCH', count: 1, data: Uint8Array.of(1, 0, 0, 0, 9, 9) }),
    ];
    for (const frame of malformed) session.socket.send(frame);
    session.socket.sendText('{"type":"PING","timestamp":1}');
    await session.barrier();
    assert.deepEqual(session.take('PONG'), []);
    assert.equal((await ackOf(session, put('1', uniqueName('m'), 'a', 1))).lastId, '1');
    await eventually(async () => assert.ok((await metricOf(node.port, 'lattice_frames_malformed_total')) >= counted + 5));
  });

  test('nested deeper than 256 levels are refused, and up to there accepted', async () => {
    const session = await wire();
    const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
    session.sendOps(put('1', uniqueName('deep'), 'a', nested(300)));
    await session.barrier();
    assert.deepEqual(session.take('OP_ACK'), []);
    assert.equal((await ackOf(session, put('2', uniqueName('deep'), 'a', nested(240)))).lastId, '2');
  });

  test('over 2 MiB close the connection, and nobody else’s', async () => {
    const [session, other] = [await wire(), await wire()];
    session.sendOps(put('1', uniqueName('big'), 'a', 'x'.repeat(2 * 1024 * 1024 + 1)));
    const { code } = await session.closed;
    assert.ok(code === 1009 || code === 1006, String(code));
    await other.barrier();
  });

  test('in pieces are put together, and both paths serve', async () => {
    const session = await wire('/');
    const frame = encodeFrame({ type: 'PING', timestamp: 5 });
    session.socket.sendFrame(2, frame.subarray(0, 10), false);
    session.socket.sendFrame(0, frame.subarray(10));
    await session.next('PONG', (message) => message['timestamp'] === 5);
  });
});

describe('sizes', () => {
  test('a value of 1.5 MiB reaches another client, and one that comes later', async () => {
    const map = uniqueName('large');
    const [ann, bob] = [await client('a003'), await client('b003')];
    bob.lww(map);
    const value = { text: 'y'.repeat(1536 * 1024) };
    ann.set(map, 'k', value);
    await ann.settled();
    await eventually(() => assert.deepEqual(bob.get(map, 'k'), value));
    const late = new TopGunClient({ port: node.port, nodeId: 'c003' });
    clients.push(late);
    late.lww(map);
    await late.connected();
    await late.settled();
    assert.deepEqual(late.get(map, 'k'), value);
  });

  test('10 000 ops in one frame are applied and acknowledged once', async () => {
    const map = uniqueName('many');
    const ann = await client('a004');
    ann.together(() => {
      for (let index = 0; index < 10_000; index++) ann.set(map, `key-${index}`, index);
    });
    await ann.settled();
    assert.equal(ann.acks.length, 1);
    await ann.resynced();
    assert.equal(ann.sync.serverRoots.get(map), ann.root(map), 'the server holds the same 10 000 records');
    assert.notEqual(ann.root(map), 0);
  });

  test('keys with U+0000, emoji, lone surrogates, and the empty key travel unchanged', async () => {
    const map = uniqueName('keys');
    const [ann, bob] = [await client('a005'), await client('b005')];
    bob.lww(map);
    const keys = ['', '\u0000', 'a\u0000b', '😀', '👨‍👩‍👧', 'key:with:colons', '日本語', '\ud800', 'x\udfffy', '__proto', 'constructor'];
    for (const key of keys) ann.set(map, key, { of: key.length });
    await ann.settled();
    await eventually(() => {
      for (const key of keys) assert.deepEqual(bob.get(map, key), { of: key.length }, JSON.stringify(key));
    });
    await eventually(async () => {
      const [row] = await storage.rows(`select count(*)::int as rows from lattice.lww where map = convert_to('${map}', 'utf8')`);
      assert.equal(row?.['rows'], keys.length, 'all of them are in Postgres');
    });
  });

  test('map, key and tag together over 2 KiB are refused by name, just below they are stored', async () => {
    const session = await wire();
    const map = uniqueName('identity');
    const fits = 2048 - Buffer.byteLength(map);
    assert.deepEqual((await ackOf(session, put('1', map, 'k'.repeat(fits), 1))).results, []);
    const ack = await ackOf(session, put('2', map, 'k'.repeat(fits + 1), 1));
    assert.equal(ack.results[0]?.success, false);
    const rejected = payloadOf(await session.next('OP_REJECTED'));
    assert.equal(rejected['code'], 413);
  });
});

describe('what is not built', () => {
  const requests: readonly (readonly [Message, string, string])[] = [
    [{ type: 'SQL_QUERY', payload: { sql: 'select 1', queryId: 'q1' } }, 'SQL_QUERY_RESP', 'q1'],
    [{ type: 'SEARCH', payload: { requestId: 's1', mapName: 'm', query: 'x' } }, 'SEARCH_RESP', 's1'],
    [{ type: 'SEARCH_SUB', payload: { subscriptionId: 's2', mapName: 'm', query: 'x' } }, 'SEARCH_RESP', 's2'],
    [{ type: 'HYBRID_SEARCH', payload: { requestId: 'h1', mapName: 'm', queryText: 'x', methods: ['fullText'], k: 3 } }, 'HYBRID_SEARCH_RESP', 'h1'],
    [{ type: 'VECTOR_SEARCH', payload: { id: 'v1', mapName: 'm', queryVector: Uint8Array.of(0, 0, 0, 0), k: 3 } }, 'VECTOR_SEARCH_RESP', 'v1'],
    [{ type: 'ENTRY_PROCESS', requestId: 'p1', mapName: 'm', key: 'k', processor: { name: 'n', code: 'c' } }, 'ENTRY_PROCESS_RESPONSE', 'p1'],
    [
      { type: 'ENTRY_PROCESS_BATCH', requestId: 'p2', mapName: 'm', keys: ['k'], processor: { name: 'n', code: 'c' } },
      'ENTRY_PROCESS_BATCH_RESPONSE',
      'p2',
    ],
    [{ type: 'REGISTER_RESOLVER', requestId: 'r1', mapName: 'm', resolver: { name: 'n', code: 'c' } }, 'REGISTER_RESOLVER_RESPONSE', 'r1'],
    [{ type: 'LIST_RESOLVERS', requestId: 'r2' }, 'LIST_RESOLVERS_RESPONSE', 'r2'],
    [{ type: 'QUERY_SUB', payload: { queryId: 'l1', mapName: 'm', query: {} } }, 'ERROR', 'l1'],
    [{ type: 'LOCK_REQUEST', payload: { requestId: 'k1', name: 'lock', ttl: 1000 } }, 'ERROR', 'k1'],
    [{ type: 'JOURNAL_READ', requestId: 'j1', fromSequence: '0' }, 'ERROR', 'j1'],
    [{ type: 'COUNTER_REQUEST', payload: { name: 'likes' } }, 'ERROR', 'likes'],
    [{ type: 'TOPIC_SUB', payload: { topic: 'chat' } }, 'ERROR', 'chat'],
  ];
  for (const [request, type, id] of requests) {
    test(`${request['type']} is answered at once with ${type}`, async () => {
      const session = await wire();
      session.send(request);
      const answer = await session.next(type);
      assert.match(JSON.stringify(answer), new RegExp(`"${id}"`));
      if (type !== 'LIST_RESOLVERS_RESPONSE') assert.match(JSON.stringify(answer), /not available|FEATURE_DISABLED/);
    });
  }

  test('a lock request is never answered with LOCK_RELEASED, which the client takes for a lock', async () => {
    const session = await wire();
    session.send({ type: 'LOCK_REQUEST', payload: { requestId: 'k1', name: 'lock', ttl: 0 } });
    session.send({ type: 'LOCK_REQUEST', payload: { requestId: 'k2', name: '' } });
    session.send({ type: 'LOCK_RELEASE', payload: { requestId: 'k3', name: 'lock' } });
    await session.barrier();
    assert.deepEqual(session.take('LOCK_RELEASED'), []);
  });

  test('what ends something that never began is silent', async () => {
    const session = await wire();
    for (const type of ['QUERY_UNSUB', 'SEARCH_UNSUB', 'HYBRID_SEARCH_UNSUB', 'TOPIC_UNSUB']) {
      session.send({ type, payload: { queryId: 'x', subscriptionId: 'x', topic: 'x' } });
    }
    session.send({ type: 'CLIENT_APPLY_ACK', cursor: 7 });
    await session.barrier();
    assert.deepEqual(session.messages, []);
  });
});

/** Messages in a BATCH: with a count and little endian as the client reads them, or without and big endian. */
function packed(items: readonly Uint8Array[], littleEndian: boolean): Uint8Array {
  const parts: Buffer[] = [];
  if (littleEndian) parts.push(lengthOf(items.length, true));
  for (const item of items) parts.push(lengthOf(item.length, littleEndian), Buffer.from(item));
  return Buffer.concat(parts);
}

function lengthOf(value: number, littleEndian: boolean): Buffer {
  const bytes = Buffer.alloc(4);
  if (littleEndian) bytes.writeUInt32LE(value, 0);
  else bytes.writeUInt32BE(value, 0);
  return bytes;
}
