/**
 * Which gateways have told a replaced worker again what they had told its predecessor.
 *
 *   replaced ── told(0) ── told(1) ── … ── complete           a first worker is complete from the start
 *
 * Until all have, what a service knows is not what was agreed on: a lock may have a holder, a topic subscribers. A gateway
 * that keeps silent for `waitMs` has nothing to say (it was not open yet when the worker was replaced).
 */
export class RollCall {
  readonly #missing: Set<number>;
  readonly #endsAtMs: number;

  /** @param gateways how many must tell; 0 for a worker that replaces none. @param nowMs a monotonic clock. */
  constructor(gateways: number, nowMs: number, waitMs: number) {
    this.#missing = new Set(Array.from({ length: gateways }, (_, gateway) => gateway));
    this.#endsAtMs = nowMs + waitMs;
  }

  told(gateway: number): void {
    this.#missing.delete(gateway);
  }

  isComplete(nowMs: number): boolean {
    if (this.#missing.size > 0 && nowMs >= this.#endsAtMs) this.#missing.clear();
    return this.#missing.size === 0;
  }
}
