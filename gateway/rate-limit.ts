/**
 * Token bucket per session: `ratePerSecond` ops flow in, up to `burst` may wait.
 *
 * A re-send is free: the client sends every unacknowledged op again with each write, and only ids above the highest
 * one seen cost anything. A frame that costs more than a full bucket holds passes when the bucket is full, and is paid
 * off: its client could never send it otherwise. State lives in the session, the formula here.
 */
import type { Session } from './session.ts';

export class RateLimit {
  readonly #perMs: number;
  readonly #burst: number;

  /** @param ratePerSecond ops a second a session may send for ever; 0 = no limit. */
  constructor(ratePerSecond: number, burst: number) {
    this.#perMs = ratePerSecond / 1000;
    this.#burst = burst;
  }

  /** Fills a new session's bucket. */
  open(session: Session, nowMs: number): void {
    session.tokens = this.#burst;
    session.tokensAtMs = nowMs;
  }

  /** Takes `cost` tokens; false when there are not enough. */
  admit(session: Session, cost: number, nowMs: number): boolean {
    if (this.#perMs === 0 || cost === 0) return true;
    const tokens = Math.min(this.#burst, session.tokens + Math.max(0, nowMs - session.tokensAtMs) * this.#perMs);
    session.tokensAtMs = nowMs;
    const admitted = tokens >= Math.min(cost, this.#burst);
    session.tokens = admitted ? tokens - cost : tokens;
    return admitted;
  }
}
