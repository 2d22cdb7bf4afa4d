/**
 * The compiled kernel against the scanner that it stands in for: what it reads, it must read alike, and what is damaged or
 * unusual it must leave alone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encode } from '../engine/protocol/codec.ts';
import type { RingMemory } from '../engine/protocol/envelope.ts';
import { FLAG_WRITER_LISTENS, OP, OP_WORDS } from '../engine/protocol/op-index.ts';
import {
  bytesWhenPacked,
  PACKED,
  PACKED_SPANS_START,
  packedBytes,
  packedNameBytes,
  packMemory,
  packOp,
} from '../engine/protocol/packed-op.ts';
import { SCAN_OP_BATCH, Scanner } from '../engine/protocol/scanner.ts';
import { encodeWild, Random } from '../engine/protocol/wild-encoder.ts';
import { loadBatchKernel } from './kernel-file.ts';

const RUNS = 3000;
const kernel = loadBatchKernel();
assert.ok(kernel !== undefined, 'the build compiles the kernel');
const scanner = new Scanner();
const scannerWithKernel = new Scanner(kernel);

/** Everything that a scan says, with or without the kernel. */
function described(by: Scanner, frame: Uint8Array): unknown {
  const result = by.scan(frame, frame.length);
  const { index, writeConcern, timeoutMs, batchInvalid, pingStart, pingBytes } = by;
  const rows = Array.from(index.words.subarray(0, index.count * OP_WORDS));
  return { result, rows, writeConcern, timeoutMs, batchInvalid, pingStart, pingBytes };
}

function expectAlike(frame: Uint8Array): void {
  assert.deepEqual(described(scannerWithKernel, frame), described(scanner, frame));
}

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom(null, true, false, 0, -1, 127, 128, 70_000, -40_000, 1.5, 2 ** 40, Number.NaN),
    fc.string({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('any'), { maxLength: 20 }),
    fc.dictionary(fc.string({ maxLength: 40 }), tie('any'), { maxKeys: 20, noNullPrototype: true }),
  ),
})).any;

const stamp = fc.record({
  millis: fc.oneof(fc.integer({ min: 1e12, max: 2e12 }), fc.constantFrom(-0, -1, 1.5, 2 ** 53, Number.NaN)),
  counter: fc.constantFrom(0, 1, 127, 128, 255, 256, 70_000, 0xffff_ffff, 2 ** 33, -1, 1.5),
  nodeId: fc.constantFrom('client-1', 'knoten-ü', 'a:b', '', 'n'.repeat(40)),
});

const id = fc.oneof(fc.nat().map(String), fc.constant('x'.repeat(300)));
const key = fc.oneof({ weight: 5, arbitrary: fc.string({ unit: 'grapheme-ascii' }) }, { weight: 1, arbitrary: fc.string() });
const mapName = fc.constantFrom('m', 'maps of people', '', 'größer');
const common = { id, mapName, key, timestamp: stamp, synced: fc.boolean() };
const ttlMs = fc.option(fc.constantFrom(0, 5, 200, 40_000, 3_000_000_000, 2 ** 40, 1.5, -1, null), { nil: undefined });
const op = fc.oneof(
  fc.record({ ...common, opType: fc.constantFrom('PUT', 'REMOVE'), record: fc.record({ value, timestamp: stamp, ttlMs }) }),
  fc.record({
    ...common,
    opType: fc.constant('OR_ADD'),
    orRecord: fc.record({ value, timestamp: stamp, tag: fc.constantFrom('1:0:n', '', 't'.repeat(50)), ttlMs }),
  }),
  fc.record({ ...common, opType: fc.constant('OR_REMOVE'), orTag: fc.constantFrom('1:0:n', '', null) }),
  fc.record({ ...common, writeConcern: fc.constant('PERSISTED'), record: fc.record({ value, timestamp: stamp }) }),
  fc.record({ key, mapName, record: fc.constant(null) }),
  fc.record({
    ...common,
    record: fc.record({ value, timestamp: stamp }),
    fence: fc.constantFrom({ lock: 'l', token: 5 }, { lock: 'l' }, null),
  }),
);

function batch(ops: readonly unknown[], asked: object = {}): object {
  return { type: 'OP_BATCH', payload: { ops, ...asked } };
}

/** What a batch may ask for, before or behind its ops. */
const asked = fc.record(
  {
    writeConcern: fc.constantFrom('APPLIED', 'PERSISTED', 'FIRE_AND_FORGET', 'EVERYWHERE', '', null, 5),
    timeout: fc.constantFrom(0, 1, 500, 70_000, 2 ** 40, 1.5, -1, Number.NaN, 'soon', null, [], true),
    other: fc.constant(1),
  },
  { requiredKeys: [], noNullPrototype: true },
);
const whole = fc.tuple(fc.array(op, { maxLength: 4 }), asked, fc.boolean()).map(([ops, wanted, isFirst]) => ({
  type: 'OP_BATCH',
  payload: isFirst ? { ...wanted, ops } : { ops, ...wanted },
}));

test('batches as clients write them are read as the scanner reads them, whatever is in them', () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 6 }), (ops) => expectAlike(encode(batch(ops)).slice())),
    { numRuns: RUNS },
  );
});

test('so are batches that ask for a level or a timeout, and damaged ones of them', () => {
  fc.assert(
    fc.property(whole, fc.integer(), (message, seed) => {
      const random = new Random(seed);
      const frame = encode(message).slice();
      expectAlike(frame);
      expectAlike(encodeWild(message, random));
      for (let round = 0; round < 4; round++) {
        const damaged = frame.slice(0, random.chance(3) ? random.below(frame.length + 1) : frame.length);
        if (damaged.length > 0) damaged[random.below(Math.min(damaged.length, 80))] = random.below(256);
        expectAlike(damaged);
      }
    }),
    { numRuns: RUNS },
  );
});

test('so are batches in other widths and orders, and damaged ones', () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 3 }), fc.integer(), (ops, seed) => {
      const random = new Random(seed);
      expectAlike(encodeWild(batch(ops), random));
      const frame = encode(batch(ops)).slice();
      for (let round = 0; round < 4; round++) {
        const damaged = frame.slice(0, random.chance(3) ? random.below(frame.length + 1) : frame.length);
        for (let byte = random.below(3); byte >= 0 && damaged.length > 0; byte--) {
          damaged[random.below(damaged.length)] = random.below(256);
        }
        expectAlike(damaged);
      }
    }),
    { numRuns: RUNS },
  );
});

test('bytes of an earlier, longer frame are never read as those of a later one', () => {
  const long = encode(batch(Array.from({ length: 30 }, (_, index) => usualOp(index)))).slice();
  for (let bytes = 0; bytes < long.length; bytes++) {
    scannerWithKernel.scan(long, long.length);
    expectAlike(long.slice(0, bytes));
  }
});

test('what the client writes is read by the kernel itself', () => {
  for (const ops of [0, 1, 2, 15, 16, 300]) {
    const frame = encode(batch(Array.from({ length: ops }, (_, index) => usualOp(index)))).slice();
    assert.ok(kernel.scan(frame));
    assert.equal(scannerWithKernel.scan(frame, frame.length), SCAN_OP_BATCH);
    assert.equal(scannerWithKernel.index, kernel.index);
    expectAlike(frame);
  }
});

test('so are the clocks of a client that writes much within a millisecond', () => {
  for (const counter of [127, 128, 255, 256, 65_535, 65_536, 0xffff_ffff]) {
    const timestamp = { millis: 1e12, counter, nodeId: 'client-1' };
    const frame = encode(batch([{ ...usualOp(1), record: { value: 1, timestamp }, timestamp }])).slice();
    assert.ok(kernel.scan(frame), `counter ${counter}`);
    expectAlike(frame);
  }
});

test('so is what asks for a level: it costs no slower scan', () => {
  for (const wanted of [{ writeConcern: 'PERSISTED' }, { timeout: 2000 }, { writeConcern: 'APPLIED', timeout: 100 }]) {
    const frame = encode(batch([usualOp(1), usualOp(2)], wanted)).slice();
    assert.equal(scannerWithKernel.scan(frame, frame.length), SCAN_OP_BATCH);
    assert.equal(scannerWithKernel.index, kernel.index);
    assert.equal(scannerWithKernel.timeoutMs, 'timeout' in wanted ? wanted.timeout : 0);
    expectAlike(frame);
  }
});

test('a frame that is longer than the kernel takes is read by the scanner', () => {
  const record = { value: 'v'.repeat(kernel.frameBytesMax), timestamp: { millis: 1, counter: 0, nodeId: 'n' } };
  const frame = encode(batch([{ id: '1', mapName: 'm', key: 'k', opType: 'PUT', record }])).slice();
  scannerWithKernel.scan(encode(batch([usualOp(1)])).slice(), encode(batch([usualOp(1)])).length);
  expectAlike(frame);
  assert.equal(scannerWithKernel.index.count, 1);
});

function usualOp(number: number): object {
  const timestamp = { millis: 1e12 + number, counter: number & 127, nodeId: 'client-1' };
  const record = { value: { title: `item ${number}`, done: false, tags: ['a', 'b'] }, timestamp };
  return { id: String(number + 1), mapName: 'items', opType: 'PUT', key: `item-${number}`, record, timestamp, synced: false };
}

test('the kernel packs ops as packOp does', () => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 8 }), fc.array(fc.integer({ min: 1, max: 2 })), (ops, mapIds) => {
      const frame = encode(batch(ops)).slice();
      if (!kernel.scan(frame)) return;
      const { words, floats, view, count } = kernel.index;
      let bytes = 0;
      for (let row = 0; row < count * OP_WORDS; row += OP_WORDS) {
        words[row + OP.MAP_ID] = mapIds[row / OP_WORDS] ?? 1;
        words[row + OP.FLAGS] = (words[row + OP.FLAGS] as number) | FLAG_WRITER_LISTENS;
        bytes += bytesWhenPacked(words, row, true);
      }
      const expected = packMemory(bytes);
      let at = 0;
      let mapId = 0;
      for (let row = 0; row < count * OP_WORDS; row += OP_WORDS) {
        const isNamed = words[row + OP.MAP_ID] !== mapId;
        mapId = words[row + OP.MAP_ID] as number;
        at = packOp(expected, at, frame, view, words, floats, row, isNamed);
      }
      assert.equal(kernel.pack(), at);
      // Padding may hold anything.
      for (let word = 0; word << 2 < at; word += packedBytes(expected.words, word) >> 2) {
        const end = (word << 2) + unpaddedBytes(expected, word);
        assert.deepEqual(kernel.packed.slice(word << 2, end), expected.bytes.slice(word << 2, end));
      }
    }),
    { numRuns: RUNS },
  );
});

function unpaddedBytes(memory: RingMemory, word: number): number {
  const { words } = memory;
  const spans = words[word + PACKED.KEY_TAG_BYTES] as number;
  const node = (words[word + PACKED.NODE_BYTES_FLAGS] as number) & 0xffff;
  const value = words[word + PACKED.VALUE_BYTES] as number;
  return PACKED_SPANS_START + (spans & 0xffff) + (spans >>> 16) + node + value + packedNameBytes(memory, word);
}
