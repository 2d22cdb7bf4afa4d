import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CounterRow, THREAD_COUNTERS } from '../workers/counters.ts';
import { createGridMemory } from '../workers/grid-memory.ts';
import { GridState } from '../workers/grid-state.ts';
import { RingProducer } from '../workers/ring.ts';
import { WORKER_COUNTERS } from '../workers/worker-counters.ts';
import { GATEWAY_COUNTERS, GatewayCounters } from './gateway-counters.ts';
import { type Degradation, FLUSH_LAG_MS_MAX, HEALTH_LIMITS } from './degradations.ts';
import { healthChange, healthDocument, judge } from './health.ts';
import { LOG_STATES, type LogFacts, type NodeFacts, readFacts } from './node-facts.ts';
import { NodeView } from './node-view.ts';

type Change = (facts: NodeFacts) => Partial<NodeFacts>;

const LOG: LogFacts = { state: 'open', sequence: 50, synced: 48, flushed: 40, bytes: 3 << 20, syncedAgeMs: 7 };

const WELL: NodeFacts = {
  lifecycle: 'ready',
  uptimeMs: 61_900,
  isDatabaseAway: false,
  flushLagMsMax: FLUSH_LAG_MS_MAX,
  workerMemoryBytesMax: 1 << 30,
  gateways: 1,
  connections: 3,
  inFlight: 2,
  workers: [0, 1].map((id) => ({
    id,
    state: 'ready',
    records: 10,
    recordsLoaded: 8,
    recordsReplayed: 2,
    partitions: 135,
    damagedPartitions: 0,
    storage: 'normal',
    breaker: 'closed',
    silentTo: [],
    recovery: 'normal',
    log: LOG,
    memoryBytes: 1000,
    stagedBytes: 100,
    stagedRecords: 4,
    flushLagMs: id * 20,
  })),
  threads: [{ name: 'gateway-0', loopDelayMs: 1, reportAgeMs: 900 }],
  rings: [{ name: 'inbox 0-0', occupancy: 0.1 }],
};

function ofWorker(id: number, change: Partial<NodeFacts['workers'][number]>): Change {
  return ({ workers }) => ({ workers: workers.map((worker) => (worker.id === id ? { ...worker, ...change } : worker)) });
}

function ofEveryWorker(change: Partial<NodeFacts['workers'][number]>): Change {
  return ({ workers }) => ({ workers: workers.map((worker) => ({ ...worker, ...change })) });
}

function ofThread(change: Partial<NodeFacts['threads'][number]>): Change {
  return ({ threads }) => ({ threads: threads.map((thread) => ({ ...thread, ...change })) });
}

function both(code: string): string[] {
  return [`${code} worker-0`, `${code} worker-1`];
}

const nothing: Change = () => ({});
const { loopDelayMsMax, reportAgeMsMax, ringOccupancyMax } = HEALTH_LIMITS;

const CASES: readonly [name: string, change: Change, ready: boolean, degraded: readonly string[]][] = [
  ['a node where all is well is ready', nothing, true, []],
  ['a starting node is not ready', () => ({ lifecycle: 'starting' }), false, []],
  ['a draining node is not ready', () => ({ lifecycle: 'draining' }), false, []],
  ['a stopped node is not ready', () => ({ lifecycle: 'stopped' }), false, []],
  ['storage away degrades, and the node stays ready', ofWorker(1, { storage: 'degraded' }), true, ['STORAGE_DEGRADED worker-1']],
  ['storage that refuses this server ends readiness', ofWorker(1, { storage: 'failed' }), false, ['STORAGE_FAILED worker-1']],
  ['a worker down degrades, and the others still serve', ofWorker(0, { state: 'down' }), true, ['WORKER_NOT_READY worker-0']],
  [
    'a worker that loads degrades',
    ofWorker(0, { state: 'loading', recovery: 'recovering' }),
    true,
    ['WORKER_NOT_READY worker-0', 'RECOVERING worker-0'],
  ],
  ['a worker that catches up degrades', ofWorker(0, { recovery: 'recovering' }), true, ['RECOVERING worker-0']],
  ['a database that the node cannot reach degrades', () => ({ isDatabaseAway: true }), true, ['STORAGE_DEGRADED node']],
  ['an open breaker degrades', ofWorker(1, { breaker: 'open' }), true, ['BREAKER_OPEN worker-1']],
  ['a worker that a gateway hears nothing of degrades', ofWorker(1, { silentTo: [0] }), true, ['WORKER_SILENT worker-1']],
  ['so does one that probes', ofWorker(1, { breaker: 'half-open' }), true, ['BREAKER_OPEN worker-1']],
  ['a lag just as long as allowed is well', ofWorker(1, { flushLagMs: FLUSH_LAG_MS_MAX }), true, []],
  ['a longer lag degrades', ofWorker(1, { flushLagMs: FLUSH_LAG_MS_MAX + 1 }), true, ['FLUSH_LAGGING worker-1']],
  ['a full disk degrades, and reads go on', ofEveryWorker({ log: { ...LOG, state: 'disk-full' } }), true, both('LOG_DISK_FULL')],
  ['a full log degrades, and reads go on', ofEveryWorker({ log: { ...LOG, state: 'full' } }), true, both('LOG_FULL')],
  ['a log that failed degrades, and reads go on', ofEveryWorker({ log: { ...LOG, state: 'failed' } }), true, both('LOG_FAILED')],
  ['without a log all is well', ofEveryWorker({ log: { ...LOG, state: 'off' } }), true, []],
  ['a damaged partition degrades', ofWorker(0, { damagedPartitions: 1 }), true, ['LOG_DAMAGED worker-0']],
  ['memory that is used up degrades', ofWorker(0, { memoryBytes: 1 << 30 }), true, ['MEMORY_SHORT worker-0']],
  [
    'without bounds neither lag nor memory degrade',
    (facts) => ({ ...ofWorker(0, { memoryBytes: 1e12, flushLagMs: 1e9 })(facts), flushLagMsMax: 0, workerMemoryBytesMax: 0 }),
    true,
    [],
  ],
  ['a node without any worker that serves is not ready', ofEveryWorker({ state: 'down' }), false, both('WORKER_NOT_READY')],
  ['a loop just as late as allowed is well', ofThread({ loopDelayMs: loopDelayMsMax }), true, []],
  ['a later loop degrades', ofThread({ loopDelayMs: loopDelayMsMax + 1 }), true, ['LOOP_DELAYED gateway-0']],
  ['a thread that hangs shows by its silence', ofThread({ reportAgeMs: reportAgeMsMax + 1 }), true, ['THREAD_SILENT gateway-0']],
  ['a thread that has not reported yet is not silent', ofThread({ reportAgeMs: undefined }), true, []],
  ['a ring at its limit is well', () => ({ rings: [{ name: 'inbox 0-0', occupancy: ringOccupancyMax }] }), true, []],
  [
    'a fuller ring degrades',
    () => ({ rings: [{ name: 'outbox 0-1', occupancy: ringOccupancyMax + 0.01 }] }),
    true,
    ['RING_FILLING outbox 0-1'],
  ],
];

describe('the verdict', () => {
  for (const [name, change, ready, degraded] of CASES) {
    test(name, () => {
      const verdict = judge({ ...WELL, ...change(WELL) });
      assert.equal(verdict.ready, ready);
      assert.deepEqual(
        verdict.degraded.map(({ code, subject }) => `${code} ${subject}`),
        degraded,
      );
    });
  }
});

test('a node is writable while every worker takes writes, and readable all the same when one does not', () => {
  const writable = (change: Change): boolean => judge({ ...WELL, ...change(WELL) }).writable;
  assert.equal(writable(nothing), true);
  for (const state of LOG_STATES) {
    const takesWrites = state === 'open' || state === 'off';
    assert.equal(writable(ofWorker(0, { log: { ...LOG, state } })), takesWrites, state);
    assert.equal(judge({ ...WELL, ...ofWorker(0, { log: { ...LOG, state } })(WELL) }).ready, true, state);
  }
  assert.equal(writable(ofWorker(1, { damagedPartitions: 1 })), false);
  assert.equal(writable(ofWorker(1, { state: 'down' })), false);
  assert.equal(
    writable(() => ({ lifecycle: 'draining' })),
    false,
  );
  assert.equal(writable(ofWorker(1, { storage: 'degraded' })), true);
});

const TEXTS: readonly [change: Change, text: string][] = [
  [
    ofWorker(0, { state: 'loading', recordsLoaded: 1234, recordsReplayed: 56 }),
    'worker-0: 1234 records loaded, 56 replayed from the log',
  ],
  [
    ofWorker(0, { log: { ...LOG, state: 'full' } }),
    'worker-0: the log is full (3 MiB), writes are refused until the data store has taken some',
  ],
  [
    ofWorker(0, { log: { ...LOG, state: 'failed' } }),
    'worker-0: the disk refused the log, read-only until the server is restarted',
  ],
  [
    ofWorker(0, { damagedPartitions: 3 }),
    'worker-0: the log is damaged, 3 of 135 partitions are read-only until `lattice wal repair` has accepted the loss',
  ],
  [ofWorker(0, { memoryBytes: 2 ** 30 }), 'worker-0: 1024 MiB of 1024 MiB are in use, nothing more can be dropped'],
];

test('a degradation says in words what is refused and what helps', () => {
  for (const [change, text] of TEXTS) {
    assert.ok(
      judge({ ...WELL, ...change(WELL) }).degraded.some((degradation) => degradation.text === text),
      text,
    );
  }
});

test('the document carries the four fields of the protocol, sums of the workers and the longest lag', () => {
  const document = healthDocument(WELL, judge(WELL), '1.2.3');
  assert.deepEqual(document, {
    state: 'ready',
    connections: 3,
    in_flight: 2,
    uptime_secs: 61,
    version: '1.2.3',
    ready: true,
    writable: true,
    degraded: [],
    reasons: [],
    gateways: 1,
    storage: { state: 'normal', stagedBytes: 200, stagedRecords: 8, lagMs: 20 },
    log: { state: 'open', bytes: 6 << 20, syncedAgeMs: 7, damagedPartitions: 0 },
    memory: { bytes: 2000, bytesMax: 2 ** 31 },
    workers: WELL.workers,
  });
});

test('the document shows the worst storage and says in words what is wrong', () => {
  const facts = { ...WELL, ...ofWorker(0, { storage: 'degraded', flushLagMs: 1500 })(WELL) };
  const document = healthDocument(facts, judge(facts), '1.2.3');
  assert.equal(document.storage.state, 'degraded');
  assert.deepEqual(document.degraded, ['worker-0: storage is away, 4 records wait since 1500 ms']);
  assert.deepEqual(document.reasons, ['STORAGE_DEGRADED']);
});

test('the document shows the worst log', () => {
  const worst = (...states: readonly LogFacts['state'][]): string => {
    const workers = WELL.workers.map((worker, id) => ({ ...worker, log: { ...LOG, state: states[id] ?? 'open' } }));
    const facts = { ...WELL, workers };
    return healthDocument(facts, judge(facts), '1.2.3').log.state;
  };
  assert.deepEqual([worst('off', 'open'), worst('disk-full', 'open'), worst('full', 'failed')], ['off', 'disk-full', 'failed']);
});

test('a degradation that goes on is told once, and its end is told', () => {
  const ring = (percent: number): Degradation => ({ code: 'RING_FILLING', subject: 'inbox 0-0', text: `${percent} % full` });
  const worker: Degradation = { code: 'WORKER_NOT_READY', subject: 'worker-1', text: 'worker-1 is down' };
  assert.deepEqual(healthChange([], [ring(81)]), { appeared: [ring(81)], gone: [] });
  assert.deepEqual(healthChange([ring(81)], [ring(95), worker]), { appeared: [worker], gone: [] });
  assert.deepEqual(healthChange([ring(95), worker], [worker]), { appeared: [], gone: [ring(95)] });
});

test('facts are read from the shared memory of all threads', () => {
  const memory = createGridMemory({
    gateways: 2,
    workers: 2,
    ringBytes: 1024,
    messageBytesMax: 0,
    gatewayCounterNames: GATEWAY_COUNTERS,
  });
  const state = new GridState(memory.state);
  state.lifecycle = 'ready';
  state.startedMs = 1_000_000;
  state.setWorkerState(0, 'ready');
  state.setWorkerState(1, 'down');
  for (const gateway of [0, 1]) {
    const counters = new GatewayCounters(memory.gatewayCounters, gateway);
    counters.connections = 5 + gateway;
    counters.openCalls = 1;
    counters.publish();
  }
  const worker = new CounterRow(memory.workerCounters, WORKER_COUNTERS, 1);
  worker.set('records', 42);
  worker.set('storageState', 1);
  worker.set('breakerState', 1);
  worker.set('recoveryState', 3);
  worker.set('recordsLoaded', 41);
  worker.set('logReplayed', 1);
  worker.set('damagedPartitions', 2);
  worker.set('memoryBytes', 77);
  worker.set('logState', 2);
  worker.set('logSequence', 9);
  worker.set('logSyncedSequence', 8);
  worker.set('logFlushedSequence', 7);
  worker.set('logBytes', 4096);
  worker.set('logSyncedAtMs', 1_004_990);
  const main = new CounterRow(memory.threadCounters, THREAD_COUNTERS, 4);
  main.set('loopDelayP99Ms', 7);
  main.set('lastHealthCheckAtMs', 1_004_000);
  const inbox = memory.inboxes[1]?.[0];
  assert.ok(inbox !== undefined);
  const producer = new RingProducer(inbox, () => {});
  assert.ok(producer.tryWrite(new Uint8Array(504))); // half the ring with its header

  const facts = readFacts(new NodeView(memory), 1_005_000);
  assert.equal(facts.lifecycle, 'ready');
  assert.equal(facts.uptimeMs, 5000);
  assert.equal(facts.connections, 11);
  assert.equal(facts.inFlight, 2);
  assert.deepEqual(
    facts.workers.map(({ state, records, partitions, storage }) => [state, records, partitions, storage]),
    [
      ['ready', 0, 136, 'normal'],
      ['down', 42, 135, 'degraded'],
    ],
  );
  const { breaker, recovery, recordsLoaded, recordsReplayed, damagedPartitions, memoryBytes, log } =
    facts.workers[1] ?? assert.fail();
  assert.deepEqual(
    [breaker, recovery, recordsLoaded, recordsReplayed, damagedPartitions, memoryBytes],
    ['half-open', 'recovering', 41, 1, 2, 77],
  );
  assert.deepEqual(log, { state: 'disk-full', sequence: 9, synced: 8, flushed: 7, bytes: 4096, syncedAgeMs: 10 });
  assert.equal(facts.workers[0]?.log.syncedAgeMs, 0, 'nothing written waits for no sync');
  assert.deepEqual(
    facts.threads.map(({ name }) => name),
    ['gateway-0', 'gateway-1', 'worker-0', 'worker-1', 'main'],
  );
  assert.deepEqual(facts.threads[4], { name: 'main', loopDelayMs: 7, reportAgeMs: 1000 });
  assert.equal(facts.threads[0]?.reportAgeMs, undefined);
  assert.deepEqual(
    facts.rings.filter(({ occupancy }) => occupancy > 0),
    [{ name: 'inbox 1-0', occupancy: 0.5 }],
  );
});

test('a node that has not started yet has no uptime', () => {
  const memory = createGridMemory({
    gateways: 1,
    workers: 1,
    ringBytes: 1024,
    messageBytesMax: 0,
    gatewayCounterNames: GATEWAY_COUNTERS,
  });
  const facts = readFacts(new NodeView(memory), 1_700_000_000_000);
  assert.equal(facts.uptimeMs, 0);
  assert.equal(facts.lifecycle, 'starting');
});
