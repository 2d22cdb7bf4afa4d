/**
 * POST /sync: ops, what is new in maps, and queries in one exchange, for clients that cannot hold a WebSocket
 * (docs/PROTOCOL.md §11).
 *
 *   ops      as one OP_BATCH of a session of their own ─▶ ack, and an error for each refused one
 *   maps     records newer than the last sync, removals included, in pages
 *   queries  as QUERY_SUB and QUERY_UNSUB of that session ─▶ values in the order of their keys
 *
 * What is read is read as one: what is one over several workers (gateway/whole-reads.ts) is in all of it or in none.
 * What fails of a part is an entry of `errors`; the other parts are answered all the same.
 */
import { GridError } from '../../engine/protocol/errors.ts';
import { encodeText } from '../../engine/protocol/wire-text.ts';
import type { Asked, Route, Subject } from './route.ts';
import { endpoint } from './route.ts';
import { DeltaReader } from './sync-deltas.ts';
import type { HttpDoor } from './http-door.ts';
import type { HttpReply } from './http-reply.ts';
import {
  opIds,
  parseSync,
  type SyncError,
  type SyncRequest,
  SYNC_REQUEST,
  SYNC_RESPONSE,
  type SyncResponse,
  syncReply,
} from './sync-messages.ts';
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
    const names = [...maps, ...queries].map(({ mapName }) => encodeText(mapName));
    const { errors: unread, ...read } = await door.wholeReads.read(names, () => readParts(request, { door, subject, session }));
    Object.assign(response, read);
    errors.push(...unread);
  } finally {
    session?.close();
  }
  for (const { searchId } of request.searches ?? [])
    errors.push({ code: 501, message: 'FEATURE_DISABLED: search', context: searchId });
  if (errors.length > 0) response.errors = errors;
  response.serverHlc = door.now();
  return syncReply(response, isJson);
}

interface Readers {
  readonly door: HttpDoor;
  readonly subject: Subject;
  /** There where something is queried. */
  readonly session: SyncSession | undefined;
}

type ReadParts = Pick<SyncResponse, 'deltas' | 'queryResults'> & { readonly errors: readonly SyncError[] };

/** What is asked for of maps, and what of it fails. */
async function readParts(request: SyncRequest, { door, subject, session }: Readers): Promise<ReadParts> {
  const errors: SyncError[] = [];
  const syncMaps = request.syncMaps ?? [];
  const queries = request.queries ?? [];
  const reader = new DeltaReader(door, subject);
  const deltas = await Promise.all(syncMaps.map((map) => settled(map.mapName, reader.read(map), errors)));
  const queryResults = session === undefined ? [] : await resultsOf(session, queries, errors);
  return {
    ...(syncMaps.length > 0 ? { deltas: deltas.filter((delta) => delta !== undefined) } : {}),
    ...(queries.length > 0 ? { queryResults } : {}),
    errors,
  };
}

async function resultsOf(session: SyncSession, queries: readonly Query[], errors: SyncError[]): Promise<QueryResult[]> {
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
