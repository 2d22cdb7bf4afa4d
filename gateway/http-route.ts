/**
 * One way to answer HTTP: every route goes through here.
 *
 *   request ─ onAborted ─ refused? ─ handler ─┬─ reply ───────▶ status, headers, body, in one write
 *                                             ├─ throw, reject ▶ 500, or the status of a GridError
 *                                             └─ too late ─────▶ 504
 *
 * A throw in a uWS handler that has neither replied nor set onAborted ends the process, whatever listens for uncaught
 * exceptions; and a response whose client has gone throws on every use. So an Exchange sets onAborted before anything
 * else, and replies at most once, and never after the client went.
 */
import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js';
import { GridError } from '../engine/protocol/errors.ts';

export interface HttpReply {
  /** Of the statuses in STATUS_TEXTS. */
  readonly status: number;
  readonly body: string;
  readonly contentType: string;
}

/** What a handler may know of a request; uWS's own request is gone at the first await. */
export interface HttpQuestion {
  readonly method: string;
  readonly path: string;
}

export type HttpHandler = (question: HttpQuestion) => HttpReply | Promise<HttpReply>;

export interface HttpRouteOptions {
  /** Why a request is refused, as an HTTP status line, or undefined. */
  readonly refuses: (origin: string, host: string) => string | undefined;
  /** Told of what a handler threw, unless it is a GridError, which the client may read. Must not throw. */
  readonly onFailure: (error: unknown, path: string) => void;
  /** A handler that has not answered by then is answered for. */
  readonly deadlineMs: number;
}

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: '200 OK',
  400: '400 Bad Request',
  401: '401 Unauthorized',
  403: '403 Forbidden',
  404: '404 Not Found',
  410: '410 Gone',
  413: '413 Payload Too Large',
  421: '421 Misdirected Request',
  429: '429 Too Many Requests',
  500: '500 Internal Server Error',
  501: '501 Not Implemented',
  503: '503 Service Unavailable',
  504: '504 Gateway Timeout',
  507: '507 Insufficient Storage',
};

export function jsonReply(status: number, document: unknown): HttpReply {
  return { status, body: JSON.stringify(document), contentType: 'application/json; charset=utf-8' };
}

export function textReply(status: number, body: string): HttpReply {
  return { status, body, contentType: 'text/plain; charset=utf-8' };
}

/** In the manner of the protocol: the code is the status. */
export function errorReply(status: number, message: string): HttpReply {
  return jsonReply(status, { code: status, message });
}

/** Adds a route for GET and HEAD. `pattern` is uWS's. */
export function addRoute(app: TemplatedApp, pattern: string, handler: HttpHandler, options: HttpRouteOptions): void {
  const handle = answering(handler, options);
  app.get(pattern, handle);
  app.head(pattern, handle);
}

/** Answers what no other route takes, whatever its method. */
export function addFallback(app: TemplatedApp, handler: HttpHandler, options: HttpRouteOptions): void {
  app.any('/*', answering(handler, options));
}

function answering(handler: HttpHandler, options: HttpRouteOptions): (response: HttpResponse, request: HttpRequest) => void {
  return (response, request) => {
    const exchange = new Exchange(response, request);
    try {
      const refusal = options.refuses(request.getHeader('origin'), request.getHeader('host'));
      if (refusal !== undefined) return exchange.refuse(refusal);
      const reply = handler(exchange.question);
      if (reply instanceof Promise) exchange.replyLater(reply, options);
      else exchange.reply(reply);
    } catch (error) {
      exchange.fail(error, options);
    }
  };
}

/** One request and its answer. */
class Exchange {
  readonly question: HttpQuestion;
  readonly #response: HttpResponse;
  /** Answered, or the client has gone. */
  #over = false;

  constructor(response: HttpResponse, request: HttpRequest) {
    response.onAborted(() => {
      this.#over = true;
    });
    this.#response = response;
    this.question = { method: request.getMethod(), path: request.getUrl() };
  }

  reply(reply: HttpReply): void {
    this.#write(STATUS_TEXTS[reply.status] ?? String(reply.status), reply);
  }

  /** `statusLine` is such as `403 Forbidden`. */
  refuse(statusLine: string): void {
    const status = Number.parseInt(statusLine, 10);
    this.#write(statusLine, errorReply(status, `refused: ${statusLine.slice(4)}`));
  }

  replyLater(reply: Promise<HttpReply>, options: HttpRouteOptions): void {
    const tooLate = setTimeout(() => this.reply(errorReply(504, 'no answer within the deadline')), options.deadlineMs);
    tooLate.unref();
    reply
      .then((settled) => this.reply(settled))
      .catch((error: unknown) => this.fail(error, options))
      .finally(() => clearTimeout(tooLate));
  }

  fail(error: unknown, options: HttpRouteOptions): void {
    if (error instanceof GridError) {
      this.reply(errorReply(error.status, error.message));
    } else {
      options.onFailure(error, this.question.path);
      this.reply(errorReply(500, 'internal error'));
    }
  }

  #write(statusLine: string, { body, contentType }: HttpReply): void {
    if (this.#over) return;
    this.#over = true;
    this.#response.cork(() => {
      this.#response.writeStatus(statusLine);
      this.#response.writeHeader('Content-Type', contentType);
      this.#response.writeHeader('Cache-Control', 'no-store');
      this.#response.writeHeader('X-Content-Type-Options', 'nosniff');
      if (this.question.method === 'head') this.#response.endWithoutBody(Buffer.byteLength(body));
      else this.#response.end(body);
    });
  }
}
