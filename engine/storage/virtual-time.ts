/**
 * Time for tests and simulation: it stands still until told, and what waits is woken in the order of its moment.
 * Nothing here asks the real clock, so a test with deadlines of minutes ends in milliseconds and always the same way.
 */
import type { FlushTime } from './flusher.ts';

interface Timer {
  readonly atMs: number;
  readonly fire: () => void;
}

export class VirtualTime implements FlushTime {
  /** What `random` answers. */
  randomNext = 0.5;
  /** Called at each `yieldTurn`, before the caller goes on. */
  onYield: () => void = () => {};
  #nowMs = 1_000_000;
  #yielding = 0;
  readonly #timers = new Set<Timer>();

  nowMs(): number {
    return this.#nowMs;
  }

  random(): number {
    return this.randomNext;
  }

  async yieldTurn(): Promise<void> {
    this.#yielding += 1;
    this.onYield();
    await turn();
    this.#yielding -= 1;
  }

  startTimer(delayMs: number, fire: () => void): () => void {
    const timer: Timer = { atMs: this.#nowMs + delayMs, fire };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Resolves once that time has passed. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.startTimer(ms, resolve);
    });
  }

  /** Timers that were started and have neither fired nor been cancelled. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Lets time pass and fires what became due, earliest first. What the timers wake runs after this returns. */
  advance(ms: number): void {
    const untilMs = this.#nowMs + ms;
    for (let timer = this.#earliest(); timer !== undefined && timer.atMs <= untilMs; timer = this.#earliest()) {
      this.#nowMs = Math.max(this.#nowMs, timer.atMs);
      this.#timers.delete(timer);
      timer.fire();
    }
    this.#nowMs = untilMs;
  }

  /** Settles as `work` does, letting time pass from timer to timer as long as it waits for nothing else. */
  async run<Result>(work: Promise<Result>): Promise<Result> {
    let settled = false;
    const settle = (): void => {
      settled = true;
    };
    work.then(settle, settle);
    for (;;) {
      await turn();
      if (settled) return work;
      const next = this.#yielding > 0 ? undefined : this.#earliest();
      if (next !== undefined) this.advance(next.atMs - this.#nowMs);
    }
  }

  #earliest(): Timer | undefined {
    let earliest: Timer | undefined;
    for (const timer of this.#timers) if (earliest === undefined || timer.atMs < earliest.atMs) earliest = timer;
    return earliest;
  }
}

/** Resolves after all promises that are ready now, and those that they make ready, had their turn. */
export function turn(): Promise<void> {
  // biome-ignore lint/style/noRestrictedGlobals: for tests only; it drains the promises that are ready, no time passes
  return new Promise((resolve) => setImmediate(resolve));
}
