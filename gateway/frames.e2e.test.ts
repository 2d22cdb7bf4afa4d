/** Frames of every form and size: what is taken, what is dropped, and what is refused by name. */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { encodeFrame, type Message } from './testing/client-codec.ts';
import { opAck, payloadOf } from './testing/client-fields.ts';
import { ackOf, SharedNode } from './testing/shared-node.ts';
import { eventually, metricOf } from './testing/test-grid.ts';
import { put, uniqueName } from './testing/wire-ops.ts';

const node = new SharedNode();

describe('frames', () => {
  test('in a BATCH are handled in both layouts', async () => {
    const map = uniqueName('batched');
    for (const littleEndian of [true, false]) {
      const session = await node.wire();
      const items = [1, 2].map((id) => encodeFrame({ type: 'OP_BATCH', payload: { ops: [put(String(id), map, `k${id}`, id)] } }));
      session.socket.send(batchFrame(packed(items, littleEndian)));
      await session.next('OP_ACK', (message) => opAck(payloadOf(message)).lastId === '2');
    }
  });

  test('in a BATCH whose bytes came as a map of numbered bytes are handled as well', async () => {
    const session = await node.wire();
    const items = [encodeFrame({ type: 'PING', timestamp: 77 })];
    session.send({ type: 'BATCH', count: 1, data: packed(items, true) });
    await session.next('PONG', (message) => message.timestamp === 77);
  });

  test('that are malformed, unknown or text are dropped and counted, and the connection lives', async () => {
    const session = await node.wire();
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
      encodeFrame({
        type: 'ORMAP_PUSH_DIFF',
        payload: { mapName: 'm', entries: [{ key: 4 }, null, { key: 'k', records: [{ tag: 'x' }] }] },
      }),
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
    const session = await node.wire();
    const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)]);
    session.sendOps(put('1', uniqueName('deep'), 'a', nested(300)));
    await session.barrier();
    assert.deepEqual(session.take('OP_ACK'), []);
    assert.equal((await ackOf(session, put('2', uniqueName('deep'), 'a', nested(240)))).lastId, '2');
  });

  test('over 2 MiB close the connection, and nobody else’s', async () => {
    const [session, other] = [await node.wire(), await node.wire()];
    session.sendOps(put('1', uniqueName('big'), 'a', 'x'.repeat(2 * 1024 * 1024 + 1)));
    const { code } = await session.closed;
    assert.ok(code === 1009 || code === 1006, String(code));
    await other.barrier();
  });

  test('in pieces are put together, and both paths serve', async () => {
    const session = await node.wire('/');
    const frame = encodeFrame({ type: 'PING', timestamp: 5 });
    session.socket.sendFrame(2, frame.subarray(0, 10), false);
    session.socket.sendFrame(0, frame.subarray(10));
    await session.next('PONG', (message) => message.timestamp === 5);
  });
});

describe('sizes', () => {
  test('a value of 1.5 MiB reaches another client, and one that comes later', async () => {
    const map = uniqueName('large');
    const [ann, bob] = [await node.client('a003').connected(), await node.client('b003').connected()];
    bob.lww(map);
    const value = { text: 'y'.repeat(1536 * 1024) };
    ann.set(map, 'k', value);
    await ann.settled();
    await eventually(() => assert.deepEqual(bob.get(map, 'k'), value));
    const late = node.client('c003');
    late.lww(map);
    await late.connected();
    await late.settled();
    assert.deepEqual(late.get(map, 'k'), value);
  });

  test('10 000 ops in one frame are applied and acknowledged once', async () => {
    const map = uniqueName('many');
    const ann = await node.client('a004').connected();
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
    const [ann, bob] = [await node.client('a005').connected(), await node.client('b005').connected()];
    bob.lww(map);
    const keys = [
      '',
      '\u0000',
      'a\u0000b',
      '😀',
      '👨‍👩‍👧',
      'key:with:colons',
      '日本語',
      '\ud800',
      'x\udfffy',
      '__proto',
      'constructor',
    ];
    for (const key of keys) ann.set(map, key, { of: key.length });
    await ann.settled();
    await eventually(() => {
      for (const key of keys) assert.deepEqual(bob.get(map, key), { of: key.length }, JSON.stringify(key));
    });
    await eventually(async () => {
      const [row] = await node.storage.rows(
        `select count(*)::int as rows from lattice.lww where map = convert_to('${map}', 'utf8')`,
      );
      assert.equal(row?.rows, keys.length, 'all of them are in Postgres');
    });
  });

  test('map, key and tag together over 2 KiB are refused by name, just below they are stored', async () => {
    const session = await node.wire();
    const map = uniqueName('identity');
    const fits = 2048 - Buffer.byteLength(map);
    assert.deepEqual((await ackOf(session, put('1', map, 'k'.repeat(fits), 1))).results, []);
    const ack = await ackOf(session, put('2', map, 'k'.repeat(fits + 1), 1));
    assert.equal(ack.results[0]?.success, false);
    const rejected = payloadOf(await session.next('OP_REJECTED'));
    assert.equal(rejected.code, 413);
  });
});

describe('what is not built', () => {
  const requests: readonly (readonly [Message, string, string])[] = [
    [{ type: 'SQL_QUERY', payload: { sql: 'select 1', queryId: 'q1' } }, 'SQL_QUERY_RESP', 'q1'],
    [{ type: 'SEARCH', payload: { requestId: 's1', mapName: 'm', query: 'x' } }, 'SEARCH_RESP', 's1'],
    [{ type: 'SEARCH_SUB', payload: { subscriptionId: 's2', mapName: 'm', query: 'x' } }, 'SEARCH_RESP', 's2'],
    [
      { type: 'HYBRID_SEARCH', payload: { requestId: 'h1', mapName: 'm', queryText: 'x', methods: ['fullText'], k: 3 } },
      'HYBRID_SEARCH_RESP',
      'h1',
    ],
    [
      { type: 'VECTOR_SEARCH', payload: { id: 'v1', mapName: 'm', queryVector: Uint8Array.of(0, 0, 0, 0), k: 3 } },
      'VECTOR_SEARCH_RESP',
      'v1',
    ],
    [
      { type: 'ENTRY_PROCESS', requestId: 'p1', mapName: 'm', key: 'k', processor: { name: 'n', code: 'c' } },
      'ENTRY_PROCESS_RESPONSE',
      'p1',
    ],
    [
      { type: 'ENTRY_PROCESS_BATCH', requestId: 'p2', mapName: 'm', keys: ['k'], processor: { name: 'n', code: 'c' } },
      'ENTRY_PROCESS_BATCH_RESPONSE',
      'p2',
    ],
    [
      { type: 'REGISTER_RESOLVER', requestId: 'r1', mapName: 'm', resolver: { name: 'n', code: 'c' } },
      'REGISTER_RESOLVER_RESPONSE',
      'r1',
    ],
    [{ type: 'LIST_RESOLVERS', requestId: 'r2' }, 'LIST_RESOLVERS_RESPONSE', 'r2'],
    [{ type: 'HYBRID_QUERY_SUBSCRIBE', payload: { subscriptionId: 'l1', mapName: 'm', query: {} } }, 'ERROR', 'l1'],
  ];
  for (const [request, type, id] of requests) {
    test(`${request.type} is answered at once with ${type}`, async () => {
      const session = await node.wire();
      session.send(request);
      const answer = await session.next(type);
      assert.match(JSON.stringify(answer), new RegExp(`"${id}"`));
      if (type !== 'LIST_RESOLVERS_RESPONSE') assert.match(JSON.stringify(answer), /not available|FEATURE_DISABLED/);
    });
  }

  test('a lock request is never answered with LOCK_RELEASED, which the client takes for a lock', async () => {
    const session = await node.wire();
    session.send({ type: 'LOCK_REQUEST', payload: { requestId: 'k1', name: 'lock', ttl: 0 } });
    session.send({ type: 'LOCK_REQUEST', payload: { requestId: 'k2', name: '' } });
    session.send({ type: 'LOCK_RELEASE', payload: { requestId: 'k3', name: 'lock' } });
    await session.barrier();
    const released = { requestId: 'k3', name: 'lock', success: false };
    assert.deepEqual(session.take('LOCK_RELEASED').map(payloadOf), [released], 'a release without a token fails');
  });

  test('what ends something that never began is silent', async () => {
    const session = await node.wire();
    for (const type of ['QUERY_UNSUB', 'SEARCH_UNSUB', 'HYBRID_SEARCH_UNSUB', 'TOPIC_UNSUB']) {
      session.send({ type, payload: { queryId: 'x', subscriptionId: 'x', topic: 'x' } });
    }
    session.send({ type: 'CLIENT_APPLY_ACK', cursor: 7 });
    await session.barrier();
    assert.deepEqual(session.messages, []);
  });
});

/** With bytes as bin: the client's own encoder would make a map of them. */
function batchFrame(data: Uint8Array): Uint8Array {
  return encode({ type: 'BATCH', count: 2, data });
}

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
