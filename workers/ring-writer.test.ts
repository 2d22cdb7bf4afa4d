import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ENVELOPE, ENVELOPE_BYTES } from '../engine/protocol/envelope.ts';
import { RingConsumer, RingProducer, FULL } from './ring.ts';
import { createRing } from './ring-layout.ts';
import { RingWriter } from './ring-writer.ts';

const CAPACITY_BYTES = 1 << 16;
const MESSAGE_BYTES_MAX = 1 << 20;

function newRing(onRoom?: () => void) {
  const memory = createRing({ capacityBytes: CAPACITY_BYTES, messageBytesMax: MESSAGE_BYTES_MAX });
  return { writer: new RingWriter(new RingProducer(memory, () => {})), consumer: new RingConsumer(memory, 0, onRoom) };
}

/** Reads all there is: number and length of each record. */
function readAll(consumer: RingConsumer): [number, number][] {
  const records: [number, number][] = [];
  const handler = {
    onRecord: (ring: RingConsumer, at: number, bytes: number) => {
      const whole = ring.bytes.subarray(at, at + bytes);
      assert.ok(whole.every((byte) => byte === whole[0]));
      records.push([whole[0] ?? -1, bytes]);
    },
  };
  while (consumer.drain(1000, handler) > 0) consumer.release();
  return records;
}

test('records of any size come out whole and in the order they were written, however full the ring was', () => {
  const size = fc.oneof(
    fc.integer({ min: 1, max: 2000 }),
    fc.integer({ min: 20_000, max: 40_000 }),
    fc.integer({ min: 100_000, max: 300_000 }),
  );
  const step = fc.record({ size, reads: fc.boolean(), claims: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { writer, consumer } = newRing();
      const written: [number, number][] = [];
      const read: [number, number][] = [];
      for (const [index, { size: bytes, reads, claims }] of steps.entries()) {
        const mark = (index % 200) + 1;
        const at = claims ? writer.claim(bytes) : FULL;
        if (at !== FULL) {
          writer.ring.bytes.fill(mark, at, at + bytes);
          writer.commit();
          written.push([mark, bytes]);
        } else if (!claims) {
          const record = new Uint8Array(bytes).fill(mark);
          writer.write(record);
          record.fill(0); // the writer keeps a copy
          written.push([mark, bytes]);
        }
        if (reads) read.push(...readAll(consumer));
        if (reads) writer.flush();
      }
      for (let turn = 0; writer.blocked; turn++) {
        assert.ok(turn < 1000);
        read.push(...readAll(consumer));
        writer.flush();
      }
      read.push(...readAll(consumer));
      assert.deepEqual(read, written);
      assert.equal(writer.backlogBytes, 0);
    }),
    { numRuns: 60 },
  );
});

test('nothing overtakes a large message of which no part is in the ring yet', () => {
  const { writer, consumer } = newRing();
  writer.write(new Uint8Array(30_000).fill(1));
  writer.write(new Uint8Array(30_000).fill(2));
  writer.write(new Uint8Array(200_000).fill(3)); // no room for its first part
  assert.equal(writer.claim(8), FULL);
  writer.write(new Uint8Array(8).fill(4));
  const read: [number, number][] = [];
  for (let turn = 0; turn < 50; turn++) {
    read.push(...readAll(consumer));
    writer.flush();
  }
  assert.deepEqual(
    read.map(([mark]) => mark),
    [1, 2, 3, 4],
  );
});

test('while records wait the reader rings when it gives space back', () => {
  let bells = 0;
  const { writer, consumer } = newRing(() => {
    bells += 1;
  });
  for (let record = 0; record < 4; record++) writer.write(new Uint8Array(30_000).fill(1));
  assert.equal(writer.blocked, true);
  readAll(consumer);
  assert.ok(bells > 0);
  assert.equal(writer.flush(), true);
});

test('a record that is too large to go in one piece is never claimed', () => {
  const { writer } = newRing();
  assert.equal(writer.claim(CAPACITY_BYTES), FULL);
  assert.equal(writer.blocked, false);
});

test('an envelope and its body are the same in place, behind others, and in parts', () => {
  const { writer, consumer } = newRing();
  const sizes = [0, 1, 13, 20_000, 300_000, 7, 30_000, 30_000, 5]; // the fifth goes in parts, what follows waits for it
  for (const [index, bytes] of sizes.entries()) writer.send(17, index, index * 2, 3, new Uint8Array(bytes).fill(index), 4, 5.5);
  const read: unknown[] = [];
  const handler = {
    onRecord: ({ words, bytes }: RingConsumer, at: number) => {
      const word = at >> 2;
      const bodyBytes = words[word + ENVELOPE.BODY_BYTES] as number;
      const body = bytes.subarray(at + ENVELOPE_BYTES, at + ENVELOPE_BYTES + bodyBytes);
      const [type, call, session, count, flags] = [
        ENVELOPE.TYPE,
        ENVELOPE.CALL,
        ENVELOPE.SESSION,
        ENVELOPE.COUNT,
        ENVELOPE.FLAGS,
      ].map((field) => words[word + field]);
      read.push([type, call, session, count, flags, bodyBytes, body.every((byte) => byte === call)]);
    },
  };
  for (let turn = 0; turn < 100; turn++) {
    while (consumer.drain(1000, handler) > 0) consumer.release();
    writer.flush();
  }
  assert.deepEqual(
    read,
    sizes.map((bytes, index) => [17, index, index * 2, 3, 4, bytes, true]),
  );
});
