import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import { createGridMemory, type GridMemory } from '../workers/grid-memory.ts';
import { GridState } from '../workers/grid-state.ts';
import { RingProducer } from '../workers/ring.ts';
import { WORKER_COUNTERS } from '../workers/worker-counters.ts';
import { GATEWAY_COUNTERS, GatewayCounters } from './gateway-counters.ts';
import { Observability } from './observability.ts';

const NOW_MS = 1_700_000_000_000;

function gridMemory(): GridMemory {
  const sizes = { gateways: 2, workers: 2, ringBytes: 1024, messageBytesMax: 0 };
  return createGridMemory({ ...sizes, gatewayCounterNames: GATEWAY_COUNTERS });
}

function observability(memory: GridMemory): Observability {
  return new Observability({ memory, version: '1.2.3', nowMs: () => NOW_MS });
}

const HELP = /^# HELP ([a-z_]+) [^\\]+$/;
const TYPE = /^# TYPE ([a-z_]+) (counter|gauge)$/;
const SAMPLE = /^([a-z_]+)(?:\{((?:[a-z_]+="[^"\\]*",?)+)\})? (\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;

interface Parsed {
  readonly types: Map<string, string>;
  /** Value by name and sorted labels, such as `lattice_records{worker=0}`. */
  readonly samples: Map<string, number>;
}

/** Reads the text as strictly as Prometheus does: a line is a help, a type or a sample of the metric that was announced. */
function parse(text: string): Parsed {
  assert.ok(text.endsWith('\n'));
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  let announced = '';
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const [, helped] = HELP.exec(line) ?? [];
    const [, typed, type] = TYPE.exec(line) ?? [];
    if (helped !== undefined) announced = helped;
    else if (typed !== undefined && type !== undefined) {
      assert.equal(typed, announced);
      assert.ok(!types.has(typed), `${typed} twice`);
      types.set(typed, type);
    } else {
      const [, name = '', labels = '', value = ''] = SAMPLE.exec(line) ?? assert.fail(`not a line of metrics: ${line}`);
      assert.equal(name, announced);
      const sorted = labels.replaceAll('"', '').split(',').sort().join(',');
      const key = sorted === '' ? name : `${name}{${sorted}}`;
      assert.ok(!samples.has(key), `${key} twice`);
      samples.set(key, Number(value));
    }
  }
  return { types, samples };
}

test('every line parses, and names and types follow the rules of Prometheus', async () => {
  const { types, samples } = parse(await observability(gridMemory()).render());
  for (const [name, type] of types) {
    assert.match(name, /^(?:lattice|process|nodejs)_|^topgun_active_connections$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
  }
  assert.ok([...types.keys()].every((name) => [...samples.keys()].some((key) => key === name || key.startsWith(`${name}{`))));
});

test('what dashboards and benchmarks rely on is there', async () => {
  const { types } = parse(await observability(gridMemory()).render());
  const names =
    'connections ops_total batches_total frames_received_total frames_sent_total frames_malformed_total frames_unknown_total ' +
    'frames_held_total rate_limited_total overloaded_total slow_consumers_closed_total events_delivered_total merges_total ' +
    'clock_ties_total rejected_total records tombstones maps slab_used_bytes slab_reserved_bytes ring_depth_records ' +
    'ring_used_bytes ring_full_total ring_missed_wakeups_total staged_bytes staged_records flush_lag_ms flushes_total ' +
    'flushed_rows_total flush_failures_total dead_letters_total storage_state event_loop_delay_ms uptime_seconds ready';
  for (const name of names.split(' ')) assert.ok(types.has(`lattice_${name}`), name);
  for (const name of ['topgun_active_connections', 'process_cpu_seconds_total', 'process_resident_memory_bytes'])
    assert.ok(types.has(name));
});

test('each counter shows what its thread has published, under the labels of the thread', async () => {
  const memory = gridMemory();
  const metrics = observability(memory);
  const gateway = new GatewayCounters(memory.gatewayCounters, 1);
  gateway.connections = 3;
  gateway.ops = 1234;
  gateway.publish();
  const worker = new CounterRow(memory.workerCounters, WORKER_COUNTERS, 1);
  worker.set('mergesApplied', 10);
  worker.set('mergesStale', 2);
  worker.set('mergesDuplicate', 1);
  worker.set('storageState', 1);
  new CounterRow(memory.threadCounters, THREAD_COUNTERS, 3).set('loopDelayP99Ms', 2.5);
  for (const thread of [2, 3, 4])
    new CounterRow(memory.threadCounters, THREAD_COUNTERS, thread).set(
      'lastHealthCheckAtMs',
      thread === 2 ? NOW_MS - 3.6e6 : NOW_MS,
    );
  const state = new GridState(memory.state);
  state.startedMs = NOW_MS - 90_500;
  state.setWorkerState(1, 'loading');
  state.setBroadcastSessions(1, 2);

  const { samples } = parse(await metrics.render());
  const expected: Readonly<Record<string, number>> = {
    'lattice_connections{gateway=0}': 0,
    'lattice_connections{gateway=1}': 3,
    topgun_active_connections: 3,
    'lattice_ops_total{gateway=1}': 1234,
    'lattice_merges_total{result=applied,worker=0}': 0,
    'lattice_merges_total{result=applied,worker=1}': 10,
    'lattice_merges_total{result=stale,worker=1}': 2,
    'lattice_merges_total{result=duplicate,worker=1}': 1,
    'lattice_storage_state{worker=1}': 1,
    'lattice_event_loop_delay_ms{quantile=0.99,thread=worker-1}': 2.5,
    lattice_uptime_seconds: 90.5,
    lattice_ready: 0,
    'lattice_worker_state{state=loading,worker=1}': 1,
    'lattice_worker_state{state=ready,worker=1}': 0,
    'lattice_lifecycle{state=starting}': 1,
    'lattice_degraded{reason=STORAGE_DEGRADED}': 1,
    'lattice_broadcast_sessions{gateway=1}': 2,
    'lattice_thread_healthy{thread=gateway-0}': 0, // has not reported yet
    'lattice_thread_healthy{thread=worker-0}': 0, // not for an hour
    'lattice_thread_healthy{thread=worker-1}': 0, // storage is away
    'lattice_thread_healthy{thread=main}': 1,
  };
  for (const [key, value] of Object.entries(expected)) assert.equal(samples.get(key), value, key);
});

test('a second scrape shows the counters as they are then, not added up', async () => {
  const memory = gridMemory();
  const metrics = observability(memory);
  const counters = new GatewayCounters(memory.gatewayCounters, 0);
  const opsAtScrape = async (): Promise<number | undefined> => {
    counters.publish();
    return parse(await metrics.render()).samples.get('lattice_ops_total{gateway=0}');
  };
  counters.ops = 5;
  assert.equal(await opsAtScrape(), 5);
  counters.ops = 7;
  assert.equal(await opsAtScrape(), 7);
  counters.ops = 1; // a replaced thread counts from 0 again
  assert.equal(await opsAtScrape(), 1);
});

test('two nodes of one process have metrics of their own', async () => {
  const [one, other] = [gridMemory(), gridMemory()];
  const [metricsOfOne, metricsOfOther] = [observability(one), observability(other)];
  new CounterRow(one.workerCounters, WORKER_COUNTERS, 0).set('records', 42);
  assert.equal(parse(await metricsOfOne.render()).samples.get('lattice_records{worker=0}'), 42);
  assert.equal(parse(await metricsOfOther.render()).samples.get('lattice_records{worker=0}'), 0);
});

test('rings show their depth, bytes and full answers by gateway, worker and direction', async () => {
  const memory = gridMemory();
  const metrics = observability(memory);
  const ring = memory.outboxes[0]?.[1];
  assert.ok(ring !== undefined);
  const producer = new RingProducer(ring, () => {});
  assert.ok(producer.tryWrite(new Uint8Array(504)));
  assert.ok(producer.tryWrite(new Uint8Array(504)));
  assert.ok(!producer.tryWrite(new Uint8Array(8)));

  const { samples } = parse(await metrics.render());
  const labels = '{direction=outbox,gateway=0,worker=1}';
  assert.equal(samples.get(`lattice_ring_depth_records${labels}`), 2);
  assert.equal(samples.get(`lattice_ring_used_bytes${labels}`), 1024);
  assert.equal(samples.get(`lattice_ring_full_total${labels}`), 1);
  assert.equal(samples.get('lattice_ring_depth_records{direction=inbox,gateway=0,worker=1}'), 0);
  assert.equal(samples.get('lattice_degraded{reason=RING_FILLING}'), 1);
});
