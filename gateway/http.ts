/**
 * The HTTP side of a gateway: health, metrics and status, on the port of the WebSocket (protocol reference §1.4).
 *
 * It answers from the moment the port is bound, so that whoever starts the node can see it loading. Every gateway
 * answers for the whole node, since all threads count in shared memory.
 */
import type { TemplatedApp } from 'uWebSockets.js';
import type { GridMemory } from '../workers/grid-memory.ts';
import { healthDocument, judge } from './health.ts';
import {
  addFallback,
  addRoute,
  errorReply,
  type HttpHandler,
  jsonReply,
  type HttpRouteOptions,
  textReply,
} from './http-route.ts';
import { readFacts } from './node-facts.ts';
import { NodeView } from './node-view.ts';
import { METRICS_CONTENT_TYPE, Observability } from './observability.ts';

export interface HttpOptions {
  readonly memory: GridMemory;
  /** Of the program. */
  readonly version: string;
  readonly authRequired: boolean;
  /** How long a handler may take, ms. */
  readonly requestTimeoutMs: number;
  /** Why a request is refused, as an HTTP status line, or undefined. */
  readonly refuses: (origin: string, host: string) => string | undefined;
  /** Told of errors in a handler, for the log. */
  readonly onFailure?: (error: unknown, path: string) => void;
  /** Wall clock, in ms. */
  readonly nowMs?: () => number;
}

/** Adds the HTTP routes to an app. Call it after `serveWebSocket`: both answer at `/`. */
export function serveHttp(app: TemplatedApp, options: HttpOptions): void {
  const routing: HttpRouteOptions = {
    refuses: options.refuses,
    onFailure: options.onFailure ?? (() => {}),
    deadlineMs: options.requestTimeoutMs,
  };
  for (const [pattern, handler] of Object.entries(routes(options))) addRoute(app, pattern, handler, routing);
  addFallback(app, ({ method, path }) => errorReply(404, `no such endpoint: ${method.toUpperCase()} ${path}`), routing);
}

function routes(options: HttpOptions): Record<string, HttpHandler> {
  const { memory, version, authRequired, nowMs = Date.now } = options;
  const view = new NodeView(memory);
  const metrics = new Observability({ memory, version, nowMs });
  const readiness: HttpHandler = () => textReply(judge(readFacts(view, nowMs())).ready ? 200 : 503, '');
  return {
    '/': () => textReply(200, `Lattice ${version}: this is a WebSocket endpoint. GET /health tells how the server is.\n`),
    '/health': () => {
      const facts = readFacts(view, nowMs());
      return jsonReply(200, healthDocument(facts, judge(facts), version));
    },
    '/health/live': () => textReply(200, ''),
    '/health/ready': readiness,
    '/healthz': readiness,
    '/metrics': async () => ({ status: 200, body: await metrics.render(), contentType: METRICS_CONTENT_TYPE }),
    '/api/status': () => jsonReply(200, statusDocument(view, version, nowMs())),
    '/api/auth/status': () => jsonReply(200, { authRequired }),
  };
}

function statusDocument(view: NodeView, version: string, nowMs: number): object {
  return {
    configured: true,
    version,
    mode: 'normal',
    connections: view.gatewayTotal('connections'),
    uptimeSeconds: Math.floor(view.uptimeMs(nowMs) / 1000),
    totalOperations: view.gatewayTotal('ops'),
  };
}
