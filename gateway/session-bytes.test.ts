import assert from 'node:assert/strict';
import test from 'node:test';
import { workerShare } from '../workers/memory-budget.ts';
import { PlayedNode } from './testing/played-node.ts';

test('what sessions hold and have not read is counted in bytes, and goes when they do', async () => {
  const node = await PlayedNode.create();
  node.pass(600);
  assert.equal(node.counters.sessionBytes, 0);
  const [holding, unread] = [node.client(), node.client()];
  node.pass(600);
  const idle = node.counters.sessionBytes;
  assert.ok(idle > 0);
  node.state.setWorkerState(0, 'loading');
  const timestamp = { millis: 1_700_000_000_000, counter: 0, nodeId: 'n' };
  holding.write({ mapName: 'm', opType: 'PUT', key: 'k', record: { value: 'x'.repeat(100_000), timestamp } });
  unread.unreadBytes = 50_000;
  node.pass(600);
  const held = node.counters.sessionBytes - idle;
  assert.ok(held >= 150_000 && held < 160_000, `${held} bytes more`);
  holding.leave();
  unread.leave();
  node.pass(600);
  assert.equal(node.counters.sessionBytes, 0);
});

test('bytes of sessions are taken off what workers may have, before the process has grown by them', () => {
  const sizes = { gateways: 1, workers: 2, ringBytes: 4 << 20 };
  const share = (sessionsBytes: number): number => workerShare(2 ** 30, sizes, 100 << 20, 0, sessionsBytes);
  assert.equal(share(0) - share(64 << 20), 32 << 20);
});
