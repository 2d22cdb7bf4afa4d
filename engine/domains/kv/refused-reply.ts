/** What the grid refuses, in the words of Redis where it has some: the code in capitals first, then ours. */
import { ERROR_CODES, type GridError } from '../../protocol/errors.ts';
import { KIND_LWW, type RecordImage } from '../../storage/record.ts';
import type { WriteGuard } from '../crdt/write-guard.ts';
import { KvError } from './command.ts';

/** A grid error as a reply: codes that clients of Redis know where there is one. */
export function replyOf(error: GridError): string {
  return `${REDIS_CODES.get(error.code) ?? 'ERR'} ${error.code} ${error.message}`;
}

/** As `replyOf`, for the number of a code. */
export function replyOfNumber(error: number): string {
  const code = ERROR_CODES[error] ?? 'INTERNAL';
  return `${REDIS_CODES.get(code) ?? 'ERR'} ${code}${TEXTS.get(code) ?? ''}`;
}

/** What the guard of a map says to a write; '' when it takes it. */
export function replyOfGuard(guard: WriteGuard, image: RecordImage): string {
  const refused = guard.refusal(KIND_LWW, image, 0, 0);
  return refused === undefined ? '' : `ERR ${refused.code} ${refused.detail}`;
}

/** Throws KvError when the guard of a map refuses the write. */
export function assertGuarded(guard: WriteGuard, image: RecordImage): void {
  const reply = replyOfGuard(guard, image);
  if (reply !== '') throw new KvError(reply);
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
