import assert from 'node:assert/strict';
import test from 'node:test';
import { KIND_LWW } from '../engine/storage/record.ts';
import { CLOCKS_MAX } from './clock-allowance.ts';
import { OneThreadNode, type TestClient } from './testing/one-thread-node.ts';

const AHEAD_MS = 7_200_000;

/** Writes with one clock each, hours ahead. */
function writeAhead(client: TestClient, nodes: readonly string[]): void {
  const millis = Date.now() + AHEAD_MS;
  client.write(
    ...nodes.map((nodeId, index) => ({
      id: String(index + 1),
      mapName: 'todos',
      opType: 'PUT',
      key: nodeId,
      record: { value: 1, timestamp: { millis, counter: 0, nodeId } },
    })),
  );
}

function names(count: number, from = 0): string[] {
  return Array.from({ length: count }, (_, index) => `device-${from + index}`);
}

async function tellOffsets(node: OneThreadNode): Promise<void> {
  for (const wild of node.wildClocks.splice(0)) node.gateways[0]?.quarantined(wild.node, -AHEAD_MS);
  await node.pump();
}

test('a client that names many clocks that run ahead gets offsets for a few; its other writes are rejected', async () => {
  const node = await OneThreadNode.create();
  const client = node.client();
  writeAhead(client, names(CLOCKS_MAX + 4));
  assert.equal(node.wildClocks.length, CLOCKS_MAX);
  await tellOffsets(node);
  const heard = client.heard();
  assert.equal(heard.filter(({ type }) => type === 'OP_REJECTED').length, 4);
  assert.equal(node.catalogues[0]?.find(new TextEncoder().encode('todos'))?.existing(KIND_LWW)?.records, CLOCKS_MAX);
  assert.deepEqual(client.closes, []);
});

test('clocks that are known already cost nothing, and other clients have room of their own', async () => {
  const node = await OneThreadNode.create();
  const [greedy, modest] = [node.client(), node.client()];
  writeAhead(greedy, names(CLOCKS_MAX));
  await tellOffsets(node);
  writeAhead(greedy, names(CLOCKS_MAX));
  await node.pump();
  assert.equal(greedy.heardOf('OP_REJECTED').length, 0);
  writeAhead(modest, names(2, 100));
  assert.equal(node.wildClocks.length, 2);
  await tellOffsets(node);
  assert.equal(modest.heardOf('OP_REJECTED').length, 0);
});
