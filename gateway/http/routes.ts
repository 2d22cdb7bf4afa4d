/**
 * Every route of the server, in the order of the document. A new one is a line here.
 */
import { adminRoutes, type AdminRoutesOptions } from '../admin/admin-routes.ts';
import { eventsRoute } from './events-route.ts';
import { type HealthRouteOptions, healthRoutes } from './health-routes.ts';
import { mapRoutes } from './maps-route.ts';
import { openApiRoute } from './openapi.ts';
import type { Route } from './route.ts';
import { syncRoute } from './sync-route.ts';

export interface RoutesOptions extends HealthRouteOptions, AdminRoutesOptions {
  /** Largest body. */
  readonly bodyBytesMax: number;
  /** A session that says nothing for so long is closed, ms. */
  readonly idleTimeoutMs: number;
}

export function allRoutes(options: RoutesOptions): Route[] {
  const { door, bodyBytesMax, idleTimeoutMs, version } = options;
  const routes: Route[] = [
    ...healthRoutes(options),
    ...mapRoutes(door, bodyBytesMax),
    syncRoute(door, bodyBytesMax),
    eventsRoute(door, idleTimeoutMs),
    ...adminRoutes(options),
    openApiRoute(version, () => routes),
  ];
  return routes;
}
