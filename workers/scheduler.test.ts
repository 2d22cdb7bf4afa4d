import assert from 'node:assert/strict';
import test from 'node:test';
import { type BackgroundRunnable, LazyWorker, TimeSlices } from './scheduler.ts';

/** A clock that stands still unless work is done. */
class ManualClock {
  nowMs = 0;
  readonly read = (): number => this.nowMs;
}

function subsystem(
  clock: ManualClock,
  log: string[],
  name: string,
  intervalMs: number,
  costMs = 0,
  answers: ('done' | 'more')[] = [],
): BackgroundRunnable {
  return {
    name,
    intervalMs,
    run(nowMs, budgetMs) {
      log.push(`${name}@${nowMs}/${budgetMs}`);
      clock.nowMs += costMs;
      return answers.shift() ?? 'done';
    },
  };
}

test('subsystems run at their own rhythm', () => {
  const clock = new ManualClock();
  const log: string[] = [];
  const slices = new TimeSlices(5, clock.read);
  slices.register(subsystem(clock, log, 'gc', 10));
  slices.register(subsystem(clock, log, 'flush', 25));
  for (clock.nowMs = 0; clock.nowMs <= 50; clock.nowMs += 5) slices.run(clock.nowMs);
  assert.deepEqual(
    log.map((line) => line.split('/')[0]),
    ['gc@10', 'gc@20', 'flush@25', 'gc@30', 'gc@40', 'flush@50', 'gc@50'],
  );
});

test('a slice ends when its time is used up, and who has waited longest comes first in the next one', () => {
  const clock = new ManualClock();
  const log: string[] = [];
  const slices = new TimeSlices(5, clock.read);
  slices.register(subsystem(clock, log, 'a', 10, 3));
  slices.register(subsystem(clock, log, 'b', 10, 3));
  slices.register(subsystem(clock, log, 'c', 10, 3));
  clock.nowMs = 10;
  assert.equal(slices.run(10), 2);
  clock.nowMs = 20;
  assert.equal(slices.run(20), 2);
  assert.deepEqual(log, ['a@10/5', 'b@13/2', 'c@20/5', 'a@23/2']);
});

test('who has more to do comes again at once, but not before the others', () => {
  const clock = new ManualClock();
  const log: string[] = [];
  const slices = new TimeSlices(5, clock.read);
  slices.register(subsystem(clock, log, 'flush', 10, 1, ['more', 'more']));
  slices.register(subsystem(clock, log, 'gc', 11, 1));
  clock.nowMs = 10;
  slices.run(10);
  slices.run(clock.nowMs);
  slices.run(clock.nowMs);
  assert.deepEqual(
    log.map((line) => line.split('/')[0]),
    ['flush@10', 'gc@11', 'flush@12', 'flush@13'],
  );
});

function worker(clock: ManualClock, pendingTasksMax = 3): LazyWorker<string> {
  return new LazyWorker<string>({ name: 'jobs', pendingTasksMax, intervalMs: 10, clock: clock.read });
}

test('a clock that is set back makes nobody wait until it is again what it was', () => {
  const clock = new ManualClock();
  clock.nowMs = 10_000_000;
  const log: string[] = [];
  const slices = new TimeSlices(5, clock.read);
  slices.register(subsystem(clock, log, 'gc', 10));
  clock.nowMs += 10;
  slices.run(clock.nowMs);
  clock.nowMs = 500;
  slices.run(clock.nowMs);
  clock.nowMs = 510;
  slices.run(clock.nowMs);
  assert.deepEqual(
    log.map((line) => line.split('/')[0]),
    ['gc@10000010', 'gc@510'],
  );
});

test('tasks scheduled before the runner exists are handed over in order', () => {
  const clock = new ManualClock();
  const jobs = worker(clock);
  const done: string[] = [];
  assert.equal(jobs.schedule('a'), 'ok');
  assert.equal(jobs.schedule('b'), 'ok');
  assert.equal(jobs.run(0, 5), 'done');
  assert.equal(jobs.pendingTasks, 2);
  jobs.start({ run: (task) => done.push(task) });
  assert.equal(jobs.run(0, 5), 'done');
  assert.deepEqual(done, ['a', 'b']);
});

test('a full queue says so, and takes tasks again once some were run', () => {
  const clock = new ManualClock();
  const jobs = worker(clock);
  const done: string[] = [];
  jobs.start({
    run: (task) => {
      done.push(task);
      clock.nowMs += 2;
    },
  });
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((task) => jobs.schedule(task)),
    ['ok', 'ok', 'ok', 'full'],
  );
  assert.equal(jobs.pendingCapacity, 0);
  assert.equal(jobs.run(0, 4), 'more', 'two tasks of 2 ms fit into 4 ms');
  assert.equal(jobs.pendingCapacity, 2);
  assert.equal(jobs.schedule('e'), 'ok');
  clock.nowMs = 10;
  assert.equal(jobs.run(10, 4), 'done');
  assert.deepEqual(done, ['a', 'b', 'c', 'e']);
});

test('a stopped worker runs what it had taken, shuts its runner down once, and takes no more', () => {
  const jobs = worker(new ManualClock());
  const done: string[] = [];
  jobs.start({ run: (task) => done.push(task), shutdown: () => done.push('shutdown') });
  jobs.schedule('a');
  jobs.stop();
  jobs.stop();
  assert.deepEqual(done, ['a', 'shutdown']);
  assert.equal(jobs.schedule('b'), 'stopped');
  assert.equal(jobs.pendingCapacity, 0);
});

test('a worker runs inside slices', () => {
  const clock = new ManualClock();
  const slices = new TimeSlices(5, clock.read);
  const jobs = worker(clock, 100);
  slices.register(jobs);
  let done = 0;
  jobs.start({
    run: () => {
      done += 1;
      clock.nowMs += 1;
    },
  });
  for (let n = 0; n < 12; n += 1) jobs.schedule('x');
  clock.nowMs = 10;
  const counts: number[] = [];
  for (let slice = 0; slice < 3; slice += 1) {
    slices.run(clock.nowMs);
    counts.push(done);
  }
  assert.deepEqual(counts, [5, 10, 12]);
});
