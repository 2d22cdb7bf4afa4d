/**
 * What a gateway knows of the locks of its sessions: what they asked for, and what they hold. It is told to a worker that is replaced.
 *
 *   asked     request id → the question, until it is granted or the client has given up
 *   held      name → token, until it is released or its time is over
 */
import { waitMsOf } from '../engine/domains/coordination/lock-table.ts';
import type { Session } from './session.ts';

export interface AskedLock {
  readonly requestId: string;
  readonly name: string;
  readonly ttlMs: number | undefined;
  /** When the client gives up, ms of the gateway's clock. */
  readonly givesUpAtMs: number;
}

export interface KeptLock {
  readonly token: number;
  /** Infinity: it does not end by itself. */
  readonly expiresAtMs: number;
}

export interface SessionLocks {
  readonly asked: Map<string, AskedLock>;
  readonly held: Map<string, KeptLock>;
}

export class LocksBySession {
  readonly #bySession = new Map<Session, SessionLocks>();

  of(session: Session): SessionLocks | undefined {
    return this.#bySession.get(session);
  }

  all(): IterableIterator<[Session, SessionLocks]> {
    return this.#bySession.entries();
  }

  ask(session: Session, requestId: string, name: string, ttlMs: number | undefined, nowMs: number): void {
    const locks = this.#bySession.get(session) ?? { asked: new Map(), held: new Map() };
    this.#bySession.set(session, locks);
    locks.asked.set(requestId, { requestId, name, ttlMs, givesUpAtMs: nowMs + waitMsOf(ttlMs) });
  }

  forget(session: Session): void {
    this.#bySession.delete(session);
  }

  /** Forgets what clients have given up and what has ended by time. */
  sweep(nowMs: number): void {
    for (const [session, { asked, held }] of this.#bySession) {
      for (const [requestId, { givesUpAtMs }] of asked) if (givesUpAtMs <= nowMs) asked.delete(requestId);
      for (const [name, { expiresAtMs }] of held) if (expiresAtMs <= nowMs) held.delete(name);
      if (asked.size + held.size === 0) this.#bySession.delete(session);
    }
  }
}
