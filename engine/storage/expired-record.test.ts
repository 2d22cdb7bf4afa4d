import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { compareLwwStamps } from '../crdt/lww.ts';
import { becomeRemoval, isExpiredImage } from './expired-record.ts';
import { PROVENANCE_SYSTEM, type RecordImage } from './record.ts';
import { sample } from './storage.conformance.ts';
import { imageOf, storedRecord } from './stored-record.ts';

const MAX = Number.MAX_SAFE_INTEGER;

function written(millis: number, ttlMs: number, counter = 3): RecordImage {
  return imageOf(sample('k', { millis, ttlMs, counter }));
}

/** Stamp of the removal. */
function removedAt(millis: number, ttlMs: number, counter = 3): [millis: number, counter: number] {
  const image = written(millis, ttlMs, counter);
  becomeRemoval(image);
  return [image.millis, image.counter];
}

test('the removal has the moment of expiry, the counter and node of the record, and nothing else of it but its key', () => {
  const image = written(1000, 50);
  const before = storedRecord(0, Buffer.from('m'), image);
  becomeRemoval(image);
  const after = storedRecord(0, Buffer.from('m'), image);
  assert.deepEqual({ ...after }, { ...before, millis: 1050, ttlMs: Number.NaN, tombstone: true, value: new Uint8Array(0) });
  assert.equal(image.provenance, PROVENANCE_SYSTEM);
});

test('a TTL of nothing, or of less than that, expires at once: its removal takes the next counter', () => {
  assert.deepEqual(removedAt(1000, 0), [1000, 4]);
  assert.deepEqual(removedAt(1000, -5), [1000, 4]);
  assert.deepEqual(removedAt(1000, 0, 0xffffffff), [1001, 0]);
  assert.equal(isExpiredImage(written(1000, 0), 1000), false); // as the client counts: after its millisecond
  assert.equal(isExpiredImage(written(1000, 0), 1001), true);
});

test('a moment between two milliseconds is rounded up', () => {
  assert.deepEqual(removedAt(1000, 0.25), [1001, 3]);
  assert.deepEqual(removedAt(1_700_000_000_000, 1e-9), [1_700_000_000_000, 4]); // too little to be seen beside the clock
});

test('a moment beyond the last exact integer never comes', () => {
  for (const ttlMs of [MAX, 1e300, Number.POSITIVE_INFINITY]) assert.equal(isExpiredImage(written(1000, ttlMs), MAX), false);
});

test('every removal is newer than its record, a whole and exact clock, and no later than the moment it is found out', () => {
  const ttl = fc.oneof(fc.nat(1e9), fc.double({ min: -1e3, max: 1e6, noNaN: true }));
  fc.assert(
    fc.property(fc.nat(1e13), fc.integer({ min: 0, max: 0xffffffff }), ttl, fc.nat(1e6), (millis, counter, ttlMs, laterMs) => {
      const nowMs = Math.max(millis, Math.ceil(millis + ttlMs)) + 1 + laterMs;
      const record = written(millis, ttlMs, counter);
      assert.ok(isExpiredImage(record, nowMs));
      const removal = written(millis, ttlMs, counter);
      becomeRemoval(removal);
      assert.ok(compareLwwStamps(removal, record) > 0);
      assert.ok(Number.isSafeInteger(removal.millis) && removal.millis <= nowMs);
      assert.equal(isExpiredImage(removal, nowMs), false);
    }),
  );
});
