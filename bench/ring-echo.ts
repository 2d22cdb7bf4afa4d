/**
 * The far thread of the hand-off benchmark: sends back every record, by ring or by postMessage.
 *
 *   near thread ── ring there ──▶ this thread      drain ≤ 1024, release, poll a few turns, park
 *               ◀── ring back ──
 *
 * The near thread runs the same `RingLoop`, so both sides drain, poll and sleep by the rule of the product's run loop.
 */
import { isMainThread, type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { assert } from '../engine/assert.ts';
import { Doorbell } from '../workers/doorbell.ts';
import { RingConsumer, type RingHandler, RingProducer } from '../workers/ring.ts';

const DRAIN_RECORDS_MAX = 1024;
const EMPTY_POLLS_MAX = 3;

/** Up to here the product copies word by word (write-router.ts): a view for `set` costs more. */
const WORD_COPY_BYTES_MAX = 384;

/** The same memory in two units. */
interface Words {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
}

/** Copies a record in place, as the product does. Offsets are in bytes and multiples of 4, as is `bytes`. */
export function copyRecord(from: Words, start: number, to: Words, toStart: number, bytes: number): void {
  if (bytes > WORD_COPY_BYTES_MAX) {
    to.bytes.set(from.bytes.subarray(start, start + bytes), toStart);
    return;
  }
  const source = from.words;
  const target = to.words;
  const first = start >> 2;
  const toFirst = toStart >> 2;
  for (let word = 0; word < bytes >> 2; word++) target[toFirst + word] = source[first + word] as number;
}

/** What the thread is started with. */
export type EchoSetup =
  | { readonly by: 'ring'; readonly there: SharedArrayBuffer; readonly back: SharedArrayBuffer; readonly bell: MessagePort }
  | { readonly by: 'postMessage' };

/** Drains one ring for ever: at most 1024 records a turn, `onTurn` after each, asleep when nothing comes. */
export class RingLoop {
  readonly #inbox: RingConsumer;
  readonly #handler: RingHandler;
  readonly #onTurn: () => void;
  #emptyPolls = 0;
  #stopped = false;

  constructor(inbox: RingConsumer, bell: Doorbell, handler: RingHandler, onTurn: () => void = () => {}) {
    this.#inbox = inbox;
    this.#handler = handler;
    this.#onTurn = onTurn;
    bell.listen(this.turn);
  }

  stop(): void {
    this.#stopped = true;
  }

  readonly turn = (): void => {
    if (this.#stopped) return;
    const records = this.#inbox.drain(DRAIN_RECORDS_MAX, this.#handler);
    this.#inbox.release();
    this.#emptyPolls = records > 0 ? 0 : this.#emptyPolls + 1;
    this.#onTurn();
    if (this.#emptyPolls <= EMPTY_POLLS_MAX || !this.#inbox.park()) setImmediate(this.turn);
    else this.#emptyPolls = 0; // asleep: the bell calls next
  };
}

function echoByRing(setup: Extract<EchoSetup, { by: 'ring' }>): void {
  const bell = new Doorbell(setup.bell);
  const back = new RingProducer(setup.back, bell.ring);
  const handler: RingHandler = {
    onRecord(ring, at, bytes) {
      const to = back.claim(bytes);
      assert(to >= 0, 'the near thread has more in flight than a ring holds');
      copyRecord(ring, at, back, to, bytes);
      back.commit();
    },
  };
  new RingLoop(new RingConsumer(setup.there), bell, handler).turn();
}

function echoByMessage(): void {
  parentPort?.on('message', (message: Uint8Array) => parentPort?.postMessage(message));
}

if (!isMainThread && workerData !== null) {
  const setup: EchoSetup = workerData;
  if (setup.by === 'ring') echoByRing(setup);
  else echoByMessage();
}
