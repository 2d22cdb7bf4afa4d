/** Each way in which a grid can break its word is found, and nothing else is. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { check } from './checker.ts';
import { Ledger } from './ledger.ts';
import { APPLIED, MEMORY, PERSISTED, SEEN, UNKNOWN } from './levels.ts';
import { differences, Snapshot } from './snapshot.ts';

const stamp = (millis: number, nodeId = 'a') => ({ millis, counter: 0, nodeId });

function kinds(ledger: Ledger, snapshot: Snapshot, demand = APPLIED): string[] {
  return check(ledger, snapshot, demand).map(({ kind }) => kind);
}

test('a write that is there with its value is no violation, whatever was said about it', () => {
  for (const reached of [UNKNOWN, MEMORY, APPLIED, PERSISTED]) {
    const ledger = new Ledger();
    ledger.put('m', 'k', stamp(1), '"x"').reached = reached;
    const snapshot = new Snapshot();
    snapshot.put('m', 'k', { stamp: stamp(1), value: '"x"' });
    assert.deepEqual(kinds(ledger, snapshot), []);
  }
});

test('a write that is gone is lost when its level outlives the fault, and only then', () => {
  for (const [reached, expected] of [
    [UNKNOWN, []],
    [MEMORY, []],
    [APPLIED, ['lost']],
    [PERSISTED, ['lost']],
    [SEEN, ['lost']],
  ] as const) {
    const ledger = new Ledger();
    ledger.put('m', 'k', stamp(1), '"x"').reached = reached;
    assert.deepEqual(kinds(ledger, new Snapshot()), expected);
    assert.deepEqual(kinds(ledger, new Snapshot(), PERSISTED), reached >= PERSISTED ? ['lost'] : []);
  }
});

test('an older write in the place of an acknowledged one is a loss', () => {
  const ledger = new Ledger();
  ledger.put('m', 'k', stamp(1), '"old"').reached = APPLIED;
  ledger.put('m', 'k', stamp(2), '"new"').reached = APPLIED;
  const snapshot = new Snapshot();
  snapshot.put('m', 'k', { stamp: stamp(1), value: '"old"' });
  assert.deepEqual(kinds(ledger, snapshot), ['lost']);
});

test('an acknowledged write may be superseded by a newer one that nobody acknowledged', () => {
  const ledger = new Ledger();
  ledger.put('m', 'k', stamp(1), '"mine"').reached = PERSISTED;
  ledger.put('m', 'k', stamp(1, 'b'), '"theirs"');
  const snapshot = new Snapshot();
  snapshot.put('m', 'k', { stamp: stamp(1, 'b'), value: '"theirs"' });
  assert.deepEqual(kinds(ledger, snapshot), []);
});

test('what a removal removed must not be back, and its tombstone must be there', () => {
  const ledger = new Ledger();
  ledger.put('m', 'k', stamp(1), '"x"').reached = APPLIED;
  ledger.put('m', 'k', stamp(2), undefined).reached = APPLIED;
  const snapshot = new Snapshot();
  assert.deepEqual(kinds(ledger, snapshot), ['lost']);
  snapshot.put('m', 'k', { stamp: stamp(1), value: '"x"' });
  assert.deepEqual(kinds(ledger, snapshot), ['resurrected']);
  snapshot.put('m', 'k', { stamp: stamp(2), value: undefined });
  assert.deepEqual(kinds(ledger, snapshot), []);
});

test('the stamp of one write with the value of another is found', () => {
  const ledger = new Ledger();
  ledger.put('m', 'k', stamp(1), '"x"').reached = APPLIED;
  ledger.put('m', 'l', stamp(2), '"y"').reached = APPLIED;
  const snapshot = new Snapshot();
  snapshot.put('m', 'k', { stamp: stamp(1), value: '"y"' });
  snapshot.put('m', 'l', { stamp: stamp(2), value: undefined });
  assert.deepEqual(kinds(ledger, snapshot), ['wrong value', 'wrong value']);
});

test('what nobody wrote is found: a stamp, a key, a map, a tag', () => {
  const ledger = new Ledger();
  ledger.put('m', 'k', stamp(1), '"x"');
  const snapshot = new Snapshot();
  snapshot.put('m', 'k', { stamp: stamp(5), value: '"x"' });
  snapshot.put('m', 'other', { stamp: stamp(1), value: '"x"' });
  snapshot.put('n', 'k', { stamp: stamp(1), value: '"x"' });
  snapshot.add('o', '1:0:a', { key: 'k', value: '1' });
  assert.deepEqual(kinds(ledger, snapshot), ['unwritten', 'unwritten', 'unwritten', 'unwritten']);
});

test('a tag of an OR-Map is lost, back, or has another value', () => {
  const ledger = new Ledger();
  const entry = ledger.add('o', 'k', '1:0:a', '"x"');
  assert.deepEqual(kinds(ledger, new Snapshot()), [], 'nobody knows whether it arrived');
  entry.added = APPLIED;
  assert.deepEqual(kinds(ledger, new Snapshot()), ['lost']);
  const snapshot = new Snapshot();
  snapshot.add('o', '1:0:a', { key: 'k', value: '"x"' });
  assert.deepEqual(kinds(ledger, snapshot), []);
  ledger.remove(entry);
  assert.deepEqual(kinds(ledger, snapshot), [], 'the removal may not have arrived');
  assert.deepEqual(kinds(ledger, new Snapshot()), [], 'or it has');
  entry.removed = APPLIED;
  assert.deepEqual(kinds(ledger, snapshot), ['resurrected']);
  assert.deepEqual(kinds(ledger, new Snapshot()), []);
  const other = ledger.add('o', 'k', '2:0:a', '"y"');
  other.added = APPLIED;
  snapshot.add('o', '2:0:a', { key: 'k', value: '"z"' });
  assert.deepEqual(kinds(ledger, snapshot), ['resurrected', 'wrong value']);
});

test('what was read from the disk once may not go back, though nobody acknowledged it', () => {
  const ledger = new Ledger();
  ledger.put('m', 'k', stamp(1), '"x"').reached = PERSISTED;
  ledger.put('m', 'k', stamp(2), '"y"');
  const removed = ledger.add('o', 'k', '1:0:a', '"x"');
  removed.added = APPLIED;
  ledger.remove(removed);
  const snapshot = new Snapshot();
  snapshot.put('m', 'k', { stamp: stamp(2), value: '"y"' });
  ledger.settle(snapshot, APPLIED);
  assert.deepEqual(kinds(ledger, snapshot), []);
  const back = new Snapshot();
  back.put('m', 'k', { stamp: stamp(1), value: '"x"' });
  back.add('o', '1:0:a', { key: 'k', value: '"x"' });
  assert.deepEqual(kinds(ledger, back), ['lost', 'resurrected']);
  assert.equal(ledger.lww.get('m')?.get('k')?.length, 1, 'older writes are forgotten');
});

test('what a kill took away at a low level is not asked for after the next one', () => {
  const ledger = new Ledger();
  ledger.put('m', 'k', stamp(1), '"x"').reached = MEMORY;
  ledger.add('o', 'k', '1:0:a', '"x"').added = MEMORY;
  const back = ledger.add('o', 'k', '2:0:a', '"x"');
  back.added = APPLIED;
  ledger.remove(back);
  back.removed = MEMORY;
  const snapshot = new Snapshot();
  snapshot.add('o', '2:0:a', { key: 'k', value: '"x"' });
  assert.deepEqual(kinds(ledger, snapshot, MEMORY).sort(), ['lost', 'lost', 'resurrected']);
  ledger.settle(snapshot, APPLIED);
  assert.deepEqual(kinds(ledger, snapshot, MEMORY), []);
});

test('two snapshots differ where one lacks a key, a stamp, a value or a tag', () => {
  const [a, b] = [new Snapshot(), new Snapshot()];
  for (const snapshot of [a, b]) snapshot.put('m', 'same', { stamp: stamp(1), value: '"x"' });
  assert.deepEqual(differences(a, 'a', b, 'b'), []);
  a.put('m', 'k', { stamp: stamp(1), value: '"x"' });
  b.put('m', 'l', { stamp: stamp(1), value: undefined });
  a.put('m', 'stamp', { stamp: stamp(1), value: '1' });
  b.put('m', 'stamp', { stamp: stamp(2), value: '1' });
  a.put('m', 'value', { stamp: stamp(1), value: '1' });
  b.put('m', 'value', { stamp: stamp(1), value: undefined });
  a.add('o', 't', { key: 'k', value: '1' });
  assert.equal(differences(a, 'a', b, 'b').length, 5);
});
