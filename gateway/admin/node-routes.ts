/**
 * How the node is, for its administrators: maps, sessions, partitions, workers, the audit. Counts and names, no data.
 */
import { z } from 'zod';
import { addMapStats } from '../../engine/domains/admin/map-stats-handler.ts';
import { encode } from '../../engine/protocol/codec.ts';
import { REQUEST_MAP_STATS } from '../../engine/protocol/envelope.ts';
import { PARTITION_COUNT } from '../../engine/partition/hash.ts';
import type { GridMemory } from '../../workers/grid-memory.ts';
import { jsonReply } from '../http/http-reply.ts';
import type { HttpDoor } from '../http/http-door.ts';
import type { Endpoint, Route } from '../http/route.ts';
import { NodeView } from '../node-view.ts';
import type { Administration } from './administration.ts';

const MAPS = z.object({
  maps: z.array(
    z.object({
      name: z.string(),
      entryCount: z.int().describe('Live keys of last-writer-wins maps and live tags of observed-remove maps'),
      entries: z.int(),
      tags: z.int(),
      tombstones: z.int(),
      bytes: z.int().describe('Memory of the records'),
      evicted: z.int().describe('Records whose value only Postgres has'),
      schema: z.string().optional().describe('Mode of its schema, where it has one'),
    }),
  ),
});
const SESSIONS = z.object({
  sessions: z.array(
    z.object({
      gateway: z.int(),
      id: z.int(),
      subject: z.string().nullable(),
      state: z.string(),
      openedMsAgo: z.number(),
      seenMsAgo: z.number(),
      clockSkewMs: z.number().nullable().describe('Its clock minus the server’s at its last PING, way included'),
      unreadBytes: z.int(),
      heldBytes: z.int(),
      openCalls: z.int(),
    }),
  ),
});
const PARTITIONS = z.object({
  partitions: z.array(z.object({ id: z.int(), worker: z.int(), state: z.string(), epoch: z.int() })),
});
const WORKERS = z.object({
  workers: z.array(z.object({ id: z.int(), state: z.string(), partitions: z.int(), counters: z.record(z.string(), z.number()) })),
});
const SLOW = z.object({
  slowOperations: z.array(z.object({ gateway: z.int(), type: z.string(), tookMs: z.number(), msAgo: z.number() })),
});
const CLUSTER = z.object({
  mode: z.literal('standalone'),
  nodes: z.array(
    z.object({
      nodeId: z.string(),
      state: z.string(),
      gateways: z.int(),
      workers: z.int(),
      workersReady: z.int(),
      partitions: z.int(),
      connections: z.int(),
    }),
  ),
});
const AUDIT = z.object({
  entries: z.array(
    z.object({
      id: z.int(),
      at: z.string(),
      subject: z.string(),
      address: z.string(),
      action: z.string(),
      target: z.string(),
      outcome: z.string().describe('begun, done, or the code of the error'),
    }),
  ),
});
const AUDIT_QUERY = z.strictObject({
  limit: z.coerce.number().int().min(1).max(500).default(100).describe('Entries'),
  before: z.coerce.number().int().min(1).optional().describe('Only entries with a lower id: the next page'),
});

export interface NodeRoutesOptions {
  readonly administration: Administration;
  readonly door: () => HttpDoor;
  readonly memory: GridMemory;
  /** The configuration by name, secrets left out. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export function nodeRoutes({ administration, door, memory, settings }: NodeRoutesOptions): Route[] {
  const view = new NodeView(memory);
  const reads = (path: string, endpoint: Endpoint): Route => ({ path, summary: endpoint.summary, methods: { get: endpoint } });
  return [
    reads('/api/admin/maps', mapsEndpoint(administration, door)),
    reads(
      '/api/admin/sessions',
      administration.reads({
        summary: 'Sessions of all gateways: subject, clock skew, bytes that wait',
        answers: { 200: { about: 'the sessions, 10 000 of a gateway at most', schema: SESSIONS } },
        answer: async () => jsonReply(200, { sessions: (await door().node.gateways()).flatMap(({ sessions }) => sessions) }),
      }),
    ),
    reads(
      '/api/admin/partitions',
      administration.reads({
        summary: 'Which worker owns which partition',
        answers: { 200: { about: 'all partitions', schema: PARTITIONS } },
        answer: () => jsonReply(200, { partitions: partitionsOf(view) }),
      }),
    ),
    reads(
      '/api/admin/workers',
      administration.reads({
        summary: 'Workers, with all that they count',
        answers: { 200: { about: 'the workers', schema: WORKERS } },
        answer: () => jsonReply(200, { workers: workersOf(view) }),
      }),
    ),
    reads(
      '/api/admin/slow-operations',
      administration.reads({
        summary: 'The last operations that took longer than slowOperationMs',
        answers: { 200: { about: 'what took long, 128 of a gateway at most; none while slowOperationMs is 0', schema: SLOW } },
        answer: async () => {
          const gateways = await door().node.gateways();
          const slowOperations = gateways.flatMap((facts, gateway) => facts.slowOperations.map((one) => ({ gateway, ...one })));
          return jsonReply(200, { slowOperations: slowOperations.sort((left, right) => left.msAgo - right.msAgo) });
        },
      }),
    ),
    reads(
      '/api/admin/settings',
      administration.reads({
        summary: 'The configuration that is in force',
        answers: { 200: { about: 'options by name; a secret is "(set)" or null', schema: z.record(z.string(), z.unknown()) } },
        answer: () => jsonReply(200, settings),
      }),
    ),
    reads(
      '/api/admin/cluster/status',
      administration.reads({
        summary: 'The nodes of the grid: this one',
        answers: { 200: { about: 'the nodes', schema: CLUSTER } },
        answer: () => jsonReply(200, { mode: 'standalone', nodes: [nodeOf(view, door().nodeId)] }),
      }),
    ),
    reads(
      '/api/admin/audit',
      administration.queries({
        summary: 'Who changed what about the node',
        query: AUDIT_QUERY,
        answers: { 200: { about: 'entries, newest first; none with store = none', schema: AUDIT } },
        answer: async ({ query }) => {
          const entries = await door().node.auditRead(query.limit, query.before);
          return jsonReply(200, {
            entries: entries.map(({ atMs, ...entry }) => ({ ...entry, at: new Date(atMs).toISOString() })),
          });
        },
      }),
    ),
  ];
}

function mapsEndpoint(administration: Administration, door: () => HttpDoor): Endpoint {
  return administration.reads({
    summary: 'Maps with their entries and bytes',
    answers: { 200: { about: 'the maps', schema: MAPS } },
    answer: async () => {
      const { calls, definitions } = door();
      const answers = await calls.request(REQUEST_MAP_STATS, calls.everyone, () => encode({}).slice());
      const maps = [...addMapStats(answers.flat())].map(([name, stats]) => ({
        name,
        entryCount: stats.entries + stats.tags,
        ...stats,
        ...modeOf(definitions.newest('schema', name)?.body),
      }));
      maps.sort((left, right) => (left.name < right.name ? -1 : 1));
      return jsonReply(200, { maps });
    },
  });
}

function modeOf(body: string | undefined): { readonly schema?: string } {
  if (body === undefined) return {};
  const stored: unknown = JSON.parse(body);
  const mode = typeof stored === 'object' && stored !== null && 'mode' in stored ? stored.mode : undefined;
  return typeof mode === 'string' ? { schema: mode } : {};
}

function nodeOf(view: NodeView, nodeId: string): object {
  const { state, gateways, workers } = view;
  return {
    nodeId,
    state: state.lifecycle,
    gateways: gateways.length,
    workers: workers.length,
    workersReady: workers.filter((_, worker) => state.isWorkerReady(worker)).length,
    partitions: PARTITION_COUNT,
    connections: view.gatewayTotal('connections'),
  };
}

function partitionsOf({ table }: NodeView): object[] {
  return Array.from({ length: PARTITION_COUNT }, (_, id) => ({
    id,
    worker: table.ownerOf(id),
    state: table.stateOf(id),
    epoch: table.epochOf(id),
  }));
}

function workersOf({ table, state, workers }: NodeView): object[] {
  return workers.map((row, id) => ({
    id,
    state: state.workerState(id),
    partitions: table.partitionsOf(id).length,
    counters: row.toObject(),
  }));
}
