/**
 * Looks whether the owners of an operation's partitions take work now. The frame that finds its ring full, or its
 * worker loading, is held by the caller in order, and tried again.
 */
import { OPERATIONS, type CallStatus, type Operation } from '../operation.ts';
import type { Interceptor } from '../pipeline.ts';

/** @param allTake true when every worker takes records; asked for operations that go to all of them. */
export function partitionRouting<Caller>(allTake: () => boolean): Interceptor<Operation<Caller>, CallStatus> {
  return (next) => (operation) => {
    // Operations with keys are looked at key by key where their rows are routed.
    if (OPERATIONS[operation.type].routing === 'map' && !allTake()) return 'HELD';
    return next(operation);
  };
}
