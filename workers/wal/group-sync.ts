/**
 * When the log is forced to the disk: one sync at a time, and all frames written meanwhile are the next group.
 *
 *   frames    1  2  3      4  5         6
 *             ───────┬──────────────┬──────────────▶
 *   syncs            └─ 1 to 3 ─────┴─ 4 to 5 ─────▶          a sync says nothing of frames written after it began
 *
 * A group is begun when `policy` ms have passed since its first frame, or at once when somebody asks. A sync that has
 * failed is never tried again: the system may have dropped the bytes that it could not write, and say yes the next time.
 */
import { assert } from '../../engine/assert.ts';
import type { GridError } from '../../engine/protocol/errors.ts';

/** Before each answer (somebody asks then); never unless somebody asks; or so many ms after a write. */
export type SyncPolicy = 'always' | 'off' | number;

export interface GroupSyncOptions {
  readonly policy: SyncPolicy;
  readonly nowMs: () => number;
  /** Returns what cancels the timer. Without it, groups begin on ticks. */
  readonly startTimer: ((delayMs: number, fire: () => void) => () => void) | undefined;
  /** Forces everything written before the call to the disk. */
  readonly run: () => Promise<void>;
  readonly onSynced: (sequence: number) => void;
  /** `run` has rejected. `end` must be called. */
  readonly onFailed: (error: unknown) => void;
}

interface Waiter {
  readonly sequence: number;
  readonly resolve: () => void;
  readonly reject: (error: GridError) => void;
}

export class GroupSync {
  /** Syncs that have succeeded. */
  syncs = 0;
  /** How long the last one took, ms. */
  lastSyncMs = 0;
  readonly #options: GroupSyncOptions;
  #syncedSequence = 0;
  /** Highest frame that the last sync, under way or done, was begun for. */
  #coveredSequence = 0;
  #writtenSequence: number;
  #wantedSequence = 0;
  /** When the first frame above `#coveredSequence` was written. */
  #groupSinceMs: number;
  #flight: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #waiters: Waiter[] = [];
  #failure: GridError | undefined;

  /** @param writtenSequence frames that were written by a predecessor; the first sync forces them too. */
  constructor(options: GroupSyncOptions, writtenSequence: number) {
    this.#options = options;
    this.#writtenSequence = writtenSequence;
    this.#groupSinceMs = options.nowMs();
  }

  /** All frames up to this one are on the disk. */
  get syncedSequence(): number {
    return this.#syncedSequence;
  }

  /** A frame was written at `nowMs`. */
  written(sequence: number, nowMs: number): void {
    if (this.#writtenSequence === this.#coveredSequence) this.#groupSinceMs = nowMs;
    this.#writtenSequence = sequence;
    if (this.#flight === undefined && this.#cancelTimer === undefined) this.#startTimer(nowMs);
  }

  /** Resolves when all frames up to `sequence` are on the disk; rejects with GridError when they never will be. */
  synced(sequence: number): Promise<void> {
    assert(sequence <= this.#writtenSequence, `frame ${sequence} is not written`);
    if (sequence <= this.#syncedSequence) return Promise.resolve();
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ sequence, resolve, reject });
      this.#want(sequence);
    });
  }

  /** Begins a sync of all that is written, at once or when the one under way has ended. */
  request(): void {
    this.#want(this.#writtenSequence);
  }

  tick(nowMs: number): void {
    const { policy } = this.#options;
    if (policy === 'off') return;
    const waitedMs = nowMs - this.#groupSinceMs;
    if (policy === 'always' || waitedMs >= policy || waitedMs < 0) this.#begin(); // below 0: the clock was set back
  }

  /** No frame is called synced any more; who waits is told why. */
  end(failure: GridError): void {
    this.#failure = failure;
    this.#stopTimer();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter.reject(failure);
  }

  /** Resolves when no sync is under way; unless the policy is `off`, all that is written is on the disk then. */
  async close(): Promise<void> {
    this.#stopTimer();
    if (this.#options.policy !== 'off') this.request();
    while (this.#flight !== undefined) await this.#flight;
    this.#stopTimer();
  }

  #want(sequence: number): void {
    if (sequence > this.#wantedSequence) this.#wantedSequence = sequence;
    this.#begin();
  }

  #begin(): void {
    if (this.#flight !== undefined || this.#failure !== undefined) return;
    if (this.#writtenSequence === this.#syncedSequence) return;
    this.#stopTimer();
    const sequence = this.#writtenSequence;
    const begunMs = this.#options.nowMs();
    this.#coveredSequence = sequence;
    this.#flight = this.#options.run().then(
      () => this.#succeeded(sequence, begunMs),
      (error) => this.#failed(error),
    );
  }

  #succeeded(sequence: number, begunMs: number): void {
    this.#flight = undefined;
    if (this.#failure !== undefined) return;
    const nowMs = this.#options.nowMs();
    this.syncs += 1;
    this.lastSyncMs = nowMs - begunMs;
    this.#syncedSequence = sequence;
    // The next group goes on its way before anybody is told.
    if (this.#wantedSequence > sequence) this.#begin();
    else if (this.#writtenSequence > sequence) this.#startTimer(nowMs);
    this.#wake();
    this.#options.onSynced(sequence);
  }

  #failed(error: unknown): void {
    this.#flight = undefined;
    if (this.#failure === undefined) this.#options.onFailed(error);
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const waiting: Waiter[] = [];
    for (const waiter of this.#waiters) {
      if (waiter.sequence <= this.#syncedSequence) waiter.resolve();
      else waiting.push(waiter);
    }
    this.#waiters = waiting;
  }

  #startTimer(nowMs: number): void {
    const { policy, startTimer } = this.#options;
    if (startTimer === undefined || typeof policy !== 'number' || this.#failure !== undefined) return;
    const leftMs = Math.min(policy, Math.max(0, this.#groupSinceMs + policy - nowMs));
    this.#cancelTimer = startTimer(leftMs, () => {
      this.#cancelTimer = undefined;
      this.#begin();
    });
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }
}
