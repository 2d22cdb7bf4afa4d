/** Tells of operations that took long, so many a second at most: a slow moment of the server must not fill its log. */
import type { OperationListener } from '../engine/operation/interceptors/event-listener.ts';
import type { OperationType } from '../engine/operation/operation.ts';

const TOLD_A_SECOND_MAX = 10;
const SECOND_MS = 1000;

export class SlowOperations implements OperationListener {
  readonly #slowMs: number;
  readonly #nowMs: () => number;
  readonly #tell: (type: OperationType, tookMs: number, notTold: number) => void;
  #secondMs = Number.NEGATIVE_INFINITY;
  #told = 0;
  #notTold = 0;

  /** @param tell is also told how many were left out before. */
  constructor(slowMs: number, nowMs: () => number, tell: (type: OperationType, tookMs: number, notTold: number) => void) {
    this.#slowMs = slowMs;
    this.#nowMs = nowMs;
    this.#tell = tell;
  }

  ended(type: OperationType, tookMs: number): void {
    if (tookMs < this.#slowMs) return;
    const now = this.#nowMs();
    if (now - this.#secondMs >= SECOND_MS) {
      this.#secondMs = now;
      this.#told = 0;
    }
    if (this.#told >= TOLD_A_SECOND_MAX) {
      this.#notTold += 1;
      return;
    }
    this.#told += 1;
    this.#tell(type, tookMs, this.#notTold);
    this.#notTold = 0;
  }
}
