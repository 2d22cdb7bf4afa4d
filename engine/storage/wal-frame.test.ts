import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fnv1aUtf8 } from '../partition/hash.ts';
import { GridError } from '../protocol/errors.ts';
import { KIND_COUNTER, KIND_LWW, KIND_OR, RecordImage } from './record.ts';
import { fillImage, imageOf, recordOf, type StoredRecord, storedRecord } from './stored-record.ts';
import { type FrameFields, FrameRecords, FrameWriter, forEachRecord, readFrame } from './wal-frame.ts';
import { ENTRY_PREPARE } from './wal-frame-layout.ts';

const FIELDS: FrameFields = {
  salt: 0x9e3779b9,
  sequence: 7,
  syncedSequence: 5,
  flushedSequence: 3,
  writtenAtMs: 1_700_000_000_000,
  inboxPositions: [12, -2147483648, 2147483647],
};

function recordsOf(bytes: Uint8Array, salt: number = FIELDS.salt, at = 0): StoredRecord[] {
  const frame = readFrame(bytes, at, salt);
  assert.ok(frame !== undefined);
  const records: StoredRecord[] = [];
  forEachRecord(frame, (kind, map, image) => records.push(storedRecord(kind, map, image)));
  return records;
}

const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 12 }),
  fc.uint8Array({ maxLength: 300 }),
  fc.constant(Uint8Array.from([0xff, 0x80, 0])),
  fc.nat(5000).map((length) => new Uint8Array(length).fill(0xee)),
);
const anyMap = fc.constantFrom('a', 'b', '', 'a longer name of a map').map((name) => new TextEncoder().encode(name));
const anyRecord: fc.Arbitrary<StoredRecord> = fc
  .record({
    kind: fc.constantFrom(KIND_LWW, KIND_OR, KIND_COUNTER),
    map: anyMap,
    key: anyBytes,
    tag: anyBytes,
    node: fc.uint8Array({ maxLength: 40 }),
    value: anyBytes,
    millis: fc.double({ noNaN: true }),
    counter: fc.nat(0xffffffff),
    ttlMs: fc.oneof(fc.constant(Number.NaN), fc.double()),
    tombstone: fc.boolean(),
  })
  .map((fields) => ({
    ...fields,
    keyHash: fnv1aUtf8(fields.key, 0, fields.key.length) >>> 0,
    value: fields.tombstone ? new Uint8Array(0) : fields.value,
  }));

/** Where an image's spans may stand: in a small source, in one large enough to be read by words, or apart from each other. */
type Placing = (record: StoredRecord, image: RecordImage) => void;

const large = new Uint8Array((1 << 20) + 3).fill(0x77);

function inLargeSource(start: number): Placing {
  return (record, image) => {
    fillImage(record, image);
    large.fill(0x77);
    large.set(image.source, start);
    image.source = large;
    for (const span of ['keyStart', 'tagStart', 'nodeStart', 'valueStart'] as const) image[span] += start;
  };
}

const apart: Placing = (record, image) => {
  fillImage(record, image);
  const source = new Uint8Array(image.source.length + 64).fill(0x77);
  const spans = [record.value, record.node, record.key, record.tag];
  const starts = spans.map((bytes, index) => {
    const start = 3 + 7 * index + spans.slice(0, index).reduce((sum, span) => sum + span.length, 0);
    source.set(bytes, start);
    return start;
  });
  image.source = source;
  [image.valueStart = 0, image.nodeStart = 0, image.keyStart = 0, image.tagStart = 0] = starts;
};

const anyPlacing = fc.constantFrom<Placing>(
  fillImage,
  apart,
  inLargeSource(80),
  inLargeSource(81),
  inLargeSource(large.length - 30_000),
);

test('what is appended is read back in order, wherever the spans stood and wherever the frame stands', () => {
  const writer = new FrameWriter();
  const image = new RecordImage();
  fc.assert(
    fc.property(fc.array(fc.tuple(anyRecord, anyPlacing), { maxLength: 12 }), fc.nat(20), (placed, before) => {
      writer.clear();
      for (const [record, place] of placed) {
        place(record, image);
        writer.append(record.kind, Uint8Array.from(record.map), image);
      }
      const bytes = writer.finish(FIELDS);
      assert.equal(bytes.length % 8, 0);
      const elsewhere = new Uint8Array(before + bytes.length + 9).fill(0x5a);
      elsewhere.set(bytes, before);
      assert.deepEqual(
        recordsOf(elsewhere, FIELDS.salt, before),
        placed.map(([record]) => record),
      );
    }),
    { numRuns: 300 },
  );
});

test('a frame says its sequences, its time and its inbox positions', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), { maxLength: 64 }),
      fc.maxSafeNat(),
      (positions, sequence) => {
        const writer = new FrameWriter();
        writer.append(KIND_LWW, new Uint8Array(1), imageOf(recordOf({ key: 'k' })));
        const bytes = writer.finish({ ...FIELDS, sequence, inboxPositions: positions });
        const frame = readFrame(bytes, 0, FIELDS.salt);
        assert.deepEqual(frame?.inboxPositions, positions);
        assert.equal(frame?.sequence, sequence);
        assert.equal(frame?.syncedSequence, 5);
        assert.equal(frame?.flushedSequence, 3);
        assert.equal(frame?.writtenAtMs, 1_700_000_000_000);
        assert.equal(frame?.end, bytes.length);
      },
    ),
  );
});

test('a tombstone is logged without the value that its image still points at', () => {
  const writer = new FrameWriter();
  const image = imageOf(recordOf({ key: 'k', value: 'gone' }));
  image.tombstone = true;
  image.provenance = 3;
  writer.append(KIND_LWW, new Uint8Array(1), image);
  const frame = readFrame(writer.finish(FIELDS), 0, FIELDS.salt);
  assert.ok(frame !== undefined);
  forEachRecord(frame, (_kind, _map, read) => {
    assert.equal(read.tombstone, true);
    assert.equal(read.valueBytes, 0);
    assert.equal(read.provenance, 3);
  });
});

test('a record whose value was dropped from memory is never logged as if that were its value', () => {
  const writer = new FrameWriter();
  const image = imageOf(recordOf({ key: 'k', value: 'kept in its place' }));
  image.evicted = true;
  assert.throws(() => writer.append(KIND_LWW, new Uint8Array(1), image), /not in memory/);
});

test('records of one map in a row share one name; a change of kind or map names it again', () => {
  const writer = new FrameWriter();
  const [a, b] = [new TextEncoder().encode('a'), new TextEncoder().encode('b')];
  const image = imageOf(recordOf({ key: 'k' }));
  const sizes: number[] = [];
  for (const [kind, map] of [
    [KIND_LWW, a],
    [KIND_LWW, a],
    [KIND_LWW, Uint8Array.from(a)],
    [KIND_OR, a],
    [KIND_OR, b],
  ] as const) {
    const before = writer.bodyBytes;
    writer.append(kind, map, image);
    sizes.push(writer.bodyBytes - before);
  }
  const record = sizes[1] ?? 0;
  assert.deepEqual(sizes, [record + 24, record, record, record + 24, record + 24]);
  assert.deepEqual(
    recordsOf(writer.finish(FIELDS)).map(({ kind, map }) => `${kind} ${map}`),
    ['0 97', '0 97', '0 97', '1 97', '1 98'],
  );
});

test('a sealed frame may be sealed again with other fields, and grow on, and after clear it begins anew', () => {
  const writer = new FrameWriter();
  const map = new Uint8Array(1);
  writer.append(KIND_LWW, map, imageOf(recordOf({ key: 'first' })));
  assert.equal(recordsOf(writer.finish(FIELDS)).length, 1);
  const again = writer.finish({ ...FIELDS, salt: 1, syncedSequence: 6, inboxPositions: [1] });
  assert.equal(readFrame(again, 0, FIELDS.salt), undefined);
  assert.equal(readFrame(again, 0, 1)?.syncedSequence, 6);
  writer.append(KIND_LWW, map, imageOf(recordOf({ key: 'second' })));
  assert.equal(recordsOf(writer.finish(FIELDS)).length, 2);
  writer.clear();
  assert.equal(writer.isEmpty, true);
  assert.deepEqual(recordsOf(writer.finish(FIELDS)), []);
});

test('a value of several MiB passes, and its buffer does not stay', () => {
  const writer = new FrameWriter();
  const record = recordOf({ key: 'big', value: new Uint8Array(6 << 20).fill(7) });
  writer.append(record.kind, record.map, imageOf(record));
  assert.deepEqual(recordsOf(writer.finish(FIELDS)), [record]);
  writer.clear();
  assert.ok(writer.finish(FIELDS).buffer.byteLength <= 64 * 1024);
});

test('bytes between records are zero, whatever the buffer held before', () => {
  const writer = new FrameWriter();
  const sealed = (): Uint8Array => {
    writer.clear();
    for (const key of ['a', 'abc', 'abcd']) writer.append(KIND_LWW, new Uint8Array(1), imageOf(recordOf({ key })));
    return writer.finish(FIELDS).slice();
  };
  const clean = sealed();
  writer.clear();
  writer.append(KIND_LWW, new Uint8Array(1), imageOf(recordOf({ key: 'k', value: new Uint8Array(2000).fill(0xff) })));
  assert.deepEqual(sealed(), clean);
});

test('no flipped bit and no cut end goes unnoticed', () => {
  const writer = new FrameWriter();
  for (const key of ['one', 'two']) writer.append(KIND_OR, new Uint8Array(3), imageOf(recordOf({ key, tag: 't', value: 'v' })));
  const bytes = writer.finish(FIELDS).slice();
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const byte = bit >>> 3;
    bytes[byte] = (bytes[byte] as number) ^ (1 << (bit & 7));
    assert.equal(readFrame(bytes, 0, FIELDS.salt), undefined, `bit ${bit}`);
    bytes[byte] = (bytes[byte] as number) ^ (1 << (bit & 7));
  }
  for (let length = 0; length < bytes.length; length++)
    assert.equal(readFrame(bytes.subarray(0, length), 0, FIELDS.salt), undefined);
  assert.ok(readFrame(bytes, 0, FIELDS.salt) !== undefined);
});

test('an act over several workers is told before its records, those of other workers too', () => {
  const writer = new FrameWriter();
  writer.append(KIND_LWW, new Uint8Array(1), imageOf(recordOf({ key: 'before' })));
  writer.appendCommit(2 ** 40 + 1);
  writer.append(KIND_LWW, new Uint8Array(1), imageOf(recordOf({ key: 'its own' })));
  const frame = readFrame(writer.finish(FIELDS), 0, FIELDS.salt);
  assert.ok(frame !== undefined);
  const told: unknown[] = [];
  const records = new FrameRecords();
  records.onCommit = (act) => told.push(act);
  records.open(frame);
  while (records.next()) {
    const { source, keyStart, keyBytes } = records.image;
    told.push(Buffer.from(source.subarray(keyStart, keyStart + keyBytes)).toString());
  }
  assert.deepEqual(told, ['before', 2 ** 40 + 1, 'its own']);
});

test('an entry that a newer program wrote is refused by name', () => {
  for (const [type, words] of [
    [ENTRY_PREPARE, /entry of type 3/],
    [99, /entry of type 99/],
  ] as const) {
    const writer = new FrameWriter();
    writer.append(KIND_LWW, new Uint8Array(1), imageOf(recordOf({ key: 'k' })));
    const sealed = writer.finish(FIELDS);
    const entriesStart = readFrame(sealed, 0, FIELDS.salt)?.entriesStart ?? 0;
    sealed[entriesStart + 24] = type; // the view is the writer's memory: sealing again makes the change valid
    const frame = readFrame(writer.finish(FIELDS), 0, FIELDS.salt);
    assert.ok(frame !== undefined);
    assert.throws(
      () => forEachRecord(frame, () => undefined),
      (error) => error instanceof GridError && error.code === 'LOG_DAMAGED' && words.test(error.message),
    );
  }
});
