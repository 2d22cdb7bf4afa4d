/**
 * Composes the pipelines of all domains: what every operation passes, then what its domain adds, then the handler.
 *
 *   shared   authentication → deadline → admission → … ─┬─ crdt ──────────────────▶ handler
 *                                                      ├─ query   its own layers ─▶ handler
 *                                                      └─ …
 *
 * Where no domain adds anything there is one pipeline, and no branch.
 */
import { OPERATIONS, type Operation } from './operation.ts';
import { type Handler, type Interceptor, pipeline } from './pipeline.ts';

/** An interceptor by name, as the log tells it at the start. */
export interface Layer<Call, Reply> {
  readonly name: string;
  readonly intercept: Interceptor<Call, Reply>;
}

export type Service = (typeof OPERATIONS)[keyof typeof OPERATIONS]['service'];

/** What some domains add, between the shared layers and the handler. */
export type DomainLayers<Call, Reply> = Readonly<Partial<Record<Service, readonly Layer<Call, Reply>[]>>>;

export function layered<Caller, Reply>(
  shared: readonly Layer<Operation<Caller>, Reply>[],
  domains: DomainLayers<Operation<Caller>, Reply>,
  handler: Handler<Operation<Caller>, Reply>,
): Handler<Operation<Caller>, Reply> {
  return pipeline(
    shared.map(({ intercept }) => intercept),
    byDomain(domains, handler),
  );
}

/** The layers of each domain that has its own, and of all others under `*`, outermost first: for the log. */
export function layerNames<Call, Reply>(
  shared: readonly Layer<Call, Reply>[],
  domains: DomainLayers<Call, Reply>,
): Readonly<Record<string, readonly string[]>> {
  const names = shared.map(({ name }) => name);
  const own = Object.entries(domains).map(
    ([service, layers]) => [service, [...names, ...layers.map(({ name }) => name)]] as const,
  );
  return Object.fromEntries([['*', names], ...own]);
}

function byDomain<Caller, Reply>(
  domains: DomainLayers<Operation<Caller>, Reply>,
  handler: Handler<Operation<Caller>, Reply>,
): Handler<Operation<Caller>, Reply> {
  const own = new Map<string, Handler<Operation<Caller>, Reply>>();
  for (const [service, layers] of Object.entries(domains)) {
    own.set(
      service,
      pipeline(
        layers.map(({ intercept }) => intercept),
        handler,
      ),
    );
  }
  if (own.size === 0) return handler;
  return (operation) => (own.get(OPERATIONS[operation.type].service) ?? handler)(operation);
}
