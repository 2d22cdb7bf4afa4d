/**
 * Operations that took long: told, so many a second at most, because a slow moment of the server must not fill its log; and the
 * last of them kept, for the administration.
 */
import type { OperationListener } from '../engine/operation/interceptors/event-listener.ts';
import type { OperationType } from '../engine/operation/operation.ts';

const TOLD_A_SECOND_MAX = 10;
const SECOND_MS = 1000;
const KEPT_MAX = 128;

/** What took long, when and how long. No data, no keys. */
export interface SlowOperation {
  readonly type: OperationType;
  readonly tookMs: number;
  /** On the clock that the constructor was given, ms. */
  readonly atMs: number;
}

export class SlowOperations implements OperationListener {
  readonly #slowMs: number;
  readonly #nowMs: () => number;
  readonly #tell: (type: OperationType, tookMs: number, notTold: number) => void;
  #secondMs = Number.NEGATIVE_INFINITY;
  #told = 0;
  #notTold = 0;
  readonly #kept: SlowOperation[] = [];
  #next = 0;

  /** @param tell is also told how many were left out before. */
  constructor(slowMs: number, nowMs: () => number, tell: (type: OperationType, tookMs: number, notTold: number) => void) {
    this.#slowMs = slowMs;
    this.#nowMs = nowMs;
    this.#tell = tell;
  }

  ended(type: OperationType, tookMs: number): void {
    if (tookMs < this.#slowMs) return;
    const now = this.#nowMs();
    this.#kept[this.#next] = { type, tookMs, atMs: now };
    this.#next = (this.#next + 1) % KEPT_MAX;
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

  /** The last ones, newest first. */
  recent(): SlowOperation[] {
    return [...this.#kept.slice(this.#next), ...this.#kept.slice(0, this.#next)].reverse();
  }
}
