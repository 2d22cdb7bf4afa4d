import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { plain } from '../engine/domains/testing/scanned-ops.ts';
import { decode, encode } from '../engine/protocol/codec.ts';
import { EVENT_ROW, EVENT_ROW_WORDS, type RingMemory } from '../engine/protocol/envelope.ts';
import { FanOut } from './fan-out.ts';
import { MapNames } from './map-names.ts';
import { Session } from './session.ts';

interface TestEvent {
  readonly origin: number;
  readonly mapId: number;
  readonly key: string;
  readonly size?: number;
}

class FanOutUnderTest {
  readonly frames = new Map<Session, { type: string; keys: string[] }[]>();
  readonly interests: [number, boolean][] = [];
  readonly counts: number[] = [];
  readonly fanOut = new FanOut(
    (session, frame) => this.#receive(session, frame),
    new MapNames(10),
    (mapId, wanted) => void this.interests.push([mapId, wanted]),
    (count) => void this.counts.push(count),
  );
  #nextId = 1;

  session(byInterest = false): Session {
    const session = new Session(
      this.#nextId++,
      { send: () => true, cork: () => {}, end: () => {}, bufferedBytes: () => 0 },
      byInterest,
      0,
    );
    this.fanOut.join(session);
    return session;
  }

  deliver(events: readonly TestEvent[]): void {
    const bodies = events.map(({ key, size = 0 }) =>
      encode({ mapName: 'm', eventType: 'PUT', key, record: 'x'.repeat(size) }).slice(),
    );
    const rowBytes = events.length * EVENT_ROW_WORDS * 4;
    const buffer = new ArrayBuffer((rowBytes + bodies.reduce((sum, body) => sum + body.length, 0) + 15) & ~7);
    const memory: RingMemory = { bytes: new Uint8Array(buffer), words: new Int32Array(buffer), floats: new Float64Array(buffer) };
    let start = 0;
    for (const [index, { origin, mapId }] of events.entries()) {
      const row = index * EVENT_ROW_WORDS;
      const body = bodies[index] ?? new Uint8Array(0);
      memory.words[row + EVENT_ROW.ORIGIN] = origin;
      memory.words[row + EVENT_ROW.MAP_ID] = mapId;
      memory.words[row + EVENT_ROW.START] = start;
      memory.words[row + EVENT_ROW.BYTES] = body.length;
      memory.bytes.set(body, rowBytes + start);
      start += body.length;
    }
    this.fanOut.deliver(memory, 0, events.length, rowBytes);
  }

  keys(session: Session): string[] {
    return (this.frames.get(session) ?? []).flatMap(({ keys }) => keys);
  }

  #receive(session: Session, frame: Uint8Array): void {
    const { type, payload } = plain(decode(frame)) as { type: string; payload: { key: string; events?: { key: string }[] } };
    const keys = payload.events === undefined ? [payload.key] : payload.events.map(({ key }) => key);
    this.frames.set(session, [...(this.frames.get(session) ?? []), { type, keys }]);
  }
}

test('every session gets the events it listens to in their order, save for its own', () => {
  const event = fc.record({ origin: fc.nat(5), mapId: fc.integer({ min: 1, max: 3 }) });
  const interest = fc.subarray([1, 2, 3]);
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 20 }),
      fc.array(fc.option(interest, { nil: undefined }), { maxLength: 5 }),
      (list, audience) => {
        const under = new FanOutUnderTest();
        const sessions = audience.map((maps) => {
          const session = under.session(maps !== undefined);
          for (const mapId of maps ?? []) under.fanOut.listen(session, mapId);
          return { session, maps };
        });
        const events = list.map((item, index) => ({ ...item, key: `k${index}` }));
        under.deliver(events);
        for (const { session, maps } of sessions) {
          const mine = events.filter(
            ({ origin, mapId }) => origin !== session.id && (maps === undefined || maps.includes(mapId)),
          );
          // Maps come one after the other to a session by interest; the order within a map is kept.
          const sorted = maps === undefined ? mine : mine.toSorted((a, b) => a.mapId - b.mapId);
          const got = under.keys(session);
          assert.deepEqual(
            maps === undefined ? got : got.toSorted(),
            sorted.map(({ key }) => key).toSorted(maps === undefined ? () => 0 : undefined),
          );
          for (const mapId of [1, 2, 3]) {
            const ofMap = mine.filter((item) => item.mapId === mapId).map(({ key }) => key);
            assert.deepEqual(
              got.filter((key) => ofMap.includes(key)),
              ofMap,
            );
          }
        }
      },
    ),
  );
});

test('one event is a SERVER_EVENT, several are a SERVER_BATCH_EVENT', () => {
  const under = new FanOutUnderTest();
  const session = under.session();
  under.deliver([{ origin: 0, mapId: 1, key: 'a' }]);
  under.deliver([
    { origin: 0, mapId: 1, key: 'b' },
    { origin: 0, mapId: 2, key: 'c' },
  ]);
  assert.deepEqual(under.frames.get(session), [
    { type: 'SERVER_EVENT', keys: ['a'] },
    { type: 'SERVER_BATCH_EVENT', keys: ['b', 'c'] },
  ]);
  assert.equal(under.fanOut.delivered, 3);
});

test('events of more than a megabyte are cut into frames, and an event is never cut', () => {
  const under = new FanOutUnderTest();
  const session = under.session();
  under.deliver(
    [400_000, 400_000, 400_000, 3_000_000, 10].map((size, index) => ({ origin: 0, mapId: 1, key: `k${index}`, size })),
  );
  assert.deepEqual(
    (under.frames.get(session) ?? []).map(({ keys }) => keys),
    [['k0', 'k1'], ['k2'], ['k3'], ['k4']],
  );
});

test('the first listener of a map is told, and the last one that goes', () => {
  const under = new FanOutUnderTest();
  const [a, b, all] = [under.session(true), under.session(true), under.session()];
  under.fanOut.listen(a, 4);
  under.fanOut.listen(a, 4);
  under.fanOut.listen(b, 4);
  under.fanOut.listen(all, 4); // gets everything anyway
  under.fanOut.leave(a, 0);
  assert.deepEqual(under.interests, [[4, true]]);
  assert.deepEqual([...under.fanOut.wantedMaps()], [4]);
  under.fanOut.leave(b, 0);
  assert.deepEqual(under.interests, [
    [4, true],
    [4, false],
  ]);
  under.deliver([{ origin: 0, mapId: 4, key: 'k' }]);
  assert.deepEqual([under.keys(a), under.keys(b), under.keys(all)], [[], [], ['k']]);
});

test('a session that goes with ops on their way is counted until they are done', () => {
  const under = new FanOutUnderTest();
  const [writer, listener] = [under.session(), under.session()];
  assert.deepEqual([under.fanOut.isBroadcast(writer), under.counts], [true, [1, 2]]);
  under.fanOut.leave(writer, 500);
  under.fanOut.sweep(499);
  assert.equal(under.counts.at(-1), 2);
  under.fanOut.sweep(500);
  assert.equal(under.counts.at(-1), 1);
  under.fanOut.leave(listener, 0);
  assert.deepEqual([under.counts.at(-1), under.fanOut.isBroadcast(writer)], [0, false]);
});
