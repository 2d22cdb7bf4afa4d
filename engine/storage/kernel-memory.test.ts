import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KernelMemory } from './kernel-memory.ts';

const MIB = 1 << 20;
const PLACES = { SEGMENTS: { value: 64 }, SEGMENTS_MAX: { value: 8 }, FREE: { value: 4096 } };

function memoryOf(bytes: number): KernelMemory {
  const memory = new KernelMemory(bytes);
  memory.begin(PLACES);
  return memory;
}

test('slots that are held never overlap, come empty, and are where the kernel sees them', () => {
  const step = fc.record({ order: fc.integer({ min: 4, max: 16 }), releases: fc.nat(3) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const memory = memoryOf(16 * MIB);
      const held: { slots: Int32Array; mark: number }[] = [];
      steps.forEach(({ order, releases }, index) => {
        const slots = memory.makeSlots(2 ** order);
        assert.equal(slots.length, 2 ** order);
        assert.ok(slots.every((word) => word === 0));
        assert.equal(memory.addressOf(slots), slots.byteOffset);
        slots.fill(index + 1);
        held.push({ slots, mark: index + 1 });
        for (let left = releases; left > 1; left--) {
          const [gone] = held.splice((index * 7) % held.length, 1);
          if (gone !== undefined) memory.releaseSlots(gone.slots);
          if (held.length === 0) break;
        }
      });
      for (const { slots, mark } of held) assert.ok(slots.every((word) => word === mark));
    }),
  );
});

test('tables that double together take no more in the end than the last of their slots, and one generation more', () => {
  const memory = memoryOf(64 * MIB);
  let tables = Array.from({ length: 271 }, () => memory.makeSlots(16));
  while ((tables[0] as Int32Array).length < 8192) {
    tables = tables.map((before) => {
      const after = memory.makeSlots(before.length * 2);
      memory.releaseSlots(before);
      return after;
    });
  }
  const liveBytes = 271 * 8192 * 4;
  assert.ok(memory.takenBytes <= liveBytes * 1.3 + 2 * MIB, `${memory.takenBytes} bytes taken for ${liveBytes}`);
});

test('segments leave room for slots, and what has no room is made elsewhere', () => {
  const memory = memoryOf(16 * MIB);
  const addresses = Array.from({ length: 8 }, (_, index) => memory.takeSegment(index, 4 * MIB));
  assert.deepEqual(
    addresses.map((address) => address > 0),
    [true, true, true, false, false, false, false, false],
  );
  assert.deepEqual([...new Int32Array(memory.buffer, PLACES.SEGMENTS.value, 8)], addresses);
  const slots = Array.from({ length: 40 }, () => memory.makeSlots(MIB / 8));
  const seen = slots.filter((made) => memory.addressOf(made) > 0).length;
  assert.ok(seen > 0 && seen < 40, `${seen} of 40 seen`);
  assert.ok(slots.every((made) => made.length === MIB / 8));
  for (const made of slots) memory.releaseSlots(made);
  assert.ok(memory.addressOf(memory.makeSlots(MIB / 8)) > 0, 'what was let go is used again');
});
