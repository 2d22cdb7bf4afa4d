import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CopyReader, CopyWriter } from './copy.ts';

interface Row {
  readonly bytes: Uint8Array;
  readonly number: number;
  readonly small: number;
  readonly flag: boolean;
}

const rowArbitrary: fc.Arbitrary<Row> = fc.record(
  {
    bytes: fc.uint8Array({ maxLength: 100 }),
    number: fc.double(),
    small: fc.integer({ min: -32768, max: 32767 }),
    flag: fc.boolean(),
  },
  { noNullPrototype: true },
);

function written(rows: readonly Row[]): Uint8Array {
  const writer = new CopyWriter();
  for (const row of rows) {
    writer.row(5);
    writer.bytea(Uint8Array.of(9, ...row.bytes, 9), 1, row.bytes.length);
    writer.float8(row.number);
    writer.int2(row.small);
    writer.boolean(row.flag);
    writer.null();
  }
  assert.equal(writer.rows, rows.length);
  return Uint8Array.from(writer.finish());
}

function readBack(stream: Uint8Array, chunkBytes: number): { rows: Row[]; finished: boolean } {
  const rows: Row[] = [];
  const reader = new CopyReader(5, (bytes, view, starts, lengths) => {
    assert.equal(lengths[4], -1);
    const [start = 0, number = 0, small = 0, flag = 0] = starts;
    const value = Uint8Array.from(bytes.subarray(start, start + (lengths[0] ?? 0)));
    rows.push({ bytes: value, number: view.getFloat64(number), small: view.getInt16(small), flag: bytes[flag] === 1 });
  });
  for (let at = 0; at < stream.length; at += chunkBytes) reader.feed(stream.subarray(at, at + chunkBytes));
  return { rows, finished: reader.finished };
}

test('what is written is read back, wherever the stream is cut', () => {
  const property = fc.property(fc.array(rowArbitrary, { maxLength: 6 }), fc.integer({ min: 1, max: 300 }), (rows, chunkBytes) => {
    assert.deepEqual(readBack(written(rows), chunkBytes), { rows, finished: true });
  });
  fc.assert(property);
});

test('a stream without its trailer is not finished', () => {
  const stream = written([{ bytes: Uint8Array.of(1), number: 1, small: 2, flag: true }]);
  const { rows, finished } = readBack(stream.subarray(0, stream.length - 2), 1000);
  assert.equal(rows.length, 1);
  assert.equal(finished, false);
});

test('the bytes are those of the manual: signature, flags, one row, trailer', () => {
  const writer = new CopyWriter();
  writer.row(2);
  writer.jsonb(new TextEncoder().encode('{}'), 0, 2);
  writer.null();
  const expected = '5047434f50590aff0d0a00' + '00000000' + '00000000' + '0002' + '00000003' + '017b7d' + 'ffffffff' + 'ffff';
  assert.equal(Buffer.from(writer.finish()).toString('hex'), expected);
});

test('a cleared writer begins again, and grows past its first buffer', () => {
  const writer = new CopyWriter();
  const large = new Uint8Array(300_000).fill(7);
  writer.row(1);
  writer.bytea(large, 0, large.length);
  writer.clear();
  assert.equal(writer.rows, 0);
  writer.row(1);
  writer.bytea(large, 0, large.length);
  const lengths: number[] = [];
  const reader = new CopyReader(1, (_bytes, _view, _starts, sizes) => lengths.push(sizes[0] ?? 0));
  reader.feed(writer.finish());
  assert.deepEqual(lengths, [300_000]);
});
