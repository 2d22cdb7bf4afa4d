/**
 * W6: memory for a million records of 16 + 64 bytes, the time to load them, and from a restart to ready.
 *
 *   lattice   loaded by OP_BATCH frames of 100 over one WebSocket; RSS of the server, its Postgres beside; restarted on its data
 *   redis     the same by SET in pipelines of 100 over one connection; restarted on its RDB file
 *   y-map, tinybase, js-map   filled inside a process: no sockets, nothing durable
 *
 * Memory is the growth of the resident set from empty to full. A run after which not all records are there is void.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { RawWebSocket } from '../gateway/testing/raw-websocket.ts';
import { metricSum, untilFlushed } from './applied-ops.ts';
import { startServer } from './harness.ts';
import type { RunSettings } from './ingest.bench.ts';
import { MEMORY_STORES, type MemoryPlan, type MemoryReport } from './memory-process.ts';
import { frameOf, keyOf, recordValue } from './memory-records.ts';
import { reasonMissing } from './peer-packages.ts';
import { type Pinning, TASKSET } from './pinning.ts';
import { descendantsRssBytes, sampleProcess } from './process-stats.ts';
import { RedisPeer, redisMissing } from './redis-peer.ts';
import { type Figures, ScenarioResult } from './result.ts';
import { reasonLost, voidBecause } from './void-run.ts';

const SCRIPT = fileURLToPath(new URL(`./memory-process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url));
const BATCH = 100;
const FRAMES_IN_FLIGHT = 8;
const PACKAGES: Readonly<Record<string, string>> = { 'y-map': 'yjs', tinybase: 'tinybase' };

export async function* runMemory(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  if (settings.scenarios !== undefined && !settings.scenarios.has('W6')) return;
  const records = settings.quick ? 100_000 : 1_000_000;
  const title = `${records.toLocaleString('en')} records of 16 + 64 bytes: memory, load, restart`;
  const variants = ['lattice', 'redis', ...MEMORY_STORES];
  const result = new ScenarioResult({
    scenario: 'W6',
    title,
    ceilings: Object.fromEntries(variants.map((name) => [name, 'redis'])),
  });
  const runners = await runnersOf(records, result, settings.pinning);
  for (let run = 1; run <= settings.runs; run++) {
    for (const [variant, measure] of runners) {
      const figures = await measure().catch(voidBecause);
      if (typeof figures === 'string') result.addVoid(variant, figures);
      else result.add(variant, figures);
      const text = typeof figures === 'string' ? figures : `${figures.rssBytesPerRecord?.toFixed(0)} B a record`;
      settings.progress(`W6 run ${run}/${settings.runs} ${variant}: ${text}`);
    }
  }
  yield result;
}

type Measure = () => Promise<Figures | string>;

async function runnersOf(records: number, result: ScenarioResult, pinning: Pinning | undefined): Promise<[string, Measure][]> {
  const runners: [string, Measure][] = [['lattice', () => measureLattice(records, loadLattice, pinning)]];
  const noRedis = redisMissing();
  if (noRedis === undefined) runners.push(['redis', () => measureRedis(records, keyOf, pinning)]);
  else result.notMeasured('redis', noRedis);
  for (const store of MEMORY_STORES) {
    const name = PACKAGES[store];
    const missing = name === undefined ? undefined : await reasonMissing(name);
    if (missing === undefined) runners.push([store, () => measureProcess({ store, records }, pinning)]);
    else result.notMeasured(store, missing);
  }
  return runners;
}

/** @param load writes the records; another one for tests that lose some. */
export async function measureLattice(records: number, load = loadLattice, pinning?: Pinning): Promise<Figures | string> {
  let server = await startServer('lattice', pinning);
  try {
    const rssBefore = sampleProcess(server.pid)?.rssBytes ?? Number.NaN;
    const startMs = performance.now();
    await load(server.port, records);
    const loadMs = performance.now() - startMs;
    await untilFlushed(server.port);
    const rssGrowthBytes = (sampleProcess(server.pid)?.rssBytes ?? Number.NaN) - rssBefore;
    const postgresRssMb = descendantsRssBytes(server.pid) / 1e6;
    server = await server.restart();
    const restartMs = server.startMs;
    const lost = reasonLost('records', records, await recordsOf(server.port));
    return lost ?? { ...figuresOf({ rssGrowthBytes, loadMs, records }), restartMs, postgresRssMb };
  } finally {
    await server.stop();
  }
}

/** Writes the records through one WebSocket, in frames of 100. */
export async function loadLattice(port: number, records: number, millis = Date.now(), key = keyOf): Promise<void> {
  const socket = await RawWebSocket.open({ port, path: '/ws?events=interest' });
  const frames = records / BATCH;
  await new Promise<void>((resolve, reject) => {
    let sent = 0;
    let acked = 0;
    const send = (): void => {
      for (; sent < frames && sent - acked < FRAMES_IN_FLIGHT; sent++) socket.send(frameOf(sent * BATCH, BATCH, millis, key));
    };
    socket.onMessage = () => {
      acked += 1;
      if (acked === frames) resolve();
      else send();
    };
    void socket.closed.then(({ code, reason }) => reject(new Error(`closed with ${code} ${reason}`)));
    send();
  });
  socket.close();
}

async function recordsOf(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  return metricSum(await response.text(), 'lattice_records', {});
}

/** @param key names a record; another one for tests that lose some. */
export async function measureRedis(records: number, key = keyOf, pinning?: Pinning): Promise<Figures | string> {
  const redis = await RedisPeer.start([], pinning);
  try {
    const rssBefore = sampleProcess(redis.pid)?.rssBytes ?? Number.NaN;
    const startMs = performance.now();
    const wordsOf = (record: number): readonly string[] => ['SET', key(record), recordValue(record)];
    await redis.load({ commands: records, perWrite: BATCH, writesInFlight: FRAMES_IN_FLIGHT, wordsOf });
    const loadMs = performance.now() - startMs;
    const rssGrowthBytes = (sampleProcess(redis.pid)?.rssBytes ?? Number.NaN) - rssBefore;
    await redis.run(['SAVE']);
    const restartMs = await redis.restart();
    const lost = reasonLost('records', records, Number((await redis.run(['DBSIZE'])).slice(1)));
    return lost ?? { ...figuresOf({ rssGrowthBytes, loadMs, records }), restartMs };
  } finally {
    await redis.stop();
  }
}

/** @param script holds the store; another one for tests that lose some. */
export function measureProcess(plan: MemoryPlan, pinning?: Pinning, script = SCRIPT): Promise<Figures | string> {
  return new Promise((resolve, reject) => {
    const flags = [...process.execArgv, '--max-old-space-size=8192', '--expose-gc'];
    const pinned = pinning && { execPath: TASKSET, execArgv: ['-c', pinning.server, process.execPath, ...flags] };
    const child = fork(script, pinned ?? { execArgv: flags });
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the ${plan.store} process ended with ${code} and without a report`)));
    child.once('message', (report: MemoryReport) =>
      resolve(reasonLost('records', plan.records, report.records) ?? figuresOf(report)),
    );
    child.send(plan);
  });
}

function figuresOf({ rssGrowthBytes, loadMs, records }: MemoryReport): Figures {
  return {
    opsPerSecond: (records * 1000) / loadMs,
    rssBytesPerRecord: rssGrowthBytes / records,
    rssGrowthMb: rssGrowthBytes / 1e6,
    loadMs,
  };
}
