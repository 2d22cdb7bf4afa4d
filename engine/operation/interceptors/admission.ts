/** Decides before work is spent whether the operation is taken in; what is shed is answered at once, and may come again. */
import type { CallStatus, Operation } from '../operation.ts';
import type { Interceptor } from '../pipeline.ts';

/**
 * @param admits takes the operation's cost from its caller's allowance; false when there is not enough.
 * @param shed answers the refused caller.
 */
export function admission<Caller>(
  admits: (operation: Operation<Caller>) => boolean,
  shed: (operation: Operation<Caller>) => void,
): Interceptor<Operation<Caller>, CallStatus> {
  return (next) => (operation) => {
    if (admits(operation)) return next(operation);
    shed(operation);
    return 'RESPONSE';
  };
}
