/**
 * Frames that found no room, per session and in their order, until there is some.
 *
 *   no room ─▶ held ─┬─ room: handled, the oldest first
 *                    ├─ more bytes than a session may hold: OVERLOADED, the session is closed
 *                    └─ the oldest is too old: UNAVAILABLE, the session is closed
 *
 * Bounded in bytes and in age, so that a client learns of a server that stands still, and goes to another or waits on its
 * own side. A frame that waits because its own client does not read does not age: that client waits for itself.
 */
import type { HeldFrame, Session } from './session.ts';

/** What a held frame counts beside its bytes: an array of its own costs memory even when it is empty. */
const HELD_FRAME_BYTES = 256;

export class HeldFrames {
  readonly #bytesMax: number;
  readonly #ageMaxMs: number;
  readonly #sessions = new Set<Session>();

  /** @param bytesMax of one session. @param ageMaxMs of the oldest frame of a session. */
  constructor(bytesMax: number, ageMaxMs: number) {
    this.#bytesMax = bytesMax;
    this.#ageMaxMs = ageMaxMs;
  }

  /** Sessions with held frames. */
  get sessions(): ReadonlySet<Session> {
    return this.#sessions;
  }

  /** Keeps a copy of the frame behind those of its session. False when the session may not hold that much. */
  hold(session: Session, frame: Uint8Array, sinceMs: number): boolean {
    const heldBytes = session.heldBytes + frame.length + HELD_FRAME_BYTES;
    if (heldBytes > this.#bytesMax) return false;
    session.held.push({ frame: frame.slice(), sinceMs });
    session.heldBytes = heldBytes;
    this.#sessions.add(session);
    return true;
  }

  /** Hands the frames of each session to `process`, in order, until it answers false. `mayGoOn` spares tries in vain. */
  retry(process: (session: Session, held: HeldFrame) => boolean, mayGoOn: (session: Session) => boolean): void {
    for (const session of this.#sessions) {
      while (session.isOpen && session.held.length > 0 && mayGoOn(session)) {
        const held = session.held[0] as HeldFrame;
        if (!process(session, held)) break;
        // A refusal empties the list itself.
        if (session.held.shift() !== undefined) session.heldBytes -= held.frame.length + HELD_FRAME_BYTES;
      }
      if (session.held.length === 0 || !session.isOpen) this.#sessions.delete(session);
    }
  }

  /** Sessions whose oldest frame has waited too long. While `reads` is false the client keeps itself waiting. */
  overdue(nowMs: number, reads: (session: Session) => boolean): Session[] {
    const overdue: Session[] = [];
    for (const session of this.#sessions) {
      const oldest = session.held[0];
      if (oldest === undefined || nowMs - oldest.sinceMs <= this.#ageMaxMs) continue;
      if (reads(session)) overdue.push(session);
      else oldest.sinceMs = nowMs;
    }
    return overdue;
  }

  /** Drops all that is held for the session. */
  forget(session: Session): void {
    this.#sessions.delete(session);
    session.held.length = 0;
    session.heldBytes = 0;
  }
}
