import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { plain } from '../engine/domains/testing/scanned-ops.ts';
import { decode } from '../engine/protocol/codec.ts';
import { EvenAck } from './even-ack.ts';

test('the ack reads as the message that an encoder would have written, whatever the numbers', () => {
  const ack = new EvenAck();
  const number = fc.oneof(fc.nat(200), fc.maxSafeNat());
  const proof = fc.array(
    fc.record({ worker: fc.nat(31), wal: number, synced: number, postgres: number }, { noNullPrototype: true }),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(
      number,
      fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER - 100 })),
      fc.integer({ min: 1, max: 40 }),
      fc.constantFrom('FIRE_AND_FORGET', 'MEMORY', 'APPLIED', 'PERSISTED'),
      fc.option(proof, { nil: undefined }),
      (lastId, lowId, ops, level, proofs) => {
        const results = Array.from({ length: ops }, (_, op) => ({
          opId: String(lowId + op),
          success: true,
          achievedLevel: level,
        }));
        assert.deepEqual(plain(decode(ack.frame({ lastId, lowId, ops, level, proof: proofs }))), {
          type: 'OP_ACK',
          payload: {
            lastId: String(lastId),
            achievedLevel: level,
            results,
            ...(proofs === undefined ? {} : { proof: proofs }),
          },
        });
      },
    ),
  );
});

test('each ack has memory of its own', () => {
  const ack = new EvenAck();
  const answer = { lastId: 3, lowId: 1, ops: 3, level: 'APPLIED', proof: undefined };
  const first = ack.frame(answer);
  const before = [...first];
  ack.frame({ ...answer, lastId: 900, lowId: 897 });
  assert.deepEqual([...first], before);
});
