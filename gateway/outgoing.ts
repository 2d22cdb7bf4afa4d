/**
 * Frames on their way to clients: queued per session, sent together.
 *
 * A drain of the outboxes may bring a hundred acks for one connection. They leave in one cork per session and drain,
 * which costs a fifth of sending each by itself. A session that does not read is closed when its unread bytes pass the
 * bound: it repairs itself by Merkle sync when it is back. Nothing is skipped in silence.
 *
 * The places of a session's queue stay from flush to flush: an array that is emptied and filled again by the length gives its
 * memory back and takes it again, each time through the runtime.
 */
import type { CloseCause } from './connection.ts';
import type { OpAckFrames } from './op-ack.ts';
import type { Outgoing as OutgoingFrame, Session } from './session.ts';

/** Of a session, once its queue has been longer. */
const PLACES_KEPT = 128;

export class Outgoing {
  readonly #acks: OpAckFrames;
  readonly #unreadBytesMax: number;
  readonly #sessions: Session[] = [];
  /** The session whose frames are being written; so that one bound function serves all corks. */
  #current: Session | undefined;
  /** The client of the session at hand has not read all that was sent before. */
  #leftOver = false;
  framesSent = 0;
  slowConsumersClosed = 0;

  constructor(acks: OpAckFrames, unreadBytesMax: number) {
    this.#acks = acks;
    this.#unreadBytesMax = unreadBytesMax;
  }

  /** Queues a frame, or the last id of a plain ack. Bound, so that it can be handed on. */
  readonly enqueue = (session: Session, frame: OutgoingFrame): void => {
    if (!session.isOpen) return;
    session.outgoing[session.outgoingFrames++] = frame;
    if (session.queued) return;
    session.queued = true;
    this.#sessions.push(session);
  };

  /** Closes the session behind what is queued for it. */
  readonly close = (session: Session, cause: CloseCause): void => {
    if (!session.isOpen) return;
    session.closing = cause;
    if (session.queued) return;
    session.queued = true;
    this.#sessions.push(session);
  };

  /** Sends everything that is queued. */
  flush(): void {
    const sessions = this.#sessions;
    if (sessions.length === 0) return; // most frames are answered later, and emptying an array goes through the runtime
    for (let index = 0; index < sessions.length; index++) {
      const session = sessions[index] as Session;
      session.queued = false;
      if (!session.isOpen) continue;
      this.#current = session;
      if (session.outgoingFrames <= 1)
        this.#write(); // a frame alone needs no cork around it
      else session.connection.cork(this.#write);
      session.outgoingFrames = 0;
      if (session.outgoing.length > PLACES_KEPT) session.outgoing.length = 0;
      if (session.closing !== undefined) session.close(session.closing);
      else if (this.#leftOver && session.connection.bufferedBytes() > this.#unreadBytesMax) this.#closeSlow(session);
    }
    sessions.length = 0;
    this.#current = undefined;
  }

  readonly #write = (): void => {
    const session = this.#current;
    if (session === undefined) return;
    const frames = session.outgoing;
    const connection = session.connection;
    const count = session.outgoingFrames;
    let leftOver = false;
    for (let index = 0; index < count; index++) {
      const frame = frames[index] as OutgoingFrame;
      if (typeof frame !== 'number') frames[index] = 0; // a place that is kept keeps no frame
      const sent = connection.send(typeof frame === 'number' ? this.#acks.frame(frame) : frame);
      if (sent) continue;
      leftOver = true;
      if (connection.bufferedBytes() > this.#unreadBytesMax) break; // `flush` closes it, while there is room for the reason
    }
    this.#leftOver = leftOver;
    this.framesSent += count;
  };

  #closeSlow(session: Session): void {
    this.slowConsumersClosed += 1;
    session.close('SLOW_CONSUMER');
  }
}
