/**
 * The contract between a thread's loop and what runs on it.
 *
 * One Runnable owns one thread's state: a partition worker's records, a gateway's sessions. Its methods never run
 * at the same time, so that state needs no lock. After TiKV's Runnable and RunnableWithTimer.
 */
import type { RingHandler } from './ring.ts';

export interface Runnable extends RingHandler {
  // onRecord(ring, at, bytes): one record, to completion, without suspending. See RingHandler.

  /**
   * Runs after each drained batch, before its space goes back: one write to the log, then the replies that were held
   * back to go together. Returns a promise only when the replies must wait for somebody else (write-through); until it
   * settles no further batch is drained, ticks go on, and a rejection ends the thread.
   */
  onBatchEnd(): Promise<void> | void;

  /** Runs about every `tickIntervalMs`, under load and at idle. Bounded work only: records wait meanwhile. */
  onTick(nowMs: number): void;

  readonly tickIntervalMs: number;

  /** Runs once, after the last record: flushes what is staged, lets go of what it holds. No other method runs after it. */
  shutdown(): Promise<void>;
}
