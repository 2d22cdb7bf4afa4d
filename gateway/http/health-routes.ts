/**
 * How the node is: health, metrics and status (docs/PROTOCOL.md §1.4). Every gateway answers for the whole node, since all
 * threads count in shared memory.
 */
import { z } from 'zod';
import type { GridMemory } from '../../workers/grid-memory.ts';
import { healthDocument, judge } from '../health.ts';
import { readFacts } from '../node-facts.ts';
import { NodeView } from '../node-view.ts';
import { METRICS_CONTENT_TYPE, Observability } from '../observability.ts';
import { jsonReply, textReply } from './http-reply.ts';
import { type Endpoint, endpoint, type Route } from './route.ts';

export interface HealthRouteOptions {
  readonly memory: GridMemory;
  /** Of the program. */
  readonly version: string;
  readonly authRequired: boolean;
  /** Wall clock, in ms. */
  readonly nowMs: () => number;
}

const HEALTH = z.looseObject({
  state: z.enum(['starting', 'ready', 'draining', 'stopped']),
  connections: z.int(),
  in_flight: z.int(),
  uptime_secs: z.int(),
  ready: z.boolean(),
  writable: z.boolean(),
  degraded: z.array(z.string()),
});
const STATUS = z.object({
  configured: z.literal(true),
  version: z.string(),
  mode: z.literal('normal'),
  connections: z.int(),
  uptimeSeconds: z.int(),
  totalOperations: z.int(),
});
const EMPTY = { type: '' };

export function healthRoutes(options: HealthRouteOptions): Route[] {
  const { memory, version, authRequired, nowMs } = options;
  const view = new NodeView(memory);
  const metrics = new Observability({ memory, version, nowMs });
  const readiness: Endpoint = endpoint({
    summary: 'May clients be sent here?',
    access: 'open',
    answers: { 200: { about: 'yes', ...EMPTY }, 503: { about: 'no, or not yet', ...EMPTY } },
    answer: () => textReply(judge(readFacts(view, nowMs())).ready ? 200 : 503, ''),
  });
  return [
    {
      path: '/',
      summary: 'WebSocket',
      methods: {
        get: endpoint({
          summary: 'What this port is for; with an upgrade, the WebSocket of clients',
          access: 'open',
          answers: { 200: { about: 'a line of text', type: 'text/plain' } },
          answer: () =>
            textReply(200, `Lattice ${version}: this is a WebSocket endpoint. GET /health tells how the server is.\n`),
        }),
      },
    },
    {
      path: '/health',
      summary: 'Health',
      methods: {
        get: endpoint({
          summary: 'How the node is',
          access: 'open',
          answers: { 200: { about: 'always, whatever it says', schema: HEALTH } },
          answer: () => {
            const facts = readFacts(view, nowMs());
            return jsonReply(200, healthDocument(facts, judge(facts), version));
          },
        }),
      },
    },
    {
      path: '/health/live',
      summary: 'Liveness',
      methods: {
        get: endpoint({
          summary: 'Is the process there?',
          access: 'open',
          answers: { 200: { about: 'yes', ...EMPTY } },
          answer: () => textReply(200, ''),
        }),
      },
    },
    { path: '/health/ready', summary: 'Readiness', methods: { get: readiness } },
    { path: '/healthz', summary: 'Readiness, by its other name', methods: { get: readiness } },
    {
      path: '/metrics',
      summary: 'Metrics',
      methods: {
        get: endpoint({
          summary: 'Counters and gauges of the node, for Prometheus',
          access: 'monitor',
          answers: { 200: { about: 'the text format 0.0.4', type: 'text/plain' } },
          answer: async () => ({ status: 200, body: await metrics.render(), contentType: METRICS_CONTENT_TYPE }),
        }),
      },
    },
    {
      path: '/api/status',
      summary: 'Status',
      methods: {
        get: endpoint({
          summary: 'A few numbers of the node',
          access: 'subject',
          answers: { 200: { about: 'the numbers', schema: STATUS } },
          answer: () => jsonReply(200, statusDocument(view, version, nowMs())),
        }),
      },
    },
    {
      path: '/api/auth/status',
      summary: 'Authentication',
      methods: {
        get: endpoint({
          summary: 'Must clients authenticate?',
          access: 'open',
          answers: { 200: { about: 'whether they must', schema: z.object({ authRequired: z.boolean() }) } },
          answer: () => jsonReply(200, { authRequired }),
        }),
      },
    },
  ];
}

function statusDocument(view: NodeView, version: string, nowMs: number): z.output<typeof STATUS> {
  return {
    configured: true,
    version,
    mode: 'normal',
    connections: view.gatewayTotal('connections'),
    uptimeSeconds: Math.floor(view.uptimeMs(nowMs) / 1000),
    totalOperations: view.gatewayTotal('ops'),
  };
}
