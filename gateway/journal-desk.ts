/**
 * The journal at a gateway: subscriptions (journal-feed.ts) and reads of a page.
 *
 *   JOURNAL_SUBSCRIBE, UNSUBSCRIBE ─▶ feed ─▶ JOURNAL_EVENT
 *   JOURNAL_READ ─▶ every worker ─▶ JOURNAL_READ_RESPONSE {events, hasMore, nextSequence, gap?}
 *
 * An answer that cannot be given is ERROR: an empty JOURNAL_READ_RESPONSE would say that nothing happened.
 *
 * Source: docs/PROTOCOL.md §9.1.
 */
import type { CallStatus } from '../engine/operation/operation.ts';
import type { JournalSequence } from '../engine/domains/persistence/journal-sequence.ts';
import { ALL_TYPES, encodeRead, type JoinedPage, JOURNAL_TYPES } from '../engine/domains/persistence/journal-wire.ts';
import { encode } from '../engine/protocol/codec.ts';
import { PUSH_JOURNAL, REQUEST_JOURNAL_READ } from '../engine/protocol/envelope.ts';
import { ERROR_CODES, type ErrorCode, GridError } from '../engine/protocol/errors.ts';
import type { JournalReadMessage, JournalSubscribeMessage } from '../engine/protocol/journal-messages.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import type { Desk, DeskContext } from './desk.ts';
import { JournalFeed } from './journal-feed.ts';
import { JournalPages } from './journal-pages.ts';
import { readFrame, seenBy, UNTELLABLE } from './journal-view.ts';
import type { Session } from './session.ts';

const SUBSCRIPTIONS_MAX = 64;
const ID_CHARACTERS_MAX = 256;
/** No map has a longer name; that of a subscription is kept. */
const MAP_CHARACTERS_MAX = 2048;
const READ_EVENTS = 100;
const READ_EVENTS_MAX = 1000;
const READ_BYTES_MAX = 1024 * 1024;

export type JournalMode = 'auto' | 'on' | 'off';

export class JournalDesk implements Desk {
  readonly types = ['JOURNAL_SUBSCRIBE', 'JOURNAL_UNSUBSCRIBE', 'JOURNAL_READ'] as const;
  readonly pushKinds = [PUSH_JOURNAL];
  readonly feed: JournalFeed;
  readonly #context: DeskContext;
  readonly #sequence: JournalSequence;
  readonly #isOff: boolean;

  constructor(context: DeskContext, sequence: JournalSequence, mode: JournalMode) {
    this.#context = context;
    this.#sequence = sequence;
    this.#isOff = mode === 'off';
    this.feed = new JournalFeed(context, sequence);
  }

  ask(session: Session, message: ClientMessage): CallStatus {
    switch (message.type) {
      case 'JOURNAL_UNSUBSCRIBE':
        this.feed.unsubscribe(session, message.subscriptionId);
        return 'VOID';
      case 'JOURNAL_SUBSCRIBE':
        return this.#subscribe(session, message);
      case 'JOURNAL_READ':
        return this.#read(session, message);
      default:
        return 'VOID';
    }
  }

  pushed(): void {
    this.feed.woken();
  }

  closed(session: Session): void {
    this.feed.closed(session);
  }

  tick(): void {
    this.feed.tick();
  }

  workerReplaced(): void {
    this.feed.workerReplaced();
  }

  #subscribe(session: Session, message: JournalSubscribeMessage): CallStatus {
    const { requestId, fromSequence, mapName: map } = message;
    const refusal = this.#refusal(session, requestId, map);
    if (refusal !== undefined) return this.#refuse(session, message, refusal, REASONS[refusal] ?? '');
    if (!this.feed.has(session, requestId) && this.feed.subscriptionsOf(session) >= SUBSCRIPTIONS_MAX) {
      return this.#refuse(
        session,
        message,
        'OVERLOADED',
        `a connection has up to ${SUBSCRIPTIONS_MAX} subscriptions of the journal`,
      );
    }
    // Clients make up what they have no sequence for: what is none means "from now on".
    const from = fromSequence === undefined ? undefined : this.#sequence.numberOf(fromSequence);
    this.feed.subscribe(session, { id: requestId, map, types: typesOf(message.types) }, from);
    return 'VOID';
  }

  #read(session: Session, message: JournalReadMessage): CallStatus {
    const { requestId, mapName: map } = message;
    const refusal = this.#refusal(session, requestId, map);
    if (refusal !== undefined) return this.#refuse(session, message, refusal, REASONS[refusal] ?? '');
    const from = this.#sequence.numberOf(message.fromSequence);
    if (from === undefined) return this.#refuse(session, message, 'BAD_REQUEST', 'fromSequence is a decimal number');
    const limit = Math.max(1, Math.min(READ_EVENTS_MAX, Math.floor(message.limit ?? READ_EVENTS) || READ_EVENTS));
    this.#sequence.ask();
    const body = encodeRead({ from, events: limit, bytes: READ_BYTES_MAX, map, types: ALL_TYPES, wakes: false });
    const gather = new JournalPages(
      limit,
      (page) => this.#context.enqueue(session, this.#response(session, message, from, page)),
      (error) => {
        const code = ERROR_CODES[error] ?? 'INTERNAL';
        this.#refuse(session, message, code, 'the journal could not be read');
      },
    );
    const { calls } = this.#context;
    return calls.ask(session, REQUEST_JOURNAL_READ, calls.everyone, () => body, gather) ? 'WAIT' : 'HELD';
  }

  #response(session: Session, { requestId, fromSequence }: JournalReadMessage, from: number, page: JoinedPage): Uint8Array {
    const events: Uint8Array[] = [];
    let bytes = 0;
    let next = page.next;
    let isCut = false;
    // A read from a process before this one misses the rest of that one's events, dropped or not.
    let missing = page.dropped >= from ? { from, to: page.dropped } : undefined;
    for (const event of page.events) {
      const seen = seenBy(session, event);
      if (seen === UNTELLABLE) missing = { from: missing?.from ?? event.number, to: event.number };
      if (seen === undefined || seen === UNTELLABLE) continue;
      if (events.length > 0 && bytes + seen.bytes.length > READ_BYTES_MAX) {
        next = event.number;
        isCut = true;
        break;
      }
      events.push(seen.bytes);
      bytes += seen.bytes.length;
    }
    const gap = missing && {
      fromSequence: missing.from === from ? fromSequence : this.#sequence.textOf(missing.from),
      toSequence: this.#sequence.textOf(missing.to),
    };
    return readFrame({ requestId, events, hasMore: isCut || page.more, nextSequence: this.#sequence.textOf(next), gap });
  }

  #refusal(session: Session, requestId: string, map: string | undefined): ErrorCode | undefined {
    if (this.#isOff) return 'FEATURE_DISABLED';
    if (requestId === '' || requestId.length > ID_CHARACTERS_MAX) return 'BAD_REQUEST';
    if (map !== undefined && map.length > MAP_CHARACTERS_MAX) return 'INVALID_MAP_NAME';
    return map === undefined || session.access.may('read', map) ? undefined : 'FORBIDDEN';
  }

  #refuse(
    session: Session,
    { type, requestId: id }: { type: string; requestId: string },
    code: ErrorCode,
    text: string,
  ): CallStatus {
    const payload = { code: new GridError(code, text).status, message: `${code}: ${text}`, details: { type, id } };
    this.#context.enqueue(session, encode({ type: 'ERROR', payload }).slice());
    return 'RESPONSE';
  }
}

const REASONS: Partial<Record<ErrorCode, string>> = {
  FEATURE_DISABLED: 'the journal is off on this server (LATTICE_JOURNAL)',
  BAD_REQUEST: `a requestId has 1 to ${ID_CHARACTERS_MAX} characters`,
  FORBIDDEN: 'the map may not be read',
  INVALID_MAP_NAME: `a map's name has up to ${MAP_CHARACTERS_MAX} characters`,
};

/** Bits of the kinds that are wanted; all of them when none that exists is named. */
function typesOf(names: readonly string[] | undefined): number {
  let types = 0;
  for (const name of names ?? []) {
    if (name === 'PUT' || name === 'UPDATE' || name === 'DELETE') types |= JOURNAL_TYPES[name];
  }
  return types === 0 ? ALL_TYPES : types;
}
