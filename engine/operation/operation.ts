/**
 * An operation: one typed request, bound to a service, on its way through the interceptors.
 *
 * The set of operations is closed: a message that is not in the table below is unknown. The object that carries an
 * operation through the gateway is used again for the next frame, so that a write costs no allocation; nobody keeps it.
 */
import { PROVENANCE_CLIENT, type Provenance } from '../storage/record.ts';

/** How an operation finds its workers: by the keys in it, to every worker that holds the map, or none at all. */
export type Routing = 'keys' | 'map' | 'session';

interface OperationSpec {
  readonly service: 'crdt' | 'sync' | 'session' | 'query' | 'messaging' | 'coordination' | 'persistence';
  readonly routing: Routing;
  readonly readOnly: boolean;
}

/** Every operation that the grid executes. Messages of domains that are not built are refused before this table. */
export const OPERATIONS = {
  OP_BATCH: { service: 'crdt', routing: 'keys', readOnly: false },
  CLIENT_OP: { service: 'crdt', routing: 'keys', readOnly: false },
  SYNC_INIT: { service: 'sync', routing: 'map', readOnly: true },
  MERKLE_REQ_BUCKET: { service: 'sync', routing: 'map', readOnly: true },
  ORMAP_SYNC_INIT: { service: 'sync', routing: 'map', readOnly: true },
  ORMAP_MERKLE_REQ_BUCKET: { service: 'sync', routing: 'map', readOnly: true },
  ORMAP_DIFF_REQUEST: { service: 'sync', routing: 'map', readOnly: true },
  ORMAP_PUSH_DIFF: { service: 'sync', routing: 'map', readOnly: false },
  COUNTER_REQUEST: { service: 'coordination', routing: 'keys', readOnly: true },
  COUNTER_SYNC: { service: 'coordination', routing: 'keys', readOnly: false },
  JOURNAL_SUBSCRIBE: { service: 'persistence', routing: 'session', readOnly: true },
  JOURNAL_UNSUBSCRIBE: { service: 'persistence', routing: 'session', readOnly: true },
  JOURNAL_READ: { service: 'persistence', routing: 'map', readOnly: true },
  QUERY_SUB: { service: 'query', routing: 'map', readOnly: true },
  QUERY_UNSUB: { service: 'query', routing: 'map', readOnly: true },
  QUERY_SYNC_INIT: { service: 'query', routing: 'session', readOnly: true },
  CLIENT_APPLY_ACK: { service: 'session', routing: 'session', readOnly: true },
  PING: { service: 'session', routing: 'session', readOnly: true },
  DEVICE_HELLO: { service: 'session', routing: 'session', readOnly: true },
  TOPIC_SUB: { service: 'messaging', routing: 'session', readOnly: true },
  TOPIC_UNSUB: { service: 'messaging', routing: 'session', readOnly: true },
  TOPIC_PUB: { service: 'messaging', routing: 'session', readOnly: false },
  LOCK_REQUEST: { service: 'coordination', routing: 'session', readOnly: false },
  LOCK_RELEASE: { service: 'coordination', routing: 'session', readOnly: false },
  PARTITION_MAP_REQUEST: { service: 'coordination', routing: 'session', readOnly: true },
} as const satisfies Record<string, OperationSpec>;

export type OperationType = keyof typeof OPERATIONS;

export function isOperationType(type: string): type is OperationType {
  return Object.hasOwn(OPERATIONS, type);
}

/** Partition of an operation that is not bound to one. */
export const NO_PARTITION = -1;

/** What the caller of a handler learns at once; a RESPONSE may have been sent already. */
export type CallStatus =
  /** The answer is there (or was sent). */
  | 'RESPONSE'
  /** There is no answer to this kind of operation. */
  | 'VOID'
  /** The answer comes later, from a worker. */
  | 'WAIT'
  /** No room now: the same operation again later, in its order. */
  | 'HELD'
  /** The work went to another pool. */
  | 'OFFLOAD';

/** One operation under way in the gateway. Mutable and reused: valid during the call that it is passed to. */
export class Operation<Caller> {
  type: OperationType = 'PING';
  /** The session that asks. */
  caller: Caller;
  /** Number of the call in the gateway's call table; 0 before one is claimed. */
  callId = 0;
  /** Partition when the operation has exactly one, else NO_PARTITION. */
  partition = NO_PARTITION;
  /** 0 = the owner's copy, 1 and up = backups. */
  replicaIndex = 0;
  provenance: Provenance = PROVENANCE_CLIENT;
  /** Wall-clock ms after which an answer is useless. */
  deadlineMs = Number.POSITIVE_INFINITY;
  /** How many units of the rate limit it costs. */
  cost = 1;

  constructor(caller: Caller) {
    this.caller = caller;
  }

  get readOnly(): boolean {
    return OPERATIONS[this.type].readOnly;
  }

  get service(): string {
    return OPERATIONS[this.type].service;
  }
}
