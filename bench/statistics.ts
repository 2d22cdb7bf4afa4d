/**
 * The few statistics that a benchmark prints: median and spread of runs, and quantiles of latencies.
 *
 * Latencies are counted in a log-linear histogram: 64 buckets to every doubling, so a quantile is off by at most
 * 1.6 %, whatever its size, and recording one is an array increment.
 *
 *   value (in units of 1/8 µs)   0 … 127     bucket = value
 *                                128 …       bucket = 64 buckets per doubling, by the top 7 bits
 */

const SUB_BUCKETS = 64;
const DOUBLINGS_MAX = 40;
const UNITS_PER_US = 8;

/** Middle value and extremes of several runs. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Middle of the values, the mean of the two middle ones for an even count; NaN for none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] as number)) / 2;
}

/** Median with the smallest and the largest value; NaN for none. */
export function spreadOf(values: readonly number[]): Spread {
  if (values.length === 0) return { median: Number.NaN, min: Number.NaN, max: Number.NaN };
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Counts of latencies in µs. */
export class LatencyHistogram {
  readonly #counts = new Float64Array((DOUBLINGS_MAX + 2) * SUB_BUCKETS);
  #total = 0;

  get total(): number {
    return this.#total;
  }

  /** Counts `times` latencies of `us` microseconds. */
  record(us: number, times = 1): void {
    const bucket = bucketOf(us * UNITS_PER_US);
    this.#counts[bucket] = (this.#counts[bucket] as number) + times;
    this.#total += times;
  }

  clear(): void {
    this.#counts.fill(0);
    this.#total = 0;
  }

  /** The latency in µs that `fraction` (0..1) of all do not exceed; NaN when nothing was recorded. */
  quantile(fraction: number): number {
    if (this.#total === 0) return Number.NaN;
    const wanted = Math.max(1, Math.ceil(fraction * this.#total));
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket] as number;
      if (seen >= wanted) return middleOf(bucket) / UNITS_PER_US;
    }
    return Number.NaN;
  }
}

function bucketOf(units: number): number {
  if (!(units >= 1)) return 0;
  if (units < 2 * SUB_BUCKETS) return Math.floor(units);
  const doubling = Math.min(DOUBLINGS_MAX, Math.floor(Math.log2(units)) - 6);
  const sub = Math.min(2 * SUB_BUCKETS - 1, Math.floor(units / 2 ** doubling));
  return doubling * SUB_BUCKETS + sub;
}

/** Middle of a bucket, in units. */
function middleOf(bucket: number): number {
  if (bucket < 2 * SUB_BUCKETS) return bucket + 0.5;
  const doubling = Math.floor(bucket / SUB_BUCKETS) - 1;
  const sub = bucket - doubling * SUB_BUCKETS;
  return (sub + 0.5) * 2 ** doubling;
}
