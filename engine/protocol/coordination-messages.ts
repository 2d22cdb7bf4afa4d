/**
 * Messages about locks and the partition map (docs/PROTOCOL.md §8.2, §10), from decoded frames.
 *
 * A request for a lock that cannot be one is no message at all: it gets no answer, because the client takes every answer
 * but LOCK_GRANTED for a lock that it holds.
 */
import type { Data } from './codec.ts';

/** Of a request's id, which is kept as long as the request waits. */
const ID_CHARACTERS_MAX = 256;

export interface LockRequestMessage {
  readonly type: 'LOCK_REQUEST';
  readonly requestId: string;
  readonly name: string;
  /** How long the lock is held at most, ms; undefined: until it is released or the connection ends. */
  readonly ttlMs: number | undefined;
}

export interface LockReleaseMessage {
  readonly type: 'LOCK_RELEASE';
  /** '' when the client gave none. */
  readonly requestId: string;
  readonly name: string;
  /** Undefined when the client has none: such a release fails. */
  readonly fencingToken: number | undefined;
}

export interface PartitionMapRequestMessage {
  readonly type: 'PARTITION_MAP_REQUEST';
}

export type CoordinationMessage = LockRequestMessage | LockReleaseMessage | PartitionMapRequestMessage;

export function parseCoordination(type: CoordinationMessage['type'], body: Data): CoordinationMessage | undefined {
  if (type === 'PARTITION_MAP_REQUEST') return { type };
  return type === 'LOCK_REQUEST' ? parseLockRequest(body) : parseLockRelease(body);
}

function parseLockRequest({ requestId, name, ttl }: Data): LockRequestMessage | undefined {
  if (typeof requestId !== 'string' || requestId.length > ID_CHARACTERS_MAX || typeof name !== 'string') return undefined;
  const ttlMs = ttl ?? undefined;
  if (ttlMs === undefined) return { type: 'LOCK_REQUEST', requestId, name, ttlMs };
  const isTtl = typeof ttlMs === 'number' && ttlMs > 0 && ttlMs <= Number.MAX_SAFE_INTEGER;
  return isTtl ? { type: 'LOCK_REQUEST', requestId, name, ttlMs } : undefined;
}

function parseLockRelease({ requestId, name, fencingToken }: Data): LockReleaseMessage | undefined {
  if (typeof name !== 'string') return undefined;
  return {
    type: 'LOCK_RELEASE',
    requestId: typeof requestId === 'string' ? requestId : '',
    name,
    fencingToken: typeof fencingToken === 'number' ? fencingToken : undefined,
  };
}
