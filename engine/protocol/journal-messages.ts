/** What clients ask of the journal (docs/PROTOCOL.md §9.1). Sequences stay text here: they are decimal numbers, which may pass 64 bits. */
import type { Data } from './codec.ts';

export interface JournalSubscribeMessage {
  readonly type: 'JOURNAL_SUBSCRIBE';
  /** Names the subscription as well. */
  readonly requestId: string;
  readonly fromSequence?: string | undefined;
  readonly mapName?: string | undefined;
  /** Kinds of events as they came; undefined = all. */
  readonly types?: readonly string[] | undefined;
}

export interface JournalUnsubscribeMessage {
  readonly type: 'JOURNAL_UNSUBSCRIBE';
  readonly subscriptionId: string;
}

export interface JournalReadMessage {
  readonly type: 'JOURNAL_READ';
  readonly requestId: string;
  readonly fromSequence: string;
  readonly limit?: number | undefined;
  readonly mapName?: string | undefined;
}

export type JournalMessage = JournalSubscribeMessage | JournalUnsubscribeMessage | JournalReadMessage;

export function parseJournalMessage(type: JournalMessage['type'], body: Data): JournalMessage | undefined {
  const { requestId, subscriptionId, types, limit } = body;
  if (type === 'JOURNAL_UNSUBSCRIBE') return typeof subscriptionId === 'string' ? { type, subscriptionId } : undefined;
  if (typeof requestId !== 'string') return undefined;
  const fromSequence = sequenceText(body.fromSequence);
  const mapName = typeof body.mapName === 'string' ? body.mapName : undefined;
  if (type === 'JOURNAL_SUBSCRIBE') {
    const kinds = Array.isArray(types) ? types.filter((kind): kind is string => typeof kind === 'string') : undefined;
    return { type, requestId, fromSequence, mapName, types: kinds };
  }
  if (fromSequence === undefined) return undefined;
  return { type, requestId, fromSequence, mapName, limit: typeof limit === 'number' ? limit : undefined };
}

/** Clients send text; a number is taken as well. */
function sequenceText(value: unknown): string | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return String(value);
  return typeof value === 'string' ? value : undefined;
}
