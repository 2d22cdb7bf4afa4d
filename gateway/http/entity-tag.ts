/**
 * Entity tags (RFC 9110 §8.8): the clock of a record in quotes, and the headers that name them.
 *
 *   ETag: "1700000000000:3:node-a"      If-Match, If-None-Match: a list of them, or *
 */
import { GridError } from '../../engine/protocol/errors.ts';

export function entityTag(stamp: string): string {
  return `"${stamp}"`;
}

/** `*`, or the tag with its quotes. */
const TAG = /^(?:W\/)?"([^"]*)"$/;

/** The stamps that a header names, ['*'] for any; undefined when it is absent. Throws GridError BAD_REQUEST. */
export function stampsOf(header: string, name: string): string[] | undefined {
  if (header === '') return undefined;
  if (header.trim() === '*') return ['*'];
  return header.split(',').map((part) => {
    const [, stamp] = TAG.exec(part.trim()) ?? [];
    if (stamp === undefined) throw new GridError('BAD_REQUEST', `${name} is no list of entity tags: each stands in quotes`);
    return stamp;
  });
}
