import assert from 'node:assert/strict';
import test from 'node:test';
import { ActGate } from './act-gate.ts';

test('acts wait while there are readers, but not for ever', () => {
  let nowMs = 1000;
  const marks = { readers: 0 };
  const gate = new ActGate(marks, () => nowMs);
  assert.equal(gate.isOpen, true);
  marks.readers = 2;
  const openAt: number[] = [];
  for (let round = 0; round < 24; round++, nowMs += 50) if (gate.isOpen) openAt.push(nowMs - 1000);
  assert.deepEqual(openAt, [500, 550, 1100, 1150]);
  marks.readers = 0;
  assert.equal(gate.isOpen, true);
  marks.readers = 1;
  assert.equal(gate.isOpen, false);
});
