/** Flushing goes on when the wall clock of the server is set back or forwards. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { GridError } from '../protocol/errors.ts';
import { World } from './map-data-store.conformance.ts';
import type { FlushTime } from './flusher.ts';
import { WriteBehind, type WriteBehindOptions } from './write-behind.ts';

const HOUR_MS = 3_600_000;

/** What is asked through here has a wall clock that is `setMs` off; `World` itself counts on. */
function world(options: Partial<WriteBehindOptions> = {}): { it: World<WriteBehind>; set(byMs: number): void } {
  let setMs = 0;
  const it = new World((dataStore, time) => {
    const wall: FlushTime = {
      nowMs: () => time.nowMs() + setMs,
      random: () => time.random(),
      yieldTurn: () => time.yieldTurn(),
      startTimer: (delayMs, fire) => time.startTimer(delayMs, fire),
    };
    return new WriteBehind(dataStore, wall, options);
  });
  const { store } = it;
  const [softFlush, changed] = [store.softFlush.bind(store), store.changed.bind(store)];
  store.softFlush = (nowMs) => softFlush(nowMs === it.time.nowMs() ? nowMs + setMs : nowMs); // the store itself asks the wall
  store.changed = (source, ref, nowMs) => changed(source, ref, nowMs + setMs);
  return {
    it,
    set: (byMs) => {
      setMs += byMs;
    },
  };
}

test('what was staged before the clock was set back is flushed now, not hours later', async () => {
  const { it, set } = world({ flushDelayMs: 50 });
  it.lww.write({ key: 'k', value: 'v' });
  set(-HOUR_MS);
  await it.tick(10);
  it.assertPersisted();
});

test('what is staged after the clock was set back waits as ever', async () => {
  const { it, set } = world({ flushDelayMs: 50 });
  it.lww.write({ key: 'a', value: 'v' });
  await it.tick(50);
  it.assertPersisted();
  set(-HOUR_MS);
  await it.tick(100);
  it.lww.write({ key: 'b', value: 'v' });
  await it.tick(20);
  assert.equal(it.dataStore.commits, 1);
  await it.tick(50);
  it.assertPersisted();
});

test('a retry does not wait until the clock is again what it was', async () => {
  const { it, set } = world({ flushDelayMs: 0 });
  it.dataStore.faults.commits.push(new GridError('STORAGE_UNAVAILABLE', 'away'));
  it.lww.write({ key: 'k', value: 'v' });
  await it.tick(1);
  assert.equal(it.dataStore.commits, 0);
  set(-HOUR_MS);
  await it.tick(1);
  it.assertPersisted();
});

test('a flush during which the clock was set forwards does not pause for hours', async () => {
  const { it, set } = world({ flushDelayMs: 0, flushShare: 0.5, commitDeadlineMs: 1000 });
  const gate = it.holdCommits();
  it.lww.write({ key: 'a', value: 'v' });
  await it.tick(0);
  it.lww.write({ key: 'b', value: 'v' });
  set(HOUR_MS);
  await gate.release();
  await it.tick(1001);
  await gate.release();
  it.assertPersisted();
});
