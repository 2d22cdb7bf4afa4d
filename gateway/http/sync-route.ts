/**
 * POST /sync: ops, what is new in maps, and queries in one exchange, for clients that cannot hold a WebSocket (protocol
 * reference §11).
 *
 *   ops      as one OP_BATCH of a session of their own ─▶ ack, and an error for each refused one
 *   maps     records newer than the last sync, removals included, in pages
 *   queries  as QUERY_SUB and QUERY_UNSUB of that session ─▶ values in the order of their keys
 *
 * What fails of a part is an entry of `errors`; the other parts are answered all the same.
 */
import { GridError } from '../../engine/protocol/errors.ts';
import type { Asked, Route } from './route.ts';
import { endpoint } from './route.ts';
import { DeltaReader } from './sync-deltas.ts';
import type { HttpDoor } from './http-door.ts';
import type { HttpReply } from './http-reply.ts';
import { opIds, parseSync, type SyncError, SYNC_REQUEST, SYNC_RESPONSE, type SyncResponse, syncReply } from './sync-messages.ts';
import { type Query, type QueryResult, SyncSession } from './sync-session.ts';

export function syncRoute(door: () => HttpDoor, bodyBytesMax: number): Route {
  return {
    path: '/sync',
    summary: 'Sync by HTTP',
    methods: {
      post: endpoint({
        summary: 'Write, catch up and query in one exchange',
        access: 'subject',
        body: {
          bytesMax: bodyBytesMax,
          about: 'MessagePack; JSON is taken as well, and answered in JSON. Nothing at all asks for nothing',
          types: { 'application/msgpack': undefined, 'application/json': SYNC_REQUEST },
        },
        answers: {
          200: { about: 'what became of each part', schema: SYNC_RESPONSE },
          400: { about: 'the body is no such request' },
          413: { about: 'the body is too large' },
        },
        answer: (asked) => sync(asked, door()),
      }),
    },
  };
}

async function sync({ body, question, subject }: Asked, door: HttpDoor): Promise<HttpReply> {
  const { request, operations, isJson } = parseSync(body, question.header('content-type'));
  const ids = opIds(request);
  const queries = request.queries ?? [];
  const maps = request.syncMaps ?? [];
  subject.charge(ids.length + queries.length + maps.length);
  const errors: SyncError[] = [];
  const response: { -readonly [Field in keyof SyncResponse]: SyncResponse[Field] } = { serverHlc: door.now() };
  const session = operations !== undefined || queries.length > 0 ? new SyncSession(door, subject.principal) : undefined;
  try {
    if (session !== undefined && operations !== undefined) {
      const { ack, errors: refused } = await session.write(operations, ids);
      if (ack !== undefined) response.ack = ack;
      errors.push(...refused);
    }
    const deltas = new DeltaReader(door, subject);
    const inMaps = await Promise.all(maps.map((map) => settled(map.mapName, deltas.read(map), errors)));
    if (maps.length > 0) response.deltas = inMaps.filter((delta) => delta !== undefined);
    if (session !== undefined && queries.length > 0) response.queryResults = await queryResults(session, queries, errors);
  } finally {
    session?.close();
  }
  for (const { searchId } of request.searches ?? [])
    errors.push({ code: 501, message: 'FEATURE_DISABLED: search', context: searchId });
  if (errors.length > 0) response.errors = errors;
  response.serverHlc = door.now();
  return syncReply(response, isJson);
}

async function queryResults(session: SyncSession, queries: readonly Query[], errors: SyncError[]): Promise<QueryResult[]> {
  const results: QueryResult[] = [];
  for (const query of queries) {
    const result = await settled(query.queryId, session.query(query), errors);
    if (result !== undefined) results.push(result);
  }
  return results;
}

/** The part, or undefined when it failed: then an error says so. */
async function settled<Part>(context: string, part: Promise<Part>, errors: SyncError[]): Promise<Part | undefined> {
  try {
    return await part;
  } catch (error) {
    if (!(error instanceof GridError)) throw error;
    errors.push({ code: error.status, message: `${error.code}: ${error.message}`, context });
    return undefined;
  }
}
