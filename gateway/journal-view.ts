/**
 * A journal event as one subject sees it: whole, cut to the fields that it may see, or not at all.
 *
 *   value seen, previous hidden   PUT: the row came into sight      both seen    as it is, fields cut
 *   value hidden, previous seen   DELETE: it went out of sight      none seen    no event
 *
 * The value before a change is not known when it had been dropped from memory. Where it would say whether the subject is to hear of the
 * change, nobody can tell: UNTELLABLE. It is told of a gap, and so to look for itself.
 *
 * Nothing is decoded for a subject without rules about rows.
 */
import { ALL_ROWS, HIDDEN, NO_ROWS, type RowView } from '../engine/domains/security/access.ts';
import { JOURNAL_TYPES, type JournalType, type PagedEvent } from '../engine/domains/persistence/journal-wire.ts';
import { type Data, decode, encode, isData } from '../engine/protocol/codec.ts';
import { MessageWriter } from '../engine/protocol/msgpack-writer.ts';
import type { Session } from './session.ts';

/** What of an event a session gets. */
export interface SeenEvent {
  readonly type: number;
  readonly bytes: Uint8Array;
}

export const UNTELLABLE: unique symbol = Symbol('untellable');

/** The event for the session, or undefined when it may not see it. The event itself when it may see all of it. */
export function seenBy(session: Session, event: PagedEvent): SeenEvent | typeof UNTELLABLE | undefined {
  const view = session.access.rows(event.map);
  if (view === ALL_ROWS) return event;
  if (view === NO_ROWS) return undefined;
  const fields = decode(event.bytes);
  return isData(fields) ? cut(view, fields) : undefined;
}

function cut(view: RowView, fields: Data): SeenEvent | typeof UNTELLABLE | undefined {
  const { value, previousValue, type: _type, ...rest } = fields;
  const key = String(fields.key);
  const now = fields.type === 'DELETE' ? HIDDEN : view.see(value, key);
  const before = 'previousValue' in fields ? view.see(previousValue, key) : HIDDEN;
  if (now === HIDDEN && before === HIDDEN) return fields.type === 'PUT' || 'previousValue' in fields ? undefined : UNTELLABLE;
  const type: JournalType = now === HIDDEN ? 'DELETE' : before === HIDDEN ? 'PUT' : 'UPDATE';
  const seen = {
    ...rest,
    type,
    ...(now === HIDDEN ? {} : { value: now }),
    ...(before === HIDDEN ? {} : { previousValue: before }),
  };
  return { type: JOURNAL_TYPES[type], bytes: encode(seen).slice() };
}

const writer = new MessageWriter();

/** JOURNAL_EVENT with an event in it. */
export function eventFrame(event: Uint8Array): Uint8Array {
  writer.reset();
  writer.mapHeader(2);
  writer.string('type');
  writer.string('JOURNAL_EVENT');
  writer.string('event');
  writer.raw(event, 0, event.length);
  return writer.bytes.slice(0, writer.length);
}

/** A stretch of the journal in which events are missing, as clients are told of it. */
export interface JournalGap {
  readonly fromSequence: string;
  readonly toSequence: string;
}

export interface ReadAnswer {
  readonly requestId: string;
  readonly events: readonly Uint8Array[];
  readonly hasMore: boolean;
  /** Where the next read goes on. */
  readonly nextSequence: string;
  readonly gap?: JournalGap | undefined;
}

/** JOURNAL_READ_RESPONSE. */
export function readFrame({ requestId, events, hasMore, nextSequence, gap }: ReadAnswer): Uint8Array {
  writer.reset();
  writer.mapHeader(gap === undefined ? 5 : 6);
  writer.string('type');
  writer.string('JOURNAL_READ_RESPONSE');
  writer.string('requestId');
  writer.string(requestId);
  writer.string('events');
  writer.arrayHeader(events.length);
  for (const event of events) writer.raw(event, 0, event.length);
  writer.string('hasMore');
  writer.bool(hasMore);
  writer.string('nextSequence');
  writer.string(nextSequence);
  if (gap !== undefined) {
    writer.string('gap');
    const bytes = encode(gap);
    writer.raw(bytes, 0, bytes.length);
  }
  return writer.bytes.slice(0, writer.length);
}
