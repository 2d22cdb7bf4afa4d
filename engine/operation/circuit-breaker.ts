/**
 * Decides whether a call to somebody (Postgres, a worker) is worth trying: after failures it refuses at once, then lets
 * one call probe.
 *
 *   CLOSED ──failuresMax failures──▶ OPEN ──openMs passed──▶ HALF_OPEN ──success──▶ CLOSED
 *                                     ▲                          │ one call is let through
 *                                     └──────────failure─────────┘ (openMs doubles, up to openMaxMs)
 *
 * The open time is spread between half and all of its nominal length, so that many workers do not come back in step.
 * Clock and random are passed in. Source: Nygard, Release It! (circuit breaker); AWS "equal jitter".
 */
import { assert } from '../assert.ts';

export type BreakerState = 'CLOSED' | 'OPEN' | 'HALF_OPEN';

export interface BreakerOptions {
  /** Failures in a row that open a closed breaker, from 1. */
  readonly failuresMax: number;
  /** First nominal open time, in ms. Raise it: fewer attempts while the server is away. Lower it: faster return. */
  readonly openMinMs: number;
  /** Longest nominal open time, in ms. */
  readonly openMaxMs: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export const BREAKER_DEFAULTS = Object.freeze({ failuresMax: 1, openMinMs: 100, openMaxMs: 10_000 });

export class CircuitBreaker {
  readonly #options: BreakerOptions;
  #state: BreakerState = 'CLOSED';
  #failures = 0;
  #opens = 0;
  #openUntilMs = 0;

  constructor(options: BreakerOptions) {
    assert(options.failuresMax >= 1);
    assert(options.openMinMs > 0 && options.openMinMs <= options.openMaxMs);
    this.#options = options;
  }

  /** Closed, open, or a probe is under way. */
  get state(): BreakerState {
    return this.#state;
  }

  /** Closed, but the last call has failed. */
  get hasFailed(): boolean {
    return this.#failures > 0;
  }

  /** True when a call may be tried now. While half open, only the first asker is let through. */
  admits(nowMs: number): boolean {
    if (this.#state === 'CLOSED') return true;
    if (this.#state === 'HALF_OPEN' || nowMs < this.#openUntilMs) return false;
    this.#state = 'HALF_OPEN';
    return true;
  }

  /** Time until a call is admitted, in ms; 0 when one is admitted now or a probe is under way. */
  retryAfterMs(nowMs: number): number {
    return this.#state === 'OPEN' ? Math.max(0, this.#openUntilMs - nowMs) : 0;
  }

  succeeded(): void {
    this.#state = 'CLOSED';
    this.#failures = 0;
    this.#opens = 0;
  }

  failed(nowMs: number): void {
    this.#failures += 1;
    if (this.#state === 'CLOSED' && this.#failures < this.#options.failuresMax) return;
    this.#state = 'OPEN';
    this.#openUntilMs = nowMs + openMs(this.#opens, this.#options.random(), this.#options);
    this.#opens += 1;
  }
}

/** Open time after `opens` earlier ones: doubles from the minimum to the maximum, between half and all of it. */
export function openMs(opens: number, random: number, options: Pick<BreakerOptions, 'openMinMs' | 'openMaxMs'>): number {
  const nominal = Math.min(options.openMaxMs, options.openMinMs * 2 ** Math.min(opens, 30));
  return nominal * (0.5 + random / 2);
}
