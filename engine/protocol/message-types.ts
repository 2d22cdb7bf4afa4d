/**
 * Every type of message of the protocol by domain, and which way it goes.
 *
 * Source: the schema of the TopGun client; those that Lattice speaks are in docs/PROTOCOL.md §13.
 */

/** Client to server, server to client, between nodes (never on a client's connection), either way. */
export type Direction = 'in' | 'out' | 'node' | 'both';

export const MESSAGE_TYPES = {
  base: {
    AUTH: 'in',
    AUTH_REQUIRED: 'out',
    AUTH_ACK: 'out',
    AUTH_FAIL: 'out',
    DEVICE_HELLO: 'in',
    DEVICE_ACK: 'out',
    ERROR: 'out',
    PING: 'in',
    PONG: 'out',
  },
  writes: { OP_BATCH: 'in', CLIENT_OP: 'in', OP_ACK: 'out', OP_REJECTED: 'out', BATCH: 'both' },
  sync: {
    SYNC_INIT: 'in',
    SYNC_RESP_ROOT: 'out',
    SYNC_RESP_BUCKETS: 'out',
    SYNC_RESP_LEAF: 'out',
    MERKLE_REQ_BUCKET: 'in',
    SYNC_RESET_REQUIRED: 'out',
    ORMAP_SYNC_INIT: 'in',
    ORMAP_SYNC_RESP_ROOT: 'out',
    ORMAP_SYNC_RESP_BUCKETS: 'out',
    ORMAP_SYNC_RESP_LEAF: 'out',
    ORMAP_MERKLE_REQ_BUCKET: 'in',
    ORMAP_DIFF_REQUEST: 'in',
    ORMAP_DIFF_RESPONSE: 'out',
    ORMAP_PUSH_DIFF: 'in',
    CLIENT_APPLY_ACK: 'in',
  },
  events: { SERVER_EVENT: 'out', SERVER_BATCH_EVENT: 'out', GC_PRUNE: 'out' },
  query: {
    QUERY_SUB: 'in',
    QUERY_UNSUB: 'in',
    QUERY_RESP: 'out',
    QUERY_UPDATE: 'out',
    QUERY_SYNC_INIT: 'in',
    SQL_QUERY: 'in',
    SQL_QUERY_RESP: 'out',
    HYBRID_QUERY_SUBSCRIBE: 'in',
    HYBRID_QUERY_UNSUBSCRIBE: 'in',
  },
  search: {
    SEARCH: 'in',
    SEARCH_RESP: 'out',
    SEARCH_SUB: 'in',
    SEARCH_UPDATE: 'out',
    SEARCH_UNSUB: 'in',
    HYBRID_SEARCH: 'in',
    HYBRID_SEARCH_RESP: 'out',
    HYBRID_SEARCH_SUB: 'in',
    HYBRID_SEARCH_UPDATE: 'out',
    HYBRID_SEARCH_UNSUB: 'in',
    VECTOR_SEARCH: 'in',
    VECTOR_SEARCH_RESP: 'out',
  },
  messaging: { TOPIC_SUB: 'in', TOPIC_UNSUB: 'in', TOPIC_PUB: 'in', TOPIC_MESSAGE: 'out' },
  coordination: {
    LOCK_REQUEST: 'in',
    LOCK_RELEASE: 'in',
    LOCK_GRANTED: 'out',
    LOCK_RELEASED: 'out',
    COUNTER_REQUEST: 'in',
    COUNTER_SYNC: 'in',
    COUNTER_RESPONSE: 'out',
    COUNTER_UPDATE: 'out',
  },
  processing: {
    ENTRY_PROCESS: 'in',
    ENTRY_PROCESS_BATCH: 'in',
    ENTRY_PROCESS_RESPONSE: 'out',
    ENTRY_PROCESS_BATCH_RESPONSE: 'out',
    REGISTER_RESOLVER: 'in',
    UNREGISTER_RESOLVER: 'in',
    LIST_RESOLVERS: 'in',
    REGISTER_RESOLVER_RESPONSE: 'out',
    UNREGISTER_RESOLVER_RESPONSE: 'out',
    LIST_RESOLVERS_RESPONSE: 'out',
    MERGE_REJECTED: 'out',
  },
  journal: {
    JOURNAL_SUBSCRIBE: 'in',
    JOURNAL_UNSUBSCRIBE: 'in',
    JOURNAL_EVENT: 'out',
    JOURNAL_READ: 'in',
    JOURNAL_READ_RESPONSE: 'out',
  },
  cluster: {
    PARTITION_MAP_REQUEST: 'in',
    PARTITION_MAP: 'out',
    PARTITION_MAP_DELTA: 'out',
    CLUSTER_SUB_REGISTER: 'node',
    CLUSTER_SUB_ACK: 'node',
    CLUSTER_SUB_UPDATE: 'node',
    CLUSTER_SUB_UNREGISTER: 'node',
    CLUSTER_SEARCH_REQ: 'node',
    CLUSTER_SEARCH_RESP: 'node',
    CLUSTER_SEARCH_SUBSCRIBE: 'node',
    CLUSTER_SEARCH_UNSUBSCRIBE: 'node',
    CLUSTER_SEARCH_UPDATE: 'node',
  },
} as const satisfies Record<string, Record<string, Direction>>;

export type MessageDomain = keyof typeof MESSAGE_TYPES;

type TypesOf<Domain extends MessageDomain> = keyof (typeof MESSAGE_TYPES)[Domain];

/** A known name of a type, of any domain and direction. */
export type MessageType = { [Domain in MessageDomain]: TypesOf<Domain> }[MessageDomain];
