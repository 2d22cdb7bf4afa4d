/**
 * A sign of life in shared memory: the thread counts, its owner looks whether the count still moves.
 *
 * 0 means that the thread has not begun to count: a thread that loads its partitions is slow, not dead. A word in memory
 * can be read while the thread is in an endless loop, which a question by message cannot be answered from.
 */

export function createHeartbeat(): SharedArrayBuffer {
  return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
}

/** The thread's side. */
export class Heartbeat {
  readonly #word: Int32Array;
  #count = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#word = new Int32Array(memory);
  }

  /** Once per turn of the loop. */
  beat(): void {
    this.#count = (this.#count + 1) | 0 || 1; // never back to 0
    Atomics.store(this.#word, 0, this.#count);
  }
}

/** The owner's side. */
export class HeartbeatWatch {
  readonly #word: Int32Array;
  #countSeen = 0;
  #movedAtMs = 0;

  constructor(memory: SharedArrayBuffer) {
    this.#word = new Int32Array(memory);
  }

  /** How long the count has stood still, in ms, at `nowMs`; 0 before the first beat. */
  stillMs(nowMs: number): number {
    const count = Atomics.load(this.#word, 0);
    if (count !== this.#countSeen || count === 0) {
      this.#countSeen = count;
      this.#movedAtMs = nowMs;
    }
    return nowMs - this.#movedAtMs;
  }
}
