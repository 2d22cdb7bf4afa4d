/**
 * Refuses work at once while too much is under way: a semaphore over calls in flight. Refusing costs a microsecond, being
 * late costs everybody; what is shed may come again.
 *
 *   in flight   0 ───────────── max      next
 *                                └─ more: shed
 */
import type { Interceptor } from '../pipeline.ts';

export interface LoadShedOptions<Call, Reply> {
  /**
   * Calls that have begun and not ended, or 0 for a call that must pass. Whoever counts them is the semaphore: what ends, by
   * whatever way, is given back there.
   */
  readonly inFlight: (call: Call) => number;
  /** From 1. */
  readonly inFlightMax: number;
  /** Answers the refused call. */
  readonly shed: (call: Call) => Reply;
}

export function loadShed<Call, Reply>({ inFlight, inFlightMax, shed }: LoadShedOptions<Call, Reply>): Interceptor<Call, Reply> {
  return (next) => (call) => (inFlight(call) < inFlightMax ? next(call) : shed(call));
}
