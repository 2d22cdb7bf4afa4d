import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameRecords, FrameWriter, readFrame } from './wal-frame.ts';
import {
  partitionBits,
  WHOLE_DECIDED,
  WHOLE_DONE,
  WHOLE_OVER,
  type WholeNote,
  WholeNotes,
  type WholeState,
} from './whole-act-note.ts';

const FIELDS = { salt: 7, sequence: 3, syncedSequence: 0, flushedSequence: 0, writtenAtMs: 1, inboxPositions: [5] };
const CHANGE = new TextEncoder().encode('swap 0 15');

function note(state: WholeState, epoch: number, act: number, partitions: readonly number[] = []): WholeNote {
  const change = state === WHOLE_DECIDED ? CHANGE : new Uint8Array(0);
  return { act, epoch, state, partitions: partitionBits(partitions), change };
}

function notes(...all: readonly WholeNote[]): WholeNotes {
  const notes = new WholeNotes();
  for (const one of all) notes.note(one);
  return notes;
}

test('notes are read from a frame as they were written', () => {
  const written = [note(WHOLE_DECIDED, 9, 4), note(WHOLE_DONE, 9, 4, [0, 7, 8, 270]), note(WHOLE_OVER, 2 ** 40, 2 ** 50)];
  const writer = new FrameWriter();
  writer.appendFence(new TextEncoder().encode('x'.repeat(400)), 1); // what the buffer held before must not shine through
  writer.clear();
  for (const one of written) writer.appendWhole(one);
  const bytes = writer.finish(FIELDS).slice();
  const frame = readFrame(bytes, 0, FIELDS.salt);
  assert.ok(frame !== undefined);
  const read: WholeNote[] = [];
  const records = new FrameRecords();
  records.onWhole = (one) => read.push(one);
  records.open(frame);
  assert.equal(records.next(), false);
  assert.deepEqual(read, written);
});

test('what a killed run decided is undone where no worker says that it was done', () => {
  const decided = note(WHOLE_DECIDED, 3, 8);
  const killed = notes(note(WHOLE_DONE, 3, 8, [5, 6]), decided, note(WHOLE_DONE, 3, 8, [0, 1, 2]));
  assert.deepEqual(killed.undone([0, 1, 2, 3, 4, 5], 4), [{ act: 8, epoch: 3, change: CHANGE, partitions: [3, 4] }]);
  assert.deepEqual(killed.undone([1, 2], 4), []);
  assert.deepEqual(killed.undone([3], 3), [], 'this run: its gateway carries on');
});

test('nothing is undone of an act that is over, or that was not decided', () => {
  assert.deepEqual(notes(note(WHOLE_DECIDED, 3, 8), note(WHOLE_OVER, 3, 8)).undone([1], 4), []);
  assert.deepEqual(notes(note(WHOLE_DONE, 3, 8, [2])).undone([1], 4), []);
});

test('what a later run has carried on is done, and numbers of acts are those of their run', () => {
  const all = notes(
    note(WHOLE_DECIDED, 3, 8),
    note(WHOLE_DONE, 3, 8, [1, 2]),
    note(WHOLE_DECIDED, 5, 8),
    note(WHOLE_DONE, 5, 8, [1]),
  );
  assert.deepEqual(
    all.undone([1, 2, 3], 6).map(({ epoch, partitions }) => [epoch, partitions]),
    [
      [3, [3]],
      [5, [2, 3]],
    ],
  );
  assert.deepEqual([...all.doneIn(5)], [8]);
  assert.deepEqual([...all.doneIn(4)], []);
});

test('a segment begins with the acts that are not over, so that none is made again when older segments are gone', () => {
  const all = notes(
    note(WHOLE_DECIDED, 3, 8),
    note(WHOLE_DONE, 3, 8, [1]),
    note(WHOLE_DONE, 3, 8, [2]),
    note(WHOLE_DECIDED, 3, 9),
    note(WHOLE_DONE, 3, 9, [1]),
    note(WHOLE_OVER, 3, 9),
    note(WHOLE_DONE, 3, 10, [1]),
    note(WHOLE_DECIDED, 4, 8),
    note(WHOLE_DONE, 4, 8, [1]),
    note(WHOLE_DONE, 4, 9, [1]),
    note(WHOLE_DECIDED, 4, 10),
    note(WHOLE_DONE, 4, 10, [1]),
    note(WHOLE_OVER, 4, 10),
  );
  const own = [note(WHOLE_DECIDED, 4, 8), note(WHOLE_DONE, 4, 8, [1]), note(WHOLE_DONE, 4, 9, [1])];
  assert.deepEqual(all.carried(4, true), [note(WHOLE_DONE, 3, 8, [1, 2]), ...own]);
  assert.deepEqual(all.carried(4, false), own, 'nobody decides it any more');
  const again = notes(note(WHOLE_DECIDED, 3, 8), ...all.carried(4, true));
  assert.deepEqual(
    again.undone([1, 2, 3], 5).map(({ epoch, act, partitions }) => [epoch, act, partitions]),
    [
      [3, 8, [3]],
      [4, 8, [2, 3]],
    ],
  );
});

test('of acts that are over nothing is kept that counts, in whatever order their notes are read, and what was done is known', () => {
  const states = [note(WHOLE_DECIDED, 3, 8), note(WHOLE_DONE, 3, 8, [1]), note(WHOLE_OVER, 3, 8)];
  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  for (const order of orders) {
    const all = notes(...order.map((index) => states[index] ?? assert.fail()));
    assert.deepEqual(all.undone([1, 2], 4), []);
    assert.deepEqual([...all.doneIn(3)], [8]);
    assert.deepEqual(all.carried(4, true), []);
    assert.deepEqual([...all.doneIn(3)], [], 'forgotten');
  }
});
