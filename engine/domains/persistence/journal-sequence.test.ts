import assert from 'node:assert/strict';
import test from 'node:test';
import { JournalSequence } from './journal-sequence.ts';

function sequence(epoch: number): JournalSequence {
  const made = new JournalSequence(JournalSequence.create());
  made.epoch = epoch;
  return made;
}

test('numbers rise from 1, whoever takes them', () => {
  const memory = JournalSequence.create();
  const [one, other] = [new JournalSequence(memory), new JournalSequence(memory)];
  assert.deepEqual([one.take(), other.take(), one.take(), other.next], [1, 2, 3, 4]);
  assert.equal(other.asked, false);
  one.ask();
  assert.equal(other.asked, true);
});

test('a sequence of a later epoch is always larger, and never runs into the next', () => {
  assert.equal(sequence(1).textOf(1), String(2 ** 40 + 1));
  assert.ok(BigInt(sequence(8).textOf(1)) > BigInt(sequence(7).textOf(2 ** 40 - 1)));
});

test('text is read back as the number, of an earlier process as 0, and below all epochs as the oldest', () => {
  const fifth = sequence(5);
  assert.equal(fifth.numberOf(fifth.textOf(77)), 77);
  assert.equal(fifth.numberOf(sequence(4).textOf(99)), 0);
  assert.equal(fifth.numberOf('0'), 1);
  assert.equal(fifth.numberOf('12'), 1);
  for (const text of ['', '-1', '1.5', 'seq-100', '0x10', ' 1', '9'.repeat(25)])
    assert.equal(fifth.numberOf(text), undefined, text);
  assert.ok((fifth.numberOf('9'.repeat(24)) ?? 0) > 2 ** 53);
});
