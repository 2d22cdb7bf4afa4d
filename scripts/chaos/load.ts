/** The writers of a run, as one: they begin, they stop, they come to rest. */
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../../gateway/testing/random.ts';
import type { Ledger } from './ledger.ts';
import type { Target } from './doors/door.ts';
import { DoorWriter } from './doors/door-writer.ts';
import { DOORS } from './doors/doors.ts';
import { APPLIED, LEVEL_NAMES, MEMORY, PERSISTED } from './levels.ts';
import { SharedTags } from './write-mix.ts';
import { Writer, type WriterCounts } from './writer.ts';

/** As fast as a small machine goes. */
const PAUSE_MS_MAX = 24;
/** So many writers at the WebSocket have one beside them at each other door. */
const WRITERS_PER_DOOR = 6;
/** They write one thing at a time, and so more often. */
const DOOR_HASTE = 4;

export interface LoadWriter {
  /** Ops without an acknowledgement. */
  readonly pending: number;
  begin(target: Target): void;
  /** Writes nothing new; what is under way goes on. */
  pause(): void;
  /** Cuts the connection. Ops without an acknowledgement are sent again at the next `begin`, or given up for good. */
  stop(givesUp: boolean): Promise<void>;
}

export interface LoadOptions {
  readonly seed: number;
  readonly writers: number;
  readonly ledger: Ledger;
  /** Flags of the server; they tell what an answer is worth. */
  readonly flags: readonly string[];
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
    doors: new Map(),
    contradictions: [],
  };
  readonly #writers: readonly LoadWriter[];

  /** Each writer has a generator of its own, so that what it writes does not hang on who else was faster. */
  constructor(options: LoadOptions) {
    const { seed, writers, ledger, flags, pauseMsMax = PAUSE_MS_MAX } = options;
    const { counts } = this;
    const plainLevel = plainLevelOf(flags);
    const tags = new SharedTags();
    const randomOf = (index: number): Random => new Random((seed + Math.imul(index + 1, 0x9e3779b1)) >>> 0);
    const sockets = Array.from({ length: writers }, (_, index) => {
      const nodeId = `w${String(index).padStart(3, '0')}`;
      const persistsAlways = plainLevel === PERSISTED;
      return new Writer({ nodeId, random: randomOf(index), ledger, tags, persistsAlways, pauseMsMax, counts });
    });
    const doors = DOORS.flatMap(({ letter, isSingle, make }, door) =>
      Array.from({ length: isSingle ? 1 : Math.ceil(writers / WRITERS_PER_DOOR) }, (_, index) => {
        const random = randomOf(writers * (door + 1) + index);
        const made = make({ nodeId: `${letter}${index}`, random, ledger, counts, plainLevel });
        return new DoorWriter(made, random, Math.ceil(pauseMsMax / DOOR_HASTE), counts);
      }),
    );
    this.#writers = [...sockets, ...doors];
  }

  /** Ops without an acknowledgement. */
  get pending(): number {
    return this.#writers.reduce((sum, { pending }) => sum + pending, 0);
  }

  /** Ops acknowledged at this level or a higher one. */
  acknowledgedAt(level: number): number {
    return this.counts.acknowledged.reduce((sum, ops, reached) => (reached >= level ? sum + (ops ?? 0) : sum), 0);
  }

  begin(target: Target): void {
    for (const writer of this.#writers) writer.begin(target);
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

/** What the server gives to whom asks for nothing. */
function plainLevelOf(flags: readonly string[]): number {
  const text = flags.join(' ');
  if (text.includes('--wal off') || text.includes('--store none')) return MEMORY;
  return text.includes('--wal-fsync always') ? PERSISTED : APPLIED;
}
