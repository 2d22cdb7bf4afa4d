/**
 * Looks whether the owners of an operation's partitions take work now. The frame that finds its ring full, or its
 * worker loading, is held by the caller in order, and tried again.
 */
import { OPERATIONS, type CallStatus, type Operation } from '../operation.ts';
import type { Interceptor } from '../pipeline.ts';

/**
 * @param allTake true when every worker takes records and the caller takes answers; asked for operations that go to all
 *   workers, whose answers may be large.
 */
export function partitionRouting<Caller>(allTake: (caller: Caller) => boolean): Interceptor<Operation<Caller>, CallStatus> {
  return (next) => (operation) => {
    // Operations with keys are looked at key by key where their rows are routed.
    if (OPERATIONS[operation.type].routing === 'map' && !allTake(operation.caller)) return 'HELD';
    return next(operation);
  };
}
