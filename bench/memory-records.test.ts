import assert from 'node:assert/strict';
import test from 'node:test';
import { Scanner, SCAN_OP_BATCH } from '../engine/protocol/scanner.ts';
import { frameOf, keyOf, recordValue } from './memory-records.ts';

test('a frame has as many ops as records, with keys of 16 bytes and values of 64, all different', () => {
  const frame = frameOf(100, 50, 1000);
  const scanner = new Scanner();
  assert.equal(scanner.scan(frame, frame.length), SCAN_OP_BATCH);
  assert.equal(scanner.index.count, 50);
  assert.deepEqual(
    [keyOf(0).length, keyOf(999_999).length, recordValue(0).length, recordValue(999_999).length],
    [16, 16, 64, 64],
  );
  assert.equal(new Set(Array.from({ length: 1000 }, (_, record) => keyOf(record))).size, 1000);
  assert.equal(new Set(Array.from({ length: 1000 }, (_, record) => recordValue(record))).size, 1000);
});
