import assert from 'node:assert/strict';
import test from 'node:test';
import { encode } from '../engine/protocol/codec.ts';
import { PlayedNode } from './testing/played-node.ts';
import type { TestClient } from './testing/one-thread-node.ts';

function write(client: TestClient, id: number, key: string): void {
  const timestamp = { millis: 1_700_000_000_000, counter: id, nodeId: 'node-a' };
  client.write({ id: String(id), mapName: 'todos', opType: 'PUT', key, record: { value: id, timestamp } });
}

function errorCodes(client: TestClient): number[] {
  return client.heardOf('ERROR').map(({ payload }) => (payload as { code: number }).code);
}

function closeCodes({ closes }: TestClient): number[] {
  return closes.map(({ code }) => code);
}

test('a session whose oldest frame finds no room for too long is told so and closed; others go on waiting', async () => {
  const node = await PlayedNode.create({ config: { requestTimeoutMs: 10_000 } });
  node.state.setWorkerState(0, 'loading');
  const [early, late, idle] = [node.client(), node.client(), node.client()];
  write(early, 1, 'a');
  node.pass(6000);
  write(early, 2, 'b');
  write(late, 1, 'c');
  node.pass(4000);
  assert.deepEqual([early, late].map(closeCodes), [[], []]);
  node.pass(600);
  const [error] = early.heardOf('ERROR').map(({ payload }) => payload as { code: number; message: string });
  assert.equal(error?.code, 503);
  assert.match(error?.message ?? '', /^UNAVAILABLE: .*10000 ms/);
  assert.deepEqual([early, late, idle].map(closeCodes), [[1013], [], []]);
  assert.equal(node.counters.heldTooLong, 1);
  node.state.setWorkerState(0, 'ready');
  node.pass(0);
  assert.deepEqual(
    node.received().map(({ ops }) => ops),
    [1],
  );
  node.pass(60_000);
  assert.equal(node.counters.heldTooLong, 1);
});

test('frames that find room at last are handled, not counted as late', async () => {
  const node = await PlayedNode.create({ config: { requestTimeoutMs: 1000, idleTimeoutMs: 600_000 } });
  node.state.setWorkerState(0, 'loading');
  const client = node.client();
  for (const id of [1, 2, 3]) write(client, id, 'a');
  node.state.setWorkerState(0, 'ready');
  node.pass(5000); // the gateway itself stood still
  assert.deepEqual([closeCodes(client), node.received().length], [[], 3]);
});

test('all that wait together are bounded in bytes: a further frame is refused, whosever it is, and there is room again behind them', async () => {
  const node = await PlayedNode.create({ config: { heldBytesMax: 4000, requestTimeoutMs: 10_000 } });
  node.state.setWorkerState(0, 'loading');
  const clients = Array.from({ length: 20 }, () => node.client());
  for (const client of clients) write(client, 1, 'a');
  const refused = clients.filter((client) => closeCodes(client).includes(1013));
  assert.ok(refused.length > 0 && refused.length < clients.length, `${refused.length} are refused`);
  for (const client of refused) assert.deepEqual(errorCodes(client), [429]);
  node.pass(0);
  assert.ok(node.counters.heldBytes > 3000 && node.counters.heldBytes <= 4000, `${node.counters.heldBytes} bytes wait`);
  const [gone] = clients;
  gone?.leave();
  const successor = node.client();
  write(successor, 1, 'a');
  assert.deepEqual(closeCodes(successor), [], 'who left has made room');
  node.state.setWorkerState(0, 'ready');
  node.pass(0);
  assert.equal(node.received().length, clients.length - refused.length);
  node.pass(1);
  assert.equal(node.counters.heldBytes, 0);
  write(node.client(), 1, 'a');
  assert.equal(node.received().length, 1);
});

test('items of a BATCH that wait are as old as their BATCH', async () => {
  const node = await PlayedNode.create({ workers: 2, config: { requestTimeoutMs: 1000 } });
  for (const worker of [0, 1]) node.state.setWorkerState(worker, 'loading');
  const client = node.client();
  write(client, 1, node.keyOf(0));
  client.say({ type: 'BATCH', count: 2, data: framed([0, 1].map((worker) => clientOp(worker + 2, node.keyOf(worker)))) });
  node.pass(900);
  write(node.client(), 1, node.keyOf(1));
  node.state.setWorkerState(0, 'ready');
  node.pass(0); // the first item goes, the second is held by itself
  assert.equal(client.session.held.length, 1);
  assert.deepEqual(closeCodes(client), []);
  node.pass(600);
  assert.deepEqual(closeCodes(client), [1013]);
});

test('a client that does not read keeps itself waiting: its questions do not age', async () => {
  const node = await PlayedNode.create({ config: { requestTimeoutMs: 1000 } });
  const client = node.client();
  client.unreadBytes = 2 << 20;
  client.say({ type: 'SYNC_INIT', mapName: 'todos', lastSyncTimestamp: 0 });
  for (let time = 0; time < 10; time++) node.pass(900);
  assert.deepEqual([client.session.held.length, closeCodes(client)], [1, []]);
  node.state.setWorkerState(0, 'loading');
  client.unreadBytes = 0;
  node.pass(900);
  assert.deepEqual(closeCodes(client), []);
  node.pass(900);
  assert.deepEqual(closeCodes(client), [1013]);
});

function clientOp(id: number, key: string): Uint8Array {
  const timestamp = { millis: 1_700_000_000_000, counter: id, nodeId: 'node-a' };
  const op = { id: String(id), mapName: 'todos', opType: 'PUT', key, record: { value: id, timestamp } };
  return encode({ type: 'CLIENT_OP', payload: op }).slice();
}

/** Messages as a client puts them into a BATCH. */
function framed(messages: readonly Uint8Array[]): Uint8Array {
  const word = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  return new Uint8Array(
    Buffer.concat([word(messages.length), ...messages.flatMap((message) => [word(message.length), message])]),
  );
}
