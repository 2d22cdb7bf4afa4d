/** Work that needs values in memory: tried at once, and again after each value that had to be read back from the data store. */
import { assert } from '../../assert.ts';
import { evictedBytes } from '../../storage/evicted-value.ts';
import { RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { ValueAway } from './space.ts';

/** What is read back before somebody looks again. */
const READ_BACK_MAX = 1000;
const READ_BACK_BYTES_MAX = 16 << 20;

/** Records whose values were dropped from memory, as many as are read back together. */
export class AwayRecords {
  readonly #store: RecordStore;
  readonly #refs = new Set<RecordRef>();
  readonly #image = new RecordImage();
  #bytes = 0;

  constructor(store: RecordStore) {
    this.#store = store;
  }

  /** Takes the record if its value is away; false when there is no room for more. */
  add(ref: RecordRef): boolean {
    this.#store.read(ref, this.#image);
    if (!this.#image.evicted || this.#refs.has(ref)) return true;
    this.#refs.add(ref);
    this.#bytes += evictedBytes(this.#image);
    return this.#refs.size < READ_BACK_MAX && this.#bytes < READ_BACK_BYTES_MAX;
  }

  /** Throws ValueAway when there are any. */
  assertNone(): void {
    if (this.#refs.size > 0) throw new ValueAway(this.#store, [...this.#refs]);
  }
}

/** Reads dropped values back into memory, as far as they are the same when they come. Rejects with GridError. */
export type RestoreValues = (store: RecordStore, refs: readonly RecordRef[]) => Promise<unknown>;

/** The result of `now`, or a promise of that of `later` once all values are here. Rejects with GridError. */
export function runWhenHere<Result>(
  now: () => Result,
  later: () => Result,
  restore: RestoreValues | undefined,
): Result | Promise<Result> {
  try {
    return now();
  } catch (error) {
    if (!(error instanceof ValueAway)) throw error;
    return runLater(error, later, restore);
  }
}

async function runLater<Result>(first: ValueAway, run: () => Result, restore: RestoreValues | undefined): Promise<Result> {
  for (let away = first; ; ) {
    await restoreValues(away, restore);
    try {
      return run();
    } catch (error) {
      if (!(error instanceof ValueAway)) throw error;
      away = error;
    }
  }
}

export async function restoreValues({ store, refs }: ValueAway, restore: RestoreValues | undefined): Promise<void> {
  assert(restore !== undefined, 'values are dropped only where they can be read back');
  await restore(store, refs);
}
