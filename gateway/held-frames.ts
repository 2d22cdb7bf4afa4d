/**
 * Frames that found no room, per session and in their order, until there is some.
 *
 *   no room ─▶ held ─┬─ room: handled, the oldest of a session first
 *                    ├─ more bytes than a session may hold, or all together; more frames than its class may: OVERLOADED, the
 *                    │  session is closed
 *                    └─ the oldest is too old: UNAVAILABLE, the session is closed
 *
 * Bounded in bytes and in age, so that a client learns of a server that stands still, and goes to another or waits on its
 * own side. A frame that waits because its own client does not read does not age: that client waits for itself.
 *
 * Whose turn it is: without priorities the session that has waited longest, with all that it holds. With priorities
 * sessions take turns, a frame each, and their classes by weight (engine/operation/priority.ts).
 */
import { PRIORITIES, type Priority, type PriorityWeights, WeightedTurns } from '../engine/operation/priority.ts';
import type { RingWindow } from './ring-window.ts';
import type { HeldCall, HeldFrame, Session } from './session.ts';

/** What a held frame counts beside its bytes: an array of its own costs memory even when it is empty. */
const HELD_FRAME_BYTES = 256;

/** Deals with a frame; false when there is still no room for it. */
type Process = (session: Session, held: HeldFrame) => boolean;

/** Priorities are on. */
export interface HeldClasses {
  readonly weights: PriorityWeights;
  /** Frames of one class that may wait. */
  readonly framesMax: number;
  readonly window: RingWindow;
}

export interface HeldFramesOptions {
  /** Of one session. */
  readonly bytesMax: number;
  /** Of all sessions together. */
  readonly bytesMaxOfAll: number;
  /** Of the oldest frame of a session. */
  readonly ageMaxMs: number;
  readonly classes?: HeldClasses | undefined;
}

/** Why a frame is not held. */
export type HoldRefusal = 'session-full' | 'all-full' | 'class-full';

/** What is counted for a session while it stands here: its class may change meanwhile, the counts must not. */
interface Place {
  readonly priority: Priority;
  frames: number;
  bytes: number;
  worker: number;
}

export class HeldFrames {
  /** Frames that wait; that were served after they had waited; that were refused because too many of their class wait. */
  readonly waiting: Record<Priority, number> = { high: 0, normal: 0, low: 0 };
  readonly served: Record<Priority, number> = { high: 0, normal: 0, low: 0 };
  readonly refused: Record<Priority, number> = { high: 0, normal: 0, low: 0 };
  readonly #options: HeldFramesOptions;
  readonly #turns: WeightedTurns | undefined;
  readonly #places = new Map<Session, Place>();
  #bytes = 0;

  constructor(options: HeldFramesOptions) {
    this.#options = options;
    this.#turns = options.classes && new WeightedTurns(options.classes.weights);
  }

  /** Sessions with held frames. */
  get sessions(): number {
    return this.#places.size;
  }

  /** Bytes of all held frames. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps a copy of the frame behind those of its session; answers why not when there is no room for it. */
  hold(session: Session, frame: Uint8Array, sinceMs: number, call?: HeldCall): HoldRefusal | undefined {
    const held: HeldFrame = { frame: frame.slice(), sinceMs, call };
    const bytes = bytesOf(held);
    const heldBytes = session.heldBytes + bytes;
    const isAlone = call !== undefined && session.held.length === 0; // a call may be larger than a door may hold
    if (heldBytes > this.#options.bytesMax && !isAlone) return 'session-full';
    if (this.#bytes + bytes > this.#options.bytesMaxOfAll) return 'all-full';
    const place = this.#places.get(session) ?? { priority: session.priority, frames: 0, bytes: 0, worker: -1 };
    const { classes } = this.#options;
    if (classes !== undefined && this.waiting[place.priority] >= classes.framesMax) {
      if (call?.isOfferedAgain !== true) this.refused[place.priority] += 1;
      return 'class-full';
    }
    session.held.push(held);
    session.heldBytes = heldBytes;
    this.#count(place, 1, bytes);
    this.#places.set(session, place);
    this.#waitsFor(place, session.heldFor);
    return undefined;
  }

  /** Hands the frames of each session to `process`, in order, until it answers false. `mayGoOn` spares tries in vain. */
  retry(process: Process, mayGoOn: (session: Session) => boolean): void {
    const { classes } = this.#options;
    if (this.#turns === undefined || classes === undefined) {
      for (const session of this.#places.keys()) while (this.#mayTry(session, mayGoOn) && this.#serve(session, process));
      return;
    }
    classes.window.isServing = true;
    this.#retryInTurn(this.#turns, process, mayGoOn);
    classes.window.isServing = false;
  }

  /** Sessions whose oldest frame has waited too long. While `reads` is false the client keeps itself waiting. */
  overdue(nowMs: number, reads: (session: Session) => boolean): Session[] {
    const overdue: Session[] = [];
    for (const session of this.#places.keys()) {
      const oldest = session.held[0];
      if (oldest === undefined || oldest.call !== undefined || !this.#isOverdue(oldest, nowMs)) continue;
      if (reads(session)) overdue.push(session);
      else oldest.sinceMs = nowMs;
    }
    return overdue;
  }

  /** Gives up on calls that have waited for too long. */
  expireCalls(nowMs: number): void {
    for (const session of this.#places.keys()) {
      for (let held = session.held[0]; held?.call !== undefined && this.#isOverdue(held, nowMs); held = session.held[0]) {
        this.#shift(session, held);
        held.call.expired();
      }
      if (session.held.length === 0) this.#leave(session);
    }
  }

  /** Drops all that is held for the session. */
  forget(session: Session): void {
    this.#leave(session);
    session.held.length = 0;
    session.heldBytes = 0;
  }

  #retryInTurn(turns: WeightedTurns, process: Process, mayGoOn: (session: Session) => boolean): void {
    const queues = PRIORITIES.map((): Session[] => []);
    for (const [session, { priority }] of this.#places)
      if (this.#mayTry(session, mayGoOn)) queues[PRIORITIES.indexOf(priority)]?.push(session);
    const heads = new Int32Array(PRIORITIES.length);
    const lefts = Int32Array.from(queues, (queue) => queue.length);
    lefts.forEach((left, at) => {
      if (left === 0) turns.idle(at);
    });
    for (let at = turns.next(lefts); at >= 0; at = turns.next(lefts)) {
      const queue = queues[at] ?? [];
      const session = queue[heads[at] as number] as Session;
      const oldest = session.held[0];
      const cost = oldest === undefined ? 0 : bytesOf(oldest);
      heads[at] = (heads[at] as number) + 1;
      if (this.#serve(session, process)) {
        turns.served(at, cost);
        this.#stepBack(session);
        if (this.#mayTry(session, mayGoOn)) queue.push(session);
      }
      lefts[at] = queue.length - (heads[at] as number);
    }
  }

  /** Others of its class are first at the next look. */
  #stepBack(session: Session): void {
    const place = this.#places.get(session);
    if (place === undefined) return;
    this.#places.delete(session);
    this.#places.set(session, place);
  }

  #mayTry(session: Session, mayGoOn: (session: Session) => boolean): boolean {
    if (session.held.length === 0 || !session.isOpen) this.#leave(session);
    return session.isOpen && session.held.length > 0 && mayGoOn(session);
  }

  /** Deals with the oldest frame of the session. False when there is no room for it. */
  #serve(session: Session, process: Process): boolean {
    const held = session.held[0];
    if (held === undefined) return false;
    const place = this.#places.get(session);
    if (!process(session, held)) {
      if (place !== undefined) this.#waitsFor(place, session.heldFor);
      return false;
    }
    this.#shift(session, held);
    if (place !== undefined) this.served[place.priority] += 1;
    if (session.held.length === 0) this.#leave(session);
    return true;
  }

  /** Takes the oldest frame out, unless a refusal has emptied the list. */
  #shift(session: Session, held: HeldFrame): void {
    if (session.held.shift() === undefined) return;
    const bytes = bytesOf(held);
    session.heldBytes -= bytes;
    const place = this.#places.get(session);
    if (place !== undefined) this.#count(place, -1, -bytes);
  }

  #isOverdue({ sinceMs }: HeldFrame, nowMs: number): boolean {
    return nowMs - sinceMs > this.#options.ageMaxMs;
  }

  #count(place: Place, frames: number, bytes: number): void {
    place.frames += frames;
    place.bytes += bytes;
    this.waiting[place.priority] += frames;
    this.#bytes += bytes;
  }

  #leave(session: Session): void {
    const place = this.#places.get(session);
    if (place === undefined) return;
    this.#places.delete(session);
    this.#count(place, -place.frames, -place.bytes);
    this.#waitsFor(place, -1);
  }

  #waitsFor(place: Place, worker: number): void {
    const { classes } = this.#options;
    if (classes === undefined || place.worker === worker) return;
    classes.window.waits(place.worker, -1);
    classes.window.waits(worker, 1);
    place.worker = worker;
  }
}

function bytesOf({ frame, call }: HeldFrame): number {
  return HELD_FRAME_BYTES + (call?.bytes ?? frame.length);
}
