/**
 * Carries what is staged into a DataStore, one flight at a time, and gives every outcome its consequence.
 *
 *   committed            done: the slot is free again, unless the record changed meanwhile
 *   retryable failure    back to the front of the queue, next try after `retryBackoffMs`
 *   STORAGE_POISON       the batch is halved until the row that the store refuses stands alone; that row is buried
 *                        with the reason, all others are committed
 *   anything else        (STORAGE_FENCED: another owner) flushing stops for good, what is staged stays
 *
 * Removals go before records, and only what was staged before the flush began goes along: so a record that was
 * pruned and then written again reaches the store in that order, whatever the batches are cut to.
 *
 * A flush gathers `sliceRecords` records at a time and gives the thread back between slices. A record that changes
 * between slices is read as it is then, or is staged again: both end with the newest version in the store.
 */
import { assert } from '../assert.ts';
import { GridError } from '../protocol/errors.ts';
import type { DataBatch, DataStore } from './data-store.ts';
import { retryBackoffMs } from './retry-backoff.ts';
import { imageOf, type StoredRecord } from './stored-record.ts';

/** A queue that a flight is taken from. Its flight is indexed from 0, oldest first. */
export interface StagedQueue {
  /** Begins a flight of the oldest; at least one however large, none staged after `sequenceMax`. Answers how many. */
  take(recordsMax: number, bytesMax: number, sequenceMax: number): number;
  /** Adds the newest version of a flying record, or nothing when it is gone. */
  put(index: number, batch: DataBatch): void;
  /** Copies what `put` would add. */
  copy(index: number): StoredRecord | undefined;
  /** The version that was put is in the store, or buried. */
  done(index: number): void;
  /** Ends the flight: what is not done is staged again, at the front, with its old age. */
  land(): void;
  readonly records: number;
  readonly bytes: number;
  /** Of the oldest change not in the store, flying or not; infinite when there is none. */
  readonly oldestSinceMs: number;
  readonly oldestSequence: number;
}

/** What the engine may not take by itself. */
export interface FlushTime {
  nowMs(): number;
  /** From [0, 1). */
  random(): number;
  /** Resolves after sockets and other work of the thread had their turn. */
  yieldTurn(): Promise<void>;
  /** Calls `fire` once after `delayMs`. The answer cancels it. */
  startTimer(delayMs: number, fire: () => void): () => void;
}

export interface FlushLimits {
  /** Records of one batch. */
  readonly flushRecordsMax: number;
  /** Bytes of one batch; a single record may exceed it. */
  readonly flushBytesMax: number;
  /** Records gathered between two turns of the thread. Lower: shorter pauses; higher: sooner done. */
  readonly sliceRecords: number;
  /** Time a commit may take, ms. */
  readonly commitDeadlineMs: number;
}

/** Kinds of trouble: none, the store is away and retried, stopped for good. */
export type FlushState = 'normal' | 'degraded' | 'failed';

export class Flusher {
  /** Commits that succeeded, and their rows. */
  flushes = 0;
  flushedRows = 0;
  /** Flushes that ended with a failure, whatever part of them was committed. */
  flushFailures = 0;
  deadLetters = 0;
  /** How long the last flush took that succeeded, ms. */
  lastFlushMs = 0;
  /** Before this time a flush should not be tried again. */
  retryAtMs = 0;
  failuresInARow = 0;
  successesInARow = 0;
  readonly #dataStore: DataStore;
  readonly #removals: StagedQueue;
  readonly #records: StagedQueue;
  readonly #limits: FlushLimits;
  readonly #time: FlushTime;
  /** The flush under way. */
  #flight: Promise<GridError | undefined> | undefined;
  #fatal: GridError | undefined;

  constructor(dataStore: DataStore, removals: StagedQueue, records: StagedQueue, limits: FlushLimits, time: FlushTime) {
    assert(limits.flushRecordsMax >= 1);
    assert(limits.sliceRecords >= 1);
    this.#dataStore = dataStore;
    this.#removals = removals;
    this.#records = records;
    this.#limits = limits;
    this.#time = time;
  }

  get state(): FlushState {
    if (this.#fatal !== undefined) return 'failed';
    return this.failuresInARow > 0 ? 'degraded' : 'normal';
  }

  /** Why flushing stopped for good. */
  get fatal(): GridError | undefined {
    return this.#fatal;
  }

  get flight(): Promise<GridError | undefined> | undefined {
    return this.#flight;
  }

  /**
   * Flushes all removals and one batch of records, of what was staged up to `sequenceMax`, by `endsMs`. Resolves
   * with the failure, if any: then some of it may be in the store, and the rest is staged as before.
   */
  flush(sequenceMax: number, endsMs: number): Promise<GridError | undefined> {
    assert(this.#flight === undefined, 'one flush at a time');
    assert(this.#fatal === undefined, 'a stopped flusher stays stopped');
    const flight = this.#run(sequenceMax, endsMs).finally(() => {
      this.#flight = undefined;
    });
    this.#flight = flight;
    return flight;
  }

  async #run(sequenceMax: number, endsMs: number): Promise<GridError | undefined> {
    const startedMs = this.#time.nowMs();
    let failure: GridError | undefined;
    while (failure === undefined && this.#removals.oldestSequence <= sequenceMax) {
      failure = await this.#fly(this.#removals, sequenceMax, endsMs);
    }
    failure ??= await this.#fly(this.#records, sequenceMax, endsMs);
    this.#note(failure, startedMs);
    return failure;
  }

  #note(failure: GridError | undefined, startedMs: number): void {
    const nowMs = this.#time.nowMs();
    if (failure === undefined) {
      this.failuresInARow = 0;
      this.successesInARow += 1;
      this.lastFlushMs = nowMs - startedMs;
      return;
    }
    this.flushFailures += 1;
    this.successesInARow = 0;
    this.failuresInARow += 1;
    this.retryAtMs = nowMs + retryBackoffMs(this.failuresInARow, this.#time.random());
    if (isFatal(failure)) this.#fatal = failure;
  }

  async #fly(queue: StagedQueue, sequenceMax: number, endsMs: number): Promise<GridError | undefined> {
    const records = queue.take(this.#limits.flushRecordsMax, this.#limits.flushBytesMax, sequenceMax);
    try {
      return records === 0 ? undefined : await this.#commitRanges(queue, records, endsMs);
    } finally {
      queue.land();
    }
  }

  /** Commits the flight, halving what holds a poison row. `ends[last]` is where the next range ends. */
  async #commitRanges(queue: StagedQueue, records: number, endsMs: number): Promise<GridError | undefined> {
    const ends = [records];
    let from = 0;
    let unburied: GridError | undefined;
    for (let to = ends.pop(); to !== undefined; to = ends.pop()) {
      const suspect = to - from === 1 ? queue.copy(from) : undefined;
      const failure = await this.#commit(queue, from, to, endsMs);
      if (failure !== undefined && failure.code !== 'STORAGE_POISON') return failure;
      if (failure !== undefined && suspect === undefined) {
        ends.push(to, from + Math.ceil((to - from) / 2));
        continue;
      }
      const refusal = failure === undefined || suspect === undefined ? undefined : await this.#bury(suspect, failure, endsMs);
      if (refusal !== undefined && isFatal(refusal)) return refusal;
      if (refusal === undefined) for (let index = from; index < to; index++) queue.done(index);
      unburied ??= refusal;
      from = to;
    }
    return unburied;
  }

  /** Commits the newest versions of [from, to). */
  async #commit(queue: StagedQueue, from: number, to: number, endsMs: number): Promise<GridError | undefined> {
    const batch = this.#dataStore.batch();
    for (let index = from; index < to; index++) {
      if (index > from && (index - from) % this.#limits.sliceRecords === 0) await this.#time.yieldTurn();
      queue.put(index, batch);
    }
    if (batch.rows === 0) return undefined;
    try {
      const result = await batch.commit(this.#deadlineMs(endsMs));
      this.flushes += 1;
      this.flushedRows += result.rows;
      return undefined;
    } catch (error) {
      return gridError(error);
    }
  }

  /** Buries a row that the store refused as `cause` says. A refusal to bury keeps it staged: it is tried again. */
  async #bury(record: StoredRecord, cause: GridError, endsMs: number): Promise<GridError | undefined> {
    const { kind, map } = record;
    try {
      await this.#dataStore.bury(
        { kind, map, reason: cause.message, applied: true, record: imageOf(record) },
        this.#deadlineMs(endsMs),
      );
      this.deadLetters += 1;
      return undefined;
    } catch (error) {
      return gridError(error);
    }
  }

  #deadlineMs(endsMs: number): number {
    return Math.max(1, Math.min(this.#limits.commitDeadlineMs, endsMs - this.#time.nowMs()));
  }
}

/** Neither a repeat nor leaving a row out can help. */
function isFatal(failure: GridError): boolean {
  return !failure.retryable && failure.code !== 'STORAGE_POISON';
}

/** What a DataStore may reject with. Anything else is a bug and goes up, to end the worker. */
function gridError(error: unknown): GridError {
  if (error instanceof GridError) return error;
  throw error;
}
