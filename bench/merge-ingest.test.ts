import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decode, isData } from '../engine/protocol/codec.ts';
import { runGenerator, startServer } from './harness.ts';
import type { RunSettings } from './ingest.bench.ts';
import type { LoadPlan } from './load.ts';
import { readApplied, readMerged, readTold, reasonNotTold, reasonUntold, reasonVoid } from './applied-ops.ts';
import { withLosingServer } from './losing-server.ts';
import {
  type MergeScenario,
  type MergeVariant,
  reasonDiffers,
  reasonValues,
  runMerges,
  runRaw,
  runRedis,
} from './merge-ingest.bench.ts';
import { type ExpectedState, expectedState } from './merge-oracle.ts';
import { HOT_KEYS, type MixName, mixedKey, OpMix } from './op-mix.ts';
import { RedisSlice } from './redis-frames.ts';
import { redisMissing } from './redis-peer.ts';
import type { Figures } from './result.ts';
import { FrameSlice } from './write-frames.ts';

const BEFORE_MILLIS = 1_700_000_000_000;
const HEADER_BYTES = 8;

const SETTINGS: RunSettings = { quick: true, runs: 1, progress: () => {}, scenarios: undefined, pinning: undefined };
const UNIQUE: MergeScenario = { name: 'W2-UNIQUE2', title: '', mix: 'unique', connections: 2 };
/** It is due 20 ms after the start, in the warm-up; the next one only after the window. */
const ONE_BATCH: MergeScenario = { ...UNIQUE, opsPerSecond: 1 };

interface MixedOp {
  readonly key: string;
  readonly title: string;
  readonly millis: number;
  readonly counter: number;
  readonly nodeId: string;
}

/** The ops of the first frames of a connection, as they are sent. */
function sentOps(name: MixName, connection: number, frames: number): MixedOp[] {
  const mix = new OpMix(name, connection, BEFORE_MILLIS);
  const slice = new FrameSlice({ mapName: 'm', keyPrefix: 'k-', firstKey: 0, frames: 3, opsPerFrame: 10, mix });
  const ops: MixedOp[] = [];
  for (let sent = 0; sent < frames; sent++) {
    const frame = sent % 3;
    slice.stamp(frame, Math.floor(sent / 3), 1);
    const start = frame * slice.frameBytes + HEADER_BYTES;
    const message = decode(slice.bytes.subarray(start, start + slice.frameBytes - HEADER_BYTES));
    assert.ok(isData(message) && isData(message.payload) && Array.isArray(message.payload.ops));
    ops.push(...message.payload.ops.map(mixedOp));
  }
  return ops;
}

function mixedOp(op: unknown): MixedOp {
  assert.ok(isData(op) && isData(op.record) && isData(op.record.timestamp) && isData(op.record.value));
  assert.deepEqual(op.timestamp, op.record.timestamp);
  const { millis, counter, nodeId } = op.record.timestamp;
  return {
    key: String(op.key),
    title: String(op.record.value.title),
    millis: Number(millis),
    counter: Number(counter),
    nodeId: String(nodeId),
  };
}

test('the oracle knows what wins of the ops that are sent, in whatever order they are merged', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<MixName>('hot', 'unique'),
      fc.array(fc.nat(40), { minLength: 1, maxLength: 6 }),
      fc.infiniteStream(fc.nat()),
      (name, frames, order) => {
        const ops = frames.flatMap((count, connection) => sentOps(name, connection, count));
        const shuffled = ops.map((op) => ({ op, rank: order.next().value })).sort((a, b) => a.rank - b.rank);
        const newest = new Map<string, MixedOp>();
        for (const { op } of shuffled) {
          const known = newest.get(op.key);
          if (known === undefined || wins(op, known)) newest.set(op.key, op);
        }
        const counts = frames.map((count) => count * 10);
        const { records, winners } = expectedState(name, 'k-', BEFORE_MILLIS, counts);
        assert.equal(records, newest.size);
        for (const [key, op] of winners) {
          assert.equal(newest.get(key)?.title, `item ${String(op).padStart(6, '0')}`);
          assert.equal(newest.get(key)?.counter, op);
        }
      },
    ),
    { numRuns: 40 },
  );
});

function wins(op: MixedOp, known: MixedOp): boolean {
  if (op.millis !== known.millis) return op.millis > known.millis;
  return op.counter === known.counter ? op.nodeId > known.nodeId : op.counter > known.counter;
}

test('hot ops share 1000 keys, unique ops none, and all clocks lie within the minute before the run', () => {
  const hot = [0, 1].flatMap((connection) => sentOps('hot', connection, 600));
  assert.ok(new Set(hot.map(({ key }) => key)).size > 0.99 * HOT_KEYS && new Set(hot.map(({ key }) => key)).size <= HOT_KEYS);
  assert.equal(new Set(hot.map(({ millis, counter, nodeId }) => `${millis} ${counter} ${nodeId}`)).size, hot.length);
  for (const { millis } of hot) assert.ok(millis < BEFORE_MILLIS && millis >= BEFORE_MILLIS - 60_001);
  const unique = [0, 1].flatMap((connection) => sentOps('unique', connection, 60));
  assert.equal(new Set(unique.map(({ key }) => key)).size, unique.length);
});

test('rising ops share out the keys that are asked for, and each is newer than the last one of its key', () => {
  const keys = 40;
  const newest = new Map<number, { readonly connection: number; readonly millis: number; readonly op: number }>();
  for (let op = 0; op < 500; op++) {
    for (const connection of [0, 1, 2, 3]) {
      const mix = new OpMix('rising', connection, BEFORE_MILLIS, keys, 4);
      const key = mix.keyOf(op);
      const millis = mix.millisOf(op);
      const known = newest.get(key);
      assert.ok(known === undefined || (known.connection === connection && known.millis <= millis && known.op < op));
      assert.ok(millis < BEFORE_MILLIS);
      newest.set(key, { connection, millis, op });
    }
  }
  assert.deepEqual(
    [...newest.keys()].sort((a, b) => a - b),
    Array.from({ length: keys }, (_, key) => key),
  );
});

test('a run is void unless each op that won was told to every connection but its writer', () => {
  assert.equal(reasonUntold({ won: 50, delivered: 50 * 99 }, 100, 1), undefined);
  assert.equal(reasonUntold({ won: 50, delivered: 0 }, 100, 0), 'void: 4950 events were due, 0 delivered');
  assert.equal(reasonUntold({ won: 50, delivered: 4949 }, 100, 1), 'void: 4950 events were due, 4949 delivered');
  assert.equal(reasonUntold({ won: 50, delivered: 5000 }, 100, 1), 'void: 4950 events were due, 5000 delivered');
  assert.match(String(reasonUntold({ won: 50, delivered: 4950 }, 100, 0)), /no connection has read one$/);
  assert.match(String(reasonUntold({ won: 0, delivered: 0 }, 100, 1)), /nobody was to be told$/);
  assert.match(String(reasonUntold({ won: 50, delivered: Number.NaN }, 100, 1)), /^void/);
});

test('a level is asked for with the batch', () => {
  const slice = new FrameSlice({
    mapName: 'm',
    keyPrefix: 'k-',
    firstKey: 0,
    frames: 1,
    opsPerFrame: 10,
    writeConcern: 'PERSISTED',
  });
  const message = decode(slice.bytes.subarray(HEADER_BYTES));
  assert.ok(isData(message) && isData(message.payload) && Array.isArray(message.payload.ops));
  assert.equal(message.payload.writeConcern, 'PERSISTED');
  assert.equal(message.payload.ops.length, 10);
});

test('commands for Redis have the keys and clocks of the mix', () => {
  const mix = new OpMix('hot', 3, BEFORE_MILLIS);
  const slice = new RedisSlice('k-', 2, 5, mix);
  slice.stamp(1, 4);
  const text = Buffer.from(slice.bytes.subarray(slice.frameBytes)).toString();
  const first = (4 * 2 + 1) * 5;
  for (let op = first; op < first + 5; op++) {
    const key = `k-${String(mix.keyOf(op)).padStart(10, '0')}`;
    const millis = String(mix.millisOf(op));
    assert.ok(text.includes(`$4\r\nHSET\r\n$12\r\n${key}\r\n`));
    assert.ok(text.includes(`$6\r\nmillis\r\n$13\r\n${millis}\r\n`));
  }
});

test('a run is void when the map cannot be queried, lacks a value, or has one of another op', () => {
  const expected: ExpectedState = {
    records: 2,
    root: 0,
    winners: [
      ['a', 1],
      ['b', 1_000_002],
    ],
  };
  const row = (key: string, title: string) => ({ key, value: { title } });
  assert.equal(reasonValues([row('b', 'item 000002'), row('a', 'item 000001')], expected), undefined);
  assert.equal(reasonValues(undefined, expected), 'void: the map cannot be queried');
  const lacking = reasonValues([row('a', 'item 000001')], expected);
  assert.equal(lacking, 'void: b has the value undefined, not that of op 1000002');
  const wrong = reasonValues([row('a', 'item 000003'), row('b', 'item 000002')], expected);
  assert.equal(wrong, 'void: a has the value item 000003, not that of op 1');
});

test('a run is void when the log was not synced as its level or server says, and when no ack came in its window', async () => {
  const run = (scenario: MergeScenario, how: MergeVariant): Promise<Figures | string> =>
    withLosingServer(0, (server, port) => {
      server.batchesPerSync = 0;
      return runMerges({ variant: 'lattice', port, pid: process.pid }, scenario, SETTINGS, how);
    });
  const runs = [run(UNIQUE, { level: 'PERSISTED' }), run(UNIQUE, {}), run(ONE_BATCH, {})];
  const [persisted, plain, late] = await Promise.all(runs);
  assert.match(String(persisted), /^void: \d+ frames logged and 0 syncs, which is not PERSISTED$/);
  assert.match(String(plain), /^void: \d+ frames logged, 0 syncs and 0 rows flushed, which is not lattice$/);
  assert.equal(late, 'void: nothing was acknowledged in the window');
});

test('a run of raw sockets has figures, and is void when nothing was acknowledged in its window', async () => {
  const [whole, late] = await Promise.all([runRaw(UNIQUE, SETTINGS), runRaw(ONE_BATCH, SETTINGS)]);
  assert.ok(typeof whole !== 'string' && (whole.opsPerSecond ?? 0) > 0, String(whole));
  assert.equal(late, 'void: nothing was acknowledged in the window');
});

test('a run of Redis is void when a key is gone or nothing came in its window', { skip: redisMissing() ?? false }, async () => {
  const whole = await runRedis(UNIQUE, SETTINGS);
  assert.ok(typeof whole !== 'string' && (whole.opsPerSecond ?? 0) > 0, String(whole));
  const lossy = await runRedis(UNIQUE, SETTINGS, (redis) => redis.run(['DEL', mixedKey('w2-', 0)]));
  assert.match(String(lossy), /^void: \d+ keys sent, \d+ there$/);
  assert.equal(await runRedis(ONE_BATCH, SETTINGS), 'void: nothing was acknowledged in the window');
});

test('a run is valid when a node merged everything to the state of the oracle, and void when not', async () => {
  const server = await startServer('alone');
  try {
    const plan: LoadPlan = {
      port: server.port,
      path: '/ws?events=interest',
      serverPid: server.pid,
      connections: 5,
      opsPerFrame: 10,
      window: 4,
      keys: 64 * 10 * 5,
      mapName: 'bench',
      keyPrefix: 'w2-',
      ackRule: 'lastId',
      warmUpMs: 50,
      measureMs: 150,
      mix: 'hot',
    };
    const before = await readMerged(server.port);
    const report = await runGenerator(plan);
    assert.ok(report.opsSent > 0 && report.expected !== undefined);
    assert.equal(await reasonVoid(server.port, before, report.opsSent, readMerged), undefined);
    assert.equal(await reasonDiffers(server.port, 'bench', report.expected), undefined);

    const { root, winners } = report.expected;
    const otherRoot = { ...report.expected, root: (root + 1) >>> 0 };
    assert.match(String(await reasonDiffers(server.port, 'bench', otherRoot)), /^void: the root of the map is/);
    const [first = ['', 0], ...others] = winners;
    const otherValue = { ...report.expected, winners: [[first[0], first[1] + 1] as const, ...others] };
    assert.match(String(await reasonDiffers(server.port, 'bench', otherValue)), /^void: w2-\d{10} has the value item/);

    const toldBefore = await readTold(server.port);
    const told = await runGenerator({ ...plan, path: '/ws', mapName: 'told', lingerMs: 50 });
    assert.equal(await reasonNotTold(server.port, toldBefore, plan.connections, told.otherFrames), undefined);

    const appliedBefore = await readApplied(server.port);
    const rising = await runGenerator({ ...plan, mapName: 'rising', mix: 'rising', hotKeys: 200 });
    assert.equal(await reasonVoid(server.port, appliedBefore, rising.opsSent), undefined);

    const paced = await runGenerator({ ...plan, mapName: 'paced', window: 64, opsPerSecond: 2000, measureMs: 300 });
    const longestMs = 350 + 5_000; // however late the machine is, no more than was due in the meantime is sent
    assert.ok(paced.opsSent >= 200 && paced.opsSent <= (2000 * longestMs) / 1000, `${paced.opsSent} ops`);
  } finally {
    await server.stop();
  }
});
