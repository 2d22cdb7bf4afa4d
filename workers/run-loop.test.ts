import assert from 'node:assert/strict';
import test from 'node:test';
import { CounterRow, createCounters, THREAD_COUNTERS } from './counters.ts';
import { createHeartbeat, Heartbeat, HeartbeatWatch } from './heartbeat.ts';
import { RingConsumer, RingProducer } from './ring.ts';
import { createRing, readRingStats } from './ring-layout.ts';
import { RunLoop, type RunLoopOptions } from './run-loop.ts';
import type { Runnable } from './runnable.ts';

const LIMIT = { timeout: 20_000 };

/** A runnable that writes down what happens to it. */
class Recorder implements Runnable {
  readonly tickIntervalMs: number;
  readonly log: string[] = [];
  readonly ticksMs: number[] = [];
  handle: (ring: RingConsumer, text: string) => void = () => {};
  batchEnd: () => Promise<void> | void = () => {};
  tick: (nowMs: number) => void = () => {};
  close: () => Promise<void> = async () => {};

  constructor(tickIntervalMs = 1_000_000) {
    this.tickIntervalMs = tickIntervalMs;
  }

  onRecord(ring: RingConsumer, at: number, bytes: number): void {
    const text = Buffer.from(ring.bytes.subarray(at, at + bytes)).toString();
    this.log.push(text);
    this.handle(ring, text);
  }

  onBatchEnd(): Promise<void> | void {
    this.log.push('|');
    return this.batchEnd();
  }

  onTick(nowMs: number): void {
    this.ticksMs.push(nowMs);
    this.tick(nowMs);
  }

  async shutdown(): Promise<void> {
    this.log.push('shutdown');
    await this.close();
  }
}

interface Fixture {
  readonly loop: RunLoop;
  readonly memories: SharedArrayBuffer[];
  write(ring: number, text: string): boolean;
}

function fixture(runnable: Runnable, rings: number, options: RunLoopOptions = {}): Fixture {
  const memories = Array.from({ length: rings }, () => createRing({ capacityBytes: 4096 }));
  const loop = new RunLoop(
    runnable,
    memories.map((memory, index) => new RingConsumer(memory, index)),
    options,
  );
  const producers = memories.map((memory) => new RingProducer(memory, () => setImmediate(loop.wake)));
  return { loop, memories, write: (ring, text) => producers[ring]?.tryWrite(Buffer.from(text)) === true };
}

function used(memory: SharedArrayBuffer | undefined): number {
  assert.ok(memory !== undefined);
  return readRingStats(memory).usedBytes;
}

/** Lets timers and turns go on until `condition` holds; the test's timeout is the limit. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('records are handled in order, a batch end behind each drain, and shutdown after the last record', LIMIT, async () => {
  const runnable = new Recorder();
  const { loop, write, memories } = fixture(runnable, 1, { batchRecords: 2 });
  for (const text of ['a', 'b', 'c', 'd', 'e']) write(0, text);
  loop.stop();
  await loop.run();
  assert.deepEqual(runnable.log, ['a', 'b', '|', 'c', 'd', '|', 'e', '|', 'shutdown']);
  assert.equal(used(memories[0]), 0);
});

test('a busy ring does not starve the others, and gets what they leave', LIMIT, async () => {
  const runnable = new Recorder();
  const { loop, write } = fixture(runnable, 3, { batchRecords: 6 });
  for (let n = 0; n < 30; n += 1) write(0, 'a');
  for (let n = 0; n < 2; n += 1) write(1, 'b');
  write(2, 'c');
  loop.stop();
  await loop.run();
  const [first = '', second = ''] = runnable.log.join('').split('|');
  assert.deepEqual([...first].sort().join(''), 'aaabbc', 'two each, and one that ring 2 left');
  assert.deepEqual([...second].sort().join(''), 'aaaaaa');
});

test('a sleeping loop is woken by the bell', LIMIT, async () => {
  const runnable = new Recorder();
  const { loop, write, memories } = fixture(runnable, 2, { emptyPolls: 0 });
  const ended = loop.run();
  await until(() => memories.every((memory) => readRingStats(memory).parked));
  write(1, 'hello');
  await until(() => runnable.log.includes('hello'));
  loop.stop();
  await ended;
  assert.equal(readRingStats(memories[1] as SharedArrayBuffer).bellsRung, 1);
  assert.equal(readRingStats(memories[1] as SharedArrayBuffer).missedWakeups, 0);
});

test('the watchdog finds records whose bell was lost, and counts them', LIMIT, async () => {
  const runnable = new Recorder();
  const { loop, memories } = fixture(runnable, 1, { emptyPolls: 0, watchdogMs: 5 });
  const deaf = new RingProducer(memories[0] as SharedArrayBuffer, () => {});
  const ended = loop.run();
  await until(() => readRingStats(memories[0] as SharedArrayBuffer).parked);
  deaf.tryWrite(Buffer.from('lost'));
  await until(() => runnable.log.includes('lost'));
  loop.stop();
  await ended;
  assert.equal(readRingStats(memories[0] as SharedArrayBuffer).missedWakeups, 1);
});

test('it ticks on time while records never end', LIMIT, async () => {
  let nowMs = 0;
  const runnable = new Recorder(10);
  const { loop, write } = fixture(runnable, 1, { batchRecords: 5, clock: () => nowMs });
  // Each record takes 1 ms and brings the next one: the ring is never empty.
  runnable.handle = () => {
    nowMs += 1;
    if (nowMs < 1000) write(0, 'x');
  };
  for (let n = 0; n < 5; n += 1) write(0, 'x');
  loop.stop();
  await loop.run();
  assert.equal(runnable.ticksMs.length, 100);
  for (const [n, tickMs] of runnable.ticksMs.entries()) {
    assert.ok(tickMs >= (n + 1) * 10 - 1 && tickMs < (n + 1) * 10 + 5, `tick ${n} at ${tickMs}`);
  }
});

test('it ticks while it sleeps, and does not make up for ticks that a pause swallowed', LIMIT, async () => {
  let nowMs = 0;
  const runnable = new Recorder(10);
  const { loop } = fixture(runnable, 1, { clock: () => nowMs });
  const ended = loop.run();
  nowMs = 10;
  await until(() => runnable.ticksMs.length === 1);
  nowMs = 500;
  await until(() => runnable.ticksMs.length === 2);
  nowMs = 509;
  await until(() => runnable.ticksMs.length === 3);
  loop.stop();
  await ended;
  assert.deepEqual(runnable.ticksMs, [10, 500, 509]);
});

test('ticks of a sleeping loop keep their rhythm on the real clock', LIMIT, async () => {
  const runnable = new Recorder(20);
  const { loop } = fixture(runnable, 1);
  const startedMs = performance.now();
  const ended = loop.run();
  await until(() => runnable.ticksMs.length === 5);
  loop.stop();
  await ended;
  for (const [n, tickMs] of runnable.ticksMs.entries()) {
    assert.ok(tickMs - startedMs >= (n + 1) * 20 - 2, `tick ${n} came early`);
  }
});

test('while replies wait nothing more is drained or released, and ticks go on', LIMIT, async () => {
  let commit: () => void = () => {};
  const runnable = new Recorder(1);
  runnable.batchEnd = () =>
    new Promise<void>((resolve) => {
      commit = resolve;
    });
  const { loop, write, memories } = fixture(runnable, 1, { batchRecords: 1 });
  write(0, 'a');
  write(0, 'b');
  loop.stop();
  const ended = loop.run();
  await until(() => runnable.log.length === 2);
  const usedBytes = used(memories[0]);
  const ticks = runnable.ticksMs.length;
  await until(() => runnable.ticksMs.length > ticks + 3);
  assert.deepEqual(runnable.log, ['a', '|']);
  assert.equal(used(memories[0]), usedBytes);
  commit();
  await until(() => runnable.log.length === 4);
  assert.ok(used(memories[0]) < usedBytes);
  commit();
  await ended;
  assert.deepEqual(runnable.log, ['a', '|', 'b', '|', 'shutdown']);
});

for (const place of ['handle', 'batchEnd', 'tick', 'close'] as const) {
  test(`an error in ${place} ends the loop with that error and gives no space back`, LIMIT, async () => {
    const runnable = new Recorder(1);
    runnable[place] = () => {
      throw new Error(`bug in ${place}`);
    };
    const { loop, write, memories } = fixture(runnable, 1);
    write(0, 'a');
    if (place === 'close') loop.stop();
    await assert.rejects(loop.run(), new RegExp(`bug in ${place}`));
    if (place === 'handle' || place === 'batchEnd') assert.equal(used(memories[0]), 16);
    const { length } = runnable.log;
    write(0, 'b');
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(runnable.log.length, length, 'nothing runs behind the error');
  });
}

test('a rejected batch end ends the loop and gives no space back', LIMIT, async () => {
  const runnable = new Recorder();
  runnable.batchEnd = () => Promise.reject(new Error('commit failed'));
  const { loop, write, memories } = fixture(runnable, 1);
  write(0, 'a');
  await assert.rejects(loop.run(), /commit failed/);
  assert.equal(used(memories[0]), 16);
});

test('the heart beats under load, at idle, and during a long shutdown', LIMIT, async () => {
  const memory = createHeartbeat();
  const watch = new HeartbeatWatch(memory);
  const runnable = new Recorder();
  let flushed: () => void = () => {};
  runnable.close = () =>
    new Promise<void>((resolve) => {
      flushed = resolve;
    });
  const { loop, write } = fixture(runnable, 1, { heartbeat: new Heartbeat(memory), watchdogMs: 2 });
  let beats = 0;
  // The watch says 0 at the moment it sees a new beat.
  const countBeats = (nowMs: number): void => {
    if (watch.stillMs(nowMs) === 0) beats += 1;
  };
  let nowMs = 1;
  const severalBeats = async (): Promise<void> => {
    beats = 0;
    await until(() => {
      nowMs += 1;
      countBeats(nowMs);
      return beats >= 3;
    });
  };
  write(0, 'a');
  const ended = loop.run();
  await until(() => runnable.log.length === 2);
  await severalBeats();
  loop.stop();
  await until(() => runnable.log.includes('shutdown'));
  await severalBeats();
  flushed();
  await ended;
});

test('turns, batches and records are counted', LIMIT, async () => {
  const counters = new CounterRow(createCounters(THREAD_COUNTERS, 1), THREAD_COUNTERS, 0);
  const { loop, write } = fixture(new Recorder(), 1, { batchRecords: 2, counters });
  for (const text of ['a', 'b', 'c']) write(0, text);
  loop.stop();
  await loop.run();
  assert.deepEqual([counters.get('records'), counters.get('batches'), counters.get('turns')], [3, 2, 3]);
});

test(
  'a loop that shares its thread with who writes sleeps as soon as its rings are empty, and no nudge wakes it',
  LIMIT,
  async (t) => {
    const runnable = new Recorder();
    const counters = new CounterRow(createCounters(THREAD_COUNTERS, 1), THREAD_COUNTERS, 0);
    const { loop, write } = fixture(runnable, 1, { batchRecords: 2, isShared: true, watchdogMs: 60_000, counters });
    const ended = loop.run();
    t.after(async () => {
      loop.stop();
      await ended;
      assert.equal(runnable.log.at(-1), 'shutdown');
    });
    const turns = (): number => counters.get('turns');
    await until(() => turns() === 1);
    for (const text of ['a', 'b', 'c']) write(0, text); // rings once: the loop sleeps
    await until(() => runnable.log.length === 5);
    assert.deepEqual(runnable.log, ['a', 'b', '|', 'c', '|']);
    assert.equal(turns(), 3, 'no turn looked into an empty ring');
    loop.nudge();
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(turns(), 3);
    write(0, 'd');
    await until(() => runnable.log.length === 7);
    assert.equal(turns(), 4);
  },
);
