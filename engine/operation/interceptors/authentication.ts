/** First of all: nothing of a caller that has not proved who it is goes any further. Refused without an answer. */
import type { CallStatus, Operation } from '../operation.ts';
import type { Interceptor } from '../pipeline.ts';

export function authentication<Caller>(isAuthenticated: (caller: Caller) => boolean): Interceptor<Operation<Caller>, CallStatus> {
  return (next) => (operation) => (isAuthenticated(operation.caller) ? next(operation) : 'VOID');
}
