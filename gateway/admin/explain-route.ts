/**
 * POST /api/admin/explain {map, query}: how a query is answered, and what that takes. Counts, no rows; what the administrator
 * may not see himself matches nothing.
 *
 *   query ─ parsed ─ keys pinned? ─▶ the workers asked ─▶ each: plan, rows looked at ─▶ added up
 */
import { z } from 'zod';
import { authValues } from '../../engine/domains/security/subject.ts';
import { parsePlan, type WorkerPlan } from '../../engine/domains/query/query-explain.ts';
import { parseQuery } from '../../engine/domains/query/query-spec.ts';
import { encodeSubscribe } from '../../engine/domains/query/query-wire.ts';
import { REQUEST_QUERY_RUN } from '../../engine/protocol/envelope.ts';
import { PARTITION_COUNT } from '../../engine/partition/hash.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { encodeText } from '../../engine/protocol/wire-text.ts';
import { jsonReply } from '../http/http-reply.ts';
import type { HttpDoor } from '../http/http-door.ts';
import type { Route } from '../http/route.ts';
import { assertDoorMap } from '../map-names.ts';
import { queryTargets } from '../query-targets.ts';
import { type AdminAsked, type Administration, parsedBody } from './administration.ts';

const BODY_BYTES_MAX = 512 * 1024;
const BODY = z.strictObject({
  map: z.string(),
  query: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('As in QUERY_SUB: where, predicate, sort, limit, cursor, fields, groupBy, aggregations'),
});
const PLAN = z.object({
  worker: z.int(),
  access: z.enum(['keys', 'index', 'scan']),
  attribute: z.string().optional().describe('Of the index'),
  kind: z.enum(['hash', 'ordered']).optional(),
  inOrder: z.boolean().describe('Rows come in the order of the query, which ends with its window'),
  rowsEstimated: z.int(),
  rowsTouched: z.int().describe('Rows looked at'),
  rowsMatched: z.int().describe('Those of them that the query wants'),
  rowsReadBack: z.int().describe('Those whose values only Postgres had'),
  records: z.int().describe('Records of the map on the worker'),
  tookMs: z.number(),
});
const EXPLANATION = z.object({
  map: z.string(),
  partitionsAsked: z.int(),
  partitionsTotal: z.int(),
  workersAsked: z.array(z.int()),
  rowsTouched: z.int(),
  rowsMatched: z.int(),
  plans: z.array(PLAN),
});

export function explainRoute(administration: Administration, door: () => HttpDoor, rowsMax: number): Route {
  return {
    path: '/api/admin/explain',
    summary: 'How a query is answered',
    methods: {
      post: administration.reads({
        summary: 'Plan and run a query, and tell which way it took and how many rows it looked at',
        body: { bytesMax: BODY_BYTES_MAX, types: { 'application/json': BODY }, about: 'JSON' },
        answers: {
          200: { about: 'the way of each worker that was asked', schema: EXPLANATION },
          400: { about: 'what is wrong with the query' },
        },
        answer: async (asked) => jsonReply(200, await explained(asked, door(), rowsMax)),
      }),
    },
  };
}

async function explained({ body, subject }: AdminAsked, { calls, links }: HttpDoor, rowsMax: number): Promise<object> {
  const { map: mapName, query } = parsedBody(BODY, body);
  assertDoorMap(mapName);
  const { access, principal } = subject;
  if (!access.may('read', mapName)) throw new GridError('FORBIDDEN', 'this map may not be read');
  const auth = authValues(principal);
  const spec = parseQuery(query, undefined, { mapName, rowsMax, nowMs: Date.now(), auth });
  const { workers, partitions } = queryTargets(spec.predicate.tree, links.table, calls.everyone);
  const request = encodeSubscribe({
    number: 0,
    epoch: 0,
    mapName,
    map: encodeText(mapName),
    query,
    fields: undefined,
    rowsMax,
    bytesMax: 0,
    after: spec.after,
    scope: access.scope,
    auth,
  });
  const answers = await calls.request(REQUEST_QUERY_RUN, workers, () => request);
  const plans = workers.map((worker, index) => planOf(worker, answers[index] ?? []));
  return {
    map: mapName,
    partitionsAsked: partitions?.length ?? PARTITION_COUNT,
    partitionsTotal: PARTITION_COUNT,
    workersAsked: workers,
    rowsTouched: plans.reduce((sum, { rowsTouched }) => sum + rowsTouched, 0),
    rowsMatched: plans.reduce((sum, { rowsMatched }) => sum + rowsMatched, 0),
    plans,
  };
}

function planOf(worker: number, [answer]: readonly Uint8Array[]): WorkerPlan & { readonly worker: number } {
  if (answer === undefined) throw new GridError('INTERNAL', `worker ${worker} did not say how it answers`);
  return { worker, ...parsePlan(answer) };
}
