import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode, isData } from '../../engine/protocol/codec.ts';
import { startServer } from '../harness.ts';
import { runCounters } from './counter-load.ts';
import { COLD_COUNTERS, CONNECTIONS, counterNames, speakerOf } from './counter-speakers.ts';
import { reasonMiscounted } from './counters.bench.ts';

/** Of a masked frame below 126 bytes. */
const HEADER_BYTES = 6;

test('the connections share out the cold counters, and each raises its own by one a round', () => {
  const seen = new Map<string, number>();
  for (let connection = 0; connection < CONNECTIONS; connection++) {
    const speaker = speakerOf('pn', { heat: 'cold', room: 'r', connection });
    for (let number = 0; number < 160; number++) {
      const message = decode(Buffer.from(speaker.increment(number)).subarray(HEADER_BYTES));
      assert.ok(isData(message) && isData(message.payload) && isData(message.payload.state));
      const { name, state } = message.payload;
      assert.ok(isData(state.positive));
      const [sum] = Object.values(state.positive);
      assert.equal(sum, (seen.get(String(name)) ?? 0) + 1);
      seen.set(String(name), Number(sum));
    }
  }
  assert.equal(seen.size, COLD_COUNTERS);
  assert.deepEqual([...seen.keys()].sort(), counterNames('cold', 'r'));
});

test('a hot increment is acknowledged by a state that says its sum, wherever reads cut the frames', () => {
  for (const size of [1, 7, 64, 10_000]) {
    const speaker = speakerOf('pn', { heat: 'hot', room: 'r', connection: 5 });
    const states = [1, 1, 2, 127, 128, 300, 70_000].map((sum) => ({ 'n-r-004': 9, 'n-r-005': sum, 'n-r-006': 1 }));
    const frames = states.map((positive) =>
      encode({ type: 'COUNTER_UPDATE', payload: { name: 'c', state: { positive } } }).slice(),
    );
    const bytes = Buffer.concat([...frames, Buffer.alloc(32)]);
    let acked = 0;
    for (let at = 0; at < bytes.length; at += size) {
      const now = speaker.take(bytes.subarray(at, at + size));
      assert.ok(now >= acked);
      acked = now;
    }
    assert.equal(acked, 70_000);
  }
});

test('an error in place of a number ends the counting', () => {
  const speaker = speakerOf('incr', { heat: 'hot', room: 'r', connection: 0 });
  assert.equal(speaker.take(Buffer.from(':1\r\n:2\r\n')), 2);
  assert.throws(() => speaker.take(Buffer.from('-ERR value is not an integer\r\n')), /not an integer/);
});

test('a run is valid when the counters of a node say what was sent, and void when not', async () => {
  const server = await startServer('alone');
  try {
    const plan = { protocol: 'pn', heat: 'hot', room: 'r', port: server.port, serverPid: server.pid } as const;
    const report = await runCounters({ ...plan, warmUpMs: 0, measureMs: 300 });
    assert.ok(report.sent >= CONNECTIONS);
    assert.equal(await reasonMiscounted(plan, { sent: report.sent, measured: 1 }), undefined);
    assert.match(String(await reasonMiscounted(plan, { sent: report.sent + 1, measured: 1 })), /^void: \d+ increments sent, the/);
    assert.match(String(await reasonMiscounted(plan, { sent: report.sent, measured: 0 })), /^void: nothing/);
  } finally {
    await server.stop();
  }
});

test('the raw server acknowledges every increment once, hot and cold', async () => {
  const server = await startServer('raw');
  try {
    for (const heat of ['hot', 'cold'] as const) {
      const plan = { protocol: 'raw', heat, room: 'r', port: server.port, serverPid: server.pid } as const;
      const report = await runCounters({ ...plan, warmUpMs: 0, measureMs: 300 });
      assert.ok(report.sent >= CONNECTIONS && report.measured > 0);
      assert.match(String(await reasonMiscounted(plan, { sent: report.sent, measured: 0 })), /^void: nothing/);
    }
  } finally {
    await server.stop();
  }
});
