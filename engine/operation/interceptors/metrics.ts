/** Counts how operations of each type were taken: answered, waiting for workers, held. How long they took: operation-metrics.ts. */
import type { CallStatus, Operation } from '../operation.ts';
import type { OperationMetrics } from '../operation-metrics.ts';
import type { Interceptor } from '../pipeline.ts';

export function metrics<Caller>(measured: OperationMetrics): Interceptor<Operation<Caller>, CallStatus> {
  return (next) => (operation) => {
    const { type } = operation;
    const status = next(operation);
    measured.handled(type, status);
    return status;
  };
}
