import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type JournalEvent, type JournalLimits, JournalRing } from './journal-ring.ts';

function event(number: number, bytes = 10, atMs = 0): JournalEvent {
  return { number, type: 'PUT', map: 'm', atMs, change: { bytes, encode: () => {} } };
}

function numbers(ring: JournalRing): number[] {
  return Array.from({ length: ring.events }, (_, position) => ring.at(position)?.number ?? -1);
}

const WIDE: JournalLimits = { eventsMax: 1000, bytesMax: 1 << 20, ttlMs: 0 };

test('a ring holds the last events within its bounds, and knows the highest number that went', () => {
  const step = fc.record({ hole: fc.nat(3), bytes: fc.nat(900), waitMs: fc.nat(30) });
  const limits = fc.record({
    eventsMax: fc.integer({ min: 1, max: 200 }),
    bytesMax: fc.integer({ min: 2000, max: 100_000 }),
    ttlMs: fc.constantFrom(0, 40, 400),
  });
  fc.assert(
    fc.property(limits, fc.array(step, { maxLength: 300 }), fc.nat(1000), (bounds, steps, asked) => {
      const ring = new JournalRing(bounds, 0);
      const all: JournalEvent[] = [];
      let number = 0;
      let nowMs = 0;
      for (const { hole, bytes, waitMs } of steps) {
        number += 1 + hole;
        nowMs += waitMs;
        ring.expire(nowMs);
        const added = event(number, bytes, nowMs);
        ring.add(added);
        all.push(added);
        assert.ok(ring.events <= bounds.eventsMax && ring.bytes <= bounds.bytesMax);
        if (bounds.ttlMs > 0)
          for (const held of numbers(ring)) assert.ok(nowMs - (all.find((one) => one.number === held)?.atMs ?? 0) < bounds.ttlMs);
      }
      const held = numbers(ring);
      assert.deepEqual(
        held,
        all.slice(all.length - held.length).map((one) => one.number),
        'the last ones, in order',
      );
      assert.equal(ring.droppedNumber, all[all.length - held.length - 1]?.number ?? 0);
      assert.equal(ring.dropped, all.length - held.length);
      const position = ring.positionOf(asked);
      assert.ok(position === 0 || (held[position - 1] ?? 0) < asked);
      assert.ok(position === held.length || (held[position] ?? 0) >= asked);
    }),
  );
});

test('an event larger than all of the ring goes at once, and says so', () => {
  const ring = new JournalRing({ ...WIDE, bytesMax: 1000 }, 0);
  ring.add(event(3));
  ring.add(event(5, 5000));
  assert.deepEqual([ring.events, ring.bytes, ring.droppedNumber], [0, 0, 5]);
});

test('a ring that begins behind a loss knows it', () => {
  const ring = new JournalRing(WIDE, 17);
  ring.add(event(20));
  assert.equal(ring.droppedNumber, 17);
});
