/**
 * What every Storage must do. A new implementation is: write the class, call `testStorage`.
 *
 * The heart is one property: any sequence of changes leaves what the same changes leave in a plain Map.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { fnv1aUtf8 } from '../partition/hash.ts';
import { KIND_LWW, PROVENANCE_WAN, RecordImage } from './record.ts';
import type { RecordMeta, RecordRef, Storage } from './storage.ts';
import { imageOf, type StoredRecord, storedRecord } from './stored-record.ts';

const MAP = new Uint8Array(0);
const NOTHING = new Uint8Array(0);

/** Runs the suite; `create` makes an empty storage. */
export function testStorage(name: string, create: () => Storage): void {
  describe(name, () => {
    test('any sequence of changes leaves what a plain map holds', () => behavesLikeAMap(create));
    test('a cursor returns every record that stays, whatever comes, goes or moves meanwhile', () => toleratesChanges(create));
    test('twenty thousand records are found while they come and after most have gone', () => growsAndShrinks(create));
    test('metadata tells versions, times, hits and cost', () => tellsMetadata(create));
    test('key and tag both name a record', () => tellsTagsApart(create));
    test('a tombstone has no value, and its memory comes back', () => dropsTheValueOfATombstone(create));
    test('an image read from the storage may be written to the storage', () => takesItsOwnImages(create));
    test('spans of any length come back byte by byte', () => keepsLongSpans(create));
    test('provenance, TTL and clock come back', () => keepsNumbers(create));
  });
}

/** A record for tests. */
export function sample(key: string, change: Partial<StoredRecord> = {}): StoredRecord {
  const bytes = Buffer.from(key);
  return {
    kind: KIND_LWW,
    map: MAP,
    keyHash: fnv1aUtf8(bytes, 0, bytes.length),
    key: Uint8Array.from(bytes),
    tag: NOTHING,
    node: Uint8Array.of(110),
    value: Uint8Array.of(1),
    millis: 1,
    counter: 0,
    ttlMs: Number.NaN,
    tombstone: false,
    ...change,
  };
}

/** The record as it stands in the storage. */
function stored(storage: Storage, ref: RecordRef): StoredRecord {
  const image = new RecordImage();
  storage.read(ref, image);
  return storedRecord(KIND_LWW, MAP, image);
}

function put(storage: Storage, record: StoredRecord, nowS = 0): RecordRef {
  const image = imageOf(record);
  const ref = storage.find(image);
  return ref === 0 ? storage.insert(image, nowS) : storage.overwrite(ref, image, nowS);
}

function metaOf(storage: Storage, ref: RecordRef): RecordMeta {
  const meta = { version: 0, createdS: 0, updatedS: 0, accessedS: 0, hits: 0, costBytes: 0 };
  storage.meta(ref, meta);
  return meta;
}

function keysByCursor(storage: Storage): string[] {
  const cursor = storage.cursor();
  const keys: string[] = [];
  for (let ref = cursor.next(); ref !== 0; ref = cursor.next()) keys.push(identity(stored(storage, ref)));
  return keys;
}

function identity(record: StoredRecord): string {
  return `${Buffer.from(record.key).toString('latin1')}/${Buffer.from(record.tag).toString('latin1')}`;
}

interface Change {
  readonly remove: boolean;
  readonly record: StoredRecord;
}

const changes = fc.array(
  fc.record({
    remove: fc.boolean(),
    record: fc
      .record({
        key: fc.nat(12),
        tag: fc.nat(2),
        node: fc.uint8Array({ maxLength: 40 }),
        value: fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 100, maxLength: 400 })),
        millis: fc.nat(),
        counter: fc.nat({ max: 0xffffffff }),
      })
      .map(({ key, tag, ...rest }) => sample(`k${key}`, { ...rest, tag: new Uint8Array(tag).fill(65) })),
  }),
  { maxLength: 120 },
);

function behavesLikeAMap(create: () => Storage): void {
  fc.assert(
    fc.property(changes, (all: Change[]) => {
      const storage = create();
      const model = new Map<string, StoredRecord>();
      for (const { remove, record } of all) {
        const ref = storage.find(imageOf(record));
        assert.equal(ref !== 0, model.has(identity(record)));
        if (remove && ref !== 0) storage.remove(ref);
        if (remove) model.delete(identity(record));
        else put(storage, record);
        if (!remove) model.set(identity(record), record);
      }
      assert.equal(storage.records, model.size);
      for (const record of model.values()) assert.deepEqual(stored(storage, storage.find(imageOf(record))), record);
      assert.deepEqual(keysByCursor(storage).sort(), [...model.keys()].sort());
    }),
  );
}

function toleratesChanges(create: () => Storage): void {
  const walk = fc.array(fc.record({ remove: fc.boolean(), key: fc.nat(99), bytes: fc.nat(300) }), { maxLength: 150 });
  fc.assert(
    fc.property(walk, (steps) => {
      const storage = create();
      for (let key = 0; key < 60; key++) put(storage, sample(`k${key}`));
      const staying = new Set(Array.from({ length: 60 }, (_, key) => `k${key}/`));
      const seen = new Set<string>();
      const cursor = storage.cursor();
      let step = 0;
      for (let ref = cursor.next(); ref !== 0; ref = cursor.next()) {
        const record = stored(storage, ref);
        assert.equal(storage.find(imageOf(record)), ref, 'a cursor only returns what is there');
        seen.add(identity(record));
        for (const { remove, key, bytes } of steps.slice(step, step + 3)) {
          const record = sample(`k${key}`, { value: new Uint8Array(bytes + 1) });
          const found = storage.find(imageOf(record));
          if (!remove) put(storage, record);
          else if (found !== 0) storage.remove(found);
          if (remove) staying.delete(identity(record));
        }
        step += 3;
      }
      for (const key of staying) assert.ok(seen.has(key), `${key} was missed`);
    }),
  );
}

function growsAndShrinks(create: () => Storage): void {
  const storage = create();
  const records = Array.from({ length: 20_000 }, (_, index) => sample(`key-${index}`, { millis: index }));
  records.forEach((record, index) => {
    put(storage, record);
    const earlier = records[Math.floor(index / 2)] as StoredRecord;
    assert.equal(stored(storage, storage.find(imageOf(earlier))).millis, earlier.millis);
  });
  assert.equal(storage.records, records.length);
  assert.equal(new Set(keysByCursor(storage)).size, records.length);

  const bytesFull = storage.bytes;
  for (const [index, record] of records.entries()) if (index % 100 !== 0) storage.remove(storage.find(imageOf(record)));
  assert.equal(storage.records, 200);
  assert.ok(storage.bytes < bytesFull / 50);
  for (const [index, record] of records.entries()) assert.equal(storage.find(imageOf(record)) !== 0, index % 100 === 0);
  for (const record of records) put(storage, record);
  for (const record of records) assert.equal(stored(storage, storage.find(imageOf(record))).millis, record.millis);
}

function tellsMetadata(create: () => Storage): void {
  const storage = create();
  const ref = put(storage, sample('a'), 100);
  assert.deepEqual(
    { ...metaOf(storage, ref), costBytes: 0 },
    { version: 1, createdS: 100, updatedS: 100, accessedS: 0, hits: 0, costBytes: 0 },
  );
  storage.touch(ref, 150);
  storage.touch(ref, 160);
  const moved = put(storage, sample('a', { value: new Uint8Array(5000) }), 200);
  assert.deepEqual(
    { ...metaOf(storage, moved), costBytes: 0 },
    { version: 2, createdS: 100, updatedS: 200, accessedS: 160, hits: 2, costBytes: 0 },
  );
  assert.ok(metaOf(storage, moved).costBytes >= 5000);
  assert.equal(storage.bytes, metaOf(storage, moved).costBytes);
}

function tellsTagsApart(create: () => Storage): void {
  const storage = create();
  put(storage, sample('ab', { tag: Buffer.from('c'), counter: 1 }));
  put(storage, sample('a', { tag: Buffer.from('bc'), counter: 2, keyHash: sample('ab').keyHash }));
  put(storage, sample('ab', { tag: Buffer.from('d'), counter: 3 }));
  assert.equal(storage.records, 3);
  assert.equal(stored(storage, storage.find(imageOf(sample('ab', { tag: Buffer.from('c') })))).counter, 1);
  assert.equal(stored(storage, storage.find(imageOf(sample('ab', { tag: Buffer.from('d') })))).counter, 3);
  assert.equal(storage.find(imageOf(sample('ab'))), 0);
}

function dropsTheValueOfATombstone(create: () => Storage): void {
  const storage = create();
  const live = put(storage, sample('a', { value: new Uint8Array(3000) }));
  const cost = metaOf(storage, live).costBytes;
  const dead = put(storage, sample('a', { value: new Uint8Array(3000), tombstone: true }));
  assert.deepEqual(stored(storage, dead), sample('a', { value: NOTHING, tombstone: true }));
  assert.ok(metaOf(storage, dead).costBytes < cost - 2500);
  storage.remove(dead);
  assert.equal(storage.bytes, 0);
}

function takesItsOwnImages(create: () => Storage): void {
  const storage = create();
  const value = Uint8Array.from({ length: 200 }, (_, index) => index);
  const key = sample('abc');
  const first = put(storage, sample('abc', { value, node: Uint8Array.from(Buffer.from('node-1')) }));
  const image = new RecordImage();
  storage.read(first, image);
  image.nodeStart += 4;
  image.nodeBytes -= 4; // the value moves to the left, over itself
  const second = storage.overwrite(first, image, 0);
  assert.deepEqual(stored(storage, second), { ...key, value, node: Uint8Array.from(Buffer.from('-1')) });

  storage.read(second, image);
  image.nodeStart = image.keyStart;
  image.nodeBytes = 3; // the value moves to the right
  const third = storage.overwrite(second, image, 0);
  assert.deepEqual(stored(storage, third), { ...key, value, node: key.key });
}

function keepsLongSpans(create: () => Storage): void {
  const storage = create();
  const lengths = [0, 1, 3, 4, 31, 64, 159, 160, 161, 1000, 70_000, 4 << 20];
  const records = lengths.map((bytes) =>
    sample(`${bytes}`.padStart(1 + (bytes % 2000), 'k'), {
      node: new Uint8Array(bytes % 300).fill(7),
      value: Uint8Array.from({ length: bytes }, (_, index) => index * 7),
      counter: bytes,
    }),
  );
  for (const record of records) put(storage, record);
  for (const record of records) {
    const { value, ...rest } = stored(storage, storage.find(imageOf(record)));
    assert.ok(Buffer.compare(value, record.value) === 0, `value of ${record.value.length} bytes`);
    assert.deepEqual({ ...rest, value: record.value }, record);
  }
}

function keepsNumbers(create: () => Storage): void {
  const storage = create();
  const image = imageOf(sample('a', { millis: 1.7e12 + 0.25, counter: 0xffffffff, ttlMs: 60_000 }));
  image.provenance = PROVENANCE_WAN;
  const ref = storage.insert(image, 4_000_000_000);
  const read = new RecordImage();
  storage.read(ref, read);
  assert.deepEqual([read.millis, read.counter, read.ttlMs, read.provenance], [1.7e12 + 0.25, 0xffffffff, 60_000, PROVENANCE_WAN]);
  assert.equal(read.keyHash, image.keyHash);
  assert.equal(metaOf(storage, ref).createdS, 4_000_000_000);
}
