import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEATH_WAYS, type FaultOptions, Faults, faultsOf } from './faults.ts';

const OFF: FaultOptions = {
  faultInjection: true,
  faultSeed: 7,
  faultRingDelayMs: 0,
  faultRingDropPermille: 0,
  faultSyncDelayMs: 0,
  faultSyncErrorPermille: 0,
  faultWriteErrorPermille: 0,
  faultWriteDelayMs: 0,
  faultPostgresDelayMs: 0,
  faultPostgresErrorPermille: 0,
  faultWorkerKillMs: 0,
  faultLogEvents: true,
};
const ALL: FaultOptions = {
  ...OFF,
  faultRingDelayMs: 1000,
  faultRingDropPermille: 300,
  faultSyncDelayMs: 5,
  faultSyncErrorPermille: 300,
  faultWriteErrorPermille: 300,
  faultPostgresDelayMs: 1000,
  faultPostgresErrorPermille: 300,
  faultWorkerKillMs: 60_000,
};

function faults(options: Partial<FaultOptions>, thread = 'worker 0', launch = 0): Faults {
  return new Faults({ ...OFF, ...options }, thread, launch, () => {});
}

/** The answers to every question, many times over. */
function answersOf(asked: Faults): unknown[] {
  return Array.from({ length: 200 }, (_, call) => [
    asked.ringDelayMs(),
    asked.losesRecord('acks'),
    asked.losesCall(0, call, 'writes'),
    asked.syncFails(),
    asked.writeFault(),
    asked.postgresDelayMs(),
    asked.commitFault(),
    asked.killAfterMs(),
    asked.deathWay(),
  ]);
}

test('one seed answers the same each time, and another seed, thread or launch something else', () => {
  const answers = answersOf(faults(ALL));
  assert.deepEqual(answersOf(faults(ALL)), answers);
  assert.notDeepEqual(answersOf(faults({ ...ALL, faultSeed: 8 })), answers);
  assert.notDeepEqual(answersOf(faults(ALL, 'worker 1')), answers);
  assert.notDeepEqual(answersOf(faults(ALL, 'worker 0', 1)), answers);
});

test('asking about one concern does not shift another', () => {
  const [alone, beside] = [faults(ALL), faults(ALL)];
  const expected = Array.from({ length: 100 }, () => alone.commitFault());
  const asked = Array.from({ length: 100 }, () => {
    beside.ringDelayMs();
    beside.writeFault();
    beside.losesRecord('acks');
    beside.postgresDelayMs();
    return beside.commitFault();
  });
  assert.deepEqual(asked, expected);
});

test('without options nothing goes wrong and nothing is counted', () => {
  const calm = faults({});
  for (let time = 0; time < 1000; time++) {
    assert.equal(calm.ringDelayMs() + calm.syncDelayMs() + calm.postgresDelayMs() + calm.killAfterMs(), 0);
    assert.equal(calm.losesRecord('acks') || calm.losesCall(0, time, 'writes') || calm.syncFails(), false);
    assert.deepEqual([calm.writeFault(), calm.commitFault()], ['none', 'none']);
  }
  assert.equal(calm.injected, 0);
});

test('a share of 1000 permille hits always, and one of 200 about each fifth time', () => {
  const times = 20_000;
  const always = faults({ faultRingDropPermille: 1000, faultSyncErrorPermille: 1000, faultPostgresErrorPermille: 1000 });
  const fifth = faults({ faultRingDropPermille: 200, faultSyncErrorPermille: 200, faultPostgresErrorPermille: 200 });
  const hits = { record: 0, call: 0, sync: 0, commit: 0 };
  for (let time = 0; time < times; time++) {
    assert.ok(always.losesRecord('acks') && always.losesCall(1, time, 'writes') && always.syncFails());
    assert.notEqual(always.commitFault(), 'none');
    hits.record += Number(fifth.losesRecord('acks'));
    hits.call += Number(fifth.losesCall(1, time, 'writes'));
    hits.sync += Number(fifth.syncFails());
    hits.commit += Number(fifth.commitFault() !== 'none');
  }
  for (const [concern, count] of Object.entries(hits)) assert.ok(Math.abs(count / times - 0.2) < 0.02, `${concern}: ${count}`);
});

test('every kind of failure comes up', () => {
  const broken = faults({ faultWriteErrorPermille: 500, faultPostgresErrorPermille: 500 });
  const times = Array.from({ length: 200 });
  assert.deepEqual(new Set(times.map(() => broken.writeFault())), new Set(['none', 'short', 'full']));
  assert.deepEqual(new Set(times.map(() => broken.commitFault())), new Set(['none', 'refused', 'answerLost']));
  assert.deepEqual(new Set(times.map(() => broken.deathWay())), new Set(DEATH_WAYS));
  for (const bytes of [1, 2, 4096]) for (const _ of times) assert.ok(broken.shortWriteBytes(bytes) < bytes);
});

test('what befalls a call is the same for each of its parts and in each thread that takes the ring over', () => {
  const options = { faultRingDropPermille: 400 };
  const [first, second] = [faults(options), faults(options, 'worker 0', 1)];
  const fates = new Set<string>();
  for (let call = 1; call < 500; call++) {
    const lost = first.losesCall(2, call, 'writes');
    assert.equal(first.losesCall(2, call, 'writes'), lost);
    assert.equal(second.losesCall(2, call, 'writes'), lost);
    fates.add(`${lost} ${first.losesCall(3, call, 'writes')}`);
  }
  assert.equal(fates.size, 4, 'rings differ');
});

test('delays are whole milliseconds up to the longest', () => {
  const slow = faults({ faultRingDelayMs: 3, faultPostgresDelayMs: 3, faultSyncDelayMs: 3, faultWriteDelayMs: 3 });
  const drawn = new Set(Array.from({ length: 200 }, () => slow.ringDelayMs()));
  assert.deepEqual([...drawn].sort(), [1, 2, 3]);
  assert.deepEqual(new Set(Array.from({ length: 200 }, () => slow.postgresDelayMs())), drawn);
  assert.deepEqual([slow.syncDelayMs(), slow.writeDelayMs()], [3, 3]);
});

test('threads live for the mean time on average, some much shorter', () => {
  const deadly = faults({ faultWorkerKillMs: 1000 });
  const lives = Array.from({ length: 5000 }, () => deadly.killAfterMs());
  const meanMs = lives.reduce((sum, ms) => sum + ms, 0) / lives.length;
  assert.ok(Math.abs(meanMs - 1000) < 60, `${meanMs} ms`);
  assert.ok(Math.min(...lives) >= 1 && Math.min(...lives) < 10);
});

test('each fault is told, unless nobody wants to hear; it counts all the same', () => {
  const told: string[] = [];
  const loud = new Faults({ ...OFF, faultRingDropPermille: 1000 }, 'worker 0', 0, (text) => told.push(text));
  loud.losesRecord('an acknowledgement');
  assert.deepEqual(told, ['injected fault: an acknowledgement is lost in a ring']);
  const quiet = new Faults({ ...OFF, faultRingDropPermille: 1000, faultLogEvents: false }, 'worker 0', 0, assert.fail);
  quiet.losesRecord('an acknowledgement');
  assert.deepEqual([loud.injected, quiet.injected], [1, 1]);
});

test('while fault injection is off there are no faults to ask', () => {
  assert.equal(faultsOf({ ...ALL, faultInjection: false }, 'worker 0', 0, assert.fail), undefined);
  assert.ok(faultsOf(ALL, 'worker 0', 0, () => {}) instanceof Faults);
});
