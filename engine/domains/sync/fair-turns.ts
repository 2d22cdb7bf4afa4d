/**
 * Turns at work of which only so much is done at a time: askers one after another, however much one of them asks.
 *
 *   a a a a b ─▶ under way: a a       then a, b, a: who was given a turn goes behind the others
 */
import { GridError } from '../../protocol/errors.ts';

/** Turns that one asker may wait for; a client has 64 questions under way. */
const WAITING_OF_ONE_MAX = 256;

export class FairTurns {
  /** Asker → whoever waits for a turn of its; the next one first. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #free: number;

  constructor(atATime: number) {
    this.#free = atATime;
  }

  /** Resolves when the asker has a turn, which is over by `end`. Rejects with GridError UNAVAILABLE when it waits for too many. */
  async take(asker: string): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const waiting = this.#waiting.get(asker) ?? [];
    if (waiting.length >= WAITING_OF_ONE_MAX) throw new GridError('UNAVAILABLE', 'too many scans of maps wait');
    this.#waiting.set(asker, waiting);
    await new Promise<void>((resolve) => waiting.push(resolve));
  }

  /** A turn is over: it goes to the asker that has waited longest for one. */
  end(): void {
    for (const [asker, waiting] of this.#waiting) {
      const next = waiting.shift();
      this.#waiting.delete(asker);
      if (waiting.length > 0) this.#waiting.set(asker, waiting);
      if (next !== undefined) return next();
    }
    this.#free += 1;
  }
}
