/**
 * The HTTP side of a gateway, on the port of the WebSocket: every request goes the same way, whatever its route.
 *
 *   origin ─ CORS ─ OPTIONS? ─ method ─ who asks ─ rate ─ body ─ endpoint ─▶ answer
 *
 * It answers from the moment the port is bound, so that whoever starts the node can see it loading.
 */
import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { FULL_ACCESS } from '../../engine/domains/security/access.ts';
import { corsHeaders, type CorsOptions, preflightHeaders } from './cors.ts';
import { Exchange, type ExchangeOptions, type HttpQuestion } from './exchange.ts';
import { emptyReply, errorReply, type HttpReply, type HttpStream } from './http-reply.ts';
import { type Endpoint, HTTP_METHODS, type HttpMethod, type Route, type Subject } from './route.ts';
import type { Subjects } from './subjects.ts';

export interface HttpOptions extends ExchangeOptions {
  readonly routes: readonly Route[];
  readonly subjects: Subjects;
  readonly cors: CorsOptions;
  /** Why a request is refused, as an HTTP status line, or undefined. */
  readonly refuses: (origin: string, host: string) => string | undefined;
}

const NOBODY: Subject = { principal: undefined, access: FULL_ACCESS, charge: () => {} };
const NO_BODY = new Uint8Array(0);

/** Adds the routes to an app. Call it after `serveWebSocket`: both answer at `/`. */
export function serveHttp(app: TemplatedApp, options: HttpOptions): void {
  for (const route of options.routes) {
    const pattern = route.path.replaceAll(/\{(\w+)\}/g, ':$1');
    const parameters = route.path.split('{').length - 1;
    app.any(pattern, (response, request) => serve(response, request, route, parameters, options));
  }
  app.any('/*', (response, request) => serve(response, request, undefined, 0, options));
}

function serve(
  response: HttpResponse,
  request: HttpRequest,
  route: Route | undefined,
  parameters: number,
  options: HttpOptions,
): void {
  const exchange = new Exchange(response, request, parameters, options);
  try {
    const { header } = exchange.question;
    const refusal = options.refuses(header('origin'), header('host'));
    if (refusal !== undefined) return exchange.refuse(refusal);
    for (const [name, value] of corsHeaders(header('origin'), options.cors)) exchange.addHeader(name, value);
    const answer = route === undefined ? noSuchEndpoint(exchange.question) : answerOf(exchange, route, options);
    if (answer instanceof Promise) exchange.replyLater(answer);
    else exchange.reply(answer);
  } catch (error) {
    exchange.fail(error);
  }
}

type Answer = HttpReply | HttpStream;

function answerOf(exchange: Exchange, route: Route, options: HttpOptions): Answer | Promise<Answer> {
  const { question } = exchange;
  if (question.method === 'options') return emptyReply(204, preflightHeaders(allowOf(route)));
  const endpoint = endpointOf(route, question.method);
  if (endpoint === undefined) {
    exchange.addHeader('Allow', allowOf(route));
    return errorReply('METHOD_NOT_ALLOWED', `${question.method.toUpperCase()} is not for ${route.path}: ${allowOf(route)}`);
  }
  const subject = isForAll(endpoint, options) ? NOBODY : options.subjects.of(question, endpoint);
  const isPending = subject instanceof Promise;
  if (endpoint.body === undefined && !isPending) return endpoint.answer({ question, query: undefined, subject, body: NO_BODY });
  const body = endpoint.body && exchange.body(endpoint.body.bytesMax, isPending ? subject : undefined);
  return answerLater(endpoint, question, subject, body);
}

function isForAll({ access }: Endpoint, { cors }: HttpOptions): boolean {
  return access === 'open' || (access === 'monitor' && !cors.authRequired);
}

async function answerLater(
  endpoint: Endpoint,
  question: HttpQuestion,
  subject: Subject | Promise<Subject>,
  body: Promise<Uint8Array> | undefined,
): Promise<Answer> {
  body?.catch(() => {}); // is awaited below, but who asks may be refused first
  const asker = await subject;
  return endpoint.answer({ question, query: undefined, subject: asker, body: (await body) ?? NO_BODY });
}

function endpointOf(route: Route, method: string): Endpoint | undefined {
  const known = HTTP_METHODS.find((one) => one === (method === 'head' ? 'get' : method));
  return known === undefined ? undefined : route.methods[known];
}

/** Every method of a route, as the header Allow lists them. */
function allowOf(route: Route): string {
  const methods: string[] = HTTP_METHODS.filter((method: HttpMethod) => route.methods[method] !== undefined);
  if (methods.includes('get')) methods.push('head');
  return [...methods, 'options'].map((method) => method.toUpperCase()).join(', ');
}

function noSuchEndpoint({ method, path }: HttpQuestion): HttpReply {
  return errorReply('NOT_FOUND', `no such endpoint: ${method.toUpperCase()} ${path}`);
}
