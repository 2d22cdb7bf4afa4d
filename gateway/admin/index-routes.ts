/**
 * Indexes of attributes, by which queries find their rows (engine/domains/query/index-keeper.ts).
 *
 *   GET, POST /api/admin/indexes                       all, with what workers have of them; one more
 *   DELETE /api/admin/indexes/{map}/{attribute}
 *
 * An attribute of a map has one index. To change its kind it is removed and made again.
 */
import { z } from 'zod';
import { INDEX_KINDS } from '../../engine/domains/query/attribute-index.ts';
import {
  INDEXES_PER_MAP_MAX,
  type IndexDefinition,
  indexBody,
  indexName,
  parseIndexBody,
} from '../../engine/domains/query/index-definition.ts';
import { addIndexStats, type IndexStats } from '../../engine/domains/query/index-stats.ts';
import type { Definition } from '../../engine/operation/definitions.ts';
import { encode } from '../../engine/protocol/codec.ts';
import { REQUEST_INDEXES } from '../../engine/protocol/envelope.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { jsonReply } from '../http/http-reply.ts';
import type { HttpDoor } from '../http/http-door.ts';
import type { HttpQuestion } from '../http/exchange.ts';
import type { Route } from '../http/route.ts';
import { assertDoorMap } from '../map-names.ts';
import type { Administration } from './administration.ts';

const BODY = z.strictObject({
  map: z.string(),
  attribute: z.string().describe('A field of the values, or a path: address.city'),
  kind: z.enum(INDEX_KINDS).describe('hash: for = and in; ordered: also for ranges, prefixes and the order of results'),
});
const INDEX = z.object({ map: z.string(), attribute: z.string(), kind: z.enum(INDEX_KINDS), version: z.int() });
const KEPT = INDEX.extend({
  state: z
    .enum(['building', 'ready', 'full'])
    .describe('building: not used yet; full: not kept for want of memory, on one worker at least'),
  entries: z.int(),
  bytes: z.int().describe('Memory on the workers, about'),
});

export function indexRoutes(administration: Administration, door: () => HttpDoor): Route[] {
  return [
    {
      path: '/api/admin/indexes',
      summary: 'Indexes of attributes',
      methods: {
        get: administration.reads({
          summary: 'All indexes, with what workers have of them',
          answers: { 200: { about: 'the indexes', schema: z.object({ indexes: z.array(KEPT) }) } },
          answer: async () => jsonReply(200, { indexes: await keptIndexes(door()) }),
        }),
        post: administration.changes({
          summary: 'Make an index: it is built beside the work, and used from then on',
          action: 'POST index',
          body: BODY,
          answers: {
            200: { about: 'there is the same already', schema: INDEX },
            201: { about: 'made', schema: INDEX },
            400: { about: 'what is wrong with it' },
            409: {
              about: `the attribute has an index of another kind, or the map ${INDEXES_PER_MAP_MAX} of them, the most that may be`,
            },
          },
          target: (_, body) => (body === undefined ? '' : indexName(body.map, body.attribute)),
          answer: async ({ administrator }, wanted) => {
            const body = indexBody(wanted);
            parseIndexBody(body); // throws for what cannot be an index
            assertDoorMap(wanted.map);
            const known = existing(door(), wanted);
            if (known !== undefined) return jsonReply(200, known);
            const name = indexName(wanted.map, wanted.attribute);
            const wish = { kind: 'index', name, body, replaces: 0, changedBy: administrator } as const;
            return jsonReply(201, documentOf(await door().node.define(wish)));
          },
        }),
      },
    },
    {
      path: '/api/admin/indexes/{map}/{attribute}',
      summary: 'The index of an attribute',
      methods: {
        delete: administration.changes({
          summary: 'Remove an index',
          action: 'DELETE index',
          answers: { 200: { about: 'removed' }, 404: { about: 'there is none' } },
          target: ({ question }) => nameOf(question),
          answer: async ({ question, administrator }) => {
            const [map = '', attribute = ''] = question.parameters;
            const wish = { kind: 'index', name: nameOf(question), body: undefined, changedBy: administrator } as const;
            const { version } = await door().node.define(wish);
            return jsonReply(200, { map, attribute, version, removed: true });
          },
        }),
      },
    },
  ];
}

/** The index as it is, when it is the wanted one. Throws GridError CONFLICT for another kind, and for one too many. */
function existing({ definitions }: HttpDoor, wanted: IndexDefinition): object | undefined {
  const known = definitions.newest('index', indexName(wanted.map, wanted.attribute));
  if (known?.body !== undefined) {
    const { kind } = parseIndexBody(known.body);
    if (kind === wanted.kind) return documentOf(known);
    throw new GridError('CONFLICT', `attribute '${wanted.attribute}' has an index of kind ${kind}: remove it first`);
  }
  const ofMap = definitions.of('index').filter(({ body }) => parseIndexBody(body ?? '').map === wanted.map);
  if (ofMap.length >= INDEXES_PER_MAP_MAX)
    throw new GridError('CONFLICT', `map '${wanted.map}' has ${INDEXES_PER_MAP_MAX} indexes, the most that may be`);
  return undefined;
}

async function keptIndexes({ calls, definitions }: HttpDoor): Promise<object[]> {
  const answers = await calls.request(REQUEST_INDEXES, calls.everyone, () => encode({}).slice());
  const stats = addIndexStats(answers.flat());
  const indexes = definitions.of('index').map((definition) => ({ ...documentOf(definition), ...statsOf(definition, stats) }));
  return indexes.sort((left, right) => (JSON.stringify(left) < JSON.stringify(right) ? -1 : 1));
}

function statsOf({ name }: Definition, stats: ReadonlyMap<string, IndexStats>): IndexStats {
  return stats.get(name) ?? { state: 'building', entries: 0, bytes: 0 };
}

function documentOf({ version, body }: Definition): object {
  return { ...parseIndexBody(body ?? ''), version };
}

function nameOf({ parameters }: HttpQuestion): string {
  const [map = '', attribute = ''] = parameters;
  return indexName(map, attribute);
}
