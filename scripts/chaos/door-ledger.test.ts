/** What is found in writes without a stamp, and what is not. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { check } from './checker.ts';
import { Ledger } from './ledger.ts';
import { APPLIED, MEMORY, PERSISTED } from './levels.ts';
import { differences, Snapshot } from './snapshot.ts';

const STAMP = { millis: 1, counter: 0, nodeId: 'server' };

function seen(value: string | undefined): Snapshot {
  const snapshot = new Snapshot();
  if (value !== undefined) snapshot.put('m', 'k', { stamp: STAMP, value });
  return snapshot;
}

function counted(positive: number, negative: number): Snapshot {
  const snapshot = new Snapshot();
  snapshot.count('visits', 'n', { positive, negative });
  return snapshot;
}

function found(ledger: Ledger, snapshot: Snapshot, demand = APPLIED): string[] {
  return check(ledger, snapshot, demand).map(({ kind, place }) => `${kind} in ${place}`);
}

test('of a register the last acknowledged write is there, or one that was made after it', () => {
  const ledger = new Ledger();
  const register = ledger.doors.register('m', 'k');
  register.write('1').reached = APPLIED;
  register.write('2').reached = APPLIED;
  assert.deepEqual(found(ledger, seen(undefined)), ['lost in m']);
  assert.deepEqual(found(ledger, seen('1')), ['lost in m']);
  assert.deepEqual(found(ledger, seen('2')), []);
  assert.deepEqual(found(ledger, seen('3')), ['unwritten in m']);
  register.write('3');
  for (const value of ['2', '3']) assert.deepEqual(found(ledger, seen(value)), []);
});

test('a register that was removed stays so, and a level that does not outlive the fault is not asked for', () => {
  const ledger = new Ledger();
  const register = ledger.doors.register('m', 'k');
  register.write('1').reached = PERSISTED;
  const removal = register.write(undefined);
  removal.reached = MEMORY;
  for (const value of ['1', undefined]) assert.deepEqual(found(ledger, seen(value)), []);
  assert.deepEqual(found(ledger, seen('1'), MEMORY), ['resurrected in m']);
  removal.reached = APPLIED;
  assert.deepEqual(found(ledger, seen('1')), ['resurrected in m']);
});

test('what was read from the disk is what a register and a counter begin with', () => {
  const ledger = new Ledger();
  const register = ledger.doors.register('m', 'k');
  register.write('1').reached = MEMORY;
  register.write('2').reached = MEMORY;
  ledger.settle(seen('1'), APPLIED);
  assert.deepEqual(found(ledger, seen('1')), []);
  assert.deepEqual(found(ledger, seen(undefined)), ['lost in m']);
  assert.deepEqual(found(ledger, seen('1'), MEMORY), [], 'the second one is gone for good');

  const counters = new Ledger();
  counters.doors.sum('visits', 'n', MEMORY).sent.positive = 5;
  counters.settle(counted(3, 0), APPLIED);
  assert.deepEqual(found(counters, counted(3, 0)), []);
  assert.deepEqual(found(counters, counted(2, 0)), ['lost in counters']);
});

test('a node of a counter has at least what was acknowledged and at most what was sent, on each side', () => {
  const ledger = new Ledger();
  const sum = ledger.doors.sum('visits', 'n', APPLIED);
  Object.assign(sum.sent, { positive: 9, negative: 4 });
  Object.assign(sum.told, { positive: 7, negative: 4 });
  for (const positive of [7, 9]) assert.deepEqual(found(ledger, counted(positive, 4)), []);
  assert.deepEqual(found(ledger, counted(6, 4)), ['lost in counters']);
  assert.deepEqual(found(ledger, counted(9, 3)), ['lost in counters']);
  assert.deepEqual(found(ledger, new Snapshot()), ['lost in counters']);
  assert.deepEqual(found(ledger, counted(10, 4)), ['unwritten in counters']);
  const strange = counted(9, 4);
  strange.count('visits', 'nobody', { positive: 1, negative: 0 });
  assert.deepEqual(found(ledger, strange), ['unwritten in counters']);
});

test('two snapshots with different sums differ', () => {
  assert.deepEqual(differences(counted(1, 2), 'a', counted(1, 2), 'b'), []);
  assert.equal(differences(counted(1, 2), 'a', counted(1, 1), 'b').length, 1);
  assert.equal(differences(counted(1, 2), 'a', new Snapshot(), 'b').length, 1);
});
