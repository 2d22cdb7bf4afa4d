import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { quarantineOffsetMs } from '../engine/crdt/clock-quarantine.ts';
import { LwwMap, OrMap } from '../engine/crdt/model.ts';
import { utf8 } from '../engine/domains/testing/scanned-ops.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { encode } from '../engine/protocol/codec.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { NullDataStore } from '../engine/storage/null-data-store.ts';
import { KIND_LWW } from '../engine/storage/record.ts';
import { type Message, OneThreadNode, type TestClient } from './testing/one-thread-node.ts';
import { WriteRouter } from './write-router.ts';

const SHARED = 1_700_000_000_000;

function put(id: number | undefined, key: string, value: unknown = id, mapName = 'todos', millis = SHARED): object {
  const timestamp = { millis, counter: id ?? 0, nodeId: 'node-a' };
  return { ...(id === undefined ? {} : { id: String(id) }), mapName, opType: 'PUT', key, record: { value, timestamp } };
}

function ackOf(message: Message | undefined): { lastId: string; results?: { opId: string; success: boolean; error?: string }[] } {
  assert.equal(message?.type, 'OP_ACK');
  return message?.payload as { lastId: string; results?: { opId: string; success: boolean; error?: string }[] };
}

function rootHashOf(message: Message | undefined): number {
  assert.ok(message !== undefined);
  return (message.payload as { rootHash: number }).rootHash;
}

function acked(client: TestClient): string[] {
  return client.heardOf('OP_ACK').map((message) => ackOf(message).lastId);
}

/** Keys of the events that a client got, whichever frames they came in. */
function eventKeys(client: TestClient): string[] {
  return client.heard().flatMap(({ type, payload }) => {
    if (type === 'SERVER_EVENT') return [(payload as { key: string }).key];
    return type === 'SERVER_BATCH_EVENT' ? (payload as { events: { key: string }[] }).events.map(({ key }) => key) : [];
  });
}

function batch(...messages: object[]): object {
  const parts = messages.map((message) => Buffer.from(encode(message)));
  const header = Buffer.alloc(4);
  header.writeUInt32LE(parts.length);
  const framed = parts.flatMap((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(part.length);
    return [length, part];
  });
  return { type: 'BATCH', count: parts.length, data: new Uint8Array(Buffer.concat([header, ...framed])) };
}

test('writes of clients at several gateways, cut into any frames, end where the model ends, on any number of workers', async () => {
  const op = fc.record({
    key: fc.constantFrom('a', 'b', 'c', 'dé', '日本', '😀', 'k7', 'k8'),
    millis: fc.integer({ min: 1, max: 5 }),
    counter: fc.integer({ min: 0, max: 2 }),
    value: fc.constantFrom(null, 1, 'x'),
  });
  const step = fc.record({ client: fc.nat(2), ops: fc.array(op, { maxLength: 6 }), drains: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 10 }), async (workers, steps) => {
      const node = await OneThreadNode.create({ gateways: 2, workers, ringBytes: 1 << 16 });
      const clients = [node.client(0), node.client(0), node.client(1)];
      const model = new LwwMap();
      const sent = [0, 0, 0];
      for (const { client, ops, drains } of steps) {
        const rows = ops.map(({ key, millis, counter, value }) => {
          model.put(key, { millis, counter, nodeId: 'n', value: value === null ? new Uint8Array(0) : encode(value).slice() });
          sent[client] = (sent[client] ?? 0) + 1;
          const timestamp = { millis, counter, nodeId: 'n' };
          return { id: String(sent[client]), mapName: 'todos', opType: 'PUT', key, record: { value, timestamp } };
        });
        clients[client]?.write(...rows);
        if (drains) await node.pump();
      }
      await node.pump();
      for (const [index, client] of clients.entries()) {
        const ids = acked(client);
        if ((sent[index] ?? 0) > 0) assert.equal(ids.at(-1), String(sent[index]));
      }
      clients[0]?.say({ type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 0 });
      await node.pump();
      const [root] = clients[0]?.heardOf('SYNC_RESP_ROOT') ?? [];
      assert.equal(rootHashOf(root), model.tree().root);
      clients[0]?.say({ type: 'MERKLE_REQ_BUCKET', payload: { mapName: 'todos', path: '' } });
      await node.pump();
      const leaf = clients[0]
        ?.heardOf('SYNC_RESP_LEAF')
        .flatMap(({ payload }) => (payload as { records: { key: string }[] }).records);
      assert.deepEqual(leaf?.map(({ key }) => key).sort(), [...model.records.keys()].sort());
    }),
    { numRuns: 40 },
  );
});

test('what one client writes every other one hears once, at every gateway, and the writer does not', async () => {
  const node = await OneThreadNode.create({ gateways: 2, workers: 2 });
  const [writer, beside, elsewhere] = [node.client(0), node.client(0), node.client(1)];
  const keys = Array.from({ length: 20 }, (_, index) => `key ${index}`);
  writer.write(...keys.map((key, index) => put(index + 1, key)));
  writer.write(...keys.map((key, index) => put(index + 1, key))); // sent again: no change
  await node.pump();
  for (const client of [beside, elsewhere]) assert.deepEqual(eventKeys(client).sort(), [...keys].sort());
  assert.deepEqual(eventKeys(writer), []);
});

test('a session by interest hears of maps that it synced, until it goes', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const writer = node.client();
  const [listener, second] = [node.client(0, true), node.client(0, true)];
  for (const client of [listener, second]) client.say({ type: 'SYNC_INIT', mapName: 'wanted', lastSyncTimestamp: 0 });
  await node.pump();
  listener.heard();
  second.leave();
  writer.write(put(1, 'k', 1, 'wanted'), put(2, 'k', 1, 'other'));
  await node.pump();
  assert.deepEqual(eventKeys(listener), ['k']);
  listener.leave();
  await node.pump();
  writer.write(put(3, 'l', 1, 'wanted'));
  await node.pump();
  const wanted = node.catalogues.map((maps) => maps.find(utf8('wanted'))?.wantedBy[0] ?? false);
  assert.deepEqual(wanted, [false, false]);
});

test('a worker that is replaced is told what sessions listen to', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const [writer, listener] = [node.client(), node.client(0, true)];
  listener.say({ type: 'SYNC_INIT', mapName: 'wanted', lastSyncTimestamp: 0 });
  await node.pump();
  writer.leave();
  for (const maps of node.catalogues) maps.reset(); // what a new thread knows
  for (const worker of [0, 1]) node.gateways[0]?.workerReplaced(worker);
  const another = node.client(0, true);
  listener.heard();
  another.write(...['a', 'b', 'c', 'd'].map((key, index) => put(index + 1, key, 1, 'wanted')));
  await node.pump();
  assert.deepEqual(eventKeys(listener).sort(), ['a', 'b', 'c', 'd']);
});

test('a client that writes and goes at once is heard by the only other one', async () => {
  const node = await OneThreadNode.create();
  const [writer, listener] = [node.client(), node.client()];
  writer.write(put(1, 'last words'));
  writer.leave();
  await node.pump();
  assert.deepEqual(eventKeys(listener), ['last words']);
});

test('acks say how far everything is handled, whichever worker answers first', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const client = node.client();
  const keyOf = (worker: number) => keyAt(node, worker);
  client.write(put(1, keyOf(0)));
  client.write(put(2, keyOf(1)), put(3, keyOf(1)));
  await node.drainWorker(1);
  node.drainGateway(0);
  const [early] = client.heard();
  assert.equal(ackOf(early).lastId, '0');
  assert.deepEqual(
    ackOf(early).results?.map(({ opId, success }) => [opId, success]),
    [
      ['2', true],
      ['3', true],
    ],
  );
  await node.pump();
  assert.deepEqual(acked(client), ['3']);
});

test('frames that find no room are held and go on in their order', async () => {
  const node = await OneThreadNode.create({ workers: 1 });
  node.state.setWorkerState(0, 'loading');
  const [client, listener] = [node.client(), node.client()];
  for (let id = 1; id <= 5; id++) client.write(put(id, `k${id}`));
  client.say({ type: 'PING', timestamp: 7 });
  await node.pump();
  assert.deepEqual(
    client.heard().map(({ type }) => type),
    ['PONG'],
  );
  node.state.setWorkerState(0, 'ready');
  await node.pump();
  assert.deepEqual(eventKeys(listener), ['k1', 'k2', 'k3', 'k4', 'k5']);
  assert.deepEqual(acked(client), ['1', '2', '3', '4', '5']);
});

test('held frames cost their session more than their bytes: empty ones do not pile up for ever', async () => {
  const node = await OneThreadNode.create({ workers: 1, config: { sessionBufferBytesMax: 65_536 } });
  node.state.setWorkerState(0, 'loading');
  const client = node.client();
  client.write(put(1, 'k1'));
  for (let frame = 0; frame < 1000; frame++) client.sayBytes(new Uint8Array(0));
  assert.ok(client.session.held.length < 300);
  await node.pump();
  assert.deepEqual(
    client.closes.map(({ code }) => code),
    [1013],
  );
});

test('the questions of a client beyond a few wait for the answers to those before, and all are answered', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const client = node.client();
  for (let question = 0; question < 300; question++) client.say({ type: 'SYNC_INIT', mapName: 'm', lastSyncTimestamp: 0 });
  assert.equal(client.session.openCalls, 64);
  await node.pump();
  assert.equal(client.heardOf('SYNC_RESP_ROOT').length, 300);
  assert.deepEqual([client.session.openCalls, client.session.held.length, client.session.heldBytes], [0, 0, 0]);
});

test('a ring that overflows many times loses nothing and keeps the order', async () => {
  const node = await OneThreadNode.create({ workers: 1, ringBytes: 1 << 16 });
  const [client, listener] = [node.client(), node.client()];
  const large = 'x'.repeat(9000);
  const ids = Array.from({ length: 60 }, (_, index) => index + 1);
  for (const id of ids) client.write(put(id, `k${id}`, large));
  await node.pump();
  assert.deepEqual(
    eventKeys(listener),
    ids.map((id) => `k${id}`),
  );
  assert.equal(acked(client).at(-1), '60');
});

test('a frame larger than a record of the ring is taken all the same, whole and for one worker', async () => {
  const node = await OneThreadNode.create({ workers: 1, ringBytes: 1 << 18 });
  const [client, listener] = [node.client(), node.client()];
  client.write(put(1, 'a', 'x'.repeat(200_000)));
  client.write(put(2, 'b', 'x'.repeat(1_500_000)), put(3, 'c'));
  await node.pump();
  assert.deepEqual(eventKeys(listener), ['a', 'b', 'c']);
  assert.equal(acked(client).at(-1), '3');
});

test('items of a BATCH that find no room stay before the frames that came behind them', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  for (const worker of [0, 1]) node.state.setWorkerState(worker, 'loading');
  const [client, listener] = [node.client(), node.client()];
  client.say(
    batch(
      { type: 'CLIENT_OP', payload: put(1, keyAt(node, 0)) },
      { type: 'CLIENT_OP', payload: put(2, keyAt(node, 1)) },
      { type: 'CLIENT_OP', payload: put(3, keyAt(node, 0, 1)) },
    ),
  );
  client.write(put(4, keyAt(node, 0, 2)));
  node.state.setWorkerState(0, 'ready');
  await node.pump();
  assert.deepEqual(eventKeys(listener), [keyAt(node, 0)]); // the second item waits for its worker, and all behind it
  node.state.setWorkerState(1, 'ready');
  await node.pump();
  assert.deepEqual(eventKeys(listener).sort(), [keyAt(node, 1), keyAt(node, 0, 1), keyAt(node, 0, 2)].sort());
  assert.equal(acked(client).at(-1), '4');
});

test('a BATCH that waits as a whole keeps its place', async () => {
  const node = await OneThreadNode.create({ workers: 1 });
  node.state.setWorkerState(0, 'loading');
  const [other, witness] = [node.client(), node.client()];
  other.say(batch({ type: 'CLIENT_OP', payload: put(1, 'one') }, { type: 'CLIENT_OP', payload: put(2, 'two') }));
  other.say(batch({ type: 'CLIENT_OP', payload: put(3, 'three') }, batch({ type: 'CLIENT_OP', payload: put(4, 'four') })));
  other.write(put(5, 'five'));
  node.state.setWorkerState(0, 'ready');
  await node.pump();
  assert.deepEqual(eventKeys(witness), ['one', 'two', 'three', 'four', 'five']);
});

test('a BATCH that was held, and finds no room half way, stays before what came behind it', async () => {
  const node = await OneThreadNode.create({ workers: 3 });
  for (const worker of [1, 2]) node.state.setWorkerState(worker, 'loading');
  const [client, listener] = [node.client(), node.client()];
  client.write(put(1, keyAt(node, 1)));
  client.say(
    batch({ type: 'CLIENT_OP', payload: put(2, keyAt(node, 0)) }, { type: 'CLIENT_OP', payload: put(3, keyAt(node, 2)) }),
  );
  client.write(put(4, keyAt(node, 2, 1)));
  node.state.setWorkerState(1, 'ready');
  await node.pump();
  assert.deepEqual(eventKeys(listener).sort(), [keyAt(node, 1), keyAt(node, 0)].sort());
  node.state.setWorkerState(2, 'ready');
  await node.pump();
  assert.deepEqual(eventKeys(listener), [keyAt(node, 2), keyAt(node, 2, 1)]);
});

test('BATCH frames inside BATCH frames end at a depth', async () => {
  const node = await OneThreadNode.create();
  const client = node.client();
  let message: object = { type: 'CLIENT_OP', payload: put(1, 'deep') };
  for (let depth = 0; depth < 2000; depth++) message = batch(message);
  client.say(message);
  client.write(put(2, 'flat'));
  await node.pump();
  assert.equal(acked(client).at(-1), '2');
  assert.equal(node.catalogues[0]?.find(utf8('todos'))?.existing(KIND_LWW)?.records, 1);
});

test('ops that no worker may see are refused one by one, with an ack that covers them', async () => {
  const node = await OneThreadNode.create();
  const client = node.client();
  client.write(put(1, 'good'), put(2, 'k', 1, '_topgun_x'), put(3, 'k'.repeat(2100)), put(4, 'k', 1, 'a:b'), {
    id: '5',
    mapName: 'm',
  });
  await node.pump();
  const heard = client.heard();
  const rejected = heard
    .filter(({ type }) => type === 'OP_REJECTED')
    .map(({ payload }) => payload as { opId: string; code: number });
  assert.deepEqual(
    rejected.map(({ opId, code }) => [opId, code]),
    [
      ['2', 403],
      ['3', 413],
      ['4', 400],
      ['5', 400],
    ],
  );
  const ack = ackOf(heard.at(-1));
  assert.equal(ack.lastId, '5');
  assert.deepEqual(
    ack.results?.filter(({ success }) => !success).map(({ opId }) => opId),
    ['2', '3', '4', '5'],
  );
});

test('refused map names take no room: good ones are taken after any number of them', async () => {
  const node = await OneThreadNode.create({ config: { maxMaps: 1 } });
  const client = node.client();
  for (let index = 0; index < 50; index++) {
    client.say({ type: 'SYNC_INIT', mapName: '', lastSyncTimestamp: 0 });
    client.say({ type: 'SYNC_INIT', mapName: `bad:${index}`, lastSyncTimestamp: 0 });
  }
  client.write(put(1, 'k'));
  await node.pump();
  assert.deepEqual(acked(client), ['1']);
});

test('a level that cannot be reached is named in the results', async () => {
  const node = await OneThreadNode.create();
  const client = node.client();
  client.say({
    type: 'OP_BATCH',
    payload: { ops: [put(1, 'a'), { ...put(2, 'b'), writeConcern: 'MEMORY' }], writeConcern: 'PERSISTED' },
  });
  await node.pump();
  const ack = ackOf(client.heard()[0]);
  assert.equal(ack.lastId, '2');
  assert.deepEqual(
    ack.results?.map(({ opId, success }) => [opId, success]),
    [
      ['1', false],
      ['2', true],
    ],
  );
});

test('a frame over the rate is refused and its connection closed; what is sent again costs nothing', async () => {
  const node = await OneThreadNode.create({ config: { rateOpsPerSecond: 0.001, rateBurstOps: 3 } });
  const client = node.client();
  for (let time = 0; time < 5; time++) client.write(put(1, 'a'), put(2, 'b'), put(3, 'c'));
  await node.pump();
  assert.equal(acked(client).length, 5);
  client.write(put(3, 'c'), put(4, 'd'));
  assert.deepEqual(
    client.heard().map(({ type }) => type),
    ['ERROR'],
  );
  assert.deepEqual(
    client.closes.map(({ code }) => code),
    [1013],
  );
});

test('a frame that waits is paid for once, however often it is tried', async () => {
  const node = await OneThreadNode.create({ workers: 2, config: { rateOpsPerSecond: 0.001, rateBurstOps: 3 } });
  const client = node.client();
  client.write(put(undefined, 'no id', 1, 'todos', Date.now() + 3_600_000));
  for (let time = 0; time < 10; time++) node.gateways[0]?.retry();
  node.gateways[0]?.quarantined(utf8('node-a'), -3_600_000);
  for (const worker of [0, 1]) node.state.setWorkerState(worker, 'loading');
  client.say({ type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 0 });
  for (let time = 0; time < 10; time++) {
    node.state.setWorkerState(time % 2, 'ready');
    node.state.setWorkerState((time + 1) % 2, 'loading');
    node.gateways[0]?.retry();
  }
  for (const worker of [0, 1]) node.state.setWorkerState(worker, 'ready');
  await node.pump();
  assert.deepEqual(
    client
      .heard()
      .map(({ type }) => type)
      .sort(),
    ['OP_ACK', 'SYNC_RESP_ROOT'],
  );
  assert.deepEqual(client.closes, []);
});

test('a session that holds more than it may is closed, and nothing of what it sent afterwards is taken', async () => {
  const node = await OneThreadNode.create({ config: { sessionBufferBytesMax: 1000 } });
  node.state.setWorkerState(0, 'loading');
  const client = node.client();
  for (let id = 1; id <= 10; id++) client.write(put(id, `k${id}`));
  assert.deepEqual(
    client.closes.map(({ code }) => code),
    [1013],
  );
  node.state.setWorkerState(0, 'ready');
  await node.pump();
  assert.equal(node.gateways[0]?.drain(), true);
  assert.equal(node.catalogues[0]?.size, 0);
});

test('a batch that a worker could not take is never acknowledged, nor covered by the ack of a later one', async () => {
  let admits = false;
  const dataStore = Object.assign(new NullDataStore(), { admits: () => admits });
  const node = await OneThreadNode.create({ dataStore });
  const client = node.client();
  client.write(put(1, 'refused'));
  await node.drainWorker(0);
  admits = true;
  client.write(put(2, 'taken'));
  await node.drainWorker(0);
  node.drainGateway(0); // the refusal and the later ack come in one batch
  assert.deepEqual(
    client.heard().map(({ type }) => type),
    ['ERROR'],
  );
  assert.deepEqual(
    client.closes.map(({ code }) => code),
    [1013],
  );
});

test('with write-through nothing is acknowledged before it is stored, rejected ops and parts of large frames neither', async () => {
  let failing = true;
  const writeThrough = async (): Promise<void> => {
    if (failing) throw new GridError('STORAGE_UNAVAILABLE', 'away');
  };
  const node = await OneThreadNode.create({ writeThrough });
  node.state.pruneWatermarkMs = 1000;
  const [plainWriter, rejected, large] = [node.client(), node.client(), node.client()];
  plainWriter.write(put(1, 'k'));
  rejected.write(put(1, 'l'), put(2, 'too old', 1, 'todos', 5));
  large.write(...['m', 'n', 'o'].map((key, index) => put(index + 1, key, 'x'.repeat(200_000))));
  await node.drainWorker(0, 3); // the first part of the large frame is in the batch that fails
  failing = false;
  await node.pump();
  for (const client of [plainWriter, rejected, large]) {
    assert.deepEqual(acked(client), []);
    assert.deepEqual(
      client.closes.map(({ code }) => code),
      [1013],
    );
  }
});

test('a clock too far ahead waits for its offset, which is then applied to every write of its node', async () => {
  const node = await OneThreadNode.create();
  const [client, listener] = [node.client(), node.client()];
  const wild = Date.now() + 3_600_000;
  client.write(put(1, 'k', 1, 'todos', wild));
  client.write(put(2, 'l', 1, 'todos', wild + 5));
  await node.pump();
  assert.deepEqual(acked(client), []);
  assert.equal(node.wildClocks.length, 1);
  const offsetMs = quarantineOffsetMs(wild, Date.now());
  node.gateways[0]?.quarantined(utf8('node-a'), offsetMs);
  await node.pump();
  assert.deepEqual(acked(client), ['1', '2']);
  const stamps = listener.heard().flatMap(({ type, payload }) => {
    const events =
      type === 'SERVER_EVENT' ? [payload] : type === 'SERVER_BATCH_EVENT' ? (payload as { events: unknown[] }).events : [];
    return events.map((event) => (event as { record: { timestamp: { millis: number } } }).record.timestamp.millis);
  });
  assert.deepEqual(stamps, [wild + offsetMs, wild + 5 + offsetMs]);
});

test('a frame of many wild clocks is looked at again once, when all of them have their offsets', async (t) => {
  const node = await OneThreadNode.create();
  const client = node.client();
  const nodes = Array.from({ length: 50 }, (_, index) => `ahead-${index}`);
  const wild = Date.now() + 3_600_000;
  const ops = nodes.map((nodeId, index) => {
    const record = { value: 1, timestamp: { millis: wild, counter: 0, nodeId } };
    return { id: String(index + 1), mapName: 'todos', opType: 'PUT', key: nodeId, record };
  });
  client.write(...ops);
  const looks = t.mock.method(WriteRouter.prototype, 'wildClocks').mock;
  for (const nodeId of nodes) node.gateways[0]?.quarantined(utf8(nodeId), -3_600_000);
  assert.ok(looks.callCount() <= 1, `${looks.callCount()}`);
  await node.pump();
  assert.deepEqual(acked(client), ['50']);
});

test('a clock that cannot be given an offset has its writes refused instead of held for ever', async () => {
  const node = await OneThreadNode.create();
  const client = node.client();
  const timestamp = { millis: Date.now() + 3_600_000, counter: 0, nodeId: 'n'.repeat(256) };
  client.write({ id: '1', mapName: 'todos', opType: 'PUT', key: 'k', record: { value: 1, timestamp } }, put(2, 'l'));
  await node.pump();
  assert.deepEqual(node.wildClocks, []);
  const heard = client.heard();
  assert.deepEqual(
    heard.map(({ type }) => type),
    ['OP_REJECTED', 'OP_ACK'],
  );
  assert.equal(ackOf(heard[1]).lastId, '2');
});

test('a client that goes leaves no call and no held frame behind, and late answers to it are ignored', async () => {
  const node = await OneThreadNode.create({ workers: 2 });
  const client = node.client();
  client.write(put(1, keyAt(node, 0)), put(2, keyAt(node, 1)));
  client.say({ type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 0 });
  node.state.setWorkerState(0, 'loading');
  client.write(put(3, keyAt(node, 0)));
  client.leave();
  assert.equal(node.gateways[0]?.drain(), true);
  node.state.setWorkerState(0, 'ready');
  await node.pump();
  assert.deepEqual(client.heard(), []);
});

test('an OR-Map walk gives a client everything, and a push brings its own tags to the others', async () => {
  const node = await OneThreadNode.create({ workers: 3 });
  const [client, listener] = [node.client(), node.client()];
  const model = new OrMap();
  const ops = Array.from({ length: 30 }, (_, index) => {
    const timestamp = { millis: SHARED + index, counter: 0, nodeId: 'n' };
    const tag = `${timestamp.millis}:0:n`;
    model.add(`k${index % 7}`, { tag, value: index, ...timestamp });
    return {
      id: String(index + 1),
      mapName: 'tags',
      key: `k${index % 7}`,
      opType: 'OR_ADD',
      orRecord: { value: index, timestamp, tag },
    };
  });
  client.write(...ops);
  await node.pump();
  listener.heard();
  client.heard();
  listener.say({ type: 'ORMAP_SYNC_INIT', mapName: 'tags', rootHash: 0, bucketHashes: {}, lastSyncTimestamp: 0 });
  await node.pump();
  const [root] = listener.heardOf('ORMAP_SYNC_RESP_ROOT');
  assert.equal(rootHashOf(root), model.tree().root);
  assert.deepEqual(await walk(node, listener, ''), ops.map(({ orRecord }) => orRecord.tag).sort());
  const pushed = { value: 'p', timestamp: { millis: SHARED, counter: 9, nodeId: 'n' }, tag: `${SHARED}:9:n` };
  const dead = ops[0]?.orRecord.tag ?? '';
  client.say({
    type: 'ORMAP_PUSH_DIFF',
    payload: { mapName: 'tags', entries: [{ key: 'k0', records: [pushed], tombstones: [dead] }] },
  });
  await node.pump();
  assert.deepEqual(client.heard(), []);
  const kinds = listener
    .heard()
    .flatMap(({ payload }) => (payload as { events: { eventType: string }[] }).events.map(({ eventType }) => eventType));
  assert.deepEqual(kinds.sort(), ['OR_ADD', 'OR_REMOVE']);
  client.say({
    type: 'ORMAP_PUSH_DIFF',
    payload: { mapName: 'tags', entries: [{ key: 'k0', records: [ops[0]?.orRecord], tombstones: [] }] },
  });
  await node.pump();
  const [corrected] = client.heardOf('ORMAP_DIFF_RESPONSE');
  assert.ok(corrected !== undefined);
  const { entries } = corrected.payload as { entries: { tombstones: string[] }[] };
  assert.deepEqual(
    entries.map(({ tombstones }) => tombstones),
    [[dead]],
  );
});

test('a client that was away longer than tombstones are kept is told to start afresh', async () => {
  const node = await OneThreadNode.create();
  node.state.pruneWatermarkMs = 5000;
  const client = node.client();
  client.say({ type: 'SYNC_INIT', mapName: 'm', lastSyncTimestamp: 4999 });
  client.say({ type: 'SYNC_INIT', mapName: 'm', lastSyncTimestamp: 0 });
  client.say({ type: 'ORMAP_SYNC_INIT', mapName: 'm', lastSyncTimestamp: 4999 });
  await node.pump();
  assert.deepEqual(
    client.heard().map(({ type, payload }) => [type, (payload as { fullResync?: boolean }).fullResync]),
    [
      ['SYNC_RESET_REQUIRED', undefined],
      ['SYNC_RESP_ROOT', undefined],
      ['ORMAP_SYNC_RESP_ROOT', true],
    ],
  );
});

test('a client that does not read is closed', async () => {
  const node = await OneThreadNode.create();
  const [writer, slow] = [node.client(), node.client()];
  slow.unreadBytes = (4 << 20) + 1;
  writer.write(put(1, 'k'));
  await node.pump();
  assert.deepEqual(
    slow.closes.map(({ code, reason }) => [code, reason.includes('unread')]),
    [[1013, true]],
  );
});

test('a gateway that drains takes nothing in, answers what it took, and closes', async () => {
  const node = await OneThreadNode.create();
  const client = node.client();
  client.write(put(1, 'k'));
  const [gateway] = node.gateways;
  assert.equal(gateway?.drain(), false);
  client.write(put(2, 'l'));
  await node.pump();
  assert.deepEqual(acked(client), ['1']);
  assert.equal(gateway?.drain(), true);
  assert.throws(() => node.client(), /refused/);
  gateway?.closeAll();
  assert.deepEqual(
    client.closes.map(({ code }) => code),
    [1001],
  );
});

/** The nth key whose owner is the worker. */
function keyAt(node: OneThreadNode, worker: number, nth = 0): string {
  let left = nth;
  for (let index = 0; ; index++) {
    const key = `key ${index}`;
    if (node.table.ownerOf(partitionOf(fnv1a(key))) !== worker) continue;
    if (left === 0) return key;
    left -= 1;
  }
}

/** Walks an OR-Map as a client that has nothing does, and returns the tags it meets. */
async function walk(node: OneThreadNode, client: TestClient, path: string): Promise<string[]> {
  client.say({ type: 'ORMAP_MERKLE_REQ_BUCKET', payload: { mapName: 'tags', path } });
  await node.pump();
  const tags: string[] = [];
  for (const { type, payload } of client.heard()) {
    if (type === 'ORMAP_SYNC_RESP_LEAF') {
      for (const entry of (payload as { entries: { records: { tag: string }[] }[] }).entries)
        tags.push(...entry.records.map(({ tag }) => tag));
    } else if (type === 'ORMAP_SYNC_RESP_BUCKETS') {
      for (const digit of Object.keys((payload as { buckets: object }).buckets))
        tags.push(...(await walk(node, client, path + digit)));
    }
  }
  return tags.sort();
}
