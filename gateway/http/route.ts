/**
 * Routes and their endpoints: what a path takes, who may ask, and who answers. The document of the API is made of the same.
 *
 *   route     /maps/{map}/{key}   get, put, delete …
 *   endpoint  access, query (zod), body, answers (for the document), answer()
 */
import type { z } from 'zod';
import type { Access } from '../../engine/domains/security/access.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { Principal } from '../authentication.ts';
import type { HttpQuestion } from './exchange.ts';
import type { HttpReply, HttpStream } from './http-reply.ts';

export const HTTP_METHODS = ['get', 'put', 'post', 'delete'] as const;
export type HttpMethod = (typeof HTTP_METHODS)[number];

/** Who asks. */
export interface Subject {
  /** Undefined: nobody in particular. */
  readonly principal: Principal | undefined;
  readonly access: Access;
  /** Takes from what the subject may still do now. Throws GridError RATE_LIMITED. */
  charge(cost: number): void;
}

/** A request that may be answered. */
export interface Asked<Query = unknown> {
  readonly question: HttpQuestion;
  readonly query: Query;
  readonly subject: Subject;
  /** Empty where none is taken. */
  readonly body: Uint8Array;
}

/** What the document says of one answer. */
export interface AnswerNotes {
  readonly about: string;
  readonly schema?: z.ZodType;
  /** JSON when left out; '' for no body. */
  readonly type?: string;
  /** Headers of interest: name, meaning. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface BodyNotes {
  readonly bytesMax: number;
  /** Media types that are taken; with a schema where there is one. */
  readonly types: Readonly<Record<string, z.ZodType | undefined>>;
  readonly about: string;
}

export interface EndpointNotes {
  /** In a few words. */
  readonly summary: string;
  /**
   * `open`: everybody, also before the node serves. `subject`: who is authenticated, where that is required. `monitor`: the same,
   * and where it is not required also before the node serves.
   */
  readonly access: 'open' | 'monitor' | 'subject';
  /** A token may come as a parameter of the query: a browser's EventSource sends no headers of ours. */
  readonly tokenInQuery?: boolean;
  /** Headers of the request that matter: name, meaning. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: BodyNotes;
  readonly answers: Readonly<Record<number, AnswerNotes>>;
}

export interface Endpoint extends EndpointNotes {
  /** Judges the query; undefined: there is none. */
  readonly query: z.ZodObject | undefined;
  readonly answer: (asked: Asked<unknown>) => HttpReply | HttpStream | Promise<HttpReply | HttpStream>;
}

export interface Route {
  /** Its variable parts in braces. */
  readonly path: string;
  readonly summary: string;
  readonly methods: Readonly<Partial<Record<HttpMethod, Endpoint>>>;
}

interface EndpointSpec<Query extends z.ZodObject> extends EndpointNotes {
  readonly query: Query;
  readonly answer: (asked: Asked<z.output<Query>>) => HttpReply | HttpStream | Promise<HttpReply | HttpStream>;
}

interface PlainSpec extends EndpointNotes {
  readonly answer: (asked: Asked<unknown>) => HttpReply | HttpStream | Promise<HttpReply | HttpStream>;
}

/** An endpoint that takes no parameters; those that come are ignored. */
export function endpoint(spec: PlainSpec): Endpoint {
  return { ...spec, query: undefined };
}

/** An endpoint whose query is judged by a schema; a parameter that is not in it is refused. */
export function queried<Query extends z.ZodObject>(spec: EndpointSpec<Query>): Endpoint {
  return {
    ...spec,
    answer: (asked) => spec.answer({ ...asked, query: parsedQuery(spec.query, asked.question.queryText) }),
  };
}

/** The query as its schema has it. Throws GridError BAD_REQUEST that names the parameter. */
function parsedQuery<Query extends z.ZodObject>(schema: Query, text: string): z.output<Query> {
  const values: Record<string, string | string[]> = Object.create(null);
  const parameters = new URLSearchParams(text);
  for (const name of new Set(parameters.keys())) {
    if (name === 'token') continue; // taken by whoever looks at who asks
    const all = parameters.getAll(name);
    values[name] = all.length === 1 ? (all[0] ?? '') : all;
  }
  const parsed = schema.safeParse(values);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new GridError('BAD_REQUEST', `query: ${issue?.path.join('.') || 'parameters'}: ${issue?.message ?? 'refused'}`);
}
