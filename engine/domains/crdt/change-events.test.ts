import assert from 'node:assert/strict';
import test from 'node:test';
import { EngineUnderTest } from '../testing/scanned-ops.ts';

const STAMP = { millis: 5, counter: 0, nodeId: 'n' };

function put(mapName: string, key: string, value: unknown): object {
  return { mapName, key, opType: 'PUT', record: { value, timestamp: STAMP } };
}

test('a gateway gets events only while somebody other than the writer listens there', () => {
  const engine = new EngineUnderTest({ gateways: 3, listeners: [1, 1, 0] });
  engine.applyAs(put('m', 'k', 1), true); // the writer is the only session of gateway 0
  assert.deepEqual(
    [0, 1, 2].map((gateway) => engine.takeEvents(gateway).length),
    [0, 1, 0],
  );
  engine.listeners[0] = 2;
  engine.applyAs(put('m', 'l', 1), true);
  assert.deepEqual(
    [0, 1, 2].map((gateway) => engine.takeEvents(gateway).length),
    [1, 1, 0],
  );
  engine.listeners[0] = 1;
  engine.applyAs(put('m', 'o', 1), false); // the writer listens by interest, so the one session is somebody else
  assert.deepEqual(
    [0, 1, 2].map((gateway) => engine.takeEvents(gateway).length),
    [1, 1, 0],
  );
});

test('the writer is named at its own gateway alone, since numbers of sessions mean nothing elsewhere', () => {
  const engine = new EngineUnderTest({ gateways: 2, listeners: [2, 2] });
  engine.apply([put('m', 'k', 1)], 1, 1, 42);
  assert.deepEqual(
    [0, 1].map((gateway) => engine.takeEvents(gateway).map(({ origin }) => origin)),
    [[0], [42]],
  );
});

test('a map that a gateway asked for by name sends events there, under the number of that gateway', () => {
  const engine = new EngineUnderTest({ gateways: 2, listeners: [0, 0] });
  const name = new TextEncoder().encode('wanted');
  const map = engine.maps.open(1, 9, name, 0, name.length);
  assert.ok(map !== undefined);
  map.wantedBy[1] = true;
  engine.apply([put('wanted', 'k', 1), put('other', 'k', 1)]);
  assert.deepEqual(
    [0, 1].map((gateway) => engine.takeEvents(gateway).map(({ mapId }) => mapId)),
    [[], [9]],
  );
  map.wantedBy[1] = false;
  engine.apply([put('wanted', 'l', 1)]);
  assert.deepEqual(engine.takeEvents(1), []);
});

test('more events than the first room holds keep their rows and bytes', () => {
  const engine = new EngineUnderTest();
  const keys = Array.from({ length: 500 }, (_, index) => `key ${index}`);
  engine.apply(keys.map((key, index) => put('m', key, 'v'.repeat(index))));
  const events = engine.takeEvents().map(({ event }) => event);
  assert.deepEqual(
    events,
    keys.map((key, index) => ({
      mapName: 'm',
      eventType: 'PUT',
      key,
      record: { value: 'v'.repeat(index), timestamp: STAMP },
    })),
  );
  assert.deepEqual(engine.takeEvents(), []);
});
