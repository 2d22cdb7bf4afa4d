/**
 * Who hears of changed records: change events, live queries, indexes. Called after the change, on the worker's thread.
 */
import type { StagedSource } from './map-data-store.ts';
import type { RecordRef } from './storage.ts';

export interface RecordObserver {
  /**
   * The record was inserted or overwritten (also by a tombstone). `previousExisted`: there was a record, live or not.
   * Must not change the store. `ref` is valid during the call; read it with `store.read`.
   */
  changed(store: StagedSource, ref: RecordRef, previousExisted: boolean): void;
  /** True when `changing` is to be called. */
  readonly watchesOld?: boolean;
  /** True when it hears of nothing at the moment. */
  readonly isIdle?: boolean;
  /** The record at `ref` is about to be overwritten, or, with 0, a new one to be inserted; `changed` follows. */
  changing?(store: StagedSource, ref: RecordRef): void;
}

/** Tells several observers, in the order given; with none of them it costs next to nothing. */
export class CompositeObserver implements RecordObserver {
  watchesOld: boolean;
  isIdle: boolean;
  readonly #observers: RecordObserver[];

  constructor(observers: readonly RecordObserver[]) {
    this.#observers = [...observers];
    this.watchesOld = this.#anyWatchesOld();
    this.isIdle = observers.length === 0;
  }

  add(observer: RecordObserver): void {
    this.#observers.push(observer);
    this.#count();
  }

  remove(observer: RecordObserver): void {
    const index = this.#observers.indexOf(observer);
    if (index >= 0) this.#observers.splice(index, 1);
    this.#count();
  }

  changed(store: StagedSource, ref: RecordRef, previousExisted: boolean): void {
    for (let index = 0; index < this.#observers.length; index++) this.#observers[index]?.changed(store, ref, previousExisted);
  }

  changing(store: StagedSource, ref: RecordRef): void {
    for (const observer of this.#observers) if (observer.watchesOld === true) observer.changing?.(store, ref);
  }

  #count(): void {
    this.watchesOld = this.#anyWatchesOld();
    this.isIdle = this.#observers.length === 0;
  }

  #anyWatchesOld(): boolean {
    return this.#observers.some(({ watchesOld }) => watchesOld === true);
  }
}
