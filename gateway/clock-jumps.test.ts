/** The wall clock of the server is set back by hours, or forwards, while it serves. */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { OneThreadNode } from './testing/one-thread-node.ts';

const HOUR_MS = 3_600_000;
const NOW_MS = 1_800_000_000_000;

/** Sets the wall clock of this process; timers and the clock that only counts go on as they are. */
function setWall(t: TestContext, ms: number): void {
  t.mock.timers.reset();
  t.mock.timers.enable({ apis: ['Date'], now: ms });
}

function put(id: string, millis: number, nodeId = 'node-a'): object {
  return { id, mapName: 'm', opType: 'PUT', key: 'k', record: { value: id, timestamp: { millis, counter: 0, nodeId } } };
}

test('a server whose clock is set back takes no client for one that is ahead', async (t) => {
  setWall(t, NOW_MS);
  const node = await OneThreadNode.create();
  const client = node.client();
  client.write(put('1', NOW_MS));
  await node.pump();
  setWall(t, NOW_MS - 3 * HOUR_MS);
  await node.pump();
  client.write(put('2', NOW_MS + 5));
  await node.pump();
  assert.deepEqual(node.wildClocks, []);
  assert.equal(client.heardOf('OP_ACK').length, 2);
  client.write(put('3', NOW_MS + 2 * HOUR_MS, 'node-b'));
  assert.equal(node.wildClocks.length, 1, 'one that is ahead is found all the same');
});

test('a server that stood still while time went on looks at its clock before it calls one wild', async (t) => {
  setWall(t, NOW_MS);
  const node = await OneThreadNode.create();
  const client = node.client();
  setWall(t, NOW_MS + 8 * HOUR_MS);
  client.write(put('1', NOW_MS + 8 * HOUR_MS));
  await node.pump();
  assert.deepEqual(node.wildClocks, []);
  assert.equal(client.heardOf('OP_ACK').length, 1);
});

test('the offset 0 says that a clock is not ahead after all: its frames go on as they are', async (t) => {
  setWall(t, NOW_MS);
  const node = await OneThreadNode.create();
  const [client, other] = [node.client(), node.client()];
  client.write(put('1', NOW_MS + HOUR_MS));
  assert.equal(node.wildClocks.length, 1);
  setWall(t, NOW_MS + HOUR_MS); // it was the server's clock that was wrong
  node.gateways[0]?.quarantined(new TextEncoder().encode('node-a'), 0);
  await node.pump();
  assert.equal(client.heardOf('OP_ACK').length, 1);
  assert.match(JSON.stringify(other.heardOf('SERVER_EVENT')), new RegExp(`"millis":${NOW_MS + HOUR_MS}`));
});

test('deadlines hold while the clock is set back', { timeout: 20_000 }, async (t) => {
  setWall(t, NOW_MS);
  const node = await OneThreadNode.create({ config: { opTimeoutMs: 100, idleTimeoutMs: 60_000 } });
  const [client, idle] = [node.client(), node.client()];
  client.write(put('1', NOW_MS)); // no worker looks at it
  setWall(t, NOW_MS - 3 * HOUR_MS);
  while (client.closes.length === 0) {
    await delay(20);
    node.gateways[0]?.outbox.onTick(0);
  }
  assert.match(JSON.stringify(client.heardOf('ERROR')), /504/);
  assert.deepEqual(idle.closes, [], 'and nobody else is cut off');
});

test('nobody is idle, and no call late, because the clock is set forwards', async (t) => {
  setWall(t, NOW_MS);
  const node = await OneThreadNode.create();
  const client = node.client();
  client.write(put('1', NOW_MS));
  setWall(t, NOW_MS + 30 * 24 * HOUR_MS);
  node.gateways[0]?.outbox.onTick(0);
  assert.deepEqual(client.closes, []);
  await node.pump();
  assert.equal(client.heardOf('OP_ACK').length, 1);
  assert.deepEqual(client.closes, []);
});
