import assert from 'node:assert/strict';
import test from 'node:test';
import { FLUSH_MARKS_MAX, FlushMarks } from './flush-marks.ts';

test('a frame is flushed when everything staged with it and before it is', () => {
  const marks = new FlushMarks();
  marks.note(1, 10);
  marks.note(2, 15);
  marks.note(4, 15);
  marks.flushed(9);
  assert.equal(marks.flushedSequence, 0);
  marks.flushed(14);
  assert.equal(marks.flushedSequence, 1);
  marks.flushed(15);
  assert.equal(marks.flushedSequence, 4);
  marks.flushed(3);
  assert.equal(marks.flushedSequence, 4);
});

test('beyond the bound frames are flushed late, never early, and the last one exactly', () => {
  const marks = new FlushMarks();
  const frames = 5 * FLUSH_MARKS_MAX + 17;
  for (let sequence = 1; sequence <= frames; sequence++) {
    marks.note(sequence, 10 * sequence);
    if (sequence % 3 === 0) marks.flushed(sequence);
    assert.ok(marks.flushedSequence <= sequence / 10);
  }
  for (let staged = frames; staged < 10 * frames; staged += 997) {
    marks.flushed(staged);
    assert.ok(marks.flushedSequence <= staged / 10);
    assert.ok(marks.flushedSequence >= staged / 10 - frames / 40, 'not by much');
  }
  marks.flushed(10 * frames);
  assert.equal(marks.flushedSequence, frames);
});

test('marks that are used up make room for others', () => {
  const marks = new FlushMarks();
  for (let sequence = 1; sequence <= 3 * FLUSH_MARKS_MAX; sequence++) {
    marks.note(sequence, sequence);
    marks.flushed(sequence - 5);
    assert.equal(marks.flushedSequence, Math.max(0, sequence - 5));
  }
});
