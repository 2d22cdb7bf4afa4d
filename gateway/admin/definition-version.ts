/**
 * Versions of definitions as entity tags: `ETag: "3"`, and the conditions of a change by them.
 */
import { GridError } from '../../engine/protocol/errors.ts';
import type { HttpQuestion } from '../http/exchange.ts';
import type { Headers } from '../http/http-reply.ts';

const TAG = /^"(\d{1,9})"$/;

/** The header that says which version an answer shows. */
export function versionTag(version: number): Headers {
  return [['ETag', `"${version}"`]];
}

/**
 * The version that a change is to replace: that of `If-Match: "3"`, 0 for `If-None-Match: *`, undefined where the request does
 * not care. Throws GridError BAD_REQUEST for other conditions.
 */
export function replacedVersion({ header }: HttpQuestion): number | undefined {
  const match = header('if-match');
  const noneMatch = header('if-none-match');
  if (match === '' && noneMatch === '') return undefined;
  if (match === '' && noneMatch === '*') return 0;
  const [, version] = TAG.exec(match) ?? [];
  if (version === undefined || noneMatch !== '') {
    throw new GridError('BAD_REQUEST', 'conditions are If-Match: "version" or If-None-Match: *');
  }
  return Number(version);
}
