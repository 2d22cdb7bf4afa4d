/**
 * Tells listeners when an operation has ended, and how long it took: behind the handler for what is answered at once, when
 * the last worker has answered for the rest.
 *
 *   enter ─ handler ─┬─ RESPONSE, VOID ─────────────────────────▶ ended
 *                    ├─ WAIT: the call remembers what it is for ─▶ its end ─▶ ended
 *                    └─ HELD: comes again, and begins anew
 */
import type { CallStatus, Operation, OperationType } from '../operation.ts';
import type { Interceptor } from '../pipeline.ts';

/** Hears of operations that have ended. Must be quick: it runs between frames. */
export interface OperationListener {
  /** `tookMs` is in steps of the gateway's clock, from when the operation was last tried to its answer. */
  ended(type: OperationType, tookMs: number): void;
}

/** Where calls are begun: each remembers the operation that it was begun in. */
export interface CallScope {
  enter(type: OperationType, nowMs: number): void;
  /** True when a call was begun since `enter`: its end is told by it. */
  leave(): boolean;
}

export function eventListener<Caller>(
  scope: CallScope,
  listeners: readonly OperationListener[],
  nowMs: () => number,
): Interceptor<Operation<Caller>, CallStatus> {
  return (next) => (operation) => {
    const { type } = operation;
    const sinceMs = nowMs();
    scope.enter(type, sinceMs);
    const status = next(operation);
    const isTold = scope.leave() || status === 'HELD';
    if (!isTold) for (const listener of listeners) listener.ended(type, nowMs() - sinceMs);
    return status;
  };
}
