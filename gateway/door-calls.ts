/**
 * Calls of doors without sessions that wait for room while priorities are on: among the frames of clients, in the turn of
 * their class. A door stands there as one session for each class and worker, so that who waits for one worker does not
 * hold up a call to another; each door has sessions of its own, so that one that fills them leaves room for the others.
 */
import type { Priority } from '../engine/operation/priority.ts';
import type { Connection } from './connection.ts';
import type { HeldFrames } from './held-frames.ts';
import { type HeldCall, Session } from './session.ts';

/** Of a session that nobody is connected to. */
export const NO_CONNECTION: Connection = { send: () => true, cork: (write) => write(), end: () => {}, bufferedBytes: () => 0 };
const NO_FRAME = new Uint8Array(0);

export class DoorCalls {
  readonly #held: HeldFrames;
  readonly #nowMs: () => number;
  readonly #doors = new Map<string, Session>();

  /** @param nowMs the gateway's clock. The calls of one door wait here. */
  constructor(held: HeldFrames, nowMs: () => number) {
    this.#held = held;
    this.#nowMs = nowMs;
  }

  /** Keeps the call until the worker takes it. False when there is no room: too many of its class wait. */
  hold(priority: Priority, worker: number, call: HeldCall): boolean {
    const key = `${priority} ${worker}`;
    const door = this.#doors.get(key) ?? newDoor(priority);
    this.#doors.set(key, door);
    if (door.held.length === 0) door.heldFor = worker;
    return this.#held.hold(door, NO_FRAME, this.#nowMs(), call) === undefined;
  }
}

function newDoor(priority: Priority): Session {
  const door = new Session(0, NO_CONNECTION, true, 0);
  door.state = 'ready';
  door.priority = priority;
  return door;
}
