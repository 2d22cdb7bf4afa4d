/**
 * One writer of LOG under so many outstanding writes, in a process of its own, so that its CPU and its threads are its own.
 *
 * The floor is what one write costs when nobody shares its sync: 200 bytes into a file of zeros, fdatasync, and again.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { LmdbWriter, LogWriter, RECORD_BYTES } from './durable-writers.ts';
import { type DurableWriter, OutstandingWrites, type WindowFigures } from './outstanding-writes.ts';
import { LatencyHistogram } from './statistics.ts';
import { messageOf } from './void-run.ts';

export type WriterName = 'log' | 'lmdb' | 'lmdb-overlap' | 'fdatasync';

/** What one run does. Plain data: it crosses from the harness. */
export interface DurablePlan {
  readonly writer: WriterName;
  /** An empty folder on the disk to be measured. */
  readonly folder: string;
  /** Writes that are out at any time; of no meaning to `fdatasync`. */
  readonly outstanding: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** What the process answers: figures, or why there are none. */
export type DurableAnswer = { readonly figures: WindowFigures } | { readonly failure: string };

const FLOOR_FILE_BYTES = 4 << 20;

async function run(plan: DurablePlan): Promise<WindowFigures> {
  if (plan.writer === 'fdatasync') return syncAlone(plan);
  let fail: (cause: unknown) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {}); // it is raced below; a failure between two races is no unhandled one
  const writer = await openWriter(plan, fail);
  const writes = new OutstandingWrites(writer, plan.outstanding);
  writes.start();
  await Promise.race([failed, sleep(plan.warmUpMs)]);
  writes.beginWindow();
  await Promise.race([failed, sleep(plan.measureMs)]);
  const figures = writes.endWindow();
  await Promise.race([failed, writes.stop()]);
  await writer.close();
  return figures;
}

async function openWriter({ writer, folder }: DurablePlan, onFailed: (cause: unknown) => void): Promise<DurableWriter> {
  return writer === 'log' ? new LogWriter(folder, onFailed) : LmdbWriter.open(folder, writer === 'lmdb-overlap', onFailed);
}

function syncAlone({ folder, warmUpMs, measureMs }: DurablePlan): WindowFigures {
  const descriptor = openSync(join(folder, 'floor'), 'w');
  writeSync(descriptor, new Uint8Array(FLOOR_FILE_BYTES), 0, FLOOR_FILE_BYTES, 0);
  fdatasyncSync(descriptor);
  const latencies = new LatencyHistogram();
  const startMs = performance.now();
  let cpuBefore = process.cpuUsage();
  let writes = 0;
  const record = new Uint8Array(RECORD_BYTES).fill(7);
  for (let position = 0, nowMs = startMs; nowMs < startMs + warmUpMs + measureMs; position += RECORD_BYTES) {
    const wasWarm = nowMs >= startMs + warmUpMs;
    if (!wasWarm) cpuBefore = process.cpuUsage();
    writeSync(descriptor, record, 0, RECORD_BYTES, position % (FLOOR_FILE_BYTES - RECORD_BYTES));
    fdatasyncSync(descriptor);
    const endMs = performance.now();
    if (wasWarm) {
      latencies.record((endMs - nowMs) * 1000);
      writes += 1;
    }
    nowMs = endMs;
  }
  closeSync(descriptor);
  const { user, system } = process.cpuUsage(cpuBefore);
  const windowMs = performance.now() - startMs - warmUpMs;
  return { writes, windowMs, cpuMs: (user + system) / 1000, p50Us: latencies.quantile(0.5), p99Us: latencies.quantile(0.99) };
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

process.once('message', (plan: DurablePlan) => {
  run(plan).then(
    (figures) => answer({ figures }),
    (cause: unknown) => answer({ failure: messageOf(cause) }),
  );
});

function answer(message: DurableAnswer): void {
  process.send?.(message, () => process.exit());
}
