import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BLOCK_BYTES_MAX, roundedBytes, SEGMENT_SHIFT, Slab, sizeClassOf, UNIT_BYTES, UNIT_MASK, unitsOfClass } from './slab.ts';

test('a class holds what is put into it, is the smallest that does, and wastes at most an eighth', () => {
  for (let bytes = 1; bytes < 100_000; bytes += bytes < 5000 ? 1 : 97) {
    const sizeClass = sizeClassOf(bytes);
    const size = unitsOfClass(sizeClass) * UNIT_BYTES;
    assert.ok(size >= bytes);
    assert.ok(sizeClass === 1 || unitsOfClass(sizeClass - 1) * UNIT_BYTES < bytes);
    assert.ok(size - bytes < Math.max(UNIT_BYTES, bytes / 8), `${bytes} bytes in ${size}`);
  }
  assert.equal(roundedBytes(BLOCK_BYTES_MAX), BLOCK_BYTES_MAX);
});

test('blocks in use never overlap, whatever was allocated and released', () => {
  const steps = fc.array(
    fc.record({ release: fc.boolean(), bytes: fc.oneof(fc.integer({ min: 1, max: 600 }), fc.integer({ min: 1, max: 300_000 })) }),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(steps, fc.constantFrom(Number.POSITIVE_INFINITY, 1 << 20, 3 << 20), (all, reservedBytesMax) => {
      const slab = new Slab();
      slab.reservedBytesMax = reservedBytesMax;
      const blocks: { ref: number; bytes: number }[] = [];
      for (const { release, bytes } of all) {
        const oldest = release ? blocks.shift() : undefined;
        if (oldest !== undefined) slab.release(oldest.ref, oldest.bytes);
        else blocks.push({ ref: slab.allocate(bytes), bytes });
      }
      const sorted = blocks.toSorted((a, b) => a.ref - b.ref);
      for (const [index, block] of sorted.entries()) {
        const units = roundedBytes(block.bytes) / UNIT_BYTES;
        assert.ok(block.ref > 0);
        assert.ok(block.ref + units <= (sorted[index + 1]?.ref ?? Number.POSITIVE_INFINITY));
        assert.ok(
          (block.ref & UNIT_MASK) * UNIT_BYTES + block.bytes <= (slab.segments[block.ref >>> SEGMENT_SHIFT]?.u8.length ?? 0),
        );
      }
      assert.equal(
        slab.usedBytes,
        blocks.reduce((sum, block) => sum + roundedBytes(block.bytes), 0),
      );
      assert.ok(slab.reservedBytes >= slab.usedBytes);
    }),
  );
});

test('an idle slab holds no memory, a small one a megabyte', () => {
  const slab = new Slab();
  assert.equal(slab.reservedBytes, 0);
  slab.allocate(100);
  assert.equal(slab.reservedBytes, 1 << 20);
});

test('released blocks are handed out again before new memory is taken', () => {
  const slab = new Slab();
  const refs = Array.from({ length: 3000 }, () => slab.allocate(300));
  const reserved = slab.reservedBytes;
  for (const ref of refs) slab.release(ref, 300);
  assert.equal(slab.usedBytes, 0);
  const again = Array.from({ length: 3000 }, () => slab.allocate(300));
  assert.deepEqual(
    again.toSorted((a, b) => a - b),
    refs.toSorted((a, b) => a - b),
  );
  assert.equal(slab.reservedBytes, reserved);
});

test('the end of a segment that a large block does not fit is used by smaller ones', () => {
  const slab = new Slab();
  slab.allocate(5 << 20);
  slab.allocate(8 << 20);
  slab.allocate(8 << 20); // leaves 3 MiB of the first segment
  const reserved = slab.reservedBytes;
  let bytes = 0;
  for (const size of [2.5, 0.25, 0.125]) {
    slab.allocate(size * (1 << 20));
    bytes += size;
  }
  assert.ok(bytes > 2.8);
  assert.equal(slab.reservedBytes, reserved);
});

test('a block larger than the largest is refused as a mistake of the caller', () => {
  assert.throws(() => new Slab().allocate(BLOCK_BYTES_MAX + 1), /larger than/);
});

test('at its bound a slab cuts larger free blocks, joins neighbours, and makes no segment while they serve', () => {
  const slab = new Slab();
  slab.allocate(16);
  slab.reservedBytesMax = 1 << 20;
  const blocks: number[] = [];
  while (slab.usedBytes + 1024 <= slab.reservedBytes) blocks.push(slab.allocate(1024));
  for (const ref of blocks.splice(0, 500)) slab.release(ref, 1024);
  const small = Array.from({ length: 3500 }, () => slab.allocate(112)); // more than 500 KB of blocks that do not fit 1024 evenly
  assert.deepEqual([slab.overruns, slab.joins], [0, 0]);
  for (const ref of small) slab.release(ref, 112);
  const large = Array.from({ length: 3 }, () => slab.allocate(100_000));
  assert.deepEqual([slab.reservedBytes, slab.overruns, slab.joins], [1 << 20, 0, 1]);
  assert.equal(new Set([...large, ...blocks]).size, large.length + blocks.length);
});

test('what does not fit the bound is made beyond it, a little at a time, and counted', () => {
  const slab = new Slab();
  slab.allocate(16);
  slab.reservedBytesMax = 1 << 20;
  for (let block = 0; block < 300; block++) slab.allocate(4096);
  assert.ok(slab.overruns > 0);
  assert.ok(slab.reservedBytes < 1.3 * 1024 * 1024);
});

test('the last segment within the bound is as large as there is room', () => {
  const slab = new Slab();
  slab.reservedBytesMax = 5 << 20;
  for (let block = 0; block < 1200; block++) slab.allocate(4096);
  assert.deepEqual([slab.reservedBytes, slab.overruns], [5 << 20, 0]);
});
