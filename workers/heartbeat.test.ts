import assert from 'node:assert/strict';
import test from 'node:test';
import { createHeartbeat, Heartbeat, HeartbeatWatch } from './heartbeat.ts';

test('standing still is measured from the last beat that was seen, and not before the first beat', () => {
  const memory = createHeartbeat();
  const heart = new Heartbeat(memory);
  const watch = new HeartbeatWatch(memory);
  assert.equal(watch.stillMs(1000), 0);
  assert.equal(watch.stillMs(9000), 0);
  heart.beat();
  assert.equal(watch.stillMs(9500), 0);
  assert.equal(watch.stillMs(9600), 100);
  assert.equal(watch.stillMs(12_000), 2500);
  heart.beat();
  assert.equal(watch.stillMs(12_001), 0);
});
