import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AssertionError } from '../assert.ts';
import { PARTITION_COUNT } from './hash.ts';
import { PARTITION_TABLE_BYTES, PartitionTable, type PartitionState } from './partition-table.ts';

const STATES: readonly PartitionState[] = ['LOADING', 'OWNED', 'MIGRATING', 'LOST'];
const ALLOWED = new Set([
  'LOADING>OWNED',
  'LOADING>LOST',
  'OWNED>MIGRATING',
  'OWNED>LOST',
  'MIGRATING>OWNED',
  'MIGRATING>LOST',
  'LOST>LOADING',
]);

/** Brings partition 0 of a new table into a state. */
function tableIn(state: PartitionState): PartitionTable {
  const table = PartitionTable.create(2);
  if (state === 'LOST') table.transition(0, 'LOADING', 'LOST');
  if (state === 'OWNED' || state === 'MIGRATING') table.transition(0, 'LOADING', 'OWNED');
  if (state === 'MIGRATING') table.transition(0, 'OWNED', 'MIGRATING');
  assert.equal(table.stateOf(0), state);
  return table;
}

test('partitions are dealt evenly, loading, at epoch 1', () => {
  for (const workers of [1, 2, 3, 4, 7, 8, 270, 271]) {
    const table = PartitionTable.create(workers);
    const counts = new Array<number>(workers).fill(0);
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      const owner = table.ownerOf(partition);
      counts[owner] = (counts[owner] ?? 0) + 1;
      assert.equal(table.stateOf(partition), 'LOADING');
      assert.equal(table.epochOf(partition), 1);
    }
    assert.equal(counts.length, workers);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1);
  }
});

test('the partitions of all workers are the whole key space, each once', () => {
  const table = PartitionTable.create(5);
  const all = [0, 1, 2, 3, 4].flatMap((worker) => table.partitionsOf(worker));
  assert.deepEqual(
    all.sort((a, b) => a - b),
    Array.from({ length: PARTITION_COUNT }, (_, partition) => partition),
  );
  for (const partition of table.partitionsOf(3)) assert.equal(table.ownerOf(partition), 3);
});

test('a view over the buffer sees and makes the same changes', () => {
  const table = PartitionTable.create(3);
  const view = new PartitionTable(table.buffer);
  assert.equal(view.workers, 3);
  assert.equal(view.transition(7, 'LOADING', 'LOST'), true);
  assert.equal(table.stateOf(7), 'LOST');
  assert.equal(table.assign(7, 2), 2);
  assert.equal(view.ownerOf(7), 2);
  assert.equal(view.epochOf(7), 2);
  assert.equal(view.stateOf(7), 'LOADING');
});

test('only the drawn transitions are allowed, all others assert and change nothing', () => {
  for (const from of STATES) {
    for (const to of STATES) {
      const table = tableIn(from);
      if (ALLOWED.has(`${from}>${to}`)) {
        assert.equal(table.transition(0, from, to), true);
        assert.equal(table.stateOf(0), to);
      } else {
        assert.throws(() => table.transition(0, from, to), AssertionError);
        assert.equal(table.stateOf(0), from);
      }
    }
  }
});

test('a worker that reports "loaded" too late does not undo the loss of its partition', () => {
  const table = tableIn('LOST');
  assert.equal(table.transition(0, 'LOADING', 'OWNED'), false);
  assert.equal(table.stateOf(0), 'LOST');
});

test('losing a worker loses its partitions in any state and no others', () => {
  const table = PartitionTable.create(3);
  table.transition(1, 'LOADING', 'OWNED');
  table.transition(4, 'LOADING', 'OWNED');
  table.transition(4, 'OWNED', 'MIGRATING');
  assert.equal(table.lose(1), table.partitionsOf(1).length);
  for (let partition = 0; partition < PARTITION_COUNT; partition++) {
    assert.equal(table.stateOf(partition), partition % 3 === 1 ? 'LOST' : 'LOADING');
  }
  assert.equal(table.lose(1), 0);
});

test('a replaced worker gets its partitions back at a higher epoch and loads them', () => {
  const table = PartitionTable.create(2);
  table.transition(1, 'LOADING', 'OWNED');
  table.lose(1);
  assert.equal(table.assign(1, 1), 2);
  assert.equal(table.ownerOf(1), 1);
  assert.equal(table.stateOf(1), 'LOADING');
});

test('a migrating partition is owned by its new worker at once', () => {
  const table = tableIn('MIGRATING');
  assert.equal(table.assign(0, 1), 2);
  assert.equal(table.ownerOf(0), 1);
  assert.equal(table.stateOf(0), 'OWNED');
});

test('a partition that is loading or served is not given away', () => {
  for (const state of ['LOADING', 'OWNED'] as const) {
    const table = tableIn(state);
    assert.throws(() => table.assign(0, 1), AssertionError);
    assert.equal(table.ownerOf(0), 0);
    assert.equal(table.epochOf(0), 1);
  }
});

test('the epoch counts the assignments, whatever states lie between', () => {
  const step = fc.constantFrom<PartitionState | 'assign'>('LOADING', 'OWNED', 'MIGRATING', 'LOST', 'assign');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.nat(PARTITION_COUNT - 1), (steps, partition) => {
      const table = PartitionTable.create(4);
      let assignments = 0;
      for (const to of steps) {
        const from = table.stateOf(partition);
        if (to !== 'assign') {
          if (ALLOWED.has(`${from}>${to}`)) table.transition(partition, from, to);
        } else if (from === 'LOST' || from === 'MIGRATING') {
          assignments += 1;
          assert.equal(table.assign(partition, assignments % 4), assignments + 1);
        }
      }
      assert.equal(table.epochOf(partition), assignments + 1);
    }),
  );
});

test('partitions, workers and buffers out of range assert', () => {
  const table = PartitionTable.create(2);
  for (const partition of [-1, 271, 0.5, Number.NaN]) assert.throws(() => table.stateOf(partition), AssertionError);
  for (const worker of [-1, 2, 0.5]) assert.throws(() => table.partitionsOf(worker), AssertionError);
  for (const workers of [0, 272, 1.5]) assert.throws(() => PartitionTable.create(workers), AssertionError);
  assert.throws(() => new PartitionTable(new SharedArrayBuffer(8)), AssertionError);
  assert.throws(() => new PartitionTable(new SharedArrayBuffer(PARTITION_TABLE_BYTES)), AssertionError);
});
