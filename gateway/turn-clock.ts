/**
 * The time as of the frames at hand: read once in a while, used by everything that handles them.
 *
 *   nowMs    counts on whatever happens to the wall clock: deadlines, rates, idle times
 *   wallMs   the wall clock, which is set forwards at times; set back, it stands still here until it is reached again
 *
 * A frame is handled in microseconds, and reading a clock costs as much as a tenth of it. Both are read for each batch
 * of answers, on each tick, and every so many frames.
 *
 * Why the wall never goes back: clients whose clocks are right would all seem to be far ahead, and each would be given
 * an offset for ever.
 */
/** The clocks are read again after this many frames, a power of two, less one. */
const FRAMES_MASK = 31;

export class TurnClock {
  /** Ms of a clock that only counts, when the work at hand began. Its zero means nothing. */
  nowMs: number;
  /** Ms since 1970. Never lower than it was. */
  wallMs: number;
  readonly #steady: () => number;
  readonly #wall: () => number;
  #frames = 0;

  constructor(steady: () => number = () => performance.now(), wall: () => number = () => Date.now()) {
    this.#steady = steady;
    this.#wall = wall;
    this.nowMs = steady();
    this.wallMs = wall();
  }

  /** Reads the clocks anew. */
  refresh(): void {
    this.nowMs = this.#steady();
    this.wallMs = Math.max(this.wallMs, this.#wall());
  }

  /** Called for each frame. */
  frame(): void {
    this.#frames += 1;
    if ((this.#frames & FRAMES_MASK) === 0) this.refresh();
  }
}
