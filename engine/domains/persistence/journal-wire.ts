/**
 * What gateways ask of the journal and what workers answer, in MessagePack.
 *
 *   READ  {from, events, bytes, map?, types, wakes}   ─▶  {next, dropped, full, events: [[number, type, map, event], …]}
 *
 * `next` is the lowest number that the answer says nothing about: all events of this worker below it, from `from` on, are in
 * the answer or do not fit the filter. So the lowest `next` of all workers is where the journal as a whole is known to.
 */
import { type Data, decode, encode, isData } from '../../protocol/codec.ts';

/** Kinds of events; a filter is the bits of those that are wanted. */
export const JOURNAL_TYPES = { PUT: 1, UPDATE: 2, DELETE: 4 } as const;
export type JournalType = keyof typeof JOURNAL_TYPES;
export const ALL_TYPES = 7;

export interface JournalRead {
  /** First number that is wanted. */
  readonly from: number;
  /** Bounds of the answer; one event is given whatever its size. */
  readonly events: number;
  readonly bytes: number;
  /** Only this map. */
  readonly map?: string | undefined;
  readonly types: number;
  /** The gateway wants to be woken at the next event. */
  readonly wakes: boolean;
}

export interface JournalPage {
  readonly next: number;
  /** Highest number that this worker had and has no more; 0 = none. */
  readonly dropped: number;
  /** True when there is more from `next` on. */
  readonly full: boolean;
  readonly events: readonly PagedEvent[];
}

/** An event on its way to a client. */
export interface PagedEvent {
  readonly number: number;
  /** One of the bits above. */
  readonly type: number;
  readonly map: string;
  /** The event in MessagePack. */
  readonly bytes: Uint8Array;
}

export function encodeRead(read: JournalRead): Uint8Array {
  return encode(read).slice();
}

/** What this program wrote; anything else is read as "nothing". */
export function decodeRead(body: Uint8Array): JournalRead {
  const fields = dataOf(body);
  const { map } = fields;
  return {
    from: numberOf(fields.from),
    events: numberOf(fields.events),
    bytes: numberOf(fields.bytes),
    map: typeof map === 'string' ? map : undefined,
    types: numberOf(fields.types),
    wakes: fields.wakes === true,
  };
}

export function encodePage({ next, dropped, full, events }: JournalPage): Uint8Array {
  return encode({
    next,
    dropped,
    full,
    events: events.map(({ number, type, map, bytes }) => [number, type, map, bytes]),
  }).slice();
}

export function decodePage(body: Uint8Array): JournalPage {
  const { next, dropped, full, events } = dataOf(body);
  return {
    next: numberOf(next),
    dropped: numberOf(dropped),
    full: full === true,
    events: (Array.isArray(events) ? events : []).flatMap((row: unknown): PagedEvent[] => {
      const [number, type, map, bytes]: unknown[] = Array.isArray(row) ? row : [];
      return bytes instanceof Uint8Array && typeof map === 'string'
        ? [{ number: numberOf(number), type: numberOf(type), map, bytes }]
        : [];
    }),
  };
}

/** What several workers' pages say together, in order. */
export interface JoinedPage {
  /** In the order of their numbers, all below `next`. */
  readonly events: readonly PagedEvent[];
  /** First number that is not known yet. */
  readonly next: number;
  /** Highest number that some worker had and has no more. */
  readonly dropped: number;
  /** True when there is more to be read at once: a page was full, or events are held back. */
  readonly more: boolean;
}

/** Merges the pages of all workers. Events from the lowest `next` on are left out: a lower one may still come from another worker. */
export function joinPages(pages: readonly JournalPage[], eventsMax: number): JoinedPage {
  const next = Math.min(...pages.map((page) => page.next));
  const all = pages.flatMap((page) => page.events).sort((left, right) => left.number - right.number);
  const known = all.filter(({ number }) => number < next);
  const events = known.slice(0, eventsMax);
  const cut = known[eventsMax];
  return {
    events,
    next: cut === undefined ? next : cut.number,
    dropped: Math.max(...pages.map((page) => page.dropped)),
    more: events.length < all.length || pages.some((page) => page.full),
  };
}

function dataOf(body: Uint8Array): Data {
  const decoded = decode(body);
  return isData(decoded) ? decoded : {};
}

function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
