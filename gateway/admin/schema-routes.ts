/**
 * Schemas of maps: what is registered, and its registration.
 *
 *   GET /api/admin/schemas                 all
 *   GET, PUT, DELETE /api/admin/schemas/{map}
 *   GET /api/admin/schemas/{map}/history   its versions, newest first
 */
import { z } from 'zod';
import { SCHEMA_MODES } from '../../engine/domains/schema/map-schema.ts';
import { parseSchemaBody, schemaBody } from '../../engine/domains/schema/schema-keeper.ts';
import type { Definition } from '../../engine/operation/definitions.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { jsonReply } from '../http/http-reply.ts';
import type { HttpDoor } from '../http/http-door.ts';
import type { HttpQuestion } from '../http/exchange.ts';
import type { Route } from '../http/route.ts';
import { assertDoorMap } from '../map-names.ts';
import type { Administration } from './administration.ts';
import { replacedVersion, versionTag } from './definition-version.ts';

const BODY = z.strictObject({
  mode: z.enum(SCHEMA_MODES).describe('off: not checked; warn: counted; strict: refused'),
  schema: z.record(z.string(), z.unknown()).describe('JSON Schema of the values; pattern and format are not taken'),
});
const SCHEMA = z.object({ map: z.string(), version: z.int(), mode: z.enum(SCHEMA_MODES), schema: z.unknown() });
const CHANGES = z.object({
  history: z.array(z.object({ version: z.int(), changedBy: z.string(), changedAt: z.string(), removed: z.boolean() })),
});
const CONDITIONS = {
  'If-Match': 'Only if the stored version has this entity tag',
  'If-None-Match': '*: only if there is none yet',
};
const TAG = { ETag: 'The version' };

export function schemaRoutes(administration: Administration, door: () => HttpDoor): Route[] {
  return [
    { path: '/api/admin/schemas', summary: 'Schemas of maps', methods: { get: listEndpoint(administration, door) } },
    {
      path: '/api/admin/schemas/{map}',
      summary: 'The schema of a map',
      methods: {
        get: administration.reads({
          summary: 'The schema of a map',
          answers: { 200: { about: 'the schema', schema: SCHEMA, headers: TAG }, 404: { about: 'the map has none' } },
          answer: ({ question }) => {
            const definition = door().definitions.newest('schema', mapOf(question));
            if (definition?.body === undefined) throw noSchema(mapOf(question));
            return jsonReply(200, documentOf(definition), versionTag(definition.version));
          },
        }),
        put: administration.changes({
          summary: 'Register a schema: from now on writes to the map are held to it',
          action: 'PUT schema',
          headers: CONDITIONS,
          body: BODY,
          answers: {
            200: { about: 'registered in place of another', schema: SCHEMA, headers: TAG },
            201: { about: 'registered', schema: SCHEMA, headers: TAG },
            409: { about: 'another version is stored than the condition says' },
          },
          target: ({ question }) => mapOf(question),
          answer: async ({ question, administrator }, { mode, schema }) => {
            const name = mapOf(question);
            const body = schemaBody(mode, schema);
            parseSchemaBody(name, 0, body); // throws for what cannot be held to
            const before = door().definitions.newest('schema', name)?.body;
            const wish = { kind: 'schema', name, body, replaces: replacedVersion(question), changedBy: administrator } as const;
            const definition = await door().node.define(wish);
            return jsonReply(before === undefined ? 201 : 200, documentOf(definition), versionTag(definition.version));
          },
        }),
        delete: administration.changes({
          summary: 'Remove a schema: the map is not checked any more',
          action: 'DELETE schema',
          headers: CONDITIONS,
          answers: { 200: { about: 'removed' }, 404: { about: 'the map has none' }, 409: { about: 'another version is stored' } },
          target: ({ question }) => mapOf(question),
          answer: async ({ question, administrator }) => {
            const name = mapOf(question);
            const replaces = replacedVersion(question);
            const { version } = await door().node.define({
              kind: 'schema',
              name,
              body: undefined,
              replaces,
              changedBy: administrator,
            });
            return jsonReply(200, { map: name, version, removed: true });
          },
        }),
      },
    },
    {
      path: '/api/admin/schemas/{map}/history',
      summary: 'Versions of a schema',
      methods: {
        get: administration.reads({
          summary: 'Versions of a schema, newest first',
          answers: { 200: { about: 'the versions', schema: CHANGES }, 404: { about: 'the map never had one' } },
          answer: async ({ question }) => jsonReply(200, { history: await historyOf(door(), mapOf(question)) }),
        }),
      },
    },
  ];
}

function listEndpoint(administration: Administration, door: () => HttpDoor): ReturnType<Administration['reads']> {
  return administration.reads({
    summary: 'All schemas',
    answers: { 200: { about: 'the schemas', schema: z.object({ schemas: z.array(SCHEMA) }) } },
    answer: () => jsonReply(200, { schemas: door().definitions.of('schema').map(documentOf) }),
  });
}

async function historyOf(door: HttpDoor, name: string): Promise<object[]> {
  const changes = await door.node.history('schema', name);
  if (changes.length === 0) throw noSchema(name);
  return changes.map(({ version, changedBy, changedAtMs, body }) => ({
    version,
    changedBy,
    changedAt: new Date(changedAtMs).toISOString(),
    removed: body === undefined,
  }));
}

function documentOf({ name, version, body }: Definition): object {
  const stored: unknown = JSON.parse(body ?? '{}');
  return { map: name, version, ...(typeof stored === 'object' ? stored : {}) };
}

function mapOf({ parameters }: HttpQuestion): string {
  const [map = ''] = parameters;
  assertDoorMap(map);
  return map;
}

function noSchema(map: string): GridError {
  return new GridError('NOT_FOUND', `map '${map}' has no schema`);
}
