/**
 * What a server's metrics say while a load runs: asked a few times a second, kept with the moment of each answer.
 *
 * Moments are wall clock, since the generator, whose window they are compared with, is another process.
 */
import { metricSum } from './applied-ops.ts';

const INTERVAL_MS = 200;

/** One answer of `GET /metrics`. */
export interface MetricsSample {
  readonly atMs: number;
  readonly text: string;
}

/** When a generator measured, in ms of the wall clock. */
export interface MeasuredWindow {
  readonly beganMs: number;
  readonly endedMs: number;
}

/** Ms of the wall clock, as precise as `performance.now`. */
export function wallClockMs(): number {
  return performance.timeOrigin + performance.now();
}

export class MetricsWatch {
  readonly #port: number;
  readonly #samples: MetricsSample[] = [];
  #stopped = false;
  readonly #watching: Promise<void>;

  /** Watches from now on. */
  constructor(port: number) {
    this.#port = port;
    this.#watching = this.#watch();
  }

  /** Ends the watch. Resolves with what was said, the first answer first. */
  async stop(): Promise<readonly MetricsSample[]> {
    this.#stopped = true;
    await this.#watching;
    return this.#samples;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const text = await this.#ask().catch(() => undefined);
      if (text !== undefined) this.#samples.push({ atMs: wallClockMs(), text });
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
    }
  }

  async #ask(): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${this.#port}/metrics`);
    return response.text();
  }
}

/** How fast a counter rose in the window; NaN when no answers lie around it. */
export function ratePerSecond(samples: readonly MetricsSample[], name: string, { beganMs, endedMs }: MeasuredWindow): number {
  return ((countAt(samples, name, endedMs) - countAt(samples, name, beganMs)) * 1000) / (endedMs - beganMs);
}

/** A counter at a moment: on the line between the answers before and after; NaN when there are not both. */
export function countAt(samples: readonly MetricsSample[], name: string, atMs: number): number {
  const next = samples.findIndex((sample) => sample.atMs >= atMs);
  const before = samples[next - 1];
  const after = samples[next];
  if (before === undefined || after === undefined) return Number.NaN;
  const count = metricSum(before.text, name, {});
  const rise = metricSum(after.text, name, {}) - count;
  return count + (rise * (atMs - before.atMs)) / (after.atMs - before.atMs);
}
