import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { plain } from '../engine/domains/testing/scanned-ops.ts';
import { decode } from '../engine/protocol/codec.ts';
import { OpAckFrames } from './op-ack.ts';

test('every id from 0 to 2^53 is written with its digits, whichever came before', () => {
  const frames = new OpAckFrames('MEMORY');
  const around = [1, 9, 10, 99, 2 ** 30 - 1, 2 ** 30, 2 ** 31, 2 ** 32, 1e15, 2 ** 53].flatMap((id) => [id - 1, id]);
  const arbitraryId = fc.oneof(fc.maxSafeNat(), fc.nat(), fc.constantFrom(...around));
  fc.assert(
    fc.property(arbitraryId, (id) => {
      const ack = { type: 'OP_ACK', payload: { lastId: String(id), achievedLevel: 'MEMORY' } };
      assert.deepEqual(plain(decode(frames.frame(id))), ack);
    }),
    { numRuns: 1000 },
  );
  for (const id of around)
    assert.deepEqual(plain(decode(frames.frame(id))), {
      type: 'OP_ACK',
      payload: { lastId: String(id), achievedLevel: 'MEMORY' },
    });
});
