/**
 * Whatever the clocks say: who writes a key after having seen its record wins, and all agree.
 *
 * Clients are hybrid clocks over walls that are wrong and jump; the server is the real service over a real record store,
 * behind the quarantine's arithmetic. Time is the test's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { quarantineOffsetMs } from '../../crdt/clock-quarantine.ts';
import { compareBytes, HybridLogicalClock, type Stamp } from '../../crdt/hlc.ts';
import { EngineUnderTest, utf8 } from '../testing/scanned-ops.ts';

const HOUR_MS = 3_600_000;
const DRIFT_MAX_MS = 60_000;
const START_MS = 1_800_000_000_000;
const YEAR_2099_MS = 4_070_908_800_000;
const COUNTER_MAX = 0xffffffff;

class Client {
  /** How far its wall clock is from the truth. */
  skewMs: number;
  readonly clock: HybridLogicalClock;
  #offsetMs = 0;

  constructor(nodeId: string, skewMs: number, now: () => number) {
    this.skewMs = skewMs;
    this.clock = new HybridLogicalClock(nodeId, () => now() + this.skewMs);
  }

  /** The next stamp as the server takes it: with the offset that the node is given when it is first too far ahead. */
  stamp(serverMs: number): Stamp {
    const stamp = this.clock.now();
    if (this.#offsetMs === 0 && stamp.millis > serverMs + DRIFT_MAX_MS)
      this.#offsetMs = quarantineOffsetMs(stamp.millis, serverMs);
    return { ...stamp, millis: stamp.millis + this.#offsetMs };
  }
}

class Simulation {
  readonly #engine = new EngineUnderTest();
  readonly #mapIds = new Map<string, number>();
  readonly stored = new Map<string, Stamp>();
  nowMs = START_MS;
  /** How far the server's wall clock is from the truth. */
  serverSkewMs = 0;

  get serverMs(): number {
    return this.nowMs + this.serverSkewMs;
  }

  newClient(nodeId: string, skewMs: number): Client {
    return new Client(nodeId, skewMs, () => this.nowMs);
  }

  /** A write with a stamp, or one that the server stamps. True when it won. */
  write(key: string, timestamp: Stamp | undefined): boolean {
    const op =
      timestamp === undefined
        ? { mapName: 'm', opType: 'REMOVE', key }
        : { mapName: 'm', opType: 'PUT', key, record: { value: this.nowMs, timestamp }, timestamp };
    assert.equal(this.#engine.apply([op], this.serverMs, 0, 7, this.#mapIds).size, 0, 'nothing is refused');
    const [event] = this.#engine.takeEvents().map((taken) => taken.event as { record: { timestamp: Stamp } });
    if (event !== undefined) this.stored.set(key, event.record.timestamp);
    return event !== undefined;
  }
}

function isAfter(left: Stamp, right: Stamp | undefined): boolean {
  if (right === undefined) return true;
  const [a, b] = [utf8(left.nodeId), utf8(right.nodeId)];
  const order = left.millis - right.millis || left.counter - right.counter || compareBytes(a, 0, a.length, b, 0, b.length);
  return order > 0;
}

const step = fc.record({
  who: fc.constantFrom(0, 1, 2, 3),
  key: fc.constantFrom('a', 'b'),
  sees: fc.boolean(),
  passesMs: fc.nat(5000),
  skewMs: fc.option(fc.integer({ min: -5 * HOUR_MS, max: DRIFT_MAX_MS / 2 })),
  serverSkewMs: fc.option(fc.integer({ min: -5 * HOUR_MS, max: 0 })),
});

test('a write wins over every version that its writer had seen, with clocks behind, a little ahead, and jumping', () => {
  const skews = fc.tuple(...[0, 1, 2].map(() => fc.integer({ min: -5 * HOUR_MS, max: DRIFT_MAX_MS / 2 })));
  fc.assert(
    fc.property(skews, fc.array(step, { maxLength: 60 }), (skewsMs, steps) => {
      const world = new Simulation();
      const clients = skewsMs.map((skewMs, index) => world.newClient(`node-${index}`, skewMs));
      for (const { who, key, sees, passesMs, skewMs, serverSkewMs } of steps) {
        world.nowMs += passesMs;
        if (serverSkewMs !== null) world.serverSkewMs = serverSkewMs;
        const before = world.stored.get(key);
        const client = clients[who];
        if (client === undefined) {
          assert.ok(world.write(key, undefined), 'a write of the server itself wins always');
          assert.ok(isAfter(world.stored.get(key) as Stamp, before));
          continue;
        }
        if (skewMs !== null) client.skewMs = skewMs;
        if (sees && before !== undefined) client.clock.update(before);
        // The drift bound is judged by a clock that never goes back, so only the truth counts here.
        const stamp = client.stamp(world.nowMs);
        const won = world.write(key, stamp);
        assert.equal(won, isAfter(stamp, before), 'the order of stamps decides');
        if (sees) assert.ok(won, 'who had seen the record wins');
      }
    }),
  );
});

for (const [name, aheadMs] of [
  ['two hours ahead', 2 * HOUR_MS],
  ['in the year 2099', YEAR_2099_MS - START_MS],
] as const) {
  test(`a client ${name} takes part like any other among clocks that are not ahead`, () => {
    const shared = fc.record({
      who: fc.constantFrom(0, 1, 2),
      key: fc.constantFrom('a', 'b'),
      passesMs: fc.integer({ min: 1, max: 5000 }),
    });
    fc.assert(
      fc.property(fc.integer({ min: -5 * HOUR_MS, max: 0 }), fc.array(shared, { maxLength: 60 }), (behindMs, steps) => {
        const world = new Simulation();
        const clients = [world.newClient('wild', aheadMs), world.newClient('behind', behindMs)];
        for (const { who, key, passesMs } of steps) {
          world.nowMs += passesMs;
          const before = world.stored.get(key);
          const client = clients[who];
          if (client !== undefined && before !== undefined) client.clock.update(before);
          assert.ok(world.write(key, client?.stamp(world.serverMs)), 'the later write wins');
          const stamp = world.stored.get(key) as Stamp;
          assert.ok(stamp.millis <= world.nowMs, 'and nothing stored is ahead');
        }
      }),
    );
  });
}

test('a counter at its end moves a write of the server to the next millisecond, also while its wall is behind', () => {
  const world = new Simulation();
  world.serverSkewMs = -2 * HOUR_MS;
  const last = { millis: START_MS, counter: COUNTER_MAX, nodeId: 'node-z' };
  assert.ok(world.write('k', last));
  assert.ok(world.write('k', undefined));
  assert.deepEqual(world.stored.get('k'), { millis: START_MS + 1, counter: 0, nodeId: 'server-1' });
  assert.ok(world.write('k', undefined));
  assert.deepEqual(world.stored.get('k'), { millis: START_MS + 1, counter: 1, nodeId: 'server-1' });
  assert.equal(world.write('k', last), false);
});
