/**
 * The wall clock as of the frames at hand: read once in a while, used by everything that handles them.
 *
 * Deadlines, rate limits and idle times need milliseconds, a frame is handled in microseconds, and reading the clock
 * costs as much as a tenth of it. It is read for each batch of answers, on each tick, and every so many frames.
 */
/** The clock is read again after this many frames, a power of two, less one. */
const FRAMES_MASK = 31;

export class TurnClock {
  /** Wall-clock ms when the work at hand began. */
  nowMs: number = Date.now();

  #frames = 0;

  /** Reads the clock anew. */
  refresh(): void {
    this.nowMs = Date.now();
  }

  /** Called for each frame. */
  frame(): void {
    this.#frames += 1;
    if ((this.#frames & FRAMES_MASK) === 0) this.refresh();
  }
}
