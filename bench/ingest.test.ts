import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { decode } from '@msgpack/msgpack';
import { APPLIED_METRIC, metricSum, readApplied, reasonVoid, untilFlushed } from './applied-ops.ts';
import { load, type MeasuredServer, outcomeOf, type RunSettings, runVerified } from './ingest.bench.ts';
import { jsonLines } from './report.ts';
import { ScenarioResult } from './result.ts';
import { type LoadPlan, runLoad } from './load.ts';
import { type Batch, FrameReader, type Op, withLosingServer } from './losing-server.ts';
import { runMerges } from './merge-ingest.bench.ts';
import { wallClockMs } from './metrics-watch.ts';
import { judge } from './targets.ts';
import { FrameSlice, SLICE_OPS_MAX } from './write-frames.ts';

const SETTINGS: RunSettings = { quick: true, runs: 1, progress: () => {}, scenarios: undefined, pinning: undefined };
/** Little enough for a server that takes frames apart byte by byte. */
const F10 = load('F10', '', 2, 10, 4, 800, ['lattice']);

function slice(frames: number, opsPerFrame: number, firstKey = 0): FrameSlice {
  return new FrameSlice({ mapName: 'bench', keyPrefix: 'k-', firstKey, frames, opsPerFrame });
}

/** The payload of a frame, unmasked by its own length and mask key. */
function payloadOf(of: FrameSlice, frame: number): Uint8Array {
  const bytes = of.bytes.subarray(frame * of.frameBytes, (frame + 1) * of.frameBytes);
  const reader = new FrameReader();
  const payloads = reader.take(bytes);
  assert.equal(payloads.length, 1);
  return payloads[0] as Uint8Array;
}

function opsOf(of: FrameSlice, frame: number): Op[] {
  return (decode(payloadOf(of, frame)) as Batch).payload.ops;
}

test('a frame is one OP_BATCH with every field of the real client', () => {
  const frames = slice(3, 10, 500);
  frames.stamp(1, 7, 1_700_000_000_123);
  const batch = decode(payloadOf(frames, 1)) as Batch;
  assert.equal(batch.type, 'OP_BATCH');
  assert.equal(batch.payload.ops.length, 10);
  const clock = { millis: 1_700_000_000_123, counter: 0, nodeId: 'bench-01' };
  assert.deepEqual(batch.payload.ops[4], {
    id: '100007000014',
    mapName: 'bench',
    opType: 'PUT',
    key: 'k-000514',
    record: { value: { title: 'item 000514', count: 42, done: false, owner: 'u-1234' }, timestamp: clock },
    timestamp: clock,
    synced: false,
  });
});

test('frames use the bytes of the real client: map16 headers, millis as float64, ids as text', () => {
  const frames = slice(1, 1);
  frames.stamp(0, 0, 1_700_000_000_000);
  const hex = Buffer.from(payloadOf(frames, 0)).toString('hex');
  assert.ok(
    hex.startsWith('de0002a474797065a84f505f4241544348a77061796c6f6164de0001a36f707391de0007a26964ac313030303030303030303030'),
  );
  assert.equal(hex.split('a66d696c6c6973cb4278bcfe56800000').length, 3, 'two clocks');
});

test('frames of 1, 10 and 100 ops have the header that fits their length', () => {
  for (const ops of [1, 10, 100]) {
    const frames = slice(2, ops);
    for (const frame of [0, 1]) assert.equal(opsOf(frames, frame).length, ops);
  }
});

test('no key is written by two frames of a slice, and neighbours continue its numbers', () => {
  const keys = [slice(5, 10, 0), slice(5, 10, 50)].flatMap((of) =>
    [0, 1, 2, 3, 4].flatMap((frame) => opsOf(of, frame).map((op) => op.key)),
  );
  assert.equal(new Set(keys).size, 100);
});

test('from round to round every id and clock rises and nothing else changes', () => {
  const frames = slice(2, 10);
  let lastId = 0;
  let last: Op[] | undefined;
  for (const round of [0, 1, 9, 10, 99_999, 800_000]) {
    for (const frame of [0, 1]) {
      frames.stamp(frame, round, 1_700_000_000_000 + round);
      const ops = opsOf(frames, frame);
      for (const op of ops) {
        assert.match(op.id, /^[1-9]\d{11}$/);
        assert.ok(Number(op.id) > lastId, `${op.id} after ${lastId}`);
        lastId = Number(op.id);
        assert.deepEqual(op.timestamp, op.record.timestamp);
        assert.equal(op.timestamp.millis, 1_700_000_000_000 + round);
      }
      if (frame === 0) {
        const unchanged = (op: Op) => [op.key, op.mapName, op.opType, op.record.value, op.timestamp.nodeId, op.synced];
        if (last !== undefined) assert.deepEqual(ops.map(unchanged), last.map(unchanged));
        last = ops;
      }
    }
  }
});

test('an ack tells how many frames it covers, over rounds, and "0" covers none', () => {
  const frames = slice(4, 10);
  assert.equal(frames.framesHandled(0), 0);
  for (const [round, frame] of [
    [0, 0],
    [0, 3],
    [1, 0],
    [25, 2],
  ] as const) {
    frames.stamp(frame, round, 1.7e12);
    const ops = opsOf(frames, frame);
    assert.equal(frames.framesHandled(Number(ops[9]?.id)), round * 4 + frame + 1);
    assert.equal(frames.framesHandled(Number(ops[8]?.id)), round * 4 + frame, 'a frame is covered by its last op only');
  }
});

test('more ops than the digits of an id are refused', () => {
  assert.throws(() => slice(SLICE_OPS_MAX / 100 + 1, 100));
});

test('a run against a server that applies everything is valid', async () => {
  await withLosingServer(0, async (server, port) => {
    const appliedBefore = await readApplied(port);
    const startedMs = wallClockMs();
    const report = await runLoad(planFor(port));
    assert.ok(report.opsSent > 0);
    assert.ok(report.opsMeasured > 0 && report.opsMeasured <= report.opsSent);
    assert.ok(report.p50Us > 0 && report.p99Us >= report.p50Us);
    const { beganMs, endedMs } = report.measuredWindow;
    assert.ok(beganMs >= startedMs + 40 && endedMs <= wallClockMs(), 'the window lies within the run, after its warm-up');
    assert.ok(Math.abs(endedMs - beganMs - report.windowMs) < 1);
    assert.equal(await reasonVoid(port, appliedBefore, report.opsSent), undefined);
    assert.deepEqual(server.complaints, []);
    assert.equal(server.connections, 4);
  });
});

test('a run is void when the server loses one op in a hundred and still acknowledges it', async () => {
  const outcomes = await Promise.all([
    withLosingServer(100, (_, port) => runVerified(F10, serverAt(port), SETTINGS)),
    withLosingServer(100, (_, port) => runMerges(serverAt(port), { ...F10, mix: 'hot' }, SETTINGS)),
  ]);
  for (const outcome of outcomes) assert.match(String(outcome), /^void: \d+ ops sent, \d+ applied$/);
});

test('a run has figures when the server logged as its name says, and is void when it never synced', async () => {
  const [named, unsynced] = await Promise.all([
    withLosingServer(0, (_, port) => runVerified(F10, serverAt(port), SETTINGS)),
    withLosingServer(0, (server, port) => {
      server.batchesPerSync = 0;
      return runVerified(F10, serverAt(port), SETTINGS);
    }),
  ]);
  assert.ok(typeof named !== 'string' && (named.opsPerSecond ?? 0) > 0 && (named.opsPerLogSync ?? 0) > 0, String(named));
  assert.match(String(unsynced), /^void: \d+ frames logged, 0 syncs and 0 rows flushed, which is not lattice$/);
});

test('an idle run is void unless all connections stay open, and a loaded one unless something is acknowledged', async () => {
  await withLosingServer(0, async (_, port) => {
    const report = await runLoad({ ...planFor(port), window: 0, keys: 0 });
    assert.equal(report.openConnections, 4);
    const idle = load('IDLE', '', 4, 1, 0, 0, ['lattice']);
    const figures = outcomeOf(idle, report);
    assert.ok(typeof figures !== 'string' && figures.cpuPercent !== undefined, String(figures));
    assert.equal(outcomeOf(idle, { ...report, openConnections: 3 }), 'void: 4 connections were opened, 3 stayed so');
    assert.equal(outcomeOf(F10, report), 'void: nothing was acknowledged in the window');
    assert.notEqual(typeof outcomeOf(F10, { ...report, opsMeasured: 1 }), 'string');
  });
});

test('a server without the metric can not be verified', async () => {
  const server = createServer((_, response) => response.end('lattice_merges 4\n')).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  await assert.rejects(readApplied((server.address() as AddressInfo).port), /has no lattice_merges_total/);
  server.close();
  server.closeAllConnections();
});

test('a server that does not flush what it has staged fails the run, and one that has flushed lets it go on', async () => {
  let staged = 3;
  const server = createServer((_, response) => response.end(`lattice_staged_records{worker="0"} ${staged}\n`));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await assert.rejects(untilFlushed(port, 150), /^Error: 3 records were not flushed within 150 ms$/);
    staged = 0;
    await untilFlushed(port, 150);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test('acks that stay out fail the run', async () => {
  await withLosingServer(0, async (server, port) => {
    server.silent = true;
    await assert.rejects(runLoad({ ...planFor(port), drainDeadlineMs: 200 }), /frames were never acknowledged/);
  });
});

test('samples of a metric are summed over further labels, and other metrics are not', () => {
  const text = [
    '# TYPE lattice_merges_total counter',
    'lattice_merges_total{worker="0",result="applied"} 10',
    'lattice_merges_total{result="applied",worker="1"} 32 1700000000000',
    'lattice_merges_total{result="stale",worker="1"} 5',
    'lattice_merges_total_more{result="applied"} 100',
    'plain 7',
  ].join('\n');
  assert.equal(metricSum(text, APPLIED_METRIC.name, APPLIED_METRIC.labels), 42);
  assert.equal(metricSum(text, 'plain', {}), 7);
  assert.ok(Number.isNaN(metricSum(text, 'absent', {})));
});

test('targets are judged by medians of the valid runs', () => {
  const result = new ScenarioResult({ scenario: 'F1', title: '', ceilings: { lattice: 'raw', raw: 'raw' } });
  for (const rate of [90, 50, 46]) result.add('lattice', { opsPerSecond: rate, opsPerCpuSecond: rate / 2 });
  for (const rate of [100, 400, 90]) result.add('raw', { opsPerSecond: rate, opsPerCpuSecond: rate });
  result.addVoid('lattice', 'void: 2 ops sent, 1 applied');
  const verdicts = judge(result).map(({ target, measured, gateMet, stretchMet }) => [
    target.label,
    measured,
    gateMet,
    stretchMet,
  ]);
  assert.deepEqual(verdicts, [
    ['rate ÷ raw', 0.5, true, false],
    ['per CPU ÷ raw', 0.25, true, false],
  ]);
});

test('a JSON line has the agreed fields, with null for what was not measured', () => {
  const result = new ScenarioResult({ scenario: 'W1', title: '', ceilings: { lattice: 'raw', raw: 'raw' } });
  result.add('lattice', { opsPerSecond: 10, opsPerCpuSecond: Number.NaN, p50Us: 300, p99Us: 400 });
  result.add('raw', { opsPerSecond: 40, opsPerCpuSecond: Number.NaN, p50Us: 120, p99Us: 200 });
  const [line] = jsonLines(result).map((text) => JSON.parse(text) as Record<string, unknown>);
  const { scenario, variant, opsPerSecond, opsPerCpuSecond, p50Us, p99Us, ratioToCeiling } = line ?? {};
  assert.deepEqual(
    [scenario, variant, opsPerSecond, opsPerCpuSecond, p50Us, p99Us, ratioToCeiling],
    ['W1', 'lattice', 10, null, 300, 400, 0.25],
  );
});

function serverAt(port: number): MeasuredServer {
  return { variant: 'lattice', port, pid: process.pid };
}

function planFor(port: number): LoadPlan {
  return {
    port,
    path: '/ws?events=interest',
    serverPid: process.pid,
    connections: 4,
    opsPerFrame: 10,
    window: 4,
    keys: 3200,
    mapName: 'bench',
    keyPrefix: 'k-',
    ackRule: 'lastId',
    warmUpMs: 50,
    measureMs: 200,
  };
}
