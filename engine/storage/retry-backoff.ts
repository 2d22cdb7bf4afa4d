/** How long to leave a store alone that failed: 100 ms doubling to 10 s, with jitter so that workers do not march in step. */

const RETRY_BACKOFF_MS_MIN = 100;
/** An attempt costs next to nothing, and a store that is back should not be left waiting. */
const RETRY_BACKOFF_MS_MAX = 10_000;

/**
 * Milliseconds to wait after failure number `attempt` (from 1) in a row: between half and all of the doubled time.
 * @param random from [0, 1).
 */
export function retryBackoffMs(attempt: number, random: number): number {
  const fullMs = Math.min(RETRY_BACKOFF_MS_MAX, RETRY_BACKOFF_MS_MIN * 2 ** (attempt - 1));
  return fullMs * (0.5 + random / 2);
}
