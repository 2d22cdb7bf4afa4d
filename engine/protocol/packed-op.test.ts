import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encode } from './codec.ts';
import { FLAG_FENCED, OP, OP_WORDS } from './op-index.ts';
import {
  bytesWhenPacked,
  PACKED,
  PACKED_SPANS_START,
  packedBytes,
  packedFence,
  packedFlags,
  packedNameBytes,
  packedOrdinal,
  packMemory,
  packOp,
} from './packed-op.ts';
import { Scanner } from './scanner.ts';

const NODE = 'node-é';

const put = fc.record({
  key: fc.string({ unit: 'grapheme', maxLength: 40 }),
  mapName: fc.constantFrom('m', 'größer'),
  value: fc.oneof(fc.string({ maxLength: 300 }), fc.constant(null)),
  millis: fc.nat(),
  ttlMs: fc.option(fc.nat(), { nil: undefined }),
  tag: fc.option(fc.string({ minLength: 1, maxLength: 20 }), { nil: undefined }),
  isNamed: fc.boolean(),
  fence: fc.option(fc.record({ lock: fc.string({ minLength: 1, maxLength: 20 }), token: fc.integer({ min: 1 }) }), {
    nil: undefined,
  }),
});

test('packed ops stand back to back and say what their rows say, whatever the lengths of their spans', () => {
  fc.assert(
    fc.property(fc.array(put, { maxLength: 12 }), (puts) => {
      const ops = puts.map(({ key, mapName, value, millis, ttlMs, tag, fence }) => {
        const timestamp = { millis, counter: 7, nodeId: NODE };
        if (tag !== undefined) return { mapName, key, opType: 'OR_ADD', orRecord: { value, timestamp, tag, ttlMs }, fence };
        return { mapName, key, opType: 'PUT', record: { value, timestamp, ttlMs }, fence };
      });
      const frame = encode({ type: 'OP_BATCH', payload: { ops } }).slice();
      const scanner = new Scanner();
      scanner.scan(frame, frame.length);
      const { words: rows, floats, view, count } = scanner.index;
      assert.equal(count, puts.length);
      const isNamed = (op: number): boolean => puts[op]?.isNamed === true;
      let bytes = 0;
      for (let op = 0; op < count; op++) bytes += bytesWhenPacked(rows, op * OP_WORDS, isNamed(op));
      const memory = packMemory(8 + bytes);
      let end = 8;
      for (let op = 0; op < count; op++) end = packOp(memory, end, frame, view, rows, floats, op * OP_WORDS, isNamed(op));
      assert.equal(end, 8 + bytes);

      let at = 8;
      for (let op = 0; op < count; op++) {
        const row = op * OP_WORDS;
        const word = at >> 2;
        assert.equal(packedOrdinal(memory.words, word), op);
        assert.equal(packedFlags(memory.words, word), rows[row + OP.FLAGS]);
        assert.equal(memory.words[word + PACKED.KEY_HASH], rows[row + OP.KEY_HASH]);
        assert.equal(memory.words[word + PACKED.COUNTER], rows[row + OP.COUNTER]);
        assert.deepEqual(memory.floats[(word >> 1) + PACKED.MILLIS_F64], floats[(row >> 1) + OP.MILLIS_F64]);
        assert.deepEqual(memory.floats[(word >> 1) + PACKED.TTL_MS_F64], floats[(row >> 1) + OP.TTL_MS_F64]);
        let spanAt = at + PACKED_SPANS_START;
        for (const [start, length] of SPANS) {
          const from = rows[row + start] as number;
          const spanBytes = start === OP.MAP_START && !isNamed(op) ? 0 : (rows[row + length] as number);
          assert.deepEqual(memory.bytes.slice(spanAt, spanAt + spanBytes), frame.slice(from, from + spanBytes));
          spanAt += spanBytes;
        }
        const fence = puts[op]?.fence;
        assert.equal((packedFlags(memory.words, word) & FLAG_FENCED) !== 0, fence !== undefined);
        if (fence !== undefined) assert.deepEqual(packedFence(memory, word), { ...fence });
        assert.equal(packedNameBytes(memory, word) > 0, isNamed(op));
        at += packedBytes(memory.words, word);
      }
      assert.equal(at, end);
    }),
  );
});

const SPANS = [
  [OP.KEY_START, OP.KEY_BYTES],
  [OP.TAG_START, OP.TAG_BYTES],
  [OP.NODE_START, OP.NODE_BYTES],
  [OP.VALUE_START, OP.VALUE_BYTES],
  [OP.MAP_START, OP.MAP_BYTES],
] as const;
