/**
 * The wall clock as of the frame or batch at hand: read once, used by everything that handles it.
 *
 * Deadlines, rate limits and idle times need milliseconds, not nanoseconds, and a frame is handled in microseconds.
 */
export class TurnClock {
  /** Wall-clock ms when the work at hand began. */
  nowMs: number = Date.now();

  /** Reads the clock anew: the next frame or batch begins. */
  refresh(): void {
    this.nowMs = Date.now();
  }
}
