/**
 * What a subject may do, as the doors and the services ask it. Policies decide (policy.ts); who asks need not know them.
 *
 *   gateway   access.may('read', map)            by name: cheap, cached, no value is decoded
 *             access.scope ─ in the request ─▶
 *   worker    scopes.rows(gateway, scope, map)   by row: which rows are seen, and what is cut from them
 *
 * `may` is true also where it depends on the row: then the worker that owns the row decides, by the scope that the request
 * carries. A subject without row rules has scope 0, and workers decode nothing for it.
 */

/** What can be allowed or denied. The first three are of maps, then topics, locks and counters. */
export const ACTIONS = ['read', 'write', 'remove', 'subscribe', 'publish', 'lock', 'readCounter', 'writeCounter'] as const;
export type Action = (typeof ACTIONS)[number];

/** The subject has no row rule on any map. */
export const NO_SCOPE = 0;

/** What a subject may do. One per session; doors without sessions ask for one per request. Live: it follows changed policies. */
export interface Access {
  /** Number by which workers know the subject's row rules, NO_SCOPE when it has none. Read it anew for each request. */
  readonly scope: number;
  /** May it do this with the map, topic, lock or counter of that name? True also where it depends on the row. */
  may(action: Action, name: string): boolean;
  /** The rows of a map as it sees them; ALL_ROWS when nothing is hidden from it, NO_ROWS when it may not read the map. */
  rows(mapName: string): RowView;
}

/** `RowView.see` answers it for a row that the subject may not see: for the subject there is no such row. */
export const HIDDEN: unique symbol = Symbol('hidden');

/** A map as one subject sees it. Filter, sort and count what `see` answers, never the rows themselves. */
export interface RowView {
  /** The decoded value of a live row as the subject sees it: as it is, without its hidden fields, or HIDDEN. Never throws. */
  see(value: unknown, key: string): unknown;
}

/** Every row as it is: compare with it to spare the decoding. */
export const ALL_ROWS: RowView = { see: (value) => value };
/** No row at all. */
export const NO_ROWS: RowView = { see: () => HIDDEN };

/** The access of everybody while there are no policies, and of subjects that pass all of them. */
export const FULL_ACCESS: Access = { scope: NO_SCOPE, may: () => true, rows: () => ALL_ROWS };

/** The worker's side: row rules by the numbers that the gateways gave them. */
export interface RowScopes {
  /**
   * A map as the subject of the scope sees it. Throws GridError UNAVAILABLE for a scope that this worker does not know (any
   * more): a worker that was replaced is told all of them again.
   */
  rows(gateway: number, scope: number, mapName: string): RowView;
}

/** Scopes of a worker without policies. */
export const UNSCOPED: RowScopes = { rows: () => ALL_ROWS };
