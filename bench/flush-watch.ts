/** How far Postgres is behind while a load runs: asks the server's metrics a few times a second. */
import { metricSum } from './applied-ops.ts';
import type { Figures } from './result.ts';

const INTERVAL_MS = 200;
/** Of one worker: lags are not added up. */
const LAG_LINE = /^lattice_flush_lag_ms\{[^}]*\} (\d+(?:\.\d+)?)/gm;

export class FlushWatch {
  readonly #port: number;
  #lagMaxMs = 0;
  #stagedMax = 0;
  #stopped = false;
  readonly #watching: Promise<void>;

  /** Watches from now on. */
  constructor(port: number) {
    this.#port = port;
    this.#watching = this.#watch();
  }

  /** Ends the watch. Resolves with the longest lag and the most records that waited; none where nothing ever waited. */
  async stop(): Promise<Figures> {
    this.#stopped = true;
    await this.#watching;
    return this.#stagedMax > 0 ? { flushLagMaxMs: this.#lagMaxMs, stagedRecordsMax: this.#stagedMax } : {};
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const response = await fetch(`http://127.0.0.1:${this.#port}/metrics`).catch(() => undefined);
      const text = (await response?.text()) ?? '';
      for (const [, lagMs] of text.matchAll(LAG_LINE)) this.#lagMaxMs = Math.max(this.#lagMaxMs, Number(lagMs));
      this.#stagedMax = Math.max(this.#stagedMax, metricSum(text, 'lattice_staged_records', {}) || 0);
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
    }
  }
}
