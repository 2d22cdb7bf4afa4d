import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { PARTITION_COUNT } from '../partition/hash.ts';
import { GridError } from '../protocol/errors.ts';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  isHeaderUnwritten,
  parseSegmentName,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentName,
} from './wal-segment.ts';

const COPIES = [0, 2048];
const COPY_BYTES = 148;

const HEADER: SegmentHeader = {
  epoch: 12,
  worker: 3,
  firstSequence: 2 ** 40 + 1,
  salt: 0xfedcba98,
  partitions: [0, 3, 8, 269, 270],
  database: 'server-0123456789abcdef',
};

test('a name tells epoch, worker and first sequence, and sorts by them', () => {
  assert.equal(segmentName(12, 3, 4567), 'e0000000012-w003-0000000000004567.wal');
  fc.assert(
    fc.property(fc.nat(2 ** 31), fc.nat(999), fc.maxSafeNat(), (epoch, worker, firstSequence) => {
      assert.deepEqual(parseSegmentName(segmentName(epoch, worker, firstSequence)), { epoch, worker, firstSequence });
    }),
  );
  const names = [segmentName(2, 0, 1), segmentName(10, 0, 9), segmentName(10, 0, 10), segmentName(10, 1, 1)];
  assert.deepEqual([...names].reverse().sort(), names);
  for (const other of ['accepted.json', 'e1-w1-1.wal', `${names[0]}.new`, '']) assert.equal(parseSegmentName(other), undefined);
});

test('a header comes back as it was', () => {
  const anyHeader: fc.Arbitrary<SegmentHeader> = fc.record({
    epoch: fc.nat(0xffffffff),
    worker: fc.nat(999),
    firstSequence: fc.maxSafeNat(),
    salt: fc.nat(0xffffffff),
    partitions: fc.uniqueArray(fc.nat(PARTITION_COUNT - 1)).map((list) => list.sort((left, right) => left - right)),
    database: fc.string({ maxLength: 64 }),
  });
  fc.assert(
    fc.property(anyHeader, (header) => {
      const page = encodeSegmentHeader(header);
      assert.equal(page.length, SEGMENT_HEADER_BYTES);
      assert.deepEqual(decodeSegmentHeader(page), { ...header });
    }),
  );
});

test('either copy suffices, whatever happened to the other', () => {
  for (const start of COPIES) {
    for (let byte = start; byte < start + COPY_BYTES; byte++) {
      const page = encodeSegmentHeader(HEADER);
      page[byte] = (page[byte] as number) ^ (1 << (byte & 7));
      assert.deepEqual(decodeSegmentHeader(page), HEADER);
    }
    assert.deepEqual(decodeSegmentHeader(encodeSegmentHeader(HEADER).fill(0, start, start + 2048)), HEADER);
  }
});

test('with both copies damaged there is no header, nor in a file that is too short', () => {
  for (let byte = 0; byte < COPY_BYTES; byte++) {
    const page = encodeSegmentHeader(HEADER);
    for (const start of COPIES) page[start + byte] = (page[start + byte] as number) ^ 0x10;
    assert.equal(decodeSegmentHeader(page), undefined);
    assert.equal(isHeaderUnwritten(page), false);
  }
  assert.equal(decodeSegmentHeader(encodeSegmentHeader(HEADER).subarray(0, COPY_BYTES - 1)), undefined);
  assert.equal(decodeSegmentHeader(new Uint8Array(0)), undefined);
  assert.equal(isHeaderUnwritten(new Uint8Array(SEGMENT_HEADER_BYTES)), true);
});

test('a newer format is refused with both numbers, and a flipped bit in the number is not taken for one', () => {
  const page = encodeSegmentHeader(HEADER);
  page[12] = 2;
  page[2048 + 12] = 2;
  assert.equal(decodeSegmentHeader(page), undefined);
  new DataView(page.buffer).setUint32(2048 + 144, crc32(page.subarray(2048, 2048 + 144)), true);
  assert.throws(
    () => decodeSegmentHeader(page),
    (error) =>
      error instanceof GridError &&
      error.code === 'DATA_VERSION' &&
      /of format 2, and this version of Lattice reads format 1/.test(error.message),
  );
});
