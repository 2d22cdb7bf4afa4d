/**
 * The order of rows: by the sorted attributes, then by key, ascending. So no two rows stand at one place, and "the first N"
 * is one set of rows whoever computes it.
 *
 *   [{field, direction}, …]   as the client sends it
 *   {field: direction, …}     as its schema has it
 *
 * Null and missing are the greatest: last when ascending, first when descending (docs/PROTOCOL.md §6.3).
 */
import { isData } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';
import { attributeReader, fieldOf, type ReadAttribute } from './attribute.ts';
import { compareValues, isScalar } from './comparison.ts';

const SORT_FIELDS_MAX = 8;

export interface SortField {
  readonly field: string;
  readonly direction: 'asc' | 'desc';
}

/** Where a row stands: the values of the sorted attributes, and its key. */
export interface Position {
  readonly sort: readonly unknown[];
  readonly key: string;
}

export class SortOrder {
  readonly fields: readonly SortField[];
  readonly #reads: readonly ReadAttribute[];
  readonly #signs: readonly number[];

  /** Throws GridError BAD_REQUEST for a name that no attribute has. */
  constructor(fields: readonly SortField[]) {
    this.fields = fields;
    this.#reads = fields.map(({ field }) => attributeReader(field));
    this.#signs = fields.map(({ direction }) => (direction === 'desc' ? -1 : 1));
  }

  /** The values by which a row is sorted; what has no order of its own is an empty list. */
  valuesOf(value: unknown, key: string): readonly unknown[] {
    if (this.#reads.length === 0) return NO_VALUES;
    return this.#reads.map((read) => {
      const field = read(value, key) ?? null;
      return isScalar(field) ? field : NO_VALUES;
    });
  }

  /** Negative when `a` stands before `b`; 0 for the same key at the same place. */
  compare(a: Position, b: Position): number {
    const bySort = this.compareSort(a.sort, b.sort);
    if (bySort !== 0) return bySort;
    return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
  }

  compareSort(a: readonly unknown[], b: readonly unknown[]): number {
    for (let index = 0; index < this.#signs.length; index++) {
      const order = compareValues(a[index], b[index]);
      if (order !== 0) return order * (this.#signs[index] as number);
    }
    return 0;
  }
}

const NO_VALUES: readonly unknown[] = Object.freeze([]);

/** Throws GridError BAD_REQUEST when `sort` has neither form, or too many fields. */
export function parseSort(sort: unknown): SortOrder {
  if (sort === undefined || sort === null) return new SortOrder([]);
  const fields = Array.isArray(sort)
    ? sort.map(sortField)
    : isData(sort)
      ? Object.entries(sort).map(([field, direction]) => sortField({ field, direction }))
      : undefined;
  if (fields === undefined) throw new GridError('BAD_REQUEST', '`sort` is an array of `{field, direction}`');
  if (fields.length > SORT_FIELDS_MAX)
    throw new GridError('BAD_REQUEST', `\`sort\` has at most ${SORT_FIELDS_MAX} fields, not ${fields.length}`);
  return new SortOrder(fields);
}

function sortField(item: unknown): SortField {
  const field = fieldOf(item, 'field');
  const direction = fieldOf(item, 'direction') ?? 'asc';
  if (typeof field !== 'string' || (direction !== 'asc' && direction !== 'desc'))
    throw new GridError('BAD_REQUEST', 'a field of `sort` is `{field, direction: "asc" | "desc"}`');
  return { field, direction };
}
