/**
 * Locks at a gateway.
 *
 *   LOCK_REQUEST ─▶ the owner of the name ─▶ PUSH granted(token) ─▶ FENCE to every worker ─ all have logged it ─▶ LOCK_GRANTED
 *   LOCK_RELEASE ─▶ the owner of the name ─▶ LOCK_RELEASED
 *
 * A request that is not granted gets no answer at all: the client takes any for a lock that it holds (docs/PROTOCOL.md §8.2). It only
 * ever hears ERROR, which it logs: too many locks. A grant that cannot be fenced, or that comes when the client has given up or may not
 * have it any more, is given back.
 *
 * When a worker is replaced, the gateway tells the new one what its sessions hold and wait for: they keep both.
 */
import { assert } from '../engine/assert.ts';
import {
  decodeGrant,
  encodeAsk,
  encodeRoll,
  encodeToken,
  type GrantTold,
  type LockRoll,
} from '../engine/domains/coordination/lock-bodies.ts';
import { YES } from '../engine/domains/coordination/lock-service.ts';
import { isTopicName } from '../engine/domains/messaging/topic-name.ts';
import type { CallStatus } from '../engine/operation/operation.ts';
import { fnv1a, partitionOf } from '../engine/partition/hash.ts';
import { encode } from '../engine/protocol/codec.ts';
import type { LockReleaseMessage, LockRequestMessage } from '../engine/protocol/coordination-messages.ts';
import {
  CALL_NONE,
  PUSH_LOCK_GRANTED,
  REQUEST_FENCE,
  REQUEST_LOCK,
  REQUEST_LOCK_RELEASE,
  REQUEST_LOCK_ROLL,
} from '../engine/protocol/envelope.ts';
import { ERROR_CODES, GridError } from '../engine/protocol/errors.ts';
import type { ClientMessage } from '../engine/protocol/messages.ts';
import type { Gather } from './call-table.ts';
import type { Desk, DeskContext } from './desk.ts';
import type { Session } from './session.ts';
import { LocksBySession } from './session-locks.ts';

/** Locks in one record, when a replaced worker is told of all. */
const LOCKS_PER_RECORD = 500;

/** A grant that not every worker has logged yet. */
interface Unfenced {
  readonly session: Session;
  readonly grant: GrantTold;
  readonly givesUpAtMs: number;
}

export class LockDesk implements Desk {
  readonly types = ['LOCK_REQUEST', 'LOCK_RELEASE'] as const;
  readonly pushKinds: readonly number[] = [PUSH_LOCK_GRANTED];
  /** Locks granted to sessions here, and grants given back. */
  granted = 0;
  givenBack = 0;
  readonly #context: DeskContext;
  /** Sends what was queued: a grant comes from a promise, outside of any turn. */
  readonly #flush: () => void;
  readonly #locks = new LocksBySession();
  /** Grants that a worker which was away could not fence. */
  #unfenced: Unfenced[] = [];

  constructor(context: DeskContext, flush: () => void) {
    this.#context = context;
    this.#flush = flush;
  }

  ask(session: Session, message: ClientMessage): CallStatus {
    if (message.type === 'LOCK_REQUEST') return this.#request(session, message);
    return message.type === 'LOCK_RELEASE' ? this.#release(session, message) : 'VOID';
  }

  pushed(worker: number, session: Session | undefined, kind: number, body: Uint8Array): void {
    assert(kind === PUSH_LOCK_GRANTED, `push of kind ${kind}`);
    if (session === undefined) return; // its worker is told that it is gone
    const grant = decodeGrant(body);
    const { nowMs } = this.#context.clock;
    const locks = this.#locks.of(session);
    const asked = locks?.asked.get(grant.requestId);
    if (locks === undefined || asked === undefined || asked.givesUpAtMs <= nowMs) {
      if (locks?.held.get(grant.name)?.token !== grant.token) this.#giveBack(worker, session, grant);
      return;
    }
    locks.held.set(grant.name, { token: grant.token, expiresAtMs: nowMs + grant.remainingMs });
    void this.#fence({ session, grant, givesUpAtMs: asked.givesUpAtMs });
  }

  closed(session: Session): void {
    this.#locks.forget(session);
  }

  tick(nowMs: number): void {
    this.#locks.sweep(nowMs);
    for (const unfenced of this.#unfenced.splice(0)) void this.#fence(unfenced);
  }

  workerReplaced(worker: number): void {
    const { nowMs } = this.#context.clock;
    let held: LockRoll['held'][number][] = [];
    let waiting: LockRoll['waiting'][number][] = [];
    const tell = (isLast: boolean): void => {
      this.#tell(worker, REQUEST_LOCK_ROLL, 0, encodeRoll({ held, waiting, isLast }));
      held = [];
      waiting = [];
    };
    for (const [{ id: session }, locks] of this.#locks.all()) {
      for (const [name, { token, expiresAtMs }] of locks.held) {
        if (this.#ownerOf(name) === worker && expiresAtMs > nowMs)
          held.push({ session, name, token, remainingMs: expiresAtMs - nowMs });
      }
      for (const { requestId, name, ttlMs } of locks.asked.values()) {
        if (this.#ownerOf(name) === worker) waiting.push({ session, requestId, name, ttlMs });
      }
      if (held.length + waiting.length >= LOCKS_PER_RECORD) tell(false);
    }
    tell(true);
  }

  #request(session: Session, { requestId, name, ttlMs }: LockRequestMessage): CallStatus {
    if (!isTopicName(name)) return 'VOID';
    const worker = this.#ownerOf(name);
    if (!this.#context.links.takesOf(session, worker)) return 'HELD';
    const onError = (error: number): void => {
      this.#locks.of(session)?.asked.delete(requestId);
      this.#refuse(session, error, 'lock');
    };
    const body = encodeAsk({ requestId, name, ttlMs });
    if (!this.#context.calls.ask(session, REQUEST_LOCK, [worker], () => body, new OneAnswer(() => {}, onError))) return 'HELD';
    session.leavesTraces = true;
    this.#locks.ask(session, requestId, name, ttlMs, this.#context.clock.nowMs);
    return 'WAIT';
  }

  #release(session: Session, { requestId, name, fencingToken: token }: LockReleaseMessage): CallStatus {
    if (token === undefined || !isTopicName(name)) {
      this.#sendReleased(session, requestId, name, false);
      return 'RESPONSE';
    }
    const worker = this.#ownerOf(name);
    if (!this.#context.links.takesOf(session, worker)) return 'HELD';
    const body = encodeToken({ name, token });
    const onAnswer = (success: boolean): void => this.#sendReleased(session, requestId, name, success);
    const onError = (error: number): void => this.#refuse(session, error, 'release of a lock');
    if (!this.#context.calls.ask(session, REQUEST_LOCK_RELEASE, [worker], () => body, new OneAnswer(onAnswer, onError)))
      return 'HELD';
    const locks = this.#locks.of(session);
    if (locks?.held.get(name)?.token === token) locks.held.delete(name);
    return 'WAIT';
  }

  /** Tells every worker of the token; when all have logged it, the client holds the lock. */
  async #fence(unfenced: Unfenced): Promise<void> {
    const { session, grant, givesUpAtMs } = unfenced;
    const { clock, calls } = this.#context;
    try {
      const body = encodeToken(grant);
      const answers = await calls.request(REQUEST_FENCE, calls.everyone, () => body);
      if (answers.every(([answer]) => answer?.[0] === YES)) this.#sendGranted(session, grant);
      // It has ended by time, and somebody has it under a newer token; or the token is so old that workers have forgotten whose it is.
      else this.#giveBack(this.#ownerOf(grant.name), session, grant);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      if (session.isOpen && clock.nowMs < givesUpAtMs && error.retryable) this.#unfenced.push(unfenced);
      else this.#giveBack(this.#ownerOf(grant.name), session, grant);
    }
  }

  #sendGranted(session: Session, grant: GrantTold): void {
    const { requestId, name, token } = grant;
    const locks = this.#locks.of(session);
    if (!session.isOpen || locks?.held.get(name)?.token !== token) return; // gone, released or over meanwhile
    locks.asked.delete(requestId);
    if (!session.access.may('lock', name)) return this.#giveBack(this.#ownerOf(name), session, grant); // it might when it asked
    this.granted += 1;
    this.#send(session, { type: 'LOCK_GRANTED', payload: { requestId, name, fencingToken: token } });
    this.#flush();
  }

  #giveBack(worker: number, session: Session, { name, token }: GrantTold): void {
    const held = this.#locks.of(session)?.held;
    if (held?.get(name)?.token === token) held.delete(name);
    this.givenBack += 1;
    this.#tell(worker, REQUEST_LOCK_RELEASE, session.id, encodeToken({ name, token }));
  }

  #sendReleased(session: Session, requestId: string, name: string, success: boolean): void {
    this.#send(session, { type: 'LOCK_RELEASED', payload: { requestId, name, success } });
  }

  #send(session: Session, message: object): void {
    if (session.isOpen) this.#context.enqueue(session, encode(message).slice());
  }

  #refuse(session: Session, error: number, what: string): void {
    const code = ERROR_CODES[error] ?? 'UNAVAILABLE';
    if (session.isOpen) this.#context.sendError(session, new GridError(code, '').status, `${code}: ${what} refused`);
  }

  #tell(worker: number, kind: number, session: number, body: Uint8Array): void {
    this.#context.links.request(worker, CALL_NONE, session, kind, body, Number.NaN);
  }

  #ownerOf(name: string): number {
    return this.#context.links.table.ownerOf(partitionOf(fnv1a(name)));
  }
}

/** The answer of one worker: yes or no, or an error number. */
class OneAnswer implements Gather {
  readonly #onAnswer: (isYes: boolean) => void;
  readonly #onError: (error: number) => void;
  #error = -1;
  #isYes = false;

  constructor(onAnswer: (isYes: boolean) => void, onError: (error: number) => void) {
    this.#onAnswer = onAnswer;
    this.#onError = onError;
  }

  answered(_worker: number, error: number, body: Uint8Array): void {
    this.#error = error;
    this.#isYes = body[0] === YES;
  }

  complete(): void {
    if (this.#error >= 0) this.#onError(this.#error);
    else this.#onAnswer(this.#isYes);
  }

  expired(): void {
    this.#onError(ERROR_CODES.indexOf('DEADLINE_EXCEEDED'));
  }
}
