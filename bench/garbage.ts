/**
 * Gives the ticks of a server something to collect while a load runs: records whose time to live is over, and old tombstones.
 *
 *   map gc-expiring   all due at one moment, more than the ticks can expire before the window ends: every tick spends its whole slice
 *   map gc-removed    tombstones that pass the horizon from then on: each run of the pruner finds as many as it looks at
 *
 * A horizon of `GARBAGE_HORIZON_MS` is set for such servers: above the minute within which the ops of a mix are stamped.
 */
import { WireSession } from '../gateway/testing/wire-session.ts';
import { metricSum, readMerged } from './applied-ops.ts';
import { countAt, type MeasuredWindow, type MetricsSample, ratePerSecond } from './metrics-watch.ts';
import { short } from './number-text.ts';
import type { Figures } from './result.ts';

export const GARBAGE_HORIZON_MS = 70_000;
const BATCH_OPS = 1000;
const NODE_ID = 'bench-gc';
const POLL_MS = 200;
const OVER_DEADLINE_MS = 60_000;
/** Counted since the server started. */
const EXPIRED_METRIC = 'lattice_expired_total';
const PRUNED_METRIC = 'lattice_tombstones_pruned_total';

export interface Garbage {
  readonly expiring: number;
  readonly removed: number;
  /** From the first write to the moment at which all is due. Too short a time for the writes is an error. */
  readonly leadMs: number;
}

/** Writes what is to be collected, and resolves when it is due. */
export async function stageGarbage(port: number, { expiring, removed, leadMs }: Garbage): Promise<void> {
  const dueMs = Date.now() + leadMs;
  const session = await WireSession.open({ port, path: '/ws?events=interest' });
  try {
    await writeAll(session, removed, (number) => {
      const timestamp = { millis: dueMs - GARBAGE_HORIZON_MS, counter: number, nodeId: NODE_ID };
      return {
        id: `r${number}`,
        mapName: 'gc-removed',
        opType: 'REMOVE',
        key: `r-${number}`,
        record: { value: null, timestamp },
      };
    });
    await writeAll(session, expiring, (number) => {
      const millis = Date.now();
      const record = { value: { title: `item ${number}` }, timestamp: { millis, counter: number, nodeId: NODE_ID } };
      const ttlMs = dueMs - millis;
      return { id: `e${number}`, mapName: 'gc-expiring', opType: 'PUT', key: `e-${number}`, record: { ...record, ttlMs } };
    });
    const leftMs = dueMs - Date.now();
    if (leftMs <= 0) throw new Error(`writing what is to be collected took ${leadMs - leftMs} ms, not ${leadMs}`);
    await new Promise((resolve) => setTimeout(resolve, leftMs));
  } finally {
    session.socket.terminate();
  }
}

async function writeAll(session: WireSession, count: number, opOf: (number: number) => Record<string, unknown>): Promise<void> {
  for (let first = 0; first < count; first += BATCH_OPS) {
    const size = Math.min(BATCH_OPS, count - first);
    session.sendOps(...Array.from({ length: size }, (_, place) => ({ type: 'CLIENT_OP', ...opOf(first + place) })));
    await session.next('OP_ACK');
  }
}

/** Resolves when all has expired: every expiry counts as a merge, so until then no ops can be counted. */
export async function untilExpired(port: number, { expiring }: Garbage): Promise<void> {
  const givenUpMs = performance.now() + OVER_DEADLINE_MS;
  while ((await readExpired(port)) < expiring) {
    if (performance.now() > givenUpMs) throw new Error(`not all ${expiring} records expired`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** What was collected in the measured window. */
export function collectedFigures(samples: readonly MetricsSample[], window: MeasuredWindow): Figures {
  return {
    expiredPerSecond: ratePerSecond(samples, EXPIRED_METRIC, window),
    prunedPerSecond: ratePerSecond(samples, PRUNED_METRIC, window),
  };
}

/** Why the run says nothing of what collecting costs, or undefined: the ticks must have had work for the whole of the measured window. */
export function reasonIdle(
  samples: readonly MetricsSample[],
  window: MeasuredWindow,
  { expiring, removed }: Garbage,
): string | undefined {
  const { expiredPerSecond = 0, prunedPerSecond = 0 } = collectedFigures(samples, window);
  if (!(expiredPerSecond > 0 && prunedPerSecond > 0))
    return `void: ${short(expiredPerSecond)} records a second expired and ${short(prunedPerSecond)} tombstones a second were pruned in the window`;
  if (countAt(samples, EXPIRED_METRIC, window.endedMs) >= expiring)
    return `void: all ${expiring} records had expired before the window was over`;
  return countAt(samples, PRUNED_METRIC, window.endedMs) >= removed
    ? `void: all ${removed} tombstones were pruned before the window was over`
    : undefined;
}

/** Ops merged so far, without the removals of what expired. */
export async function readMergedOps(port: number): Promise<number> {
  return (await readMerged(port)) - (await readExpired(port));
}

async function readExpired(port: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return metricSum(text, EXPIRED_METRIC, {});
}
