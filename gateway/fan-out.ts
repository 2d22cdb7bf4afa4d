/**
 * Change events to the sessions that listen: encoded once by the worker, framed once here, sent to many.
 *
 *   events of one drain ─┬─ to every broadcast session: one frame for all of them, save for those that wrote some, or have policies
 *                        └─ to sessions by interest: one frame per map, made when the first session needs it
 *
 * One event travels as SERVER_EVENT, several as SERVER_BATCH_EVENT. The writer of a change does not get it back.
 *
 * Workers read how many sessions listen to all maps, and take the writer off where an op says that it is one of them. So a
 * session that leaves while ops of its are on their way stays counted until they are done: else the last other listener
 * would be taken for the writer, and miss the change.
 */
import { EVENT_ROW, EVENT_ROW_WORDS } from '../engine/protocol/envelope.ts';
import { MessageWriter } from '../engine/protocol/msgpack-writer.ts';
import type { RingMemory } from '../engine/protocol/envelope.ts';
import { mapNameOf } from './event-map.ts';
import { ALLOWED, type GrantScope, READ } from './grant-scope.ts';
import type { MapNames } from './map-names.ts';
import type { Session } from './session.ts';

/** A larger batch of events is cut into several frames. */
const FRAME_BYTES_MAX = 1024 * 1024;

/** Queues a frame for a session. */
export type Enqueue = (session: Session, frame: Uint8Array) => void;

/** Told when the first session of this gateway begins, or the last one ends, to listen to a map. */
export type OnInterest = (mapId: number, wanted: boolean) => void;

export class FanOut {
  readonly #broadcast = new Set<Session>();
  readonly #byMap = new Map<number, Set<Session>>();
  /** One moment per session that left with ops on their way. */
  #leaving: number[] = [];
  readonly #enqueue: Enqueue;
  readonly #maps: MapNames;
  readonly #onInterest: OnInterest;
  readonly #onBroadcastCount: (count: number) => void;
  readonly #writer = new MessageWriter();
  /** Events delivered, counted per session. */
  delivered = 0;

  constructor(enqueue: Enqueue, maps: MapNames, onInterest: OnInterest, onBroadcastCount: (count: number) => void) {
    this.#enqueue = enqueue;
    this.#maps = maps;
    this.#onInterest = onInterest;
    this.#onBroadcastCount = onBroadcastCount;
  }

  /** A session is ready: from now on it gets events, of all maps or of those it asks for. */
  join(session: Session): void {
    if (session.byInterest) return;
    session.hearsAll = true;
    this.#broadcast.add(session);
    this.#tellCount();
  }

  /** Sessions that left are no longer counted once their ops are done. */
  sweep(nowMs: number): void {
    if (this.#leaving.length === 0) return;
    this.#leaving = this.#leaving.filter((untilMs) => untilMs > nowMs);
    this.#tellCount();
  }

  /** The maps that some session listens to by name. */
  wantedMaps(): IterableIterator<number> {
    return this.#byMap.keys();
  }

  /** True when the session gets events of every map. */
  isBroadcast(session: Session): boolean {
    return session.hearsAll;
  }

  /** A session by interest synced or queried a map. */
  listen(session: Session, mapId: number): void {
    if (!session.byInterest || session.interests.has(mapId)) return;
    session.interests.add(mapId);
    let sessions = this.#byMap.get(mapId);
    if (sessions === undefined) {
      sessions = new Set();
      this.#byMap.set(mapId, sessions);
      this.#onInterest(mapId, true);
    }
    sessions.add(session);
  }

  /** @param writesUntilMs when the last op of the session on its way is done at the latest, on the clock of `sweep`; 0 = there is none. */
  leave(session: Session, writesUntilMs: number): void {
    session.hearsAll = false;
    if (this.#broadcast.delete(session)) {
      if (writesUntilMs > 0) this.#leaving.push(writesUntilMs);
      this.#tellCount();
    }
    for (const mapId of session.interests) {
      const sessions = this.#byMap.get(mapId);
      sessions?.delete(session);
      if (sessions?.size !== 0) continue;
      this.#byMap.delete(mapId);
      this.#onInterest(mapId, false);
    }
  }

  #tellCount(): void {
    this.#onBroadcastCount(this.#broadcast.size + this.#leaving.length);
  }

  /** Sends `count` events whose rows begin at `rowsWord` of `memory` and whose bytes count from `bodyAt`. */
  deliver(memory: RingMemory, rowsWord: number, count: number, bodyAt: number): void {
    const events = new EventList(memory, rowsWord, count, bodyAt);
    this.#deliverToAll(events);
    if (this.#byMap.size > 0) this.#deliverByInterest(events);
  }

  #deliverToAll(events: EventList): void {
    if (this.#broadcast.size === 0) return;
    const origins = events.origins();
    const all = events.all();
    let shared: Uint8Array[] | undefined;
    for (const session of this.#broadcast) {
      const { guard } = session.access;
      if (guard !== undefined || origins.has(session.id)) {
        const others = all.filter((event) => events.origin(event) !== session.id);
        this.#send(session, events, guard === undefined ? others : others.filter((event) => this.#mayRead(guard, events, event)));
        continue;
      }
      shared ??= this.#frames(events, all);
      for (const frame of shared) this.#enqueue(session, frame);
      this.delivered += all.length;
    }
  }

  #deliverByInterest(events: EventList): void {
    for (const [mapId, ofMap] of events.byMap()) {
      const sessions = this.#byMap.get(mapId);
      if (sessions === undefined) continue;
      const origins = events.origins();
      let shared: Uint8Array[] | undefined;
      for (const session of sessions) {
        const { guard } = session.access;
        if (guard !== undefined && guard.decideMap(READ, mapId, this.#maps) !== ALLOWED) continue; // by row: security-desk.ts
        if (origins.has(session.id)) {
          this.#send(
            session,
            events,
            ofMap.filter((event) => events.origin(event) !== session.id),
          );
          continue;
        }
        shared ??= this.#frames(events, ofMap);
        for (const frame of shared) this.#enqueue(session, frame);
        this.delivered += ofMap.length;
      }
    }
  }

  /** A map that this gateway has no number for is known by the name in its event. Rows that decide are judged by workers. */
  #mayRead(guard: GrantScope, events: EventList, event: number): boolean {
    const mapId = events.mapId(event);
    if (mapId > 0) return guard.decideMap(READ, mapId, this.#maps) === ALLOWED;
    const start = events.start(event);
    return guard.decideName(READ, mapNameOf(events.source.subarray(start, start + events.bytes(event)))) === ALLOWED;
  }

  #send(session: Session, events: EventList, chosen: readonly number[]): void {
    if (chosen.length === 0) return;
    for (const frame of this.#frames(events, chosen)) this.#enqueue(session, frame);
    this.delivered += chosen.length;
  }

  #frames(events: EventList, chosen: readonly number[]): Uint8Array[] {
    const frames: Uint8Array[] = [];
    let from = 0;
    while (from < chosen.length) {
      let to = from;
      let bytes = 0;
      while (to < chosen.length && (to === from || bytes + events.bytes(chosen[to] as number) <= FRAME_BYTES_MAX)) {
        bytes += events.bytes(chosen[to] as number);
        to += 1;
      }
      frames.push(this.#frame(events, chosen.slice(from, to)));
      from = to;
    }
    return frames;
  }

  #frame(events: EventList, chosen: readonly number[]): Uint8Array {
    const out = this.#writer;
    out.reset();
    out.mapHeader(2);
    out.string('type');
    out.string(chosen.length === 1 ? 'SERVER_EVENT' : 'SERVER_BATCH_EVENT');
    out.string('payload');
    if (chosen.length > 1) {
      out.mapHeader(1);
      out.string('events');
      out.arrayHeader(chosen.length);
    }
    for (const event of chosen) out.raw(events.source, events.start(event), events.bytes(event));
    return out.bytes.slice(0, out.length);
  }
}

/** The events of one record, read in place. */
class EventList {
  readonly source: Uint8Array;
  readonly #words: Int32Array;
  readonly #rowsWord: number;
  readonly #count: number;
  readonly #bodyAt: number;
  #origins: Set<number> | undefined;

  constructor(memory: RingMemory, rowsWord: number, events: number, bodyAt: number) {
    this.source = memory.bytes;
    this.#words = memory.words;
    this.#rowsWord = rowsWord;
    this.#count = events;
    this.#bodyAt = bodyAt;
  }

  origin(event: number): number {
    return this.#word(event, EVENT_ROW.ORIGIN);
  }

  mapId(event: number): number {
    return this.#word(event, EVENT_ROW.MAP_ID);
  }

  start(event: number): number {
    return this.#bodyAt + this.#word(event, EVENT_ROW.START);
  }

  bytes(event: number): number {
    return this.#word(event, EVENT_ROW.BYTES);
  }

  all(): number[] {
    return Array.from({ length: this.#count }, (_, event) => event);
  }

  origins(): Set<number> {
    if (this.#origins === undefined) {
      this.#origins = new Set();
      for (let event = 0; event < this.#count; event++) this.#origins.add(this.origin(event));
    }
    return this.#origins;
  }

  byMap(): Map<number, number[]> {
    const byMap = new Map<number, number[]>();
    for (let event = 0; event < this.#count; event++) {
      const mapId = this.#word(event, EVENT_ROW.MAP_ID);
      const events = byMap.get(mapId);
      if (events === undefined) byMap.set(mapId, [event]);
      else events.push(event);
    }
    return byMap;
  }

  #word(event: number, word: number): number {
    return this.#words[this.#rowsWord + event * EVENT_ROW_WORDS + word] as number;
  }
}
