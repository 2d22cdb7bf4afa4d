import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { flushFigures } from './flush-watch.ts';
import { type MetricsSample, MetricsWatch, ratePerSecond, wallClockMs } from './metrics-watch.ts';

const SECOND = { beganMs: 1000, endedMs: 2000 };

test('the longest lag and the most waiting records of all workers are kept, and nothing is said where nothing waits', () => {
  const samples = [
    [10, 1, 2],
    [400, 30, 40],
    [5, 0, 0],
  ] as const;
  assert.deepEqual(flushFigures(samples.map(sampleOf), SECOND), { flushLagMaxMs: 400, stagedRecordsMax: 70 });
  assert.deepEqual(flushFigures([sampleOf([0, 0, 0])], SECOND), {});
});

test('rows a second are those of the measured window, and not of what came before or after it', () => {
  const samples = [
    [0, 0],
    [900, 900_000],
    [1100, 900_200],
    [1900, 901_000],
    [2100, 901_200],
    [9000, 5_000_000],
  ].map(([atMs = 0, rows = 0]) => ({ atMs, text: `lattice_flushed_rows_total{worker="0"} ${rows}\n` }));
  assert.deepEqual(flushFigures(samples, SECOND), { rowsFlushedPerSecond: 1000 });
});

test('a window that was not watched from its beginning to its end has no rate', () => {
  const samples = [1200, 2100].map((atMs) => ({ atMs, text: `rows_total ${atMs}\n` }));
  assert.ok(Number.isNaN(ratePerSecond(samples, 'rows_total', SECOND)));
  assert.ok(Number.isNaN(ratePerSecond(samples, 'rows_total', { beganMs: 1500, endedMs: 2500 })));
  assert.equal(ratePerSecond(samples, 'rows_total', { beganMs: 1500, endedMs: 2000 }), 1000);
  assert.ok(Number.isNaN(ratePerSecond(samples, 'absent', { beganMs: 1500, endedMs: 2000 })));
});

test('metrics are asked until the watch ends, each answer with its moment', async () => {
  let asked = 0;
  let askedTwice: () => void = () => {};
  const twice = new Promise<void>((resolve) => {
    askedTwice = resolve;
  });
  const server = createServer((_, response) => {
    asked += 1;
    response.end(`asked_total ${asked}\n`);
    if (asked === 2) askedTwice();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const beganMs = wallClockMs();
    const watch = new MetricsWatch((server.address() as AddressInfo).port);
    await twice;
    const samples = await watch.stop();
    assert.deepEqual(
      samples.slice(0, 2).map(({ text }) => text),
      ['asked_total 1\n', 'asked_total 2\n'],
    );
    assert.ok((samples[0]?.atMs ?? 0) >= beganMs && (samples[1]?.atMs ?? 0) > (samples[0]?.atMs ?? 0));
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

/** Lag of the second worker, records that wait in the first and in the second. */
function sampleOf([lagMs, first, second]: readonly [lagMs: number, first: number, second: number]): MetricsSample {
  const lags = `lattice_flush_lag_ms{worker="0"} 0\nlattice_flush_lag_ms{worker="1"} ${lagMs}\n`;
  const staged = `lattice_staged_records{worker="0"} ${first}\nlattice_staged_records{worker="1"} ${second}\n`;
  return { atMs: 0, text: lags + staged };
}
