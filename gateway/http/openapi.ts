/**
 * The document of the API (OpenAPI 3.1), made of the routes themselves: paths, parameters and bodies come from the schemas
 * that judge what arrives, so what is written here is what is served.
 */
import { z } from 'zod';
import { jsonReply } from './http-reply.ts';
import { type AnswerNotes, type Endpoint, endpoint, HTTP_METHODS, type Route } from './route.ts';

type Json = Readonly<Record<string, unknown>>;

const ERROR = z.object({
  code: z.int().describe('The HTTP status'),
  error: z.string().describe('A name that never changes'),
  message: z.string(),
  retryable: z.boolean().describe('The same request may succeed later'),
});

/** The route of the document; `routes` are all, itself included. */
export function openApiRoute(version: string, routes: () => readonly Route[]): Route {
  let document: Json | undefined;
  return {
    path: '/api/openapi.json',
    summary: 'This document',
    methods: {
      get: endpoint({
        summary: 'The document of the API',
        access: 'subject',
        answers: { 200: { about: 'OpenAPI 3.1', schema: z.looseObject({ openapi: z.string() }) } },
        answer: () => {
          document ??= openApiDocument(version, routes());
          return jsonReply(200, document);
        },
      }),
    },
  };
}

export function openApiDocument(version: string, routes: readonly Route[]): Json {
  return {
    openapi: '3.1.0',
    info: { title: 'Lattice', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    paths: Object.fromEntries(routes.map((route) => [route.path, pathItem(route)])),
    components: {
      schemas: { Error: jsonSchema(ERROR, 'output') },
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
  };
}

function pathItem(route: Route): Json {
  const parameters = [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const item: Record<string, unknown> = { summary: route.summary };
  if (parameters.length > 0) item.parameters = parameters;
  for (const method of HTTP_METHODS) {
    const found = route.methods[method];
    if (found !== undefined) item[method] = operation(found);
  }
  return item;
}

function operation(found: Endpoint): Json {
  const parameters = [...queryParameters(found), ...headerParameters(found)];
  return {
    summary: found.summary,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(found.body === undefined ? {} : { requestBody: requestBody(found.body) }),
    responses: responses(found),
    security: found.access === 'open' ? [] : [{ bearer: [] }],
  };
}

function queryParameters(found: Endpoint): Json[] {
  const token = { name: 'token', in: 'query', description: 'As the header Authorization', schema: { type: 'string' } };
  const own = found.tokenInQuery === true ? [token] : [];
  if (found.query === undefined) return own;
  const { properties = {}, required = [] } = z.toJSONSchema(found.query, { io: 'input', unrepresentable: 'any' });
  return [
    ...Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', required: required.includes(name), schema })),
    ...own,
  ];
}

function headerParameters({ headers = {} }: Endpoint): Json[] {
  return Object.entries(headers).map(([name, description]) => ({ name, in: 'header', description, schema: { type: 'string' } }));
}

function requestBody({ about, types, bytesMax }: NonNullable<Endpoint['body']>): Json {
  const content = Object.entries(types).map(([type, schema]) => [
    type,
    schema === undefined ? {} : { schema: jsonSchema(schema, 'input') },
  ]);
  return { description: `${about}. At most ${bytesMax} bytes.`, content: Object.fromEntries(content) };
}

function responses({ answers, access }: Endpoint): Json {
  const documented = Object.entries(answers).map(([status, notes]) => [status, response(Number(status), notes)]);
  const refused = access === 'open' ? [] : [['401', response(401, { about: 'no token, or a bad one' })]];
  return { ...Object.fromEntries([...documented, ...refused]), default: response(500, { about: 'what went wrong' }) };
}

function response(status: number, { about, schema, type, headers = {} }: AnswerNotes): Json {
  const described = Object.entries(headers).map(([name, description]) => [name, { description, schema: { type: 'string' } }]);
  const shared = { description: about, ...(described.length > 0 ? { headers: Object.fromEntries(described) } : {}) };
  if (type === '') return shared;
  const isError = status >= 400;
  const body = isError ? { $ref: '#/components/schemas/Error' } : schema && jsonSchema(schema, 'output');
  return { ...shared, content: { [type ?? 'application/json']: body === undefined ? {} : { schema: body } } };
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
