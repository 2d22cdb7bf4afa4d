/**
 * Walks the tables of a store one after the other; tolerates changes as the cursor of each table does.
 */
import type { RecordTable } from './record-table.ts';
import type { RecordCursor, RecordRef } from './storage.ts';

export class StoreCursor implements RecordCursor {
  readonly #tables: readonly (RecordTable | undefined)[];
  #cursor: RecordCursor | undefined;
  #nextTable = 0;

  constructor(tables: readonly (RecordTable | undefined)[]) {
    this.#tables = tables;
  }

  next(): RecordRef {
    for (;;) {
      const ref = this.#cursor?.next() ?? 0;
      if (ref !== 0) return ref;
      if (this.#nextTable === this.#tables.length) return 0;
      this.#cursor = this.#tables[this.#nextTable]?.cursor();
      this.#nextTable += 1;
    }
  }
}
