/**
 * The grants of subjects that are alike, at one gateway: what is remembered about them, and who has them.
 */
import type { Action } from '../engine/domains/security/access.ts';
import { NO_SCOPE } from '../engine/domains/security/access.ts';
import type { Decision, Grants } from '../engine/domains/security/grants.ts';
import type { MapNames } from './map-names.ts';
import type { Session } from './session.ts';

/** Actions on maps whose decisions are looked up per operation or event. */
const MAP_ACTIONS = ['read', 'write', 'remove'] as const satisfies readonly Action[];
export type MapAction = 0 | 1 | 2;
export const READ: MapAction = 0;
export const WRITE: MapAction = 1;
export const REMOVE: MapAction = 2;

/** Decisions as bytes; 0 = not made yet. */
export const ALLOWED = 1;
export const DENIED = 2;
export const BY_ROW = 3;
const BYTES: Readonly<Record<Decision, number>> = { allow: ALLOWED, deny: DENIED, rows: BY_ROW };

export class GrantScope {
  readonly grants: Grants;
  /** Number under which workers know the grants; NO_SCOPE while they do not, or need not. */
  number: number = NO_SCOPE;
  /** Sessions that are ready and have these grants. */
  readonly sessions = new Set<Session>();
  #decisions = new Uint8Array(192);

  constructor(grants: Grants) {
    this.grants = grants;
  }

  /** By the gateway's number of the map: made once, then read. */
  decideMap(action: MapAction, mapId: number, maps: MapNames): number {
    const at = mapId * MAP_ACTIONS.length + action;
    return this.#decisions[at] || this.#decide(at, action, maps.textOf(mapId));
  }

  /** By name, for a map without a number. */
  decideName(action: MapAction, name: string): number {
    return BYTES[this.grants.decide(MAP_ACTIONS[action], name)];
  }

  #decide(at: number, action: MapAction, name: string): number {
    if (at >= this.#decisions.length) {
      const decisions = new Uint8Array(at * 2);
      decisions.set(this.#decisions);
      this.#decisions = decisions;
    }
    const decision = this.decideName(action, name);
    this.#decisions[at] = decision;
    return decision;
  }
}
