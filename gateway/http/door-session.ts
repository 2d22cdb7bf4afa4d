/**
 * A session without a WebSocket: what comes by HTTP is said to the gateway in frames, and its frames are read here.
 *
 * So the ops of POST /sync and the subscriptions of GET /events go the way of all others: authentication, rate, policies,
 * rings, log, levels, bounds of unread bytes.
 */
import { type Data, decode, encode, isData } from '../../engine/protocol/codec.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { Principal } from '../authentication.ts';
import type { Connection } from '../connection.ts';
import type { Session } from '../session.ts';
import type { HttpDoor } from './http-door.ts';

export interface DoorEvents {
  /** A frame of the gateway, decoded. */
  message(message: Data): void;
  /** The gateway closes the session. */
  ended(code: number, reason: string): void;
  /** Bytes that whoever reads has not taken yet. */
  bufferedBytes(): number;
}

export class DoorSession implements Connection {
  readonly #door: HttpDoor;
  readonly #events: DoorEvents;
  readonly #session: Session;
  #isOpen = true;

  /** Throws GridError OVERLOADED when there are as many sessions as may be. */
  constructor(door: HttpDoor, principal: Principal | undefined, events: DoorEvents) {
    this.#door = door;
    this.#events = events;
    const session = door.open(this, principal);
    if (session === undefined) throw new GridError('OVERLOADED', 'too many connections');
    this.#session = session;
  }

  /** Says a message to the gateway. */
  say(message: object): void {
    this.sayFrame(encode(message));
  }

  sayFrame(frame: Uint8Array): void {
    if (this.#isOpen) this.#door.say(this.#session, frame);
  }

  /** It is alive: a gateway closes sessions that say nothing. */
  ping(): void {
    this.#session.lastSeenMs = performance.now();
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#door.close(this.#session);
  }

  send(frame: Uint8Array): boolean {
    const message = decode(frame);
    if (this.#isOpen && isData(message)) this.#events.message(message);
    return this.bufferedBytes() === 0;
  }

  cork(write: () => void): void {
    write();
  }

  end(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.close();
    this.#events.ended(code, reason);
  }

  bufferedBytes(): number {
    return this.#events.bufferedBytes();
  }
}
