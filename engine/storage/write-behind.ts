/**
 * Write-behind: replies do not wait for the data store. Changes are staged, coalesce per key, and leave in batches.
 *
 *   changed ─▶ Staging ──┐
 *                        ├─▶ Flusher ─▶ DataStore        soft flush: due by age, paced, in the background
 *   pruned ──▶ Removals ─┘                               hard flush: all that is staged now, waited for
 *
 * In ordinary times flushes leave pauses, so that changes coalesce and the machine is free for writes. There are none
 * when half of the room is taken, when the log says `hurry`, when changes are old, and for what piled up while the data
 * store was away.
 *
 * Everything is bounded in bytes by `stagedBytesMax`: `admits` is asked before a change is merged, and says no when
 * the data store was away for too long. There are no timers for the soft flush: the worker's tick calls it, and the
 * end of a flush starts the next when more is due.
 */
import { assert } from '../assert.ts';
import { GridError } from '../protocol/errors.ts';
import type { DataStore } from './data-store.ts';
import { Flusher, type FlushLimits, type FlushState, type FlushTime } from './flusher.ts';
import type { MapDataStore, StagedSource } from './map-data-store.ts';
import type { RecordImage } from './record.ts';
import { Removals, removalBytes } from './removals.ts';
import { Staging } from './staging.ts';
import type { RecordRef } from './storage.ts';
import { storedRecord } from './stored-record.ts';

export interface WriteBehindOptions extends FlushLimits {
  /**
   * Age, in ms, from which a staged change is flushed. Raise it: larger batches, more coalescing. Lower it: less to
   * replay after a crash. 0 flushes on each tick.
   */
  readonly flushDelayMs: number;
  /**
   * Share of the time that soft flushes may take in ordinary times, above 0 and up to 1. Lower it: more coalescing and
   * more of the machine for writes. Raise it: less to replay after a crash. See `#isHurried` for when it does not hold.
   */
  readonly flushShare: number;
  /** Age, in ms, from which a staged change is flushed without pauses: bounds what is replayed after a crash. */
  readonly pacedLagMsMax: number;
  /** Bound of everything staged, in bytes of `costBytes`. Changes are refused beyond it. */
  readonly stagedBytesMax: number;
  /** Bound of the removals that wait; more of them are left to the next boot. */
  readonly removalsMax: number;
}

export const WRITE_BEHIND_DEFAULTS: WriteBehindOptions = Object.freeze({
  flushRecordsMax: 5_000,
  flushBytesMax: 4 * 1024 * 1024,
  sliceRecords: 500,
  commitDeadlineMs: 30_000,
  flushDelayMs: 50,
  flushShare: 0.25,
  pacedLagMsMax: 5_000,
  stagedBytesMax: 256 * 1024 * 1024,
  removalsMax: 10_000,
});

/** Figures for metrics and health, as they stand. All but the last only grow. */
export interface WriteBehindCounters {
  /** Batches committed, and their rows. */
  readonly flushes: number;
  readonly flushedRows: number;
  /** Flushes that ended with a failure. */
  readonly flushFailures: number;
  readonly deadLetters: number;
  /** Changes that cost no row of their own. */
  readonly coalesced: number;
  /** Removals left to the next boot, for want of room. */
  readonly removalsSkipped: number;
  /** How long the last successful flush took, ms. */
  readonly lastFlushMs: number;
}

export class WriteBehind implements MapDataStore {
  /** Set while something else runs full that only a flush can empty, such as the log: flushes follow without pauses. */
  hurry = false;
  readonly #staging = new Staging();
  readonly #removals = new Removals();
  readonly #flusher: Flusher;
  readonly #options: WriteBehindOptions;
  readonly #time: FlushTime;
  #removalsSkipped = 0;
  #pausedUntilMs = 0;
  /** What was staged up to here waited while the data store was away: it goes out without pauses. */
  #backlogSequence = 0;
  /** The latest time that `softFlush` was told. */
  #askedMs = 0;

  /** @param time its clock is the one of `nowMs` in all calls. */
  constructor(dataStore: DataStore, time: FlushTime, options: Partial<WriteBehindOptions> = {}) {
    this.#options = { ...WRITE_BEHIND_DEFAULTS, ...options };
    assert(this.#options.stagedBytesMax > 0);
    assert(this.#options.flushDelayMs >= 0);
    assert(this.#options.flushShare > 0 && this.#options.flushShare <= 1);
    this.#time = time;
    this.#flusher = new Flusher(dataStore, this.#removals, this.#staging, this.#options, time);
  }

  get stagedRecords(): number {
    return this.#staging.records + this.#removals.records;
  }

  get stagedBytes(): number {
    return this.#staging.bytes + this.#removals.bytes;
  }

  /** Degraded: the last flush failed and is tried again. Failed: another owner has the data store; see `fatal`. */
  get state(): FlushState {
    return this.#flusher.state;
  }

  get fatal(): GridError | undefined {
    return this.#flusher.fatal;
  }

  get counters(): WriteBehindCounters {
    const { flushes, flushedRows, flushFailures, deadLetters, lastFlushMs } = this.#flusher;
    const { coalesced } = this.#staging;
    return { flushes, flushedRows, flushFailures, deadLetters, coalesced, removalsSkipped: this.#removalsSkipped, lastFlushMs };
  }

  /** Number of the newest change staged so far. Noted beside a WAL position, it tells when that position is flushed. */
  get stagedSequence(): number {
    return this.#staging.sequence;
  }

  /** Flushes that failed since the last one that did not. */
  get failuresInARow(): number {
    return this.#flusher.failuresInARow;
  }

  /** Flushes that succeeded since the last one that did not. */
  get successesInARow(): number {
    return this.#flusher.successesInARow;
  }

  /** All changes up to this `stagedSequence` are in the data store, dead letters included. */
  get flushedSequence(): number {
    return Math.min(this.#staging.sequence, this.#oldestSequence - 1);
  }

  lagMs(nowMs: number): number {
    return Math.max(0, nowMs - Math.min(nowMs, this.#oldestSinceMs));
  }

  admits(bytes: number): boolean {
    return this.#staging.bytes + this.#removals.bytes + bytes <= this.#options.stagedBytesMax;
  }

  changed(store: StagedSource, ref: RecordRef, nowMs: number): void {
    this.#staging.changed(store, ref, nowMs);
  }

  moved(store: StagedSource, _from: RecordRef, to: RecordRef): void {
    this.#staging.moved(store, to);
  }

  pruned(store: StagedSource, ref: RecordRef, image: RecordImage, nowMs: number): void {
    const record = storedRecord(store.kind, store.map, image);
    const stagedBytes = this.#staging.drop(store, ref);
    const writes = stagedBytes >= 0;
    const bytes = writes ? stagedBytes : removalBytes(record);
    if (!writes && (this.#removals.records >= this.#options.removalsMax || !this.admits(bytes))) {
      this.#removalsSkipped += 1;
      return;
    }
    const sequence = writes ? this.#staging.droppedSequence : this.#staging.nextSequence();
    this.#removals.add(record, writes, bytes, nowMs, sequence);
  }

  softFlush(nowMs: number): void {
    const flusher = this.#flusher;
    if (nowMs < this.#askedMs) this.#clockWentBack(nowMs);
    this.#askedMs = nowMs;
    if (flusher.flight !== undefined || flusher.fatal !== undefined) return;
    if (nowMs < flusher.retryAtMs || !this.#isDue(nowMs)) return;
    void flusher
      .flush(this.#staging.sequence, nowMs + this.#options.commitDeadlineMs)
      .then((failure) => this.#flushed(failure, nowMs));
  }

  /** The wall clock was set back: no wait may last until it is again what it was. */
  #clockWentBack(nowMs: number): void {
    this.#pausedUntilMs = Math.min(this.#pausedUntilMs, nowMs);
    this.#flusher.retryAtMs = Math.min(this.#flusher.retryAtMs, nowMs);
  }

  /** Pauses in proportion to what the flush took, so that the data store gets its share of the machine and no more. */
  #flushed(failure: GridError | undefined, startedMs: number): void {
    if (failure !== undefined) this.#backlogSequence = this.#staging.sequence;
    const endedMs = this.#time.nowMs();
    const { commitDeadlineMs, flushShare } = this.#options;
    const tookMs = Math.min(Math.max(0, endedMs - startedMs), commitDeadlineMs); // the clock may have been set meanwhile
    this.#pausedUntilMs = endedMs + tookMs * (1 / flushShare - 1);
    this.softFlush(endedMs);
  }

  /** @param deadlineMs from now. Tries again with backoff until then; DEADLINE_EXCEEDED names the last failure as cause. */
  hardFlush(deadlineMs: number): Promise<void> {
    return this.#flushUpTo(this.#staging.sequence, this.#time.nowMs() + deadlineMs, true);
  }

  /** As `hardFlush`, but rejects with the first failure: what is staged stays, and the soft flush tries it again. */
  tryFlush(deadlineMs: number): Promise<void> {
    return this.#flushUpTo(this.#staging.sequence, this.#time.nowMs() + deadlineMs, false);
  }

  #isDue(nowMs: number): boolean {
    if (this.stagedRecords === 0) return false;
    if (this.#isHurried(nowMs)) return true;
    if (nowMs < this.#pausedUntilMs) return false;
    // Staged in the future: the clock was set back, and how long it has waited is not known.
    return this.lagMs(nowMs) >= this.#options.flushDelayMs || this.#oldestSinceMs > nowMs;
  }

  /** True when flushes follow one another: room runs out, here or elsewhere, or too much waits for too long. */
  #isHurried(nowMs: number): boolean {
    const { stagedBytesMax, pacedLagMsMax, flushDelayMs } = this.#options;
    if (this.hurry || this.stagedBytes * 2 >= stagedBytesMax) return true;
    return this.#oldestSequence <= this.#backlogSequence || this.lagMs(nowMs) >= pacedLagMsMax + flushDelayMs;
  }

  get #oldestSinceMs(): number {
    return Math.min(this.#staging.oldestSinceMs, this.#removals.oldestSinceMs);
  }

  get #oldestSequence(): number {
    return Math.min(this.#staging.oldestSequence, this.#removals.oldestSequence);
  }

  async #flushUpTo(sequence: number, endsMs: number, retries: boolean): Promise<void> {
    const flusher = this.#flusher;
    let failure: GridError | undefined;
    while (this.#oldestSequence <= sequence) {
      if (flusher.fatal !== undefined) throw flusher.fatal;
      const leftMs = endsMs - this.#time.nowMs();
      if (leftMs <= 0) throw this.#deadlineExceeded(failure);
      if (flusher.flight !== undefined) {
        await this.#waitFor(flusher.flight, leftMs);
        continue;
      }
      failure = await flusher.flush(this.#staging.sequence, endsMs);
      if (failure === undefined) continue;
      if (!retries) throw failure;
      await this.#waitFor(undefined, Math.min(leftMs, flusher.retryAtMs - this.#time.nowMs()));
    }
  }

  /** Resolves when `flight` settles or the time is over. */
  #waitFor(flight: Promise<unknown> | undefined, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#time.startTimer(Math.max(0, timeoutMs), resolve);
      flight?.then(() => resolve(), reject).finally(cancel);
    });
  }

  #deadlineExceeded(failure: GridError | undefined): GridError {
    const message = `${this.stagedRecords} staged records are not in the data store at the deadline`;
    return new GridError('DEADLINE_EXCEEDED', message, { cause: failure ?? this.#flusher.fatal });
  }
}
