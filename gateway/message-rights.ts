/**
 * Which right a message needs, for the messages that name one thing and do one thing with it: asked before its desk.
 *
 *   an action   on the map, topic, lock or counter that the message names
 *   'desk'      its desk asks, since it has a better answer than ERROR, or more to ask
 *   'free'      gives up what was given, or is about the connection alone
 *
 * A message that is not listed is refused to every session with policies: what nobody thought about is not open.
 */
import type { Action } from '../engine/domains/security/access.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import type { SessionAccess } from './subject-access.ts';

type Right = Action | 'desk' | 'free';

const RIGHTS: ReadonlyMap<string, Right> = new Map<string, Right>([
  ['SYNC_INIT', 'desk'],
  ['ORMAP_SYNC_INIT', 'desk'],
  ['MERKLE_REQ_BUCKET', 'desk'],
  ['ORMAP_MERKLE_REQ_BUCKET', 'desk'],
  ['ORMAP_DIFF_REQUEST', 'desk'],
  ['ORMAP_PUSH_DIFF', 'desk'],
  ['QUERY_SUB', 'desk'],
  ['QUERY_UNSUB', 'free'],
  ['QUERY_SYNC_INIT', 'free'],
  ['JOURNAL_SUBSCRIBE', 'desk'],
  ['JOURNAL_READ', 'desk'],
  ['JOURNAL_UNSUBSCRIBE', 'free'],
  ['TOPIC_SUB', 'subscribe'],
  ['TOPIC_PUB', 'publish'],
  ['TOPIC_UNSUB', 'free'],
  ['COUNTER_REQUEST', 'readCounter'],
  ['COUNTER_SYNC', 'writeCounter'],
  ['LOCK_REQUEST', 'lock'],
  ['LOCK_RELEASE', 'free'],
  ['PARTITION_MAP_REQUEST', 'free'],
]);

/** True for a message that somebody thought about. */
export function hasRight(type: string): boolean {
  return RIGHTS.has(type);
}

/** Why the session may not send this message, or undefined. Says nothing of whether there is what it names. */
export function rightRefusal(access: SessionAccess, message: ClientMessage): string | undefined {
  if (access.guard === undefined) return undefined;
  const right = RIGHTS.get(message.type);
  if (right === 'desk' || right === 'free') return undefined;
  const name = 'topic' in message ? message.topic : 'name' in message ? message.name : undefined;
  if (right !== undefined && typeof name === 'string' && access.may(right, name)) return undefined;
  return `${message.type} is not allowed${typeof name === 'string' ? ` for ${name}` : ''}`;
}
