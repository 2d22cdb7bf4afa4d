/**
 * Interceptors around a handler, composed once at start: a call costs one function call a step.
 *
 *   gateway   authentication → deadline → admission → partition routing │ ring │ migration barrier → metrics → handler   worker
 */

export type Handler<Op, Reply> = (op: Op) => Reply;
export type Interceptor<Op, Reply> = (next: Handler<Op, Reply>) => Handler<Op, Reply>;

/** The first interceptor is the outermost: `pipeline([auth, deadline], handle)` runs auth, deadline, handle. */
export function pipeline<Op, Reply>(
  interceptors: readonly Interceptor<Op, Reply>[],
  handler: Handler<Op, Reply>,
): Handler<Op, Reply> {
  return interceptors.reduceRight((next, intercept) => intercept(next), handler);
}
