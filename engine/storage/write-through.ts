/**
 * Write-through: replies wait for the data store. The worker merges a drained batch, then awaits `settle` before it
 * lets the replies go.
 *
 * It is write-behind whose flush is awaited, so batches of several drains share a commit while one is under way.
 * When `settle` rejects, the merged changes are in memory and still staged: the replies say so (retryable), and the
 * soft flush carries them later.
 */
import type { GridError } from '../protocol/errors.ts';
import type { DataStore } from './data-store.ts';
import type { FlushState, FlushTime } from './flusher.ts';
import type { MapDataStore, StagedSource } from './map-data-store.ts';
import type { RecordImage } from './record.ts';
import type { RecordRef } from './storage.ts';
import { WRITE_BEHIND_DEFAULTS, WriteBehind, type WriteBehindCounters, type WriteBehindOptions } from './write-behind.ts';

export class WriteThrough implements MapDataStore {
  readonly #behind: WriteBehind;
  readonly #deadlineMs: number;

  constructor(dataStore: DataStore, time: FlushTime, options: Partial<WriteBehindOptions> = {}) {
    this.#behind = new WriteBehind(dataStore, time, options);
    this.#deadlineMs = options.commitDeadlineMs ?? WRITE_BEHIND_DEFAULTS.commitDeadlineMs;
  }

  get stagedRecords(): number {
    return this.#behind.stagedRecords;
  }

  get stagedBytes(): number {
    return this.#behind.stagedBytes;
  }

  get state(): FlushState {
    return this.#behind.state;
  }

  get fatal(): GridError | undefined {
    return this.#behind.fatal;
  }

  get failuresInARow(): number {
    return this.#behind.failuresInARow;
  }

  get successesInARow(): number {
    return this.#behind.successesInARow;
  }

  get counters(): WriteBehindCounters {
    return this.#behind.counters;
  }

  /** Resolves when all that changed before the call is in the data store; rejects with the GridError that forbids it. */
  settle(): Promise<void> {
    return this.#behind.tryFlush(this.#deadlineMs);
  }

  lagMs(nowMs: number): number {
    return this.#behind.lagMs(nowMs);
  }

  admits(bytes: number): boolean {
    return this.#behind.admits(bytes);
  }

  changed(store: StagedSource, ref: RecordRef, nowMs: number): void {
    this.#behind.changed(store, ref, nowMs);
  }

  moved(store: StagedSource, from: RecordRef, to: RecordRef): void {
    this.#behind.moved(store, from, to);
  }

  pruned(store: StagedSource, ref: RecordRef, image: RecordImage, nowMs: number): void {
    this.#behind.pruned(store, ref, image, nowMs);
  }

  /** Carries what a failed `settle` left behind. */
  softFlush(nowMs: number): void {
    this.#behind.softFlush(nowMs);
  }

  hardFlush(deadlineMs: number): Promise<void> {
    return this.#behind.hardFlush(deadlineMs);
  }
}
