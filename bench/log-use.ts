/**
 * What the server's log and flushes did during a run, by its own counters: a row that says `fsync-always` must have synced.
 */
import { metricSum } from './applied-ops.ts';
import type { Variant } from './harness.ts';
import type { Figures } from './result.ts';

/** Counts since the server started, and when they were read. */
export interface LogUse {
  readonly atMs: number;
  readonly frames: number;
  readonly syncs: number;
  readonly rowsFlushed: number;
}

/** With `always` each batch waits for its own sync; what a tick logs waits for none. In groups, syncs are fewer than that. */
const SYNCED_SHARE = 0.9;

/** The counts by the server's metrics; NaN where it has none. */
export async function readLogUse(port: number): Promise<LogUse> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  const text = await response.text();
  const hasLog = metricSum(text, 'lattice_log_segments', {}) !== 0; // without one, the sequence is that of staging
  return {
    atMs: performance.now(),
    frames: hasLog ? metricSum(text, 'lattice_log_sequence', {}) : 0,
    syncs: metricSum(text, 'lattice_log_syncs_total', {}),
    rowsFlushed: metricSum(text, 'lattice_flushed_rows_total', {}),
  };
}

/** Ops that shared a frame and a sync; what did not happen is left out. */
export function logFigures(before: LogUse, after: LogUse, ops: number): Figures {
  return happened({
    opsPerLogFrame: ops / (after.frames - before.frames),
    opsPerLogSync: ops / (after.syncs - before.syncs),
  });
}

/** The speed of flushes between the two readings, so with the start of the generator, its warm-up and its drain. */
export function flushedFigures(before: LogUse, after: LogUse): Figures {
  return happened({
    rowsFlushedPerSecond: ((after.rowsFlushed - before.rowsFlushed) * 1000) / (after.atMs - before.atMs),
  });
}

function happened(figures: Figures): Figures {
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => value > 0 && Number.isFinite(value)));
}

/**
 * Why the run is void: the server did not log and flush as its variant says, under a load that asks for no level. (Who asks for
 * PERSISTED has the log synced sooner than in groups.) Undefined when it did.
 */
export function reasonMisnamed(variant: Variant, before: LogUse, after: LogUse): string | undefined {
  const frames = after.frames - before.frames;
  const syncs = after.syncs - before.syncs;
  const rows = after.rowsFlushed - before.rowsFlushed;
  if (didAsNamed(variant, frames, syncs, rows)) return undefined;
  return `void: ${frames} frames logged, ${syncs} syncs and ${rows} rows flushed, which is not ${variant}`;
}

function didAsNamed(variant: Variant, frames: number, syncs: number, rows: number): boolean {
  const isGrouped = syncs > 0 && syncs < frames * SYNCED_SHARE;
  switch (variant) {
    case 'log-off':
      return frames === 0 && syncs === 0;
    case 'alone':
    case 'alone-gc':
    case 'w1-g1':
    case 'w1-g1-fused':
    case 'w2-g1':
    case 'w1-g2':
    case 'w2-g2':
      return frames === 0 && syncs === 0 && !(rows > 0);
    case 'fsync-off':
      return frames > 0 && syncs === 0;
    case 'fsync-10':
    case 'lattice':
    case 'lattice-gc':
    case 'fused':
      return isGrouped;
    case 'flushing':
      return isGrouped && rows > 0;
    case 'fsync-always':
      return frames > 0 && syncs >= frames * SYNCED_SHARE;
    default:
      return true; // references have no log
  }
}

/**
 * Why a run that asked for PERSISTED is void: its answers wait until the log is synced, so there must have been a sync. Undefined
 * when there was.
 */
export function reasonUnsynced(before: LogUse, after: LogUse): string | undefined {
  const syncs = after.syncs - before.syncs;
  return syncs > 0 ? undefined : `void: ${after.frames - before.frames} frames logged and ${syncs} syncs, which is not PERSISTED`;
}
