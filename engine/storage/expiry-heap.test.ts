import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { ExpiryHeap } from './expiry-heap.ts';

type Entry = readonly [time: number, ref: number, owner: number];

function first(heap: ExpiryHeap): Entry {
  return [heap.timeAt(0), heap.refAt(0), heap.ownerAt(0)];
}

/** All entries, as the heap gives them up. */
function drained(heap: ExpiryHeap): Entry[] {
  const entries: Entry[] = [];
  while (heap.length > 0) {
    entries.push(first(heap));
    heap.removeAt(0);
  }
  return entries;
}

test('whatever comes in and is taken out anywhere, the first entry is the lowest, and the rest is all there', () => {
  const step = fc.oneof(fc.record({ push: fc.nat(50) }), fc.record({ removeAt: fc.double({ min: 0, max: 0.999, noNaN: true }) }));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
      const heap = new ExpiryHeap();
      const model = new Map<number, Entry>();
      for (const [index, some] of steps.entries()) {
        if ('push' in some) {
          const entry: Entry = [some.push, index + 1, -index - 1];
          model.set(index + 1, entry);
          heap.push(...entry);
        } else if (heap.length > 0) {
          const at = Math.floor(some.removeAt * heap.length);
          model.delete(heap.refAt(at));
          heap.removeAt(at);
        }
        assert.equal(heap.length, model.size);
        for (let at = 1; at < heap.length; at++) assert.ok(heap.timeAt((at - 1) >>> 1) <= heap.timeAt(at));
      }
      const entries = drained(heap);
      assert.deepEqual(
        entries.map(([time]) => time),
        entries.map(([time]) => time).toSorted((a, b) => a - b),
      );
      assert.deepEqual(new Map(entries.map((entry) => [entry[1], entry])), model);
    }),
  );
});

test('a hundred thousand entries come out in order, and their memory is given back but for a spare chunk', () => {
  const heap = new ExpiryHeap();
  const emptyBytes = heap.bytes;
  for (let index = 0; index < 100_000; index++) heap.push((index * 7919) % 100_003, index + 1, index);
  assert.ok(heap.bytes >= 100_000 * 16 && heap.bytes < 120_000 * 16, `${heap.bytes}`);
  let before = -1;
  for (const [time, ref, owner] of drained(heap)) {
    assert.ok(time > before);
    assert.deepEqual([time, owner], [((ref - 1) * 7919) % 100_003, ref - 1]);
    before = time;
  }
  assert.ok(heap.bytes <= 2 * 16_384 * 16, `${heap.bytes}`);
  assert.ok(emptyBytes < 2048);
});
