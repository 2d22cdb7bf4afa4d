import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { JournalRing } from './journal-ring.ts';
import {
  ALL_TYPES,
  decodePage,
  decodeRead,
  encodePage,
  encodeRead,
  joinPages,
  JOURNAL_TYPES,
  type JournalPage,
  type PagedEvent,
} from './journal-wire.ts';

test('requests and pages survive their encoding', () => {
  const read = { from: 2 ** 45 + 1, events: 7, bytes: 9, map: 'ü', types: ALL_TYPES, wakes: true };
  assert.deepEqual(decodeRead(encodeRead(read)), read);
  assert.deepEqual(decodeRead(encodeRead({ ...read, map: undefined })), { ...read, map: undefined });
  const events = [{ number: 4, type: 2, map: 'm', bytes: Uint8Array.of(1, 2) }];
  const page = { next: 5, dropped: 1, full: true, events };
  assert.deepEqual(decodePage(encodePage(page)), page);
});

/** Workers that take numbers and answer at moments of their own: whatever the order, a reader gets all events, each once, in order. */
test('pages joined one after the other give every event once and in order, whoever answers first', () => {
  const turn = fc.oneof(
    fc.record({ kind: fc.constant('write' as const), worker: fc.nat(2) }),
    fc.record({ kind: fc.constant('answer' as const), worker: fc.nat(2) }),
  );
  fc.assert(
    fc.property(fc.array(turn, { maxLength: 120 }), fc.integer({ min: 1, max: 7 }), (turns, limit) => {
      const rings = [0, 1, 2].map(() => new JournalRing({ eventsMax: 1000, bytesMax: 1 << 20, ttlMs: 0 }, 0));
      let counter = 1;
      let from = 1;
      const seen: number[] = [];
      const pages = new Map<number, JournalPage>();
      const join = (): void => {
        const joined = joinPages([...pages.values()], limit);
        pages.clear();
        for (const { number } of joined.events) seen.push(number);
        assert.ok(joined.next >= from);
        from = joined.next;
      };
      const answer = (worker: number): void => {
        if (!pages.has(worker)) pages.set(worker, pageOf(rings[worker] as JournalRing, from, limit, counter));
      };
      for (const { kind, worker } of turns) {
        if (kind === 'write') {
          (rings[worker] as JournalRing).add({
            number: counter,
            type: 'PUT',
            map: 'm',
            atMs: 0,
            change: { bytes: 1, encode: () => {} },
          });
          counter += 1;
        } else {
          answer(worker);
          if (pages.size === rings.length) join();
        }
      }
      while (from < counter) {
        for (const worker of rings.keys()) answer(worker);
        join();
      }
      assert.deepEqual(
        seen,
        Array.from({ length: counter - 1 }, (_, index) => index + 1),
      );
    }),
  );
});

function pageOf(ring: JournalRing, from: number, limit: number, counter: number): JournalPage {
  const events: PagedEvent[] = [];
  let position = ring.positionOf(from);
  for (; events.length < limit; position++) {
    const event = ring.at(position);
    if (event === undefined) break;
    events.push({ number: event.number, type: JOURNAL_TYPES[event.type], map: event.map, bytes: new Uint8Array(1) });
  }
  const further = ring.at(position);
  return { next: further?.number ?? counter, dropped: ring.droppedNumber, full: further !== undefined, events };
}
