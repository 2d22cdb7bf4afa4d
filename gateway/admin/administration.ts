/**
 * What every administrative endpoint has in common: who may ask, how often, and that changes are written down.
 *
 *   request ─ subject has role `admin`? ─ rate ─ body by its schema ─▶ read
 *                                              └─ audit: begun ─ change ─ audit: how it ended ─▶ answer
 *
 * The power to administer is not the power over data: a role in a token gives this one, and passes no policy on records.
 * Without authentication, where only loopback is served, everybody who gets in administers.
 */
import type { z } from 'zod';
import { GridError } from '../../engine/protocol/errors.ts';
import type { HttpReply } from '../http/http-reply.ts';
import type { RequestRate } from '../http/request-rate.ts';
import { type Asked, type BodyNotes, type Endpoint, endpoint, type EndpointNotes, queried } from '../http/route.ts';
import type { NodeDesk } from '../node-desk.ts';

export const ADMIN_ROLE = 'admin';
/** Requests of one address: sustained, and at once after a pause. */
export const ADMIN_REQUESTS_PER_SECOND = 100;
export const ADMIN_BURST = 50;
const BODY_BYTES_MAX = 512 * 1024;
/** Of those who ask without authentication. */
const ANONYMOUS = 'anonymous';

export interface AdministrationOptions {
  readonly authRequired: boolean;
  readonly rate: RequestRate;
  /** Writes down changes. Asked once the node serves. */
  readonly node: () => NodeDesk;
  /** A clock that only counts, ms. */
  readonly steadyMs: () => number;
}

/** A request that an administrator may have answered. */
export interface AdminAsked<Query = unknown> extends Asked<Query> {
  /** For the audit. */
  readonly administrator: string;
}

interface ReadSpec extends Omit<EndpointNotes, 'access'> {
  readonly answer: (asked: AdminAsked) => HttpReply | Promise<HttpReply>;
}

interface QueriedSpec<Query extends z.ZodObject> extends Omit<EndpointNotes, 'access'> {
  readonly query: Query;
  readonly answer: (asked: AdminAsked<z.output<Query>>) => HttpReply | Promise<HttpReply>;
}

interface ChangeSpec<Body extends z.ZodType> extends Omit<EndpointNotes, 'access' | 'body'> {
  /** What is done, for the audit: `PUT schema`. */
  readonly action: string;
  readonly body?: Body;
  /** What is changed, for the audit. */
  readonly target: (asked: AdminAsked, body: z.output<Body> | undefined) => string;
  readonly answer: (asked: AdminAsked, body: z.output<Body>) => HttpReply | Promise<HttpReply>;
}

const REFUSALS = { 401: { about: 'no good token' }, 403: { about: 'the token lacks the role admin' } } as const;

export class Administration {
  readonly #options: AdministrationOptions;

  constructor(options: AdministrationOptions) {
    this.#options = options;
  }

  /** An endpoint that only reads. */
  reads(spec: ReadSpec): Endpoint {
    const answers = { ...spec.answers, ...REFUSALS };
    return endpoint({ ...spec, answers, access: 'subject', answer: (asked) => spec.answer(this.#admitted(asked)) });
  }

  /** An endpoint that only reads, with parameters. */
  queries<Query extends z.ZodObject>(spec: QueriedSpec<Query>): Endpoint {
    const answers = { ...spec.answers, ...REFUSALS };
    return queried({ ...spec, answers, access: 'subject', answer: (asked) => spec.answer(this.#admitted(asked)) });
  }

  /** An endpoint that changes something about the node: written down before and after. */
  changes<Body extends z.ZodType>(spec: ChangeSpec<Body>): Endpoint {
    const { summary, headers } = spec;
    return endpoint({
      summary,
      access: 'subject',
      ...(headers === undefined ? {} : { headers }),
      ...(spec.body === undefined ? {} : { body: bodyNotes(spec.body) }),
      answers: { ...spec.answers, ...REFUSALS },
      answer: (asked) => this.#change(spec, this.#admitted(asked)),
    });
  }

  async #change<Body extends z.ZodType>(spec: ChangeSpec<Body>, asked: AdminAsked): Promise<HttpReply> {
    const body = spec.body === undefined ? undefined : parsedBody(spec.body, asked.body);
    const entry = {
      subject: asked.administrator,
      address: asked.question.address(),
      action: spec.action,
      target: spec.target(asked, body),
    };
    const node = this.#options.node();
    const audit = await node.auditBegin(entry);
    try {
      const reply = await spec.answer(asked, body as z.output<Body>); // undefined exactly where the spec takes no body
      await node.auditEnd(audit, 'done');
      return reply;
    } catch (error) {
      await node.auditEnd(audit, error instanceof GridError ? error.code : 'INTERNAL');
      throw error;
    }
  }

  #admitted<Query>(asked: Asked<Query>): AdminAsked<Query> {
    const { authRequired, rate, steadyMs } = this.#options;
    if (!rate.admit(asked.question.address(), 1, steadyMs())) {
      throw new GridError('RATE_LIMITED', `more than ${ADMIN_REQUESTS_PER_SECOND} administrative requests a second`);
    }
    const { principal } = asked.subject;
    if (!authRequired) return { ...asked, administrator: ANONYMOUS };
    if (principal === undefined) throw new GridError('UNAUTHENTICATED', 'authentication required');
    if (!principal.roles.includes(ADMIN_ROLE)) throw new GridError('FORBIDDEN', `the token lacks the role ${ADMIN_ROLE}`);
    return { ...asked, administrator: principal.id };
  }
}

function bodyNotes(schema: z.ZodType): BodyNotes {
  return { bytesMax: BODY_BYTES_MAX, types: { 'application/json': schema }, about: 'JSON' };
}

/** The body as its schema has it. Throws GridError BAD_REQUEST that names the field. */
export function parsedBody<Body extends z.ZodType>(schema: Body, bytes: Uint8Array): z.output<Body> {
  const parsed = schema.safeParse(jsonOf(bytes));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue === undefined || issue.path.length === 0 ? 'the body' : `field '${issue.path.map(String).join('.')}'`;
  throw new GridError('BAD_REQUEST', `${field}: ${issue?.message ?? 'refused'}`);
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new GridError('BAD_REQUEST', 'the body is no JSON', { cause: error });
  }
}
