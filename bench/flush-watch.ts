/** How far Postgres is behind while a load runs, and how fast it takes rows, by what the server's metrics said meanwhile. */
import { metricSum } from './applied-ops.ts';
import { type MeasuredWindow, type MetricsSample, ratePerSecond } from './metrics-watch.ts';
import type { Figures } from './result.ts';

/** Of one worker: lags are not added up. */
const LAG_LINE = /^lattice_flush_lag_ms\{[^}]*\} (\d+(?:\.\d+)?)/gm;

/**
 * The longest lag and the most records that waited in all of the samples, and the rows a second of the window alone; what never
 * happened is left out.
 */
export function flushFigures(samples: readonly MetricsSample[], window: MeasuredWindow): Figures {
  let lagMaxMs = 0;
  let stagedMax = 0;
  for (const { text } of samples) {
    for (const [, lagMs] of text.matchAll(LAG_LINE)) lagMaxMs = Math.max(lagMaxMs, Number(lagMs));
    stagedMax = Math.max(stagedMax, metricSum(text, 'lattice_staged_records', {}) || 0);
  }
  const rowsFlushedPerSecond = ratePerSecond(samples, 'lattice_flushed_rows_total', window);
  return {
    ...(rowsFlushedPerSecond > 0 ? { rowsFlushedPerSecond } : {}),
    ...(stagedMax > 0 ? { flushLagMaxMs: lagMaxMs, stagedRecordsMax: stagedMax } : {}),
  };
}
