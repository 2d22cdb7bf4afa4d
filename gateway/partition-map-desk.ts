/**
 * The partition map of this node: it owns every partition, and its clients' own address leads to it.
 *
 * A cluster client drops a connection whose endpoint is not textually the address that it dialled (docs/PROTOCOL.md §10). So the endpoint
 * is made of what the client sent when it connected: Host, path and query, and whether it came by TLS, also to a proxy. Where it sent no
 * Host, of the port that the node listens on.
 */
import type { CallStatus } from '../engine/operation/operation.ts';
import { PARTITION_COUNT } from '../engine/partition/hash.ts';
import { encode } from '../engine/protocol/codec.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import type { Dialled } from './connection.ts';
import type { Desk, DeskContext } from './desk.ts';
import type { Session } from './session.ts';

const WRITTEN_MS_MAX = 1000;
const HOST = /^[A-Za-z0-9._~:[\]-]{1,255}$/;

export interface PartitionMapFacts {
  /** The port that the node listens on. */
  readonly port: () => number;
  /** When the node started, wall-clock ms: maps of a later start are newer. */
  readonly startedMs: () => number;
}

export class PartitionMapDesk implements Desk {
  readonly types = ['PARTITION_MAP_REQUEST'] as const;
  readonly #context: DeskContext;
  readonly #facts: PartitionMapFacts;
  /** The last one, which is told again for a moment: it takes long to write. */
  #written = { frame: new Uint8Array(0), address: '', atMs: Number.NEGATIVE_INFINITY };

  constructor(context: DeskContext, facts: PartitionMapFacts) {
    this.#context = context;
    this.#facts = facts;
  }

  ask(session: Session, _message: ClientMessage): CallStatus {
    const { clock, enqueue } = this.#context;
    const endpoints = this.#endpoints(session.connection.dialled);
    const address = `${endpoints.websocket} ${endpoints.http}`;
    if (address !== this.#written.address || Math.abs(clock.wallMs - this.#written.atMs) > WRITTEN_MS_MAX) {
      const frame = encode({ type: 'PARTITION_MAP', payload: this.#map(endpoints) }).slice();
      this.#written = { frame, address, atMs: clock.wallMs };
    }
    enqueue(session, this.#written.frame);
    return 'RESPONSE';
  }

  #endpoints(dialled: Dialled | undefined): { readonly websocket: string; readonly http: string } {
    const { host, path, isSecure } = dialled ?? { host: '', path: '/', isSecure: false };
    const address = HOST.test(host) ? host : `127.0.0.1:${this.#facts.port()}`;
    const tls = isSecure ? 's' : '';
    return { websocket: `ws${tls}://${address}${path === '/' ? '' : path}`, http: `http${tls}://${address}` };
  }

  /** Always answered, whatever version the client has: without an answer it waits 5 s. It takes only what is newer. */
  #map(endpoints: object): object {
    const { nodeId, clock } = this.#context;
    const partitions = Array.from({ length: PARTITION_COUNT }, (_, partitionId) => ({
      partitionId,
      ownerNodeId: nodeId,
      backupNodeIds: [],
    }));
    return {
      version: Math.max(1, Math.floor(this.#facts.startedMs() / 1000)),
      partitionCount: PARTITION_COUNT,
      nodes: [{ nodeId, endpoints, status: 'ACTIVE' }],
      partitions,
      generatedAt: clock.wallMs,
    };
  }
}
