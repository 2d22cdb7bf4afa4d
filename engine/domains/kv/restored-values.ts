/** Work that needs values in memory: tried at once, and again after each value that had to be read back from the data store. */
import { assert } from '../../assert.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { ValueAway } from './space.ts';

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
