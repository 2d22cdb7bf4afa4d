import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LatencyHistogram, median, spreadOf } from './statistics.ts';

test('the median is the middle value, or the mean of the two middle ones', () => {
  assert.equal(median([5, 1, 9]), 5);
  assert.equal(median([4, 1, 9, 2]), 3);
  assert.equal(median([7]), 7);
  assert.ok(Number.isNaN(median([])));
});

test('a median leaves the order of its input alone', () => {
  const values = [3, 1, 2];
  median(values);
  assert.deepEqual(values, [3, 1, 2]);
});

test('a spread carries median and extremes', () => {
  assert.deepEqual(spreadOf([10, 30, 20]), { median: 20, min: 10, max: 30 });
});

test('quantiles of 1..100 000 µs are right within 1.6 percent', () => {
  const histogram = new LatencyHistogram();
  for (let us = 1; us <= 100_000; us++) histogram.record(us);
  for (const fraction of [0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1]) {
    const exact = fraction * 100_000;
    const error = Math.abs(histogram.quantile(fraction) - exact) / exact;
    assert.ok(error < 0.016, `quantile ${fraction}: ${histogram.quantile(fraction)} instead of ${exact}`);
  }
});

test('a p99 shows the one slow answer in fifty, not the one in a thousand', () => {
  const histogram = new LatencyHistogram();
  histogram.record(100, 980);
  histogram.record(5000, 19);
  histogram.record(90_000, 1);
  assert.ok(Math.abs(histogram.quantile(0.5) - 100) < 2);
  assert.ok(Math.abs(histogram.quantile(0.99) - 5000) < 80);
  assert.ok(Math.abs(histogram.quantile(1) - 90_000) < 1440);
});

test('an empty or cleared histogram has no quantiles', () => {
  const histogram = new LatencyHistogram();
  histogram.record(12);
  histogram.clear();
  assert.equal(histogram.total, 0);
  assert.ok(Number.isNaN(histogram.quantile(0.5)));
});

test('latencies of zero, a fraction of a microsecond and hours are counted', () => {
  const histogram = new LatencyHistogram();
  for (const us of [0, 0.3, 4e9]) histogram.record(us);
  assert.equal(histogram.total, 3);
  assert.ok(histogram.quantile(0.1) < 0.2);
  assert.ok(Math.abs(histogram.quantile(1) - 4e9) / 4e9 < 0.016);
});
