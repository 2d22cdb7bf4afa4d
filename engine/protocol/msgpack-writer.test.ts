import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode as decodeByOther } from '@msgpack/msgpack';
import fc from 'fast-check';
import { decode } from './codec.ts';
import { MessageWriter } from './msgpack-writer.ts';
import { encodeText } from './wire-text.ts';

const message = (writer: MessageWriter): Uint8Array => writer.bytes.slice(0, writer.length);

test('numbers are read back as they were, integers of up to 32 bits in their shortest form', () => {
  const writer = new MessageWriter();
  const edges = [
    0,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    2 ** 32 - 1,
    2 ** 32,
    -1,
    -32,
    -33,
    -128,
    -129,
    -32_768,
    -32_769,
    -(2 ** 31),
    -(2 ** 31) - 1,
  ];
  const sizes = [1, 1, 2, 2, 3, 3, 5, 5, 9, 1, 1, 2, 2, 3, 3, 5, 5, 9];
  for (const [index, number] of edges.entries()) {
    writer.reset();
    writer.number(number);
    assert.equal(decodeByOther(message(writer)), number);
    assert.equal(writer.length, sizes[index], String(number));
  }
  fc.assert(
    fc.property(fc.double(), (number) => {
      writer.reset();
      writer.number(number);
      assert.equal(decode(message(writer)), number === 0 ? 0 : number);
    }),
  );
});

test('strings of every length and script are read back, from text and from bytes', () => {
  const writer = new MessageWriter(1);
  const texts = [
    '',
    'a',
    'é',
    'x'.repeat(31),
    'x'.repeat(32),
    'x'.repeat(33),
    'é'.repeat(16),
    'y'.repeat(255),
    'y'.repeat(256),
    '日'.repeat(30_000),
    'é',
  ];
  for (const text of texts) {
    writer.string(text);
    const bytes = encodeText(`..${text}..`);
    writer.stringBytes(bytes, 2, bytes.length - 4);
  }
  let at = 0;
  for (const text of texts.flatMap((each) => [each, each])) {
    const header = encodedSize(encodeText(text).length);
    assert.equal(decode(writer.bytes, at, at + header), text);
    at += header;
  }
  assert.equal(at, writer.length);
});

/** Whole size of a string in its shortest form. */
function encodedSize(bytes: number): number {
  return bytes + (bytes < 32 ? 1 : bytes < 256 ? 2 : bytes < 65_536 ? 3 : 5);
}

test('headers of containers change their width at 16 and 65536', () => {
  for (const count of [0, 15, 16, 65_535, 65_536]) {
    const writer = new MessageWriter();
    writer.mapHeader(2);
    writer.string('array');
    writer.arrayHeader(count);
    for (let item = 0; item < count; item++) writer.nil();
    writer.string('map');
    writer.mapHeader(count);
    for (let entry = 0; entry < count; entry++) {
      writer.number(entry);
      writer.bool(entry % 2 === 0);
    }
    const { array, map } = decode(message(writer)) as { array: unknown[]; map: Record<string, unknown> };
    assert.equal(array.length, count);
    assert.equal(Object.keys(map).length, count);
    if (count > 1) assert.deepEqual([map[0], map[1]], [true, false]);
  }
});

test('an array whose count is known only at its end', () => {
  const writer = new MessageWriter(4);
  writer.mapHeader(1);
  writer.string('records');
  const at = writer.reserveArray();
  for (let item = 0; item < 300; item++) writer.number(item);
  writer.patchArray(at, 300);
  assert.deepEqual({ ...(decode(message(writer)) as object) }, { records: Array.from({ length: 300 }, (_, item) => item) });
});

test('raw values and byte strings are copied whole, small and large, also from shared memory', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(80_000)).fill(7);
  for (const length of [0, 1, 31, 32, 33, 255, 256, 70_000]) {
    const writer = new MessageWriter();
    writer.arrayHeader(2);
    writer.bin(shared, 3, length);
    writer.raw(Uint8Array.of(9, 0xa1, 0x62), 1, 2);
    assert.deepEqual(decode(message(writer)), [new Uint8Array(length).fill(7), 'b']);
  }
});

test('a span that leaves its source is a bug, not a message', () => {
  assert.throws(() => new MessageWriter().raw(new Uint8Array(4), 2, 3));
});

test('a reset writer begins again', () => {
  const writer = new MessageWriter();
  writer.string('something longer');
  writer.reset();
  writer.string('é'); // taken back once on the way: not ASCII
  assert.equal(decode(message(writer)), 'é');
});
