/** Messages about topics (docs/PROTOCOL.md §8.1), from decoded frames. The payload of a message may be anything, null included. */
import type { Data } from './codec.ts';

export interface TopicInterestMessage {
  readonly type: 'TOPIC_SUB' | 'TOPIC_UNSUB';
  readonly topic: string;
}

export interface TopicPublishMessage {
  readonly type: 'TOPIC_PUB';
  readonly topic: string;
  readonly data: unknown;
}

export type MessagingMessage = TopicInterestMessage | TopicPublishMessage;

/** The message that `body`, the fields of a message of that type, is; undefined when it names no topic. */
export function parseMessaging(type: MessagingMessage['type'], body: Data): MessagingMessage | undefined {
  const { topic } = body;
  if (typeof topic !== 'string') return undefined;
  return type === 'TOPIC_PUB' ? { type, topic, data: body.data ?? null } : { type, topic };
}
