/** Who sends too much, and who reads too little: limits that close a connection, and clients that lose nothing by it. */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { opAck, payloadOf } from './testing/client-fields.ts';
import { eventually, metricOf, startGrid } from './testing/test-grid.ts';
import { TopGunClient } from './testing/topgun-client.ts';
import { put, uniqueName } from './testing/wire-ops.ts';
import { WireSession } from './testing/wire-session.ts';

const RATE = { rateOpsPerSecond: 100, rateBurstOps: 20 };

describe('the rate limit', () => {
  test('answers a frame of ops above it with ERROR 429 and closes with 1013, so that the client sends it again', async (t) => {
    const { grid, port } = await startGrid({ ...RATE, rateOpsPerSecond: 1 });
    t.after(() => grid.stop());
    const session = await WireSession.open({ port });
    const ops = Array.from({ length: 25 }, (_, index) => put(String(index + 1), 'm', 'k', index));
    session.sendOps(...ops.slice(0, 15));
    assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).lastId, '15');
    session.sendOps(...ops);
    assert.equal(payloadOf(await session.next('ERROR')).code, 429);
    assert.deepEqual(await session.closed, { code: 1013, reason: 'rate limit exceeded, reconnect to send again' });
    assert.deepEqual(session.take('OP_ACK'), []);
  });

  test('lets a batch of more than the burst through once, or its client could never send it', async (t) => {
    const { grid, port } = await startGrid({ ...RATE, rateOpsPerSecond: 1 });
    t.after(() => grid.stop());
    const session = await WireSession.open({ port });
    session.sendOps(...Array.from({ length: 50 }, (_, index) => put(String(index + 1), 'm', `k${index}`, index)));
    assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).lastId, '50');
    session.sendOps(put('51', 'm', 'k', 1));
    assert.equal((await session.closed).code, 1013);
  });

  test('takes nothing for ops that are sent again', async (t) => {
    const { grid, port } = await startGrid({ ...RATE, rateOpsPerSecond: 1 });
    t.after(() => grid.stop());
    const session = await WireSession.open({ port });
    const ops = Array.from({ length: 20 }, (_, index) => put(String(index + 1), 'm', `k${index}`, index));
    for (let round = 0; round < 20; round++) {
      session.sendOps(...ops);
      assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).lastId, '20');
    }
    assert.ok(session.socket.isOpen);
  });

  test('answers a frame without ops with ERROR 429 alone', async (t) => {
    const { grid, port } = await startGrid({ rateOpsPerSecond: 1, rateBurstOps: 2 });
    t.after(() => grid.stop());
    const session = await WireSession.open({ port });
    for (let count = 0; count < 3; count++) session.send({ type: 'SYNC_INIT', mapName: 'm', lastSyncTimestamp: 0 });
    assert.equal(payloadOf(await session.next('ERROR')).code, 429);
    await session.barrier();
    assert.ok(session.socket.isOpen, 'PING is free, and the connection lives');
  });

  test('of 0 is none', async (t) => {
    const { grid, port } = await startGrid({ rateOpsPerSecond: 0, rateBurstOps: 1 });
    t.after(() => grid.stop());
    const session = await WireSession.open({ port });
    session.sendOps(...Array.from({ length: 5000 }, (_, index) => put(String(index + 1), 'm', `k${index}`, index)));
    assert.equal(opAck(payloadOf(await session.next('OP_ACK'))).lastId, '5000');
  });

  test('slows a client with a long offline queue down and loses none of it', async (t) => {
    const { grid, port } = await startGrid({ rateOpsPerSecond: 2000, rateBurstOps: 300 });
    t.after(() => grid.stop());
    const client = new TopGunClient({ port, nodeId: 'a001' });
    t.after(() => client.close());
    const map = uniqueName('offline');
    for (let index = 0; index < 250; index++) client.set(map, `k${index}`, index);
    await client.connected();
    for (let index = 0; index < 250; index++) client.set(map, `k${index}`, index + 1000);
    await client.settled();
    await client.resynced();
    assert.equal(client.sync.serverRoots.get(map), client.root(map));
  });
});

describe('a full ring', () => {
  for (const threads of [{ workerThreads: 2 }, { fused: true }]) {
    test(`holds frames of each connection in their order until there is room, and loses none (${Object.keys(threads)})`, async (t) => {
      const { grid, port } = await startGrid({ ringBytes: 256 * 1024, batchRecords: 10, rateOpsPerSecond: 0, ...threads });
      t.after(() => grid.stop());
      const sessions = await Promise.all([1, 2, 3].map(() => WireSession.open({ port, path: '/ws?events=interest' })));
      const map = uniqueName('full');
      const frames = 60;
      for (let frame = 0; frame < frames; frame++) {
        sessions.forEach((session, writer) => {
          const ops = Array.from({ length: 100 }, (_, index) => {
            const id = frame * 100 + index + 1;
            return put(String(id), map, `${writer}-${id % 50}`, { id, text: 'x'.repeat(300) });
          });
          session.sendOps(...ops);
        });
      }
      for (const session of sessions) {
        let acknowledged = 0;
        while (acknowledged < frames * 100) {
          const { lastId } = opAck(payloadOf(await session.next('OP_ACK')));
          assert.ok(Number(lastId) > acknowledged, `${lastId} after ${acknowledged}`);
          acknowledged = Number(lastId);
        }
      }
      const reader = new TopGunClient({ port, nodeId: 'b001' });
      t.after(() => reader.close());
      reader.lww(map);
      await reader.connected();
      await reader.settled();
      assert.equal(reader.lww(map).records.size, 150);
      for (const [key, { value }] of reader.lww(map).records) {
        assert.ok(
          typeof value === 'object' && value !== null && 'id' in value && Number(value.id) > (frames - 1) * 100 + 50 - 1,
          key,
        );
      }
      for (const session of sessions) session.socket.terminate();
    });
  }
});

describe('a slow consumer', () => {
  test('is closed with a reason when too much is unread, and converges by sync after it reconnects', async (t) => {
    const { grid, port } = await startGrid({ sessionBackpressureBytesMax: 64 * 1024 });
    t.after(() => grid.stop());
    const map = uniqueName('news');
    const [writer, reader] = [new TopGunClient({ port, nodeId: 'a001' }), new TopGunClient({ port, nodeId: 'b001' })];
    t.after(() => {
      for (const client of [writer, reader]) client.close();
    });
    reader.lww(map);
    await Promise.all([writer.connected(), reader.connected()]);
    const stuck = reader.socket;
    stuck?.pause();
    let written = 0;
    while ((await metricOf(port, 'lattice_slow_consumers_closed_total')) === 0) {
      assert.ok(written < 300, 'the server buffers without a bound');
      for (let index = 0; index < 10; index++) writer.set(map, `k${written++}`, 'z'.repeat(100_000));
      await writer.settled();
    }
    stuck?.resume();
    await eventually(() => assert.ok(reader.closes.length > 0));
    await eventually(() => assert.equal(reader.state, 'ready'));
    await eventually(() => assert.equal(reader.root(map), writer.root(map)));
    assert.equal(reader.lww(map).records.size, written);
    assert.equal(writer.closes.length, 0, 'the writer is not punished');
    const [closed] = reader.closes;
    assert.ok(closed?.code === 1013 && closed.reason === 'too much unread data, reconnect to catch up', JSON.stringify(closed));
  });
});
