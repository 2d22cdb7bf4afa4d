/** Fencing tokens in frames of the log, among records. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KIND_LWW } from './record.ts';
import { imageOf, recordOf, storedRecord } from './stored-record.ts';
import { FrameRecords, FrameWriter, readFrame } from './wal-frame.ts';

const FIELDS = { salt: 77, sequence: 3, syncedSequence: 0, flushedSequence: 0, writtenAtMs: 1, inboxPositions: [5] };
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

test('tokens and records of a frame are read back in their order, whatever the length of a name', () => {
  const names = ['', 'a', 'orders', 'x'.repeat(256), 'Ü/日本'];
  const writer = new FrameWriter();
  const record = recordOf({ key: utf8('k'), value: utf8('v'), millis: 5 });
  for (const [index, name] of names.entries()) {
    writer.appendFence(utf8(name), 7 * 2 ** 32 + index);
    writer.append(KIND_LWW, utf8('map'), imageOf(record));
  }
  const bytes = writer.finish(FIELDS).slice();
  const frame = readFrame(bytes, 0, FIELDS.salt);
  assert.ok(frame !== undefined);
  const read: string[] = [];
  const records = new FrameRecords();
  records.onFence = (name, token) => read.push(`${textOf(name)} ${token}`);
  records.open(frame);
  while (records.next()) read.push(`record ${textOf(storedRecord(records.kind, records.map, records.image).key)}`);
  assert.deepEqual(
    read,
    names.flatMap((name, index) => [`${name} ${7 * 2 ** 32 + index}`, 'record k']),
  );
});

test('a frame of tokens alone is a frame, and one cut short is none', () => {
  const writer = new FrameWriter();
  writer.appendFence(utf8('orders'), 12);
  assert.equal(writer.isEmpty, false);
  const bytes = writer.finish(FIELDS).slice();
  assert.notEqual(readFrame(bytes, 0, FIELDS.salt), undefined);
  assert.equal(readFrame(bytes.subarray(0, bytes.length - 8), 0, FIELDS.salt), undefined);
});
