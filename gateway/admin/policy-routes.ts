/**
 * Policies: who may do what with which data. How they combine says engine/domains/security/grants.ts.
 *
 *   GET, POST /api/admin/policies           all; one more, or a new version of one
 *   GET, PUT, DELETE /api/admin/policies/{id}
 *   GET /api/admin/policies/{id}/history    its versions, newest first
 */
import { z } from 'zod';
import { POLICIES_MAX } from '../../engine/domains/security/policy.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { type HttpReply, jsonReply } from '../http/http-reply.ts';
import type { HttpDoor } from '../http/http-door.ts';
import type { HttpQuestion } from '../http/exchange.ts';
import type { Route } from '../http/route.ts';
import { PolicyStore } from '../policy-store.ts';
import type { Administration } from './administration.ts';
import { replacedVersion, versionTag } from './definition-version.ts';

/** The shape; what is wrong in detail says parsePolicy. */
const BODY = z.looseObject({
  id: z.string().optional().describe('Its name; in PUT that of the path'),
  pattern: z.string().optional().describe('Of the names of maps, topics, locks or counters; `mapPattern` is taken, too'),
  actions: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .describe('read, write, remove, …, or all; `action` is taken, too'),
  effect: z.enum(['allow', 'deny']),
  subjects: z.array(z.string()).optional(),
  roles: z.array(z.string()).optional(),
  claims: z.record(z.string(), z.unknown()).optional(),
  condition: z.unknown().optional().describe('A predicate over the rows, which may name auth.id and other claims'),
  fields: z.array(z.string()).optional(),
});
const POLICY = z.object({ id: z.string(), version: z.int(), policy: z.unknown() });
const HISTORY = z.object({
  history: z.array(
    z.object({
      version: z.int(),
      changedBy: z.string(),
      changedAt: z.string(),
      policy: z.unknown().optional().describe('Left out where it was removed'),
    }),
  ),
});
const CONDITIONS = {
  'If-Match': 'Only if the stored version has this entity tag',
  'If-None-Match': '*: only if there is none yet',
};
const TAG = { ETag: 'The version' };
const PUT_ANSWERS = {
  200: { about: 'in place of another version', schema: POLICY, headers: TAG },
  201: { about: 'it is new', schema: POLICY, headers: TAG },
  400: { about: 'what is wrong with it' },
  409: { about: 'another version is stored than the condition says' },
};

type Input = z.output<typeof BODY>;

export function policyRoutes(administration: Administration, door: () => HttpDoor): Route[] {
  const store = (): PolicyStore => new PolicyStore(door().definitions, door().node);
  const put = (question: HttpQuestion, input: Input, administrator: string): Promise<HttpReply> =>
    putPolicy(store(), question, input, administrator);
  return [
    {
      path: '/api/admin/policies',
      summary: 'Policies',
      methods: {
        get: administration.reads({
          summary: 'All policies',
          answers: { 200: { about: `the policies, ${POLICIES_MAX} at most`, schema: z.object({ policies: z.array(POLICY) }) } },
          answer: () => jsonReply(200, { policies: store().list() }),
        }),
        post: administration.changes({
          summary: 'Add a policy, or a new version of one. The first one turns from allowing all to allowing what is allowed',
          action: 'PUT policy',
          headers: CONDITIONS,
          body: BODY,
          answers: PUT_ANSWERS,
          target: (_asked, body) => body?.id ?? '',
          answer: ({ question, administrator }, body) => put(question, body, administrator),
        }),
      },
    },
    {
      path: '/api/admin/policies/{id}',
      summary: 'A policy',
      methods: {
        get: administration.reads({
          summary: 'A policy',
          answers: { 200: { about: 'the policy', schema: POLICY, headers: TAG }, 404: { about: 'there is none' } },
          answer: ({ question }) => {
            const stored = store()
              .list()
              .find(({ id }) => id === idOf(question));
            if (stored === undefined) throw noPolicy(idOf(question));
            return jsonReply(200, stored, versionTag(stored.version));
          },
        }),
        put: administration.changes({
          summary: 'Add the policy of that name, or a new version of it',
          action: 'PUT policy',
          headers: CONDITIONS,
          body: BODY,
          answers: PUT_ANSWERS,
          target: ({ question }) => idOf(question),
          answer: ({ question, administrator }, body) => put(question, { ...body, id: idOf(question) }, administrator),
        }),
        delete: administration.changes({
          summary: 'Remove a policy. Where there was one, nothing is allowed that no policy allows, also after the last is gone',
          action: 'DELETE policy',
          headers: CONDITIONS,
          answers: { 200: { about: 'removed' }, 404: { about: 'there is none' }, 409: { about: 'another version is stored' } },
          target: ({ question }) => idOf(question),
          answer: async ({ question, administrator }) => {
            await store().remove(idOf(question), administrator, replacedVersion(question));
            return jsonReply(200, { id: idOf(question), removed: true });
          },
        }),
      },
    },
    {
      path: '/api/admin/policies/{id}/history',
      summary: 'Versions of a policy',
      methods: {
        get: administration.reads({
          summary: 'Versions of a policy, newest first',
          answers: { 200: { about: 'the versions', schema: HISTORY }, 404: { about: 'there never was one' } },
          answer: async ({ question }) => {
            const changes = await store().history(idOf(question));
            if (changes.length === 0) throw noPolicy(idOf(question));
            const history = changes.map(({ changedAtMs, ...change }) => ({
              ...change,
              changedAt: new Date(changedAtMs).toISOString(),
            }));
            return jsonReply(200, { history });
          },
        }),
      },
    },
  ];
}

async function putPolicy(store: PolicyStore, question: HttpQuestion, input: Input, administrator: string): Promise<HttpReply> {
  const known = store.list().some(({ id }) => id === input.id);
  const { version, policy } = await store.put(input, administrator, replacedVersion(question));
  return jsonReply(known ? 200 : 201, { id: input.id, version, policy }, versionTag(version));
}

function idOf({ parameters }: HttpQuestion): string {
  return parameters[0] ?? '';
}

function noPolicy(id: string): GridError {
  return new GridError('NOT_FOUND', `there is no policy '${id}'`);
}
