import assert from 'node:assert/strict';
import test from 'node:test';
import { OneThreadNode } from './testing/one-thread-node.ts';

test('a gateway tells who is connected, how far clocks are off, and what waits, but no data', async () => {
  const node = await OneThreadNode.create();
  const [quiet, ahead] = [node.client(), node.client()];
  ahead.unreadBytes = 500;
  ahead.say({ type: 'PING', timestamp: Date.now() + 60_000 });
  const facts = node.gateways[0]?.facts().sessions ?? [];
  assert.deepEqual(
    facts.map(({ id, subject, state, unreadBytes, openCalls }) => [id, subject, state, unreadBytes, openCalls]),
    [
      [quiet.session.id, null, 'ready', 0, 0],
      [ahead.session.id, null, 'ready', 500, 0],
    ],
  );
  assert.equal(facts[0]?.clockSkewMs, null);
  const skewMs = facts[1]?.clockSkewMs ?? 0;
  assert.ok(skewMs > 50_000 && skewMs <= 60_000, `${skewMs}`);
});
