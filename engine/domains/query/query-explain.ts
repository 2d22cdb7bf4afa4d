/**
 * Shows how a worker answers a query: plans it as for a live one, looks at the rows that the plan names, and tells what that
 * took. No row leaves: only counts.
 *
 *   body ─▶ plan (query-plan.ts) ─▶ pass over its rows, in slices ─▶ {access, attribute, kind, rows …}
 *
 * Rows are judged as the asker may see them, so what is hidden matches nothing.
 */
import { assert } from '../../assert.ts';
import type { GridRequest, LateParts, RequestAnswer, RequestHandler } from '../../operation/request-handler.ts';
import { decode, encode } from '../../protocol/codec.ts';
import { REQUEST_QUERY_RUN } from '../../protocol/envelope.ts';
import { KIND_LWW } from '../../storage/record.ts';
import type { MapCatalogue } from '../crdt/map-catalogue.ts';
import type { RowScopes } from '../security/access.ts';
import { fieldOf } from './attribute.ts';
import type { UsableIndexes } from './index-keeper.ts';
import { LiveQuery } from './live-query.ts';
import { rowsOf } from './query-fill.ts';
import { planQuery, type QueryPlan } from './query-plan.ts';
import { parseQuery } from './query-spec.ts';
import { decodeSubscribe } from './query-wire.ts';
import { type RowEnvironment, RowPass } from './row-pass.ts';
import { QUERY_STEPS_MAX, StepBudget } from './step-budget.ts';

export interface QueryExplainOptions {
  readonly maps: MapCatalogue;
  readonly scopes: RowScopes;
  readonly indexes: UsableIndexes;
  readonly rows: RowEnvironment;
  readonly spareRowsMax: number;
}

/** How one worker answers a query. */
export interface WorkerPlan {
  readonly access: QueryPlan['access'];
  readonly attribute: string | undefined;
  readonly kind: QueryPlan['kind'];
  /** Rows come in the order of the query, and it ends early. */
  readonly inOrder: boolean;
  /** Rows that the plan expects to look at. */
  readonly rowsEstimated: number;
  /** Rows that it looked at. */
  readonly rowsTouched: number;
  /** Those of them that the query wants. */
  readonly rowsMatched: number;
  /** Those whose values were read back from Postgres. */
  readonly rowsReadBack: number;
  /** Records of the map on the worker. */
  readonly records: number;
  readonly tookMs: number;
}

export class QueryExplain implements RequestHandler {
  readonly kinds = [REQUEST_QUERY_RUN] as const;
  readonly writeKinds = [] as const;
  readonly #options: QueryExplainOptions;

  constructor(options: QueryExplainOptions) {
    this.#options = options;
  }

  /** Throws GridError for a query that is none, and for a scope that is not known here. */
  answer({ body, gateway, session }: GridRequest): RequestAnswer {
    const { maps, scopes, rows, spareRowsMax } = this.#options;
    const { map, mapName, query: asked, fields, rowsMax, auth, scope } = decodeSubscribe(body);
    const spec = parseQuery(asked, fields, { mapName, rowsMax, auth, nowMs: rows.nowMs() });
    const view = scopes.rows(gateway, scope, mapName);
    const owner = { gateway, session, number: 0, epoch: 0 };
    // Groups are not gathered: only which rows are looked at, and how many match.
    const ungrouped = { ...spec, grouping: undefined };
    const query = new LiveQuery(owner, ungrouped, view, {
      after: spec.after,
      bytesMax: Number.POSITIVE_INFINITY,
      spareRowsMax,
      onDropped: () => {},
    });
    const store = maps.find(map)?.existing(KIND_LWW);
    const planned = { spec, view, windowRowsMax: query.windowRowsMax, isEnough: query.isEnough.bind(query) };
    return this.#run(query, planQuery(planned, store, this.#options.indexes.of(map)), store);
  }

  async *#run(query: LiveQuery, plan: QueryPlan, store: Parameters<typeof rowsOf>[1] | undefined): LateParts {
    const { rows } = this.#options;
    const startedMs = rows.clockMs();
    let matched = 0;
    const steps = new StepBudget();
    const take = (key: string, value: unknown, version: number): number => {
      if (query.judge(key, query.view.see(value, key), version, false, steps.refill())) matched += 1;
      return QUERY_STEPS_MAX - steps.left;
    };
    const pass = store === undefined ? undefined : new RowPass(store, rowsOf(plan, store), take, rows);
    for (let step = pass?.step() ?? 'done'; step !== 'done'; step = pass?.step() ?? 'done') {
      if (step === 'read') await pass?.readBack();
      else await rows.nextTurn();
    }
    yield encode({
      access: plan.access,
      attribute: plan.attribute,
      kind: plan.kind,
      inOrder: plan.inOrder,
      rowsEstimated: plan.rows,
      rowsTouched: pass?.looked ?? 0,
      rowsMatched: matched,
      rowsReadBack: pass?.readBackRows ?? 0,
      records: store?.records ?? 0,
      tookMs: rows.clockMs() - startedMs,
    }).slice();
  }
}

/** What a worker answered. */
export function parsePlan(answer: Uint8Array): WorkerPlan {
  const plan = decode(answer);
  const access = fieldOf(plan, 'access');
  const attribute = fieldOf(plan, 'attribute');
  const kind = fieldOf(plan, 'kind');
  assert(access === 'keys' || access === 'index' || access === 'scan', 'a plan');
  const count = (name: string): number => Number(fieldOf(plan, name));
  return {
    access,
    attribute: typeof attribute === 'string' ? attribute : undefined,
    kind: kind === 'hash' || kind === 'ordered' ? kind : undefined,
    inOrder: fieldOf(plan, 'inOrder') === true,
    rowsEstimated: count('rowsEstimated'),
    rowsTouched: count('rowsTouched'),
    rowsMatched: count('rowsMatched'),
    rowsReadBack: count('rowsReadBack'),
    records: count('records'),
    tookMs: count('tookMs'),
  };
}
