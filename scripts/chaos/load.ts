/** The writers of a run, as one: they begin, they stop, they come to rest. */
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../../gateway/testing/random.ts';
import type { Ledger } from './ledger.ts';
import { LEVEL_NAMES } from './levels.ts';
import { SharedTags } from './write-mix.ts';
import { Writer, type WriterCounts } from './writer.ts';

/** As fast as a small machine goes. */
const PAUSE_MS_MAX = 24;

export interface LoadOptions {
  readonly seed: number;
  readonly writers: number;
  readonly ledger: Ledger;
  readonly persistsAlways: boolean;
  /** Longest pause of a writer between two batches. */
  readonly pauseMsMax?: number;
}

export class Load {
  readonly counts: WriterCounts = {
    sent: 0,
    resent: 0,
    givenUp: 0,
    acknowledged: [],
    refused: new Map(),
    contradictions: [],
  };
  readonly #writers: readonly Writer[];

  /** Each writer has a generator of its own, so that what it writes does not hang on who else was faster. */
  constructor(options: LoadOptions) {
    const { seed, writers, ledger, persistsAlways, pauseMsMax = PAUSE_MS_MAX } = options;
    const tags = new SharedTags();
    this.#writers = Array.from({ length: writers }, (_, index) => {
      const nodeId = `w${String(index).padStart(3, '0')}`;
      const random = new Random((seed + Math.imul(index + 1, 0x9e3779b1)) >>> 0);
      return new Writer({ nodeId, random, ledger, tags, persistsAlways, pauseMsMax, counts: this.counts });
    });
  }

  /** Ops without an acknowledgement. */
  get pending(): number {
    return this.#writers.reduce((sum, { pending }) => sum + pending, 0);
  }

  /** Ops acknowledged at this level or a higher one. */
  acknowledgedAt(level: number): number {
    return this.counts.acknowledged.reduce((sum, ops, reached) => (reached >= level ? sum + (ops ?? 0) : sum), 0);
  }

  begin(port: number): void {
    for (const writer of this.#writers) writer.begin(port);
  }

  /** Cuts all connections. */
  async stop(givesUp: boolean): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.stop(givesUp)));
  }

  /** Writes nothing new and waits until everything is acknowledged, then cuts the connections. Answers what is left. */
  async rest(deadlineMs: number): Promise<number> {
    for (const writer of this.#writers) writer.pause();
    const endsMs = performance.now() + deadlineMs;
    while (this.pending > 0 && performance.now() < endsMs) await delay(10);
    const left = this.pending;
    await this.stop(false);
    return left;
  }

  /** What was acknowledged, by level. */
  levels(): Record<string, number> {
    return Object.fromEntries(
      this.counts.acknowledged.flatMap((ops, level) => (ops === undefined ? [] : [[LEVEL_NAMES[level] ?? '', ops]])),
    );
  }
}
