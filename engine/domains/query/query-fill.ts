/**
 * Looks for the rows of queries that wait for them, a slice at a time.
 *
 *   each query ─ planned ─┬─ keys, index ─▶ a pass of its own over the rows that the plan names
 *                         └─ scan ────────▶ one pass over the map, for all of them
 *
 * When the passes of many queries would look at as many rows as the scan, they share the scan: it decodes each row once and finds
 * the queries that it may concern by hash (equality-filter.ts).
 */
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import type { LiveQuery } from './live-query.ts';
import type { MapQueries } from './map-queries.ts';
import { type NextKey, planQuery, type QueryPlan, type UsableIndex } from './query-plan.ts';
import { RowLookup } from './row-lookup.ts';
import { type RowEnvironment, RowPass } from './row-pass.ts';

export interface FillEvents {
  /** All rows of the query were looked at. */
  readonly onFilled: (query: LiveQuery) => void;
  readonly onLooked: (rows: number) => void;
}

interface Part {
  readonly pass: RowPass | undefined;
  readonly queries: readonly LiveQuery[];
}

/** How long passes follow one another in one step, ms. A pass takes its own slice beside. */
const STEP_MS = 2;

export class QueryFill {
  readonly #parts: Part[];
  readonly #env: RowEnvironment;
  readonly #events: FillEvents;

  constructor(
    map: MapQueries,
    queries: readonly LiveQuery[],
    indexes: readonly UsableIndex[],
    env: RowEnvironment,
    events: FillEvents,
  ) {
    this.#env = env;
    this.#events = events;
    this.#parts = partsOf(map, queries, indexes, env);
  }

  /** A slice of the work. `'read'`: await `readBack` before the next step. */
  step(): 'done' | 'more' | 'read' {
    const endMs = this.#env.clockMs() + STEP_MS;
    for (;;) {
      const part = this.#parts[0];
      if (part === undefined) return 'done';
      const isWanted = part.queries.some(({ state }) => state !== 'ended');
      const step = isWanted ? (part.pass?.step() ?? 'done') : 'done';
      if (step !== 'done') return step;
      this.#parts.shift();
      this.#filled(part);
      if (this.#parts.length > 0 && this.#env.clockMs() >= endMs) return 'more';
    }
  }

  /** Rejects with GridError UNAVAILABLE. */
  async readBack(): Promise<void> {
    await this.#parts[0]?.pass?.readBack();
  }

  #filled({ pass, queries }: Part): void {
    this.#events.onLooked(pass?.looked ?? 0);
    for (const query of queries) {
      if (query.state === 'ended') continue;
      query.state = 'live';
      this.#events.onFilled(query);
    }
  }
}

function partsOf(map: MapQueries, queries: readonly LiveQuery[], indexes: readonly UsableIndex[], env: RowEnvironment): Part[] {
  const { store } = map;
  if (store === undefined) return [{ pass: undefined, queries }];
  const plans = queries.map((query) => ({ query, plan: planQuery(query, store, indexes) }));
  const indexed = plans.filter(({ plan }) => plan.open !== undefined);
  const rows = indexed.reduce((sum, { plan }) => sum + plan.rows, 0);
  const sharesScan = indexed.length > 1 && rows > store.records;
  const alone = sharesScan ? [] : indexed;
  const scanned = sharesScan ? queries : plans.filter(({ plan }) => plan.open === undefined).map(({ query }) => query);
  const parts = alone.map(({ query, plan }) => ({ pass: passOf(plan, store, map, [query], env), queries: [query] }));
  if (scanned.length > 0) parts.push({ pass: passOf(undefined, store, map, scanned, env), queries: [...scanned] });
  return parts;
}

function passOf(
  plan: QueryPlan | undefined,
  store: RecordStore,
  map: MapQueries,
  queries: readonly LiveQuery[],
  env: RowEnvironment,
): RowPass {
  return new RowPass(store, rowsOf(plan, store), map.takeFor(queries), env);
}

/** The rows that a plan looks at: those of its keys that are here, or all. 0 at the end. */
export function rowsOf(plan: QueryPlan | undefined, store: RecordStore): () => RecordRef {
  if (plan?.open !== undefined) return refsOf(plan.open(), store);
  const cursor = store.cursor();
  return () => cursor.next();
}

function refsOf(next: NextKey, store: RecordStore): () => RecordRef {
  const lookup = new RowLookup();
  return () => {
    for (let key = next(); key !== undefined; key = next()) {
      const ref = lookup.find(store, key);
      if (ref !== 0) return ref;
    }
    return 0;
  };
}
