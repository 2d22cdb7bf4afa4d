/**
 * GET /events: changes of maps, messages of topics and live queries as server-sent events (the EventSource of browsers).
 */
import { z } from 'zod';
import { GridError } from '../../engine/protocol/errors.ts';
import { encodeText } from '../../engine/protocol/wire-text.ts';
import { doorRefusalOf } from '../map-names.ts';
import { EventStreams } from './event-streams.ts';
import type { HttpDoor } from './http-door.ts';
import type { HttpStream } from './http-reply.ts';
import { type Asked, queried, type Route } from './route.ts';

const NAMES_MAX = 100;
const QUERY_BYTES_MAX = 16 * 1024;

const names = (about: string): z.ZodOptional<z.ZodType<string[], string | string[]>> =>
  z
    .union([z.string(), z.array(z.string()).max(NAMES_MAX)])
    .transform((value) => (typeof value === 'string' ? [value] : value))
    .describe(about)
    .optional();

const QUERY = z.strictObject({
  map: names('A map whose changes are told; may be given several times'),
  topic: names('A topic whose messages are told; may be given several times'),
  query: names(
    'A live query as JSON, {"map": …, "where": …, "predicate": …, "sort": …, "limit": …, "id": …}; may be given several times',
  ),
});

const LIVE_QUERY = z.strictObject({
  map: z.string(),
  id: z.string().max(128).optional(),
  where: z.record(z.string(), z.unknown()).optional(),
  predicate: z.looseObject({ op: z.string() }).optional(),
  sort: z.array(z.object({ field: z.string(), direction: z.enum(['asc', 'desc']) })).optional(),
  limit: z.int().min(1).optional(),
  fields: z.array(z.string()).optional(),
});
type LiveQuery = z.output<typeof LIVE_QUERY>;

export function eventsRoute(door: () => HttpDoor, idleTimeoutMs: number): Route {
  const streams = new EventStreams(idleTimeoutMs);
  return {
    path: '/events',
    summary: 'Server-sent events',
    methods: {
      get: queried({
        summary: 'A stream of changes, messages and results',
        access: 'subject',
        tokenInQuery: true,
        query: QUERY,
        headers: { 'Last-Event-ID': 'Go on behind this event; when that cannot be done the first event is `gap`' },
        answers: {
          200: {
            about: 'put, remove, or_add, or_remove, ready, topic, snapshot, enter, update, leave, reset, refused, gap, end',
            type: 'text/event-stream',
          },
          403: { about: 'something of it may not be read' },
          429: { about: 'too many streams' },
        },
        answer: (asked) => streamOf(asked, door(), streams),
      }),
    },
  };
}

function streamOf(
  { query, subject, question }: Asked<z.output<typeof QUERY>>,
  door: HttpDoor,
  streams: EventStreams,
): HttpStream {
  const { map: maps = [], topic: topics = [], query: texts = [] } = query;
  const queries = texts.map(liveQuery);
  if (maps.length + topics.length + queries.length === 0)
    throw new GridError('BAD_REQUEST', 'query: one of map, topic and query is needed');
  for (const map of [...maps, ...queries.map((one) => one.map)]) {
    if (doorRefusalOf(encodeText(map)) !== undefined || map.includes(':'))
      throw new GridError('INVALID_MAP_NAME', `no events of map ${map.slice(0, 64)}`);
    if (!subject.access.may('read', map)) throw new GridError('FORBIDDEN', `read access denied for map: ${map}`);
  }
  for (const topic of topics)
    if (!subject.access.may('subscribe', topic)) throw new GridError('FORBIDDEN', `access denied to topic: ${topic}`);
  // With the row rules: what is kept was told by those of then, and under others it may be too much.
  const signature = JSON.stringify([subject.principal?.id ?? null, subject.access.scope, maps, topics, texts]);
  const wish = { messages: messagesOf(maps, topics, queries), signature, principal: subject.principal };
  return {
    status: 200,
    contentType: 'text/event-stream',
    headers: [['X-Accel-Buffering', 'no']], // a proxy that gathers would hold the events back
    stream: streams.open(door, wish, question.header('last-event-id')),
  };
}

function messagesOf(maps: readonly string[], topics: readonly string[], queries: readonly LiveQuery[]): object[] {
  return [
    ...maps.map((mapName) => ({ type: 'SYNC_INIT', mapName, lastSyncTimestamp: 0 })),
    ...topics.map((topic) => ({ type: 'TOPIC_SUB', payload: { topic } })),
    ...queries.map(({ map: mapName, id, fields, ...query }, index) => ({
      type: 'QUERY_SUB',
      payload: { queryId: id ?? `query${index + 1}`, mapName, query, fields },
    })),
  ];
}

function liveQuery(text: string): LiveQuery {
  const parsed = LIVE_QUERY.safeParse(text.length <= QUERY_BYTES_MAX ? jsonIn(text) : undefined);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new GridError('BAD_REQUEST', `query: ${issue?.path.join('.') || 'query'}: ${issue?.message ?? 'refused'}`);
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
