import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BATCH_ITEMS_MAX, batchItems } from './batch-frame.ts';

const u32 = (value: number, littleEndian: boolean): number[] => {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, littleEndian);
  return [...new Uint8Array(view.buffer)];
};
const counted = (items: number[][], count = items.length): Uint8Array =>
  Uint8Array.from([...u32(count, true), ...items.flatMap((item) => [...u32(item.length, true), ...item])]);
const uncounted = (items: number[][]): Uint8Array =>
  Uint8Array.from(items.flatMap((item) => [...u32(item.length, false), ...item]));
const read = (data: Uint8Array): number[][] | undefined =>
  batchItems(data)?.map(({ start, end }) => [...data.subarray(start, end)]);

const items = [[0x80], [0x81, 0xa1, 0x61, 0x01], [], [0xc0]];

test('both layouts give the same messages', () => {
  assert.deepEqual(read(counted(items)), items);
  assert.deepEqual(read(uncounted(items)), items);
  assert.deepEqual(read(counted([])), []);
  assert.deepEqual(read(new Uint8Array(0)), []);
});

test('a batch inside larger memory is read from its own beginning', () => {
  const whole = counted(items);
  const data = new Uint8Array(whole.length + 7);
  data.set(whole, 7);
  assert.deepEqual(read(data.subarray(7)), items);
});

test('what fits neither layout to its last byte is no batch', () => {
  assert.equal(read(Uint8Array.of(0xde, 0xad, 0xbe, 0xef)), undefined); // the golden message's data
  assert.equal(read(counted(items).subarray(0, -1)), undefined);
  assert.equal(read(uncounted(items).subarray(0, -1)), undefined);
  assert.equal(read(counted(items, 3)), undefined);
  assert.equal(read(Uint8Array.of(1, 0, 0)), undefined);
});

test('a batch has 8192 messages at most', () => {
  const most = new Array<number[]>(BATCH_ITEMS_MAX).fill([0xc0]);
  assert.equal(read(counted(most))?.length, BATCH_ITEMS_MAX);
  assert.equal(read(uncounted(most))?.length, BATCH_ITEMS_MAX);
  assert.equal(read(counted([...most, [0xc0]])), undefined);
  assert.equal(read(uncounted([...most, [0xc0]])), undefined);
});
