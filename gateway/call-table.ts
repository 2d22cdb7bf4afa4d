/**
 * Calls under way: a batch of ops, or a question to several workers, until every worker has answered.
 *
 *   slot      one number per column; open calls of a session are linked in the order they came
 *   call id   generation << 18 | slot, so that a late answer to a slot that was used again is told apart
 *   waiting   one bit per worker that has not answered; an answer given twice changes nothing
 *
 * The ack rule: `lastId` is the highest id such that every op of the connection up to it was handled. Calls of one
 * session mostly end in their order, and then it is the call's own highest id; a call that ends before an older one
 * reports its ops one by one instead.
 */
import { broken } from '../engine/assert.ts';
import type { CallScope } from '../engine/operation/interceptors/event-listener.ts';
import type { OperationType } from '../engine/operation/operation.ts';
import type { AskedLevels } from './asked-levels.ts';
import type { Session } from './session.ts';

const SLOT_BITS = 18;
const SLOT_MASK = (1 << SLOT_BITS) - 1;
const GENERATION_MAX = 1 << 12;

/** Most calls under way at once in a gateway. */
export const CALLS_MAX = 1 << 16;
/** Most of them for one session; its further frames wait. */
export const SESSION_CALLS_MAX = 1 << 12;

/** What must be remembered of a batch whose answer is not the plain one. */
export interface BatchDetails {
  /** Id of each op of the frame at its ordinal, '' where it had none; undefined: they rise by one from the batch's lowest. */
  readonly ids: readonly string[] | undefined;
  /** Refused ops: ordinal → error number. */
  readonly rejected: Map<number, number>;
  /** Ordinal → what is wrong with the refused op, where more is known than its error number says. */
  readonly refusals: Map<number, string>;
  /** The durability levels asked for, when the batch or an op of it names one. */
  levels: AskedLevels | undefined;
}

/** Called when a call's last answer is in, or it is given up. */
export interface Gather {
  /** One worker's answer. `body` is valid during the call only. */
  answered(worker: number, error: number, body: Uint8Array): void;
  /**
   * Asked first for an answer that is no error: takes `source[start, end)`, which is valid during the call only, without a copy made for
   * it. False, or left out: it is to come by `answered`.
   */
  take?(worker: number, source: Uint8Array, start: number, end: number): boolean;
  /** All answers are in. */
  complete(): void;
  /** The deadline passed. */
  expired(): void;
}

export class CallTable implements CallScope {
  readonly waiting = new Int32Array(CALLS_MAX);
  readonly deadlineMs = new Float64Array(CALLS_MAX);
  /** Lowest and highest numeric id of the batch; 0 = none. */
  readonly lowId = new Float64Array(CALLS_MAX);
  readonly highId = new Float64Array(CALLS_MAX);
  readonly ops = new Int32Array(CALLS_MAX);
  readonly sessions: (Session | undefined)[] = [];
  readonly details: (BatchDetails | undefined)[] = [];
  readonly gathers: (Gather | undefined)[] = [];
  /** What each call is for, and since when: as the scope says that it is begun in. */
  readonly operations: (OperationType | undefined)[] = [];
  readonly sinceMs = new Float64Array(CALLS_MAX);
  /** Told of each call that has ended, unless its session has gone. */
  onEnd: ((slot: number) => void) | undefined;
  #operation: OperationType | undefined;
  #nowMs = 0;
  #hasBegun = false;
  readonly #generations = new Int32Array(CALLS_MAX);
  readonly #newer = new Int32Array(CALLS_MAX).fill(-1);
  readonly #older = new Int32Array(CALLS_MAX).fill(-1);
  readonly #free = new Int32Array(CALLS_MAX);
  #freeCount = 0;
  #used = 0;
  #open = 0;

  enter(type: OperationType, nowMs: number): void {
    this.#operation = type;
    this.#nowMs = nowMs;
  }

  leave(): boolean {
    this.#operation = undefined;
    const hasBegun = this.#hasBegun;
    this.#hasBegun = false;
    return hasBegun;
  }

  /** Calls under way. */
  get open(): number {
    return this.#open;
  }

  /** A slot for a call of `session`, or -1 when the table is full or the session has as many calls as it may. */
  claim(session: Session, deadlineMs: number): number {
    if (session.openCalls >= SESSION_CALLS_MAX) return -1;
    const slot = this.#freeCount > 0 ? (this.#free[--this.#freeCount] as number) : this.#used < CALLS_MAX ? this.#used++ : -1;
    if (slot < 0) return -1;
    this.#generations[slot] = ((this.#generations[slot] as number) % (GENERATION_MAX - 1)) + 1;
    this.#open += 1;
    session.openCalls += 1;
    this.waiting[slot] = 0;
    this.deadlineMs[slot] = deadlineMs;
    this.lowId[slot] = 0;
    this.highId[slot] = 0;
    this.ops[slot] = 0;
    this.sessions[slot] = session;
    this.details[slot] = undefined;
    this.gathers[slot] = undefined;
    this.operations[slot] = this.#operation;
    this.sinceMs[slot] = this.#nowMs;
    this.#hasBegun = true;
    this.#link(session, slot);
    return slot;
  }

  /** Says which numeric ids the batch in `slot` has (0 = none), and how many ops. */
  describe(slot: number, lowId: number, highId: number, ops: number): void {
    this.lowId[slot] = lowId;
    this.highId[slot] = highId;
    this.ops[slot] = ops;
    const session = this.sessions[slot];
    if (lowId === 0 || session === undefined) return;
    if (lowId < session.newestLowId) session.lowIdsRise = false;
    else session.newestLowId = lowId;
  }

  callId(slot: number): number {
    return ((this.#generations[slot] as number) << SLOT_BITS) | slot;
  }

  /** The slot of a call id that is still under way, or -1. */
  slotOf(callId: number): number {
    const slot = callId & SLOT_MASK;
    if (slot >= this.#used || this.sessions[slot] === undefined) return -1;
    return (this.#generations[slot] as number) === callId >>> SLOT_BITS ? slot : -1;
  }

  /** Ends a call. */
  release(slot: number): void {
    if (this.onEnd !== undefined) this.onEnd(slot);
    this.#vacate(slot);
  }

  /** Takes back a claim of which nothing has come. */
  giveBack(slot: number): void {
    this.#hasBegun = false;
    this.#vacate(slot);
  }

  #vacate(slot: number): void {
    const session = this.sessions[slot];
    if (session === undefined) broken(`call slot ${slot} released twice`);
    this.#unlink(session, slot);
    this.sessions[slot] = undefined;
    this.details[slot] = undefined;
    this.gathers[slot] = undefined;
    this.#free[this.#freeCount++] = slot;
    this.#open -= 1;
    session.openCalls -= 1;
  }

  /**
   * Notes that the batch in `slot` is handled and ends it. Returns the `lastId` to acknowledge (0 = none). When it is
   * lower than the batch's highest id, an older batch is open and the ops beyond must be named in `results`.
   */
  settle(slot: number): number {
    const session = this.sessions[slot];
    if (session === undefined) broken(`call slot ${slot} settled twice`);
    const highId = this.highId[slot] as number;
    const lowId = this.lowId[slot] as number;
    const isDense = this.details[slot] === undefined;
    this.release(slot);
    if (highId > session.handledId) session.handledId = highId;
    if (session.oldestCall < 0) {
      session.ackedId = session.handledId;
      if (session.handledBeyond.length > 0) session.handledBeyond.length = 0;
      return session.ackedId;
    }
    const lowestOpen = this.#lowestOpenId(session);
    if (session.handledId < lowestOpen) session.ackedId = session.handledId;
    else this.#settleBeyond(session, lowestOpen, lowId, highId, isDense);
    return session.ackedId;
  }

  /** An older batch with `lowestOpen` in it is not answered yet: acknowledges what is handled below that id. */
  #settleBeyond(session: Session, lowestOpen: number, lowId: number, highId: number, isDense: boolean): void {
    const beyond = session.handledBeyond;
    if (highId > 0) beyond.push(highId);
    if (isDense && lowId > 0 && lowId < lowestOpen && highId >= lowestOpen) beyond.push(lowestOpen - 1);
    let kept = 0;
    for (const id of beyond) {
      if (id >= lowestOpen) beyond[kept++] = id;
      else if (id > session.ackedId) session.ackedId = id;
    }
    beyond.length = kept;
  }

  /** Ends every call of a session that is gone. */
  abandon(session: Session): void {
    while (session.oldestCall >= 0) this.#vacate(session.oldestCall);
  }

  /** Calls `visit` with the slots whose deadline has passed. */
  forEachExpired(nowMs: number, visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.#used; slot++) {
      if (this.sessions[slot] !== undefined && (this.deadlineMs[slot] as number) < nowMs) visit(slot);
    }
  }

  /** The oldest batch with ids has the lowest one, unless the client sent its ids out of their order. */
  #lowestOpenId(session: Session): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (let slot = session.oldestCall; slot >= 0; slot = this.#newer[slot] as number) {
      const id = this.lowId[slot] as number;
      if (id === 0) continue;
      if (id < lowest) lowest = id;
      if (session.lowIdsRise) break;
    }
    return lowest;
  }

  #link(session: Session, slot: number): void {
    this.#older[slot] = session.newestCall;
    this.#newer[slot] = -1;
    if (session.newestCall >= 0) this.#newer[session.newestCall] = slot;
    else this.#linkFirst(session, slot);
    session.newestCall = slot;
  }

  #linkFirst(session: Session, slot: number): void {
    session.oldestCall = slot;
    session.newestLowId = 0;
    session.lowIdsRise = true;
  }

  #unlink(session: Session, slot: number): void {
    const older = this.#older[slot] as number;
    const newer = this.#newer[slot] as number;
    if (older >= 0) this.#newer[older] = newer;
    else session.oldestCall = newer;
    if (newer >= 0) this.#older[newer] = older;
    else session.newestCall = older;
  }
}
