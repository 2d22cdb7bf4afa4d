/**
 * The write-ahead log by itself:
 *
 *   LOG    writes made durable, so many outstanding          lmdb-js, and the disk's own write + fdatasync as the floor
 *   FRAME  CPU of logging a record, without a disk           –
 *
 * Runs of LOG alternate, each in a process and a folder of its own. lmdb comes from bench/peers; where it cannot be
 * installed, its rows are "not measured".
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { diskFolder, fileSystemOf, withFolder } from './disk-folder.ts';
import type { DurableAnswer, DurablePlan, WriterName } from './durable-process.ts';
import type { RunSettings } from './ingest.bench.ts';
import { LoggingCost } from './logging-cost.ts';
import type { WindowFigures } from './outstanding-writes.ts';
import { reasonMissing } from './peer-packages.ts';
import { type Figures, ScenarioResult } from './result.ts';

const SCRIPT = fileURLToPath(new URL(`./durable-process${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url));
const OUTSTANDING = [64, 1024, 8192];
const WRITERS: readonly WriterName[] = ['log', 'lmdb', 'lmdb-overlap'];
const FRAME_RECORDS = [1, 10, 100, 1000];
/** Beside which the disk alone is slow: one more millisecond for the queue and the turns of the event loop. */
const P50_ALLOWANCE_US = 1000;
const SLICE_MS = 5;

/** Runs LOG and FRAME and yields each result when it is complete. */
export async function* runWal(settings: RunSettings): AsyncGenerator<ScenarioResult> {
  const wanted = (name: string): boolean => settings.scenarios?.has(name) ?? true;
  if (wanted('LOG')) yield await runLog(settings);
  if (wanted('FRAME')) yield await runFrame(settings);
}

async function runLog(settings: RunSettings): Promise<ScenarioResult> {
  const folder = diskFolder();
  const ceilings = Object.fromEntries(
    OUTSTANDING.flatMap((count) => WRITERS.map((writer) => [`${writer}-${count}`, `lmdb-${count}`])),
  );
  const title = `200 B records made durable, 64, 1024 and 8192 outstanding, in ${folder} (${fileSystemOf(folder)})`;
  const result = new ScenarioResult({ scenario: 'LOG', title, ceilings });
  const missing = await reasonMissing('lmdb');
  const writers = missing === undefined ? WRITERS : WRITERS.slice(0, 1);
  if (missing !== undefined) result.notMeasured('lmdb', missing);
  for (let run = 1; run <= settings.runs; run++) {
    const floor = await measure(result, 'fdatasync', 1, settings, `LOG run ${run}/${settings.runs}`);
    for (const outstanding of OUTSTANDING)
      for (const writer of writers)
        await measure(result, writer, outstanding, settings, `LOG run ${run}/${settings.runs}`, floor);
  }
  return result;
}

/** One run, added to the result; returns its p50 in µs, NaN when it is void. */
async function measure(
  result: ScenarioResult,
  writer: WriterName,
  outstanding: number,
  settings: RunSettings,
  progress: string,
  floorUs = Number.NaN,
): Promise<number> {
  const variant = outstanding === 1 ? writer : `${writer}-${outstanding}`;
  const [warmUpMs, measureMs] = settings.quick ? [200, 500] : [500, 2000];
  const answer = await withFolder(variant, (folder) => runDurable({ writer, folder, outstanding, warmUpMs, measureMs }));
  if ('failure' in answer) {
    result.addVoid(variant, `void: ${answer.failure}`);
    settings.progress(`${progress} ${variant}: void: ${answer.failure}`);
    return Number.NaN;
  }
  const figures = durableFigures(answer.figures, floorUs);
  result.add(variant, figures);
  settings.progress(
    `${progress} ${variant}: ${Math.round(figures.opsPerSecond ?? 0).toLocaleString('en')} ops/s, p50 ${figures.p50Us?.toFixed(0)} µs`,
  );
  return answer.figures.p50Us;
}

/** @param floorUs p50 of the disk alone in the same run. */
export function durableFigures({ writes, windowMs, cpuMs, p50Us, p99Us }: WindowFigures, floorUs: number): Figures {
  return {
    opsPerSecond: (writes * 1000) / windowMs,
    opsPerCpuSecond: (writes * 1000) / cpuMs,
    p50Us,
    p99Us,
    ...(Number.isNaN(floorUs) ? {} : { p50ToBound: p50Us / (2 * floorUs + P50_ALLOWANCE_US) }),
  };
}

/** One writer in a process of its own; what goes wrong there is the answer, too. */
export function runDurable(plan: DurablePlan): Promise<DurableAnswer> {
  return new Promise((resolve) => {
    const child = fork(SCRIPT);
    child.once('error', (cause) => resolve({ failure: cause.message }));
    child.once('exit', (code) => resolve({ failure: `the ${plan.writer} process ended with ${code} and without a report` }));
    child.once('message', (answer: DurableAnswer) => {
      child.removeAllListeners('exit');
      child.once('exit', () => resolve(answer)); // its folder is removed next
    });
    child.send(plan);
  });
}

function runFrame(settings: RunSettings): Promise<ScenarioResult> {
  return withFolder('frame', async (folder) => {
    const title = '200 B records into frames of 1, 10, 100 and 1000, no sync';
    const result = new ScenarioResult({ scenario: 'FRAME', title, ceilings: {} });
    const cost = new LoggingCost(folder);
    for (let run = 1; run <= settings.runs; run++) {
      for (const records of FRAME_RECORDS) {
        for (const [name, pass] of [
          ['append', (count: number) => cost.append(count)],
          ['logged', (count: number) => cost.logged(count)],
          ['written', (count: number) => cost.written(count)],
        ] as const) {
          const nsPerRecord = await cpuNsOfRecord(settings.quick, records, pass);
          result.add(`${name}-${records}`, { opsPerCpuSecond: 1e9 / nsPerRecord, nsPerRecord });
          settings.progress(`FRAME run ${run}/${settings.runs} ${name}-${records}: ${nsPerRecord.toFixed(0)} ns a record`);
        }
      }
    }
    await cost.close();
    return result;
  });
}

/**
 * CPU of a record, ns, over many passes. Not their wall time, of which other processes take some, and not the median of
 * them: only few passes pay for the zeros ahead of the frames and for a new segment, and those count too.
 */
async function cpuNsOfRecord(quick: boolean, records: number, pass: (records: number) => number): Promise<number> {
  await passesFor(quick ? 50 : 150, records, pass);
  const before = process.cpuUsage();
  const passes = await passesFor(quick ? 150 : 500, records, pass);
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / (passes * records);
}

/** In slices, between which files are closed and deleted. */
async function passesFor(durationMs: number, records: number, pass: (records: number) => number): Promise<number> {
  const endMs = performance.now() + durationMs;
  let passes = 0;
  while (performance.now() < endMs) {
    const sliceEndMs = performance.now() + SLICE_MS;
    for (; performance.now() < sliceEndMs; passes++) if (pass(records) === 0) throw new Error('an empty frame');
    await new Promise((resolve) => setImmediate(resolve));
  }
  return passes;
}
