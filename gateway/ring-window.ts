/**
 * How much of a ring requests may fill while priorities are on, and that nobody passes those who wait for it.
 *
 *   waiting (held-frames.ts)                   inbox ring
 *     high    ▪▪                           ┌──────────┬───────────────────────┐
 *     normal  ▪▪▪▪   ── whose turn it is ─▶│▪▪ window │ kept free             │──▶ worker
 *     low     ▪▪▪▪▪▪▪▪▪                    └──────────┴───────────────────────┘
 *
 * What is in the ring is served in its order, so a class can only go first before that. The window keeps the ring short:
 * a request that goes first finds at most so many bytes ahead of it, and so do interests and questions that are not held.
 */
import type { RingProducer } from '../workers/ring.ts';

/** Share of a ring that is filled at once; of 4 MiB it is what a worker merges in about 2 ms. */
const WINDOW_SHARE = 1 / 16;

export class RingWindow {
  /** True while those who waited are served, in their turn. */
  isServing = false;
  /** Sessions that wait for each worker. */
  readonly #waiting: Int32Array;

  constructor(workers: number) {
    this.#waiting = new Int32Array(workers);
  }

  /** True when a request may go into the worker's ring now. */
  admits(worker: number, ring: RingProducer): boolean {
    if (!this.isServing && (this.#waiting[worker] as number) > 0) return false;
    return this.#isBelow(ring, WINDOW_SHARE);
  }

  /** True when it is worth serving those who wait for the worker: half of the window is free. */
  hasRoom(ring: RingProducer): boolean {
    return this.#isBelow(ring, WINDOW_SHARE / 2);
  }

  /** One session more, or fewer, waits for the worker; nothing for worker -1. */
  waits(worker: number, by: 1 | -1): void {
    if (worker >= 0) this.#waiting[worker] = (this.#waiting[worker] as number) + by;
  }

  #isBelow(ring: RingProducer, share: number): boolean {
    if (ring.capacityBytes - ring.freeBytes < ring.capacityBytes * share) return true;
    // Asks for the bell of the next release, unless there is room meanwhile.
    return ring.wantRoom(Math.floor(ring.capacityBytes * (1 - share)));
  }
}
