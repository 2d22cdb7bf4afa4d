/**
 * Refuses at once what would go to somebody who has not answered for some time (circuit-breaker.ts beside this folder):
 * nobody waits for a deadline only to hear that a worker stands still.
 */
import type { Interceptor } from '../pipeline.ts';

/**
 * @param refuses asks the breakers of all that the call goes to. While half open, one call is let through.
 * @param refuse answers the refused call.
 */
export function circuitBreaker<Call, Reply>(
  refuses: (call: Call) => boolean,
  refuse: (call: Call) => Reply,
): Interceptor<Call, Reply> {
  return (next) => (call) => (refuses(call) ? refuse(call) : next(call));
}
