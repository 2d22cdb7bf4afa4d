/**
 * One writer of FLUSH in a process of its own, so that its CPU is its own:
 *
 *   stage a batch (untimed) ─▶ write it (timed: wall, CPU of the client, CPU of Postgres) ─▶ again
 */
import { descendantsCpuMs, sampleProcess } from '../process-stats.ts';
import { type FlushShape, type FlushWriterName, openFlushWriter } from './flush-writers.ts';

/** What one run does. Plain data: it crosses from the harness. */
export interface FlushPlan extends FlushShape {
  readonly writer: FlushWriterName;
  /** Of the server. */
  readonly postgresPid: number;
  readonly warmUpBatches: number;
  readonly batches: number;
}

/** What one run measured, over the batches that count. */
export interface FlushReport {
  readonly wallMs: number;
  readonly clientCpuMs: number;
  readonly postgresCpuMs: number;
  readonly batchMs: readonly number[];
}

export async function runFlushes(plan: FlushPlan): Promise<FlushReport> {
  const writer = await openFlushWriter(plan.writer, plan);
  const batchMs: number[] = [];
  let clientCpuMs = 0;
  let postgresCpuMs = 0;
  for (let batch = 0; batch < plan.warmUpBatches + plan.batches; batch++) {
    writer.stage(batch * plan.rows);
    const beforeMs = postgresMs(plan.postgresPid);
    const cpuBeforeMs = writer.cpuMs();
    const startedMs = performance.now();
    await writer.write();
    const wallMs = performance.now() - startedMs;
    if (batch < plan.warmUpBatches) continue;
    batchMs.push(wallMs);
    clientCpuMs += writer.cpuMs() - cpuBeforeMs;
    postgresCpuMs += postgresMs(plan.postgresPid) - beforeMs;
  }
  await writer.close();
  return { wallMs: batchMs.reduce((sum, ms) => sum + ms, 0), clientCpuMs, postgresCpuMs, batchMs };
}

function postgresMs(pid: number): number {
  const { userMs = 0, systemMs = 0 } = sampleProcess(pid) ?? {};
  return userMs + systemMs + descendantsCpuMs(pid);
}
