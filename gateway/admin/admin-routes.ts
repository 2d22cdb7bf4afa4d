/** The administrative routes, in the order of the document. */
import type { GridMemory } from '../../workers/grid-memory.ts';
import type { HttpDoor } from '../http/http-door.ts';
import { RequestRate } from '../http/request-rate.ts';
import type { Route } from '../http/route.ts';
import { ADMIN_BURST, ADMIN_REQUESTS_PER_SECOND, Administration } from './administration.ts';
import { explainRoute } from './explain-route.ts';
import { indexRoutes } from './index-routes.ts';
import { type LoginOptions, loginRoute } from './login-route.ts';
import { nodeRoutes } from './node-routes.ts';
import { policyRoutes } from './policy-routes.ts';
import { schemaRoutes } from './schema-routes.ts';

export interface AdminRoutesOptions extends Omit<LoginOptions, 'rate' | 'steadyMs'> {
  readonly memory: GridMemory;
  readonly authRequired: boolean;
  /** Rows of one result. */
  readonly queryRowsMax: number;
  /** The configuration by name, secrets left out. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** The grid behind the routes; asked only once it is there. */
  readonly door: () => HttpDoor;
}

export function adminRoutes(options: AdminRoutesOptions): Route[] {
  const { memory, authRequired, door, settings } = options;
  const rate = new RequestRate(ADMIN_REQUESTS_PER_SECOND, ADMIN_BURST);
  const steadyMs = (): number => performance.now();
  const administration = new Administration({ authRequired, rate, steadyMs, node: () => door().node });
  return [
    loginRoute({ ...options, rate, steadyMs }),
    ...nodeRoutes({ administration, door, memory, settings }),
    ...schemaRoutes(administration, door),
    ...policyRoutes(administration, door),
    ...indexRoutes(administration, door),
    explainRoute(administration, door, options.queryRowsMax),
  ];
}
