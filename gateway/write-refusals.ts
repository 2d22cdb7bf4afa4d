/**
 * What a client is told when a worker takes none of its batch: the code, what it means, and whether a retry helps.
 *
 * Its connection is closed behind the message, since it sends its operations again only when it connects again.
 */
import { type ErrorCode, ERROR_CODES, GridError } from '../engine/protocol/errors.ts';
import type { CloseCause } from './connection.ts';

interface Refusal {
  readonly cause: CloseCause;
  readonly text: string;
}

const REFUSALS: Partial<Record<ErrorCode, Refusal>> = {
  OVERLOADED: { cause: 'OVERLOADED', text: 'server overloaded, try again later' },
  READ_ONLY: {
    cause: 'READ_ONLY',
    text: 'the log could not be written safely; reads are served, a retry helps once the server is restarted',
  },
  DISK_FULL: { cause: 'DISK_FULL', text: 'the disk of the server is full; reads are served, a retry helps once there is room' },
  LOG_FULL: { cause: 'LOG_FULL', text: 'the log is full because Postgres is behind; a retry helps once it has caught up' },
  LOG_DAMAGED: {
    cause: 'LOG_DAMAGED',
    text: 'part of the log of these keys is damaged; they can be read, a retry helps only after `lattice wal repair`',
  },
  OUT_OF_MEMORY: {
    cause: 'OUT_OF_MEMORY',
    text: 'the server has no memory left for writes; reads are served, a retry helps once some is free',
  },
  STORAGE_UNAVAILABLE: { cause: 'UNAVAILABLE', text: 'Postgres did not take the write; a retry helps once it answers' },
};

const UNKNOWN: Refusal = { cause: 'UNAVAILABLE', text: 'the write was not made safe; try again later' };

export interface RefusedWrite {
  /** The code on the wire. */
  readonly status: number;
  readonly message: string;
  readonly cause: CloseCause;
}

/** @param reason an error code, as the worker gave it. */
export function refusedWrite(reason: string): RefusedWrite {
  const code = ERROR_CODES.find((known) => known === reason) ?? 'UNAVAILABLE';
  const { cause, text } = REFUSALS[code] ?? UNKNOWN;
  return { status: new GridError(code, text).status, message: `${code}: ${text}`, cause };
}
