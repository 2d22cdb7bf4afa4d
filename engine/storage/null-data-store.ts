/**
 * No data store: the grid is a pure cache. Nothing is ever staged, so nothing is ever late, full or lost on flush.
 */
import type { MapDataStore } from './map-data-store.ts';

export class NullDataStore implements MapDataStore {
  readonly stagedRecords = 0;
  readonly stagedBytes = 0;

  lagMs(): number {
    return 0;
  }

  admits(): boolean {
    return true;
  }

  changed(): void {}
  moved(): void {}
  pruned(): void {}
  softFlush(): void {}

  hardFlush(): Promise<void> {
    return Promise.resolve();
  }
}
