/**
 * A server under mixed load and random faults for a while, watched: does anything grow that should not?
 *
 *   npm run soak -- --minutes 10 --seed 7
 *   npm run soak -- --worker-life-ms 0         without worker crashes, to tell whose growth it is; not recorded
 *
 *   writers ─▶ server (worker threads end now and then) ─▶ proxy (cuts, hangs, refuses now and then) ─▶ Postgres
 *                 └── every 10 s: RSS, descriptors, heap, records, tombstones, staged and log bytes
 *
 * Keys are bounded and tombstones are forgotten after a minute, so a flat line is what a sound server draws. At the end it is
 * stopped in order, and Postgres must hold what clients saw. Exit status: 0 flat, 1 not, 2 a mistake in the command line.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../gateway/testing/random.ts';
import { externalDatabase } from './chaos/external-database.ts';
import type { FaultyProxy } from './chaos/faulty-proxy.ts';
import { Ledger, type LwwWrite } from './chaos/ledger.ts';
import { Load } from './chaos/load.ts';
import { metricsOf, storageHealed } from './chaos/node-health.ts';
import { readMaps, readStored } from './chaos/read-back.ts';
import { appendResult } from './chaos/results.ts';
import { differences } from './chaos/snapshot.ts';
import { judgeSoak, type Sample } from './chaos/soak-verdict.ts';
import { StruckNode } from './chaos/struck-node.ts';

const MIB = 1024 * 1024;
const SAMPLE_MS = 10_000;
const WRITERS = 20;
/** About 2500 ops a second: a rate that does not hang on what else the machine does. */
const PAUSE_MS_MAX = 100;
const WORKERS = 2;
const TOMBSTONE_HORIZON_MS = 60_000;
/** Mean life of a worker thread. */
const WORKER_LIFE_MS = 120_000;
const TROUBLE_EVERY_MS_MAX = 40_000;
const TROUBLE_MS_MAX = 4000;
const HEALED_MS_MAX = 60_000;
const STAGED_BYTES_MAX = 32 * MIB;
const LOG_BYTES_MAX = 256 * MIB;
/** JavaScript heaps grow to their size for five minutes: measured, without any crash, and flat afterwards. */
const WARM_UP = 0.5;
/** Threads that end and begin move RSS by tens of MiB; in what is left of ten minutes this is what is told from growth. */
const RSS_RISE_PERCENT_MAX = 10;

const FLAGS = [
  ...['--worker-threads', String(WORKERS), '--tombstone-horizon-ms', String(TOMBSTONE_HORIZON_MS)],
  ...[
    '--staged-bytes-max',
    String(STAGED_BYTES_MAX),
    '--wal-max-bytes',
    String(LOG_BYTES_MAX),
    '--wal-segment-bytes',
    String(4 * MIB),
  ],
  ...['--storage-timeout-ms', '3000', '--log-level', 'warn'],
];

/** Writes are judged by the chaos suite; here they are only made, for hours if need be. */
class ForgetfulLedger extends Ledger {
  override put(_map: string, _key: string, stamp: LwwWrite['stamp'], value: string | undefined): LwwWrite {
    this.writes += 1;
    return { stamp, value, reached: 0 };
  }

  override add(...[, key, tag, value]: Parameters<Ledger['add']>): ReturnType<Ledger['add']> {
    this.writes += 1;
    return { key, tag, value, added: 0, removed: -1 };
  }
}

const parsed = parse();
process.exitCode = parsed === undefined ? 2 : await soak(parsed);

interface Wanted {
  readonly minutes: number;
  readonly seed: number;
  readonly workerLifeMs: number;
  readonly isRecorded: boolean;
}

function parse(): Wanted | undefined {
  const options = {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string' },
    'worker-life-ms': { type: 'string', default: String(WORKER_LIFE_MS) },
    'no-record': { type: 'boolean' },
  } as const;
  try {
    const { values } = parseArgs({ options });
    const [minutes, seed] = [Number(values.minutes), Number(values.seed ?? Date.now() % 2 ** 31)];
    const workerLifeMs = Number(values['worker-life-ms']);
    if (!(minutes > 0) || !Number.isInteger(seed) || !(workerLifeMs >= 0))
      throw new Error('--minutes, --seed and --worker-life-ms take numbers');
    return { minutes, seed, workerLifeMs, isRecorded: values['no-record'] !== true && workerLifeMs > 0 };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    return undefined;
  }
}

async function soak({ minutes, seed, workerLifeMs, isRecorded }: Wanted): Promise<number> {
  print(`seed ${seed}   (again: npm run soak -- --minutes ${minutes} --seed ${seed})`);
  const beganMs = performance.now();
  const database = await externalDatabase();
  const faults = ['--fault-injection', 'on', '--fault-worker-kill-ms', String(workerLifeMs), '--fault-seed', String(seed)];
  const node = await StruckNode.make({ flags: [...FLAGS, ...faults], database });
  const load = new Load({
    seed,
    writers: WRITERS,
    ledger: new ForgetfulLedger(),
    flags: FLAGS,
    pauseMsMax: PAUSE_MS_MAX,
  });
  const failures: string[] = [];
  const samples: Sample[] = [];
  const run = { isOver: false, troubles: 0 };
  try {
    await node.start();
    load.begin(node);
    const trouble = makeTrouble(database.proxy, new Random(seed), run);
    print('      s   RSS MiB  heap MiB  slab MiB   fds  threads  records  tombstones  staged KiB   log KiB      acks');
    const endsMs = beganMs + minutes * 60_000;
    while (performance.now() < endsMs) {
      await delay(Math.min(SAMPLE_MS, Math.max(0, endsMs - performance.now())));
      const sample = await take(node, performance.now() - beganMs);
      samples.push(sample);
      print(row(sample, load.acknowledgedAt(0)));
    }
    run.isOver = true;
    await trouble;
    failures.push(...(await endInOrder(node, load, database)));
  } catch (error) {
    failures.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  } finally {
    run.isOver = true;
    await load.stop(true);
    await node.dispose(false);
    await database.proxy.close();
  }
  const verdict = judgeSoak(samples, {
    warmUp: WARM_UP,
    rssRisePercentMax: RSS_RISE_PERCENT_MAX,
    descriptorsSpreadMax: 20,
    stagedBytesMax: STAGED_BYTES_MAX * WORKERS,
    logBytesMax: LOG_BYTES_MAX,
    tombstonesGrowthMax: 1.3,
  });
  failures.push(...verdict.failures);
  const crashes = node.log.match(/worker crashed/g)?.length ?? 0;
  if ((crashes === 0 && workerLifeMs > 0) || run.troubles === 0)
    failures.push(`${crashes} worker crashes and ${run.troubles} network troubles: nothing was struck`);
  const acknowledged = load.acknowledgedAt(0);
  const notes = {
    ...verdict.notes,
    ...Object.fromEntries(load.counts.doors),
    'worker crashes': crashes,
    'network troubles': run.troubles,
  };
  for (const [name, value] of Object.entries(notes)) print(`  ${name}: ${value}`);
  for (const text of failures) print(`FAILED ${text}`);
  print(failures.length === 0 ? `flat over ${minutes} min, ${acknowledged} ops` : `${failures.length} FAILURES`);
  const result = {
    run: 'soak',
    title: 'mixed load with worker crashes and network troubles',
    amount: minutes,
    unit: 'minutes',
    checked: acknowledged,
    failures: failures.length,
    seed,
    notes,
    seconds: Math.round((performance.now() - beganMs) / 1000),
  };
  if (isRecorded) appendResult(result);
  return failures.length === 0 ? 0 : 1;
}

/** Now and then the way to Postgres is bad for a moment. */
async function makeTrouble(proxy: FaultyProxy, random: Random, run: { isOver: boolean; troubles: number }): Promise<void> {
  while (!run.isOver) {
    await pause(random.below(TROUBLE_EVERY_MS_MAX), run);
    if (run.isOver) return;
    const mode = random.pick(['FIN', 'RST', 'black hole', 'latency', 'refuse'] as const);
    if (mode === 'FIN' || mode === 'RST') proxy.cutAfter(random.below(200_000), mode);
    else proxy.set(mode, 1 + random.below(300));
    run.troubles += 1;
    await pause(random.below(TROUBLE_MS_MAX), run);
    proxy.set('pass');
  }
}

async function pause(ms: number, run: { readonly isOver: boolean }): Promise<void> {
  const endsMs = performance.now() + ms;
  while (!run.isOver && performance.now() < endsMs) await delay(Math.min(200, endsMs - performance.now()));
}

/** Rest, a last look, SIGTERM, and Postgres beside it. */
async function endInOrder(
  node: StruckNode,
  load: Load,
  { proxy, target }: Awaited<ReturnType<typeof externalDatabase>>,
): Promise<string[]> {
  proxy.set('pass');
  const left = await load.rest(HEALED_MS_MAX);
  if (left > 0) return [`${left} ops were not acknowledged in the end`];
  if (!(await storageHealed(node.port, HEALED_MS_MAX))) return ['storage did not become well in the end'];
  const memory = await readMaps(node.port, HEALED_MS_MAX);
  const status = await node.stop();
  if (status !== 0) return [`the exit status after SIGTERM is ${status}`];
  // Tombstones may be forgotten between the two looks: what is live must be the same.
  const stored = await readStored(target);
  for (const snapshot of [memory, stored])
    for (const keys of snapshot.lww.values()) for (const [key, { value }] of keys) if (value === undefined) keys.delete(key);
  return differences(memory, 'memory', stored, 'Postgres').slice(0, 10);
}

async function take(node: StruckNode, atMs: number): Promise<Sample> {
  const metrics = await metricsOf(node.port);
  const status = readFileSync(`/proc/${node.pid}/status`, 'utf8');
  const of = (name: string): number => metrics.get(`lattice_${name}`) ?? 0;
  return {
    atMs,
    rssBytes: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024,
    heapBytes: of('thread_heap_used_bytes'),
    slabBytes: of('slab_reserved_bytes'),
    descriptors: readdirSync(`/proc/${node.pid}/fd`).length,
    threads: Number(/Threads:\s+(\d+)/.exec(status)?.[1] ?? 0),
    records: of('records'),
    tombstones: of('tombstones'),
    stagedBytes: of('staged_bytes'),
    logBytes: of('log_bytes'),
  };
}

function row(sample: Sample, acknowledged: number): string {
  const cells: readonly (readonly [number, number])[] = [
    [sample.atMs / 1000, 7],
    [sample.rssBytes / MIB, 10],
    [sample.heapBytes / MIB, 10],
    [sample.slabBytes / MIB, 10],
    [sample.descriptors, 6],
    [sample.threads, 9],
    [sample.records, 9],
    [sample.tombstones, 12],
    [sample.stagedBytes / 1024, 12],
    [sample.logBytes / 1024, 10],
    [acknowledged, 10],
  ];
  return cells.map(([value, width]) => String(Math.round(value)).padStart(width)).join('');
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
