/**
 * Wakes the event loop of another thread: a message on a port, sent only when a ring says that its reader sleeps.
 *
 *   thread A  Doorbell ── port ═══════ port ── Doorbell  thread B        one pair for all rings between the two
 *
 * The message carries nothing; the one who wakes looks at all its rings. A bell costs about 10 µs and a wake-up 40 µs,
 * which is why rings have a PARKED word. A listening port is also the handle that keeps its thread alive, which a
 * pending Atomics.waitAsync is not (nodejs/node#44729).
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';

/** One end of the wire between a gateway and a worker; the other is with the other of the two. */
export interface Bell {
  /** Wakes the other side. Bound, so that it can be handed to a ring. */
  readonly ring: () => void;
  /** As `ring`, at the end of this turn of the event loop. Bound. */
  readonly ringSoon: () => void;
  /** Called for what was written: a reader that is woken for enough of it works beside this thread. */
  wrote(bytes: number): void;
  /** Calls `onWake` each time the other side rings. */
  listen(onWake: () => void): void;
  /** Hangs up; the handle is gone, so the thread may end. */
  close(): void;
}

/** The two ends of one bell wire. Each end is sent to its thread in a transfer list. */
export interface DoorbellPorts {
  readonly a: MessagePort;
  readonly b: MessagePort;
}

export function createDoorbellPorts(): DoorbellPorts {
  const { port1, port2 } = new MessageChannel();
  return { a: port1, b: port2 };
}

/** A reader is woken for this much at the latest: some 200 µs of work, while a wake-up costs both sides 10 to 20. */
const OWED_BYTES_MAX = 128 * 1024;

export class Doorbell implements Bell {
  #port: MessagePort | undefined;
  #onWake: () => void = nobody;
  #owed = false;
  #written = 0;

  constructor(port?: MessagePort) {
    if (port !== undefined) this.connect(port);
  }

  /** Wakes the other thread. Bound, so that it can be handed to a ring. Rung at a dead thread it does nothing. */
  readonly ring = (): void => {
    this.#port?.postMessage(0);
  };

  /**
   * As `ring`, but behind the records that this thread is about to write as well, so that one wake-up finds them all: it
   * costs more than merging a dozen writes. The bell rings when `OWED_BYTES_MAX` bytes were written (`wrote`), or at
   * the end of this turn of the event loop. Bound, so that it can be handed to a ring.
   */
  readonly ringSoon = (): void => {
    if (this.#owed) return;
    this.#owed = true;
    this.#written = 0;
    setImmediate(this.#turnEnded);
  };

  /** Called for what was written: a reader that is woken for enough of it works beside this thread. */
  wrote(bytes: number): void {
    this.#written += bytes;
    if (this.#owed && this.#written >= OWED_BYTES_MAX) this.#ringOwed();
  }

  readonly #turnEnded = (): void => {
    if (this.#owed) this.#ringOwed();
  };

  #ringOwed(): void {
    this.#owed = false;
    this.ring();
  }

  /** Calls `onWake` each time the other side rings. */
  listen(onWake: () => void): void {
    this.#onWake = onWake;
  }

  /** Uses another wire from now on: the thread at the other end was replaced. */
  connect(port: MessagePort): void {
    this.#port?.close();
    this.#port = port;
    port.on('message', () => this.#onWake());
  }

  /** Hangs up; the handle is gone, so the thread may end. */
  close(): void {
    this.#port?.close();
    this.#port = undefined;
  }
}

function nobody(): void {}
