/**
 * Lets acts wait before they begin while a reader of several workers finds no quiet moment (gateway/whole-reads.ts).
 *
 *   readers wait:   closed CLOSED_MS ─ open OPEN_MS ─ closed ─ …      none: open
 *
 * It opens now and then, so that many readers do not keep acts out for ever.
 */
import type { ActMarks } from '../../engine/domains/kv/act-marks.ts';

const CLOSED_MS = 500;
const OPEN_MS = 100;
const PAUSE_MS = 1;

export class ActGate {
  readonly #marks: Pick<ActMarks, 'readers'>;
  readonly #nowMs: () => number;
  #sinceMs = Number.NaN;

  constructor(marks: Pick<ActMarks, 'readers'>, nowMs: () => number) {
    this.#marks = marks;
    this.#nowMs = nowMs;
  }

  get isOpen(): boolean {
    if (this.#marks.readers === 0) {
      this.#sinceMs = Number.NaN;
      return true;
    }
    if (Number.isNaN(this.#sinceMs)) this.#sinceMs = this.#nowMs();
    return (this.#nowMs() - this.#sinceMs) % (CLOSED_MS + OPEN_MS) >= CLOSED_MS;
  }

  /** Resolves when an act may begin. */
  async pass(): Promise<void> {
    while (!this.isOpen) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
