import assert from 'node:assert/strict';
import test from 'node:test';
import { TurnClock } from './turn-clock.ts';

test('the wall is followed forwards, stands still while it is set back, and goes on behind that', () => {
  let [steadyMs, wallMs] = [10, 1000];
  const clock = new TurnClock(
    () => steadyMs,
    () => wallMs,
  );
  const seen: [number, number][] = [];
  for (const nextWallMs of [1001, 5000, 2000, 4999, 5001]) {
    steadyMs += 1;
    wallMs = nextWallMs;
    clock.refresh();
    seen.push([clock.nowMs, clock.wallMs]);
  }
  assert.deepEqual(seen, [
    [11, 1001],
    [12, 5000],
    [13, 5000],
    [14, 5000],
    [15, 5001],
  ]);
});

test('frames read the clocks now and then', () => {
  let reads = 0;
  const clock = new TurnClock(
    () => reads,
    () => reads++,
  );
  for (let frame = 0; frame < 320; frame++) clock.frame();
  assert.equal(reads, 11);
});
