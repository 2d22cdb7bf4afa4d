/** Gives every operation the moment after which its answer is useless; nothing waits longer. */
import type { CallStatus, Operation } from '../operation.ts';
import type { Interceptor } from '../pipeline.ts';

/** @param timeoutMs how long an operation of this service may take. */
export function deadline<Caller>(nowMs: () => number, timeoutMs: number): Interceptor<Operation<Caller>, CallStatus> {
  return (next) => (operation) => {
    operation.deadlineMs = nowMs() + timeoutMs;
    return next(operation);
  };
}
