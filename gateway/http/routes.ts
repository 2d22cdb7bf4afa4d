/**
 * Every route of the server, in the order of the document. A new one is a line here.
 */
import type { HttpDoor } from './http-door.ts';
import { type HealthRouteOptions, healthRoutes } from './health-routes.ts';
import { mapRoutes } from './maps-route.ts';
import { RecordDoor } from './record-door.ts';
import type { Route } from './route.ts';

export interface RoutesOptions extends HealthRouteOptions {
  /** Largest body. */
  readonly bodyBytesMax: number;
  /** The grid behind the routes; asked only by endpoints that are not open, once it is there. */
  readonly door: () => HttpDoor;
}

export function allRoutes(options: RoutesOptions): Route[] {
  const { door, bodyBytesMax } = options;
  return [...healthRoutes(options), ...mapRoutes(() => new RecordDoor(door()), bodyBytesMax)];
}
