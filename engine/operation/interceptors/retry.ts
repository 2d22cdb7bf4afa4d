/**
 * Makes a call again that has failed, if that can do no harm: after a while, doubled each time, spread so that callers do
 * not come back in step.
 *
 *   call ─ fails ─ 10 ms ─ fails ─ 20 ms ─ fails ─ 40 ms ─ fails ─▶ the last error
 *
 * Only a call that nobody has accepted, or whose repeat changes nothing, may be made again: an INCR that may have run must
 * not run twice. Source: public documentation of KiwiDB's storage client (3 retries, 10 ms, factor 2, 1 s at most).
 */
import type { Interceptor } from '../pipeline.ts';

export interface RetryPolicy {
  /** Repeats of one call; 0 makes none. */
  readonly retriesMax: number;
  /** Pause before the first of them, ms. Each further one is twice as long, up to `pauseMaxMs`. */
  readonly pauseMinMs: number;
  readonly pauseMaxMs: number;
}

export const RETRY_DEFAULTS: RetryPolicy = Object.freeze({ retriesMax: 3, pauseMinMs: 10, pauseMaxMs: 1000 });

export interface RetryOptions<Call> {
  readonly policy: RetryPolicy;
  /** True when the call may be made again after this error: it was not accepted, or a repeat changes nothing. */
  readonly mayRepeat: (call: Call, error: unknown) => boolean;
  readonly pause: (pauseMs: number) => Promise<void>;
  /** From [0, 1). */
  readonly random: () => number;
  /** Told of each repeat. */
  readonly onRetry?: () => void;
}

/** Pause before repeat number `attempt` (from 1): between half and all of its nominal length. */
export function retryPauseMs({ pauseMinMs, pauseMaxMs }: RetryPolicy, attempt: number, random: number): number {
  return Math.min(pauseMaxMs, pauseMinMs * 2 ** (attempt - 1)) * (0.5 + random / 2);
}

export function retry<Call, Reply>(options: RetryOptions<Call>): Interceptor<Call, Promise<Reply>> {
  const { policy, mayRepeat, pause, random, onRetry } = options;
  return (next) => async (call) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await next(call);
      } catch (error) {
        if (attempt > policy.retriesMax || !mayRepeat(call, error)) throw error;
      }
      await pause(retryPauseMs(policy, attempt, random()));
      onRetry?.();
    }
  };
}
