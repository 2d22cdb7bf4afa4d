/**
 * Whether a node that ran for a while under faults stays as it is: straight lines through samples, and bounds.
 *
 *   samples ──warm-up left out──▶ RSS: least squares, rise over what was measured     descriptors: highest − lowest
 *                                 staged, log: highest against their bounds           tombstones: last third against the middle
 *
 * A slope per hour says little after ten minutes: the rise over the time that was measured is judged, the slope is told.
 */

export interface Sample {
  /** Since the start of the run. */
  readonly atMs: number;
  readonly rssBytes: number;
  /** JavaScript heaps of all threads, in use. */
  readonly heapBytes: number;
  /** Set aside for records. */
  readonly slabBytes: number;
  readonly descriptors: number;
  readonly threads: number;
  readonly records: number;
  readonly tombstones: number;
  readonly stagedBytes: number;
  readonly logBytes: number;
}

export interface SoakBounds {
  /** Share of the run, from its start, that is not judged. */
  readonly warmUp: number;
  /** Rise of the line through RSS over what is judged, in % of its mean. */
  readonly rssRisePercentMax: number;
  /** Highest minus lowest. */
  readonly descriptorsSpreadMax: number;
  readonly stagedBytesMax: number;
  readonly logBytesMax: number;
  /** Mean of the last third in proportion to that of the middle third. */
  readonly tombstonesGrowthMax: number;
}

export interface SoakVerdict {
  readonly failures: readonly string[];
  /** Figures worth keeping, by name. */
  readonly notes: Readonly<Record<string, number>>;
}

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;

export function judgeSoak(samples: readonly Sample[], bounds: SoakBounds): SoakVerdict {
  const endMs = samples.at(-1)?.atMs ?? 0;
  const judged = samples.filter(({ atMs }) => atMs >= endMs * bounds.warmUp);
  if (judged.length < 6) return { failures: [`${judged.length} samples after the warm-up are too few`], notes: {} };
  const rss = runningMedian(judged.map(({ rssBytes }) => rssBytes));
  const line = lineThrough(judged.map(({ atMs }, index) => [atMs, rss[index] ?? 0]));
  const spanMs = endMs - (judged[0]?.atMs ?? 0);
  const risePercent = (line.slope * spanMs * 100) / line.mean;
  const descriptors = judged.map((sample) => sample.descriptors);
  const spread = Math.max(...descriptors) - Math.min(...descriptors);
  const staged = Math.max(...samples.map(({ stagedBytes }) => stagedBytes));
  const log = Math.max(...samples.map(({ logBytes }) => logBytes));
  const third = Math.floor(samples.length / 3);
  const middle = meanOf(samples.slice(third, 2 * third).map(({ tombstones }) => tombstones));
  const last = meanOf(samples.slice(2 * third).map(({ tombstones }) => tombstones));
  const failures = [
    ...above(
      `RSS rises by ${risePercent.toFixed(1)} % over ${Math.round(spanMs / 1000)} s`,
      risePercent,
      bounds.rssRisePercentMax,
    ),
    ...above(`descriptors differ by ${spread}`, spread, bounds.descriptorsSpreadMax),
    ...above(`${staged} bytes are staged`, staged, bounds.stagedBytesMax),
    ...above(`the log has ${log} bytes`, log, bounds.logBytesMax),
    ...above(
      `tombstones rise from ${Math.round(middle)} to ${Math.round(last)}`,
      last / Math.max(1, middle),
      bounds.tombstonesGrowthMax,
    ),
  ];
  const notes = {
    'RSS MiB, mean': Math.round(line.mean / MIB),
    'RSS rise %': round(risePercent),
    'RSS slope %/h': round((line.slope * HOUR_MS * 100) / line.mean),
    'RSS slope MiB/h': round((line.slope * HOUR_MS) / MIB),
    'descriptors, spread': spread,
    'staged MiB, most': round(staged / MIB),
    'log MiB, most': round(log / MIB),
    'tombstones, mean of the last third': Math.round(last),
  };
  return { failures, notes };
}

/** Each value with its neighbours: a thread that dies by filling its memory is seen in one sample, and is no growth. */
function runningMedian(values: readonly number[]): number[] {
  return values.map((value, index) => {
    const [low = value, middle = value] = values.slice(Math.max(0, index - 1), index + 2).sort((a, b) => a - b);
    return index === 0 || index === values.length - 1 ? low : middle;
  });
}

/** Least squares through points (x, y). */
export function lineThrough(points: readonly (readonly [number, number])[]): { readonly slope: number; readonly mean: number } {
  const xMean = meanOf(points.map(([x]) => x));
  const mean = meanOf(points.map(([, y]) => y));
  const covariance = points.reduce((sum, [x, y]) => sum + (x - xMean) * (y - mean), 0);
  const variance = points.reduce((sum, [x]) => sum + (x - xMean) ** 2, 0);
  return { slope: variance === 0 ? 0 : covariance / variance, mean };
}

function meanOf(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function above(text: string, value: number, bound: number): string[] {
  return value > bound ? [`${text}, the bound is ${bound}`] : [];
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
