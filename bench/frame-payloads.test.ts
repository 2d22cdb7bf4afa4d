import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FramePayloads } from './frame-payloads.ts';

function serverFrame(payload: Uint8Array): Buffer {
  const { length } = payload;
  const header = length < 126 ? Buffer.of(0x82, length) : Buffer.alloc(length < 65_536 ? 4 : 10);
  if (length >= 126) header.set([0x82, length < 65_536 ? 126 : 127]);
  if (length >= 65_536) header.writeBigUInt64BE(BigInt(length), 2);
  else if (length >= 126) header.writeUInt16BE(length, 2);
  return Buffer.concat([header, payload]);
}

test('payloads come out whole and in order, wherever reads cut the frames', () => {
  const lengths = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(125, 126, 65_535, 65_536, 70_000));
  fc.assert(
    fc.property(fc.array(lengths, { maxLength: 6 }), fc.integer({ min: 1, max: 9000 }), (sizes, readBytes) => {
      const payloads = sizes.map((size, frame) => Buffer.alloc(size, frame + 1));
      const bytes = Buffer.concat(payloads.map(serverFrame));
      const frames = new FramePayloads();
      const pieces: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += readBytes) {
        frames.take(bytes.subarray(at, at + readBytes), (piece) => pieces.push(piece));
      }
      assert.ok(Buffer.concat(pieces).equals(Buffer.concat(payloads)));
    }),
  );
});
