/** What the grid refuses, in the words of Redis where it has some: the code in capitals first, then ours. */
import { ERROR_CODES, type GridError } from '../../protocol/errors.ts';

/** A grid error as a reply: codes that clients of Redis know where there is one. */
export function replyOf(error: GridError): string {
  return `${REDIS_CODES.get(error.code) ?? 'ERR'} ${error.code} ${error.message}`;
}

/** As `replyOf`, for the number of a code. */
export function replyOfNumber(error: number): string {
  const code = ERROR_CODES[error] ?? 'INTERNAL';
  return `${REDIS_CODES.get(code) ?? 'ERR'} ${code}${TEXTS.get(code) ?? ''}`;
}

const REDIS_CODES = new Map([
  ['UNAVAILABLE', 'TRYAGAIN'],
  ['MIGRATING', 'TRYAGAIN'],
  ['OVERLOADED', 'TRYAGAIN'],
  ['OUT_OF_MEMORY', 'OOM'],
  ['READ_ONLY', 'READONLY'],
  ['DISK_FULL', 'MISCONF'],
  ['LOG_FULL', 'MISCONF'],
  ['LOG_DAMAGED', 'READONLY'],
  ['FORBIDDEN', 'NOPERM'],
]);

const TEXTS = new Map([
  ['UNAVAILABLE', ' a worker is being replaced or busy: what the command did is unknown'],
  ['DEADLINE_EXCEEDED', ' no answer within the deadline: what the command did is unknown'],
  ['OUT_OF_MEMORY', ' command not allowed: the memory bound is reached'],
  ['LOG_DAMAGED', ' logged writes of this partition were lost: see lattice wal repair'],
]);
