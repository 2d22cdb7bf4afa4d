import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageRoundTrips, ringRoundTrips } from './hand-off.ts';
import { TARGETS } from './targets.ts';

test('records come back over a pair of rings, and by postMessage', async () => {
  assert.ok((await ringRoundTrips(64, 50, 100)) > 0);
  assert.ok((await messageRoundTrips(1024, 50, 100)) > 0);
});

test('every stretch goal is at least as hard as its gate', () => {
  for (const { label, direction, gate, stretch } of TARGETS) {
    if (gate !== undefined) assert.ok(direction === 'least' ? stretch >= gate : stretch <= gate, label);
  }
});
