/** What an administrator may know of a session: who, since when, how far its clock is off, what waits for it. No data. */
import type { Session } from './session.ts';

export interface SessionFacts {
  readonly gateway: number;
  readonly id: number;
  /** Subject of its token; null without authentication, or before it. */
  readonly subject: string | null;
  readonly state: string;
  readonly openedMsAgo: number;
  readonly seenMsAgo: number;
  /** Its clock minus the server's at its last PING that said the time, ms; includes the way here. Null before one. */
  readonly clockSkewMs: number | null;
  /** Bytes sent to it that it has not read. */
  readonly unreadBytes: number;
  /** Bytes of its frames that wait for room in a ring. */
  readonly heldBytes: number;
  readonly openCalls: number;
}

/** Most sessions that one gateway tells. */
export const SESSION_FACTS_MAX = 10_000;

export function factsOf(gateway: number, session: Session, nowMs: number): SessionFacts {
  return {
    gateway,
    id: session.id,
    subject: session.principal?.id ?? null,
    state: session.state,
    openedMsAgo: Math.round(nowMs - session.openedMs),
    seenMsAgo: Math.round(nowMs - session.lastSeenMs),
    clockSkewMs: Number.isNaN(session.clockSkewMs) ? null : Math.round(session.clockSkewMs),
    unreadBytes: session.connection.bufferedBytes(),
    heldBytes: session.heldBytes,
    openCalls: session.openCalls,
  };
}
