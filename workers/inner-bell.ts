/**
 * The bell wire of a gateway and a worker that share a thread: no message, no wake-up, a call at the right moment.
 *
 *   one turn of the event loop
 *   poll    sockets are read, one after the other; their frames fill the inbox ring          gateway rings ──┐
 *   check   the worker drains it all, writes its log once, answers into the outbox ring  ◄──── setImmediate ─┘ ──┐
 *           at once behind it the gateway takes the answers, and the sockets are written  ◄──── nextTick ────────┘
 *
 * So what is read in a turn is answered in that turn, and answers go on their way when the worker's part of the stack is left: a
 * gateway that has them runs no code of its own inside the worker's.
 */
import type { Bell } from './doorbell.ts';

type Later = (call: () => void) => void;

/** The ends of the wire: `worker` is the end that the worker holds. */
export function createInnerBells(): { readonly gateway: Bell; readonly worker: Bell } {
  const gateway = new InnerBell((call) => void setImmediate(call));
  const worker = new InnerBell((call) => process.nextTick(call));
  gateway.join(worker);
  worker.join(gateway);
  return { gateway, worker };
}

class InnerBell implements Bell {
  readonly #later: Later;
  #other: InnerBell | undefined;
  #onWake: () => void = nobody;
  #isRinging = false;

  constructor(later: Later) {
    this.#later = later;
  }

  join(other: InnerBell): void {
    this.#other = other;
  }

  readonly ring = (): void => {
    if (this.#isRinging) return;
    this.#isRinging = true;
    this.#later(this.#rung);
  };

  readonly ringSoon = this.ring;

  wrote(): void {} // the reader is this thread: it cannot work beside it

  listen(onWake: () => void): void {
    this.#onWake = onWake;
  }

  close(): void {
    this.#onWake = nobody;
  }

  readonly #rung = (): void => {
    this.#isRinging = false;
    if (this.#other !== undefined) this.#other.#onWake();
  };
}

function nobody(): void {}
