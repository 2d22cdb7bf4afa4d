/**
 * Journal events to the sessions that subscribed, in order: each session's replays of the past, then everything as it comes.
 *
 *   tail     one for the gateway: page after page of all workers from `#next` on, to every live subscription. At the end it asks
 *            to be woken, and is idle until some worker has a new event
 *   replay   one for a subscription with a past: its own pages until they meet the tail, from there on it is live. Those of a
 *            session take turns: one page of them is on its way, whether or not its subscription has gone meanwhile
 *
 *   subscribe ──(fromSequence)──▶ replaying ──page ends at or behind the tail──▶ live
 *       └───────────────────────(none)──────────────────────────────────────────▲
 *
 * `since` of a live subscription is the first number that it has not got: what the tail brings below it is not for it.
 * A page covers all workers or does not come: while a worker is being replaced the tail stands still and loses nothing. What a
 * ring has dropped, or a worker that died, is told as a gap.
 */
import {
  type JoinedPage,
  type JournalRead,
  encodeRead,
  ALL_TYPES,
  type PagedEvent,
} from '../engine/domains/persistence/journal-wire.ts';
import type { JournalSequence } from '../engine/domains/persistence/journal-sequence.ts';
import { encode } from '../engine/protocol/codec.ts';
import { REQUEST_JOURNAL_READ } from '../engine/protocol/envelope.ts';
import { GridError } from '../engine/protocol/errors.ts';
import type { DeskContext } from './desk.ts';
import { JournalPages } from './journal-pages.ts';
import { eventFrame, seenBy, UNTELLABLE } from './journal-view.ts';
import type { Session } from './session.ts';

const TAIL_EVENTS = 1000;
const REPLAY_EVENTS = 500;
const PAGE_BYTES = 512 * 1024;
/** A replay waits while its client has more than this unread. */
const UNREAD_BYTES_MAX = 256 * 1024;

export interface Subscription {
  readonly id: string;
  readonly map: string | undefined;
  /** Bits of the kinds of events. */
  readonly types: number;
}

interface Subscribed extends Subscription {
  /** First number that it has not got. */
  since: number;
  isReplaying: boolean;
}

export class JournalFeed {
  delivered = 0;
  readonly #context: DeskContext;
  readonly #sequence: JournalSequence;
  readonly #bySession = new Map<Session, Map<string, Subscribed>>();
  /** Sessions of which a page of a replay is on its way. */
  readonly #asking = new Set<Session>();
  #count = 0;
  /** First number that the tail has not brought; 0 while nobody is subscribed. */
  #next = 0;
  /** The page that is on its way; an older one is of no interest. 0 = none. */
  #page = 0;
  #pages = 0;
  /** There is more than the page on its way may show. */
  #isBehind = false;

  constructor(context: DeskContext, sequence: JournalSequence) {
    this.#context = context;
    this.#sequence = sequence;
  }

  /** Subscriptions of all sessions. */
  get subscriptions(): number {
    return this.#count;
  }

  subscriptionsOf(session: Session): number {
    return this.#bySession.get(session)?.size ?? 0;
  }

  has(session: Session, id: string): boolean {
    return this.#bySession.get(session)?.has(id) === true;
  }

  /** @param from first number that is wanted of the past; undefined: only what comes. */
  subscribe(session: Session, { id, map, types }: Subscription, from: number | undefined): void {
    this.unsubscribe(session, id);
    this.#sequence.ask();
    const now = this.#sequence.next;
    const since = from ?? now;
    const subscribed: Subscribed = { id, map, types, since, isReplaying: from !== undefined };
    const ofSession = this.#bySession.get(session) ?? new Map<string, Subscribed>();
    this.#bySession.set(session, ofSession.set(id, subscribed));
    this.#count += 1;
    if (this.#next === 0) this.#next = now;
    if (this.#count === 1) this.#pull();
    if (subscribed.isReplaying) this.#replayNext(session);
  }

  unsubscribe(session: Session, id: string): void {
    const ofSession = this.#bySession.get(session);
    if (ofSession?.delete(id) !== true) return;
    this.#count -= 1;
    if (ofSession.size === 0) this.#bySession.delete(session);
    if (this.#count === 0) this.#next = 0;
  }

  closed(session: Session): void {
    for (const id of [...(this.#bySession.get(session)?.keys() ?? [])]) this.unsubscribe(session, id);
  }

  /** A worker has something new. */
  woken(): void {
    this.#isBehind = true;
    this.#pull();
  }

  /** A new worker knows nothing of what was asked of its predecessor, and nobody will wake us. */
  workerReplaced(): void {
    this.#page = 0;
    this.#pull();
  }

  /** Goes on with what found no room, and with replays whose clients have read. */
  tick(): void {
    if (this.#isBehind) this.#pull();
    for (const session of this.#bySession.keys()) this.#replayNext(session);
  }

  #pull(): void {
    if (this.#count === 0 || this.#page !== 0) return;
    const from = this.#next;
    this.#pages += 1;
    const page = this.#pages;
    const read = { from, events: TAIL_EVENTS, bytes: PAGE_BYTES, types: ALL_TYPES, wakes: true };
    const asked = this.#ask(
      read,
      (joined) => page === this.#page && this.#pulled(joined),
      () => page === this.#page && this.#failed(),
    );
    this.#isBehind = !asked;
    if (asked) this.#page = page;
  }

  #failed(): void {
    this.#page = 0;
    this.#isBehind = true; // the tick tries again
  }

  #pulled(page: JoinedPage): void {
    this.#page = 0;
    if (this.#count === 0) return;
    const from = this.#next;
    if (page.dropped >= from) this.#tellGap(from, page.dropped);
    for (const event of page.events) if (event.number >= from) this.#deliver(event);
    this.#next = Math.max(from, page.next);
    if (page.more || this.#isBehind) this.#pull();
  }

  #tellGap(from: number, to: number): void {
    for (const [session, ofSession] of this.#bySession) {
      for (const subscribed of ofSession.values()) {
        if (!subscribed.isReplaying && subscribed.since <= to)
          this.#sendGap(session, subscribed.id, Math.max(from, subscribed.since), to);
      }
    }
  }

  /** Once a session, however many of its subscriptions fit. */
  #deliver(event: PagedEvent): void {
    let shared: Uint8Array | undefined;
    for (const [session, ofSession] of this.#bySession) {
      const isWhole = session.access.scope === 0;
      if (!isWanted(ofSession, event, isWhole ? event.type : ALL_TYPES)) continue;
      const seen = seenBy(session, event);
      if (seen === UNTELLABLE) this.#tellUntellable(session, ofSession, event);
      if (seen === undefined || seen === UNTELLABLE || (!isWhole && !isWanted(ofSession, event, seen.type))) continue;
      if (seen === event) shared ??= eventFrame(event.bytes);
      this.#context.enqueue(session, seen === event && shared !== undefined ? shared : eventFrame(seen.bytes));
      this.delivered += 1;
    }
  }

  #tellUntellable(session: Session, ofSession: ReadonlyMap<string, Subscribed>, event: PagedEvent): void {
    for (const subscribed of ofSession.values())
      if (wants(subscribed, event, ALL_TYPES)) this.#sendGap(session, subscribed.id, event.number, event.number);
  }

  /** Asks for a page of the session's replay whose turn it is, unless one is on its way. */
  #replayNext(session: Session): void {
    if (this.#asking.has(session)) return;
    for (const subscribed of this.#bySession.get(session)?.values() ?? []) {
      if (subscribed.isReplaying) return this.#replay(session, subscribed);
    }
  }

  #replay(session: Session, subscribed: Subscribed): void {
    if (session.connection.bufferedBytes() > UNREAD_BYTES_MAX) return;
    const { map, types, since } = subscribed;
    // A change that a subject sees as another kind must not be lost by the kind it is stored as.
    const read = {
      from: since,
      events: REPLAY_EVENTS,
      bytes: PAGE_BYTES,
      map,
      types: session.access.scope === 0 ? types : ALL_TYPES,
      wakes: false,
    };
    const asked = this.#ask(
      read,
      (page) => this.#replayed(session, subscribed, page),
      () => void this.#asking.delete(session), // the tick tries again
    );
    if (asked) this.#asking.add(session);
  }

  #replayed(session: Session, subscribed: Subscribed, page: JoinedPage): void {
    this.#asking.delete(session);
    const ofSession = this.#bySession.get(session);
    // A page in vain is followed by the next one on the tick only: whoever subscribes again and again has few of them read.
    if (ofSession?.get(subscribed.id) !== subscribed) return;
    const { since } = subscribed;
    if (page.dropped >= since) this.#sendGap(session, subscribed.id, since, page.dropped);
    for (const event of page.events) {
      const seen = seenBy(session, event);
      if (seen === UNTELLABLE) this.#sendGap(session, subscribed.id, event.number, event.number);
      if (seen === undefined || seen === UNTELLABLE || (seen.type & subscribed.types) === 0) continue;
      this.#context.enqueue(session, eventFrame(seen.bytes));
      this.delivered += 1;
    }
    subscribed.since = Math.max(since, page.next);
    if (subscribed.since >= this.#next) subscribed.isReplaying = false;
    ofSession.delete(subscribed.id); // the others are before it now
    ofSession.set(subscribed.id, subscribed);
    this.#replayNext(session);
  }

  #ask(read: JournalRead, onPage: (page: JoinedPage) => void, onError: () => void): boolean {
    const { calls } = this.#context;
    const body = encodeRead(read);
    return calls.gather(REQUEST_JOURNAL_READ, calls.everyone, () => body, new JournalPages(read.events, onPage, onError));
  }

  #sendGap(session: Session, subscriptionId: string, from: number, to: number): void {
    const gap = { fromSequence: this.#sequence.textOf(from), toSequence: this.#sequence.textOf(to) };
    const message = `JOURNAL_GAP: events from ${gap.fromSequence} to ${gap.toSequence} of the journal are gone`;
    const details = { type: 'JOURNAL_GAP', subscriptionId, ...gap };
    const code = new GridError('JOURNAL_GAP', message).status;
    this.#context.enqueue(session, encode({ type: 'ERROR', payload: { code, message, details } }).slice());
  }
}

/** @param type bits of which one is enough. */
function isWanted(ofSession: ReadonlyMap<string, Subscribed>, event: PagedEvent, type: number): boolean {
  for (const subscribed of ofSession.values()) if (wants(subscribed, event, type)) return true;
  return false;
}

function wants({ map, types, since, isReplaying }: Subscribed, event: PagedEvent, type: number): boolean {
  if (isReplaying || event.number < since) return false;
  return (map === undefined || map === event.map) && (types & type) !== 0;
}
