/**
 * Groups and aggregates, kept as rows come, change and go.
 *
 *   worker    row ─▶ its group: rows, and per field the numbers in it ─▶ partial: count, and per field count, sum, min, max
 *   gateway   partials of all workers ─▶ one row a group: `__key`, `__count`, `__<func>_<field>`, the group's columns
 *
 * Taking a number away is exact while all numbers are integers; a group with fractions, or one that loses its extreme, is
 * computed anew from its rows when it is next told. A missing group value is a group of its own, the same as null.
 * Aggregations without `groupBy` are of one group, of all rows.
 */
import { GridError } from '../../protocol/errors.ts';
import { attributeReader, fieldOf, type ReadAttribute } from './attribute.ts';
import { compareValues } from './comparison.ts';
import { valueBytes } from './kept-bytes.ts';

const COLUMNS_MAX = 16;
const AGGREGATIONS_MAX = 32;
/** Key of the only group of a query without `groupBy`. */
const ALL_ROWS_KEY = '*';

export type AggregateFunction = 'count' | 'sum' | 'min' | 'max' | 'avg';

export interface Aggregation {
  readonly func: AggregateFunction;
  /** Index into `fields` of the grouping; -1 for a count. */
  readonly field: number;
}

export interface Grouping {
  readonly columns: readonly string[];
  readonly aggregations: readonly Aggregation[];
  /** Fields whose numbers are aggregated. */
  readonly fields: readonly string[];
  readonly readColumns: readonly ReadAttribute[];
  readonly readFields: readonly ReadAttribute[];
}

/** Of the numbers of one field in one group. */
export interface FieldSummary {
  readonly count: number;
  readonly sum: number;
  /** NaN when there is none. */
  readonly min: number;
  readonly max: number;
}

/** What one worker has of a group. */
export interface GroupPartial {
  readonly id: string;
  readonly columns: readonly unknown[];
  /** Rows; 0 = the group is gone. */
  readonly count: number;
  readonly fields: readonly FieldSummary[];
}

/** Bytes of a group's name and columns. */
export function groupBytes({ id, columns }: { readonly id: string; readonly columns: readonly unknown[] }): number {
  return id.length + valueBytes(columns);
}

/** Undefined when the query groups nothing. Throws GridError BAD_REQUEST. */
export function parseGrouping(groupBy: unknown, aggregations: unknown): Grouping | undefined {
  const columns = listOf(groupBy, 'groupBy', COLUMNS_MAX).map((column) => {
    if (typeof column !== 'string') throw new GridError('BAD_REQUEST', '`groupBy` is an array of names');
    return column;
  });
  const asked = listOf(aggregations, 'aggregations', AGGREGATIONS_MAX);
  if (columns.length === 0 && asked.length === 0) return undefined;
  const fields: string[] = [];
  const parsed = asked.map((item) => parseAggregation(item, fields));
  return {
    columns,
    aggregations: parsed,
    fields,
    readColumns: columns.map(attributeReader),
    readFields: fields.map(attributeReader),
  };
}

function parseAggregation(item: unknown, fields: string[]): Aggregation {
  const func = fieldOf(item, 'func');
  if (func === 'count') return { func, field: -1 };
  const field = fieldOf(item, 'field');
  if (func !== 'sum' && func !== 'min' && func !== 'max' && func !== 'avg')
    throw new GridError('BAD_REQUEST', 'an aggregation is `count`, `sum`, `min`, `max` or `avg`');
  if (typeof field !== 'string') throw new GridError('BAD_REQUEST', `the aggregation \`${func}\` needs a field`);
  if (!fields.includes(field)) fields.push(field);
  return { func, field: fields.indexOf(field) };
}

function listOf(value: unknown, name: string, itemsMax: number): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > itemsMax)
    throw new GridError('BAD_REQUEST', `\`${name}\` is an array of up to ${itemsMax} items`);
  return value;
}

/** The text that names a group: a lone text is itself unless it reads as JSON, everything else is its JSON. */
function groupId(columns: readonly unknown[]): string {
  if (columns.length === 0) return ALL_ROWS_KEY;
  const [only] = columns;
  if (columns.length > 1) return JSON.stringify(columns);
  return typeof only === 'string' && !isJson(only) ? only : JSON.stringify(only);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    if (error instanceof SyntaxError) return false;
    throw error;
  }
}

interface GroupedRow {
  readonly group: Group;
  readonly numbers: readonly number[];
}

class Group {
  readonly id: string;
  readonly columns: readonly unknown[];
  readonly bytes: number;
  readonly rows = new Set<GroupedRow>();
  readonly fields: RunningSummary[];

  constructor(id: string, columns: readonly unknown[], fields: number) {
    this.id = id;
    this.columns = columns;
    this.bytes = groupBytes(this);
    this.fields = Array.from({ length: fields }, () => new RunningSummary());
  }
}

/** Count, sum and extremes of numbers that come and go. */
class RunningSummary implements FieldSummary {
  count = 0;
  sum = 0;
  min = Number.NaN;
  max = Number.NaN;
  /** What was taken away may have been an extreme, or left a rounding error: to be computed anew. */
  isOff = false;
  /** The sum was rounded, or may have been. */
  #isRounded = false;

  add(number: number): void {
    this.count += 1;
    this.sum += number;
    if (!(this.min <= number)) this.min = number;
    if (!(this.max >= number)) this.max = number;
    this.#isRounded ||= !Number.isSafeInteger(number) || !Number.isSafeInteger(this.sum);
  }

  subtract(number: number): void {
    this.count -= 1;
    this.sum -= number;
    if (this.#isRounded || number === this.min || number === this.max) this.isOff = true;
  }

  recompute(numbers: Iterable<number>): void {
    this.count = 0;
    this.sum = 0;
    this.min = Number.NaN;
    this.max = Number.NaN;
    this.#isRounded = false;
    for (const number of numbers) this.add(number);
    this.isOff = false;
  }
}

/** The groups of one worker's rows. */
export class RunningGroups {
  readonly #grouping: Grouping;
  readonly #rows = new Map<string, GroupedRow>();
  readonly #groups = new Map<string, Group>();
  readonly #touched = new Set<string>();
  readonly #bytesMax: number;
  #bytes = 0;

  /** @param bytesMax bytes of the names and columns of all groups. */
  constructor(grouping: Grouping, bytesMax: number) {
    this.#grouping = grouping;
    this.#bytesMax = bytesMax;
  }

  get rows(): number {
    return this.#rows.size;
  }

  get groups(): number {
    return this.#groups.size;
  }

  /** Bytes of the names and columns of all groups. */
  get bytes(): number {
    return this.#bytes;
  }

  get isTouched(): boolean {
    return this.#touched.size > 0;
  }

  has(key: string): boolean {
    return this.#rows.has(key);
  }

  keys(): IterableIterator<string> {
    return this.#rows.keys();
  }

  /** Throws GridError FRAME_TOO_LARGE when the groups would be larger than they may be. */
  put(value: unknown, key: string): void {
    this.remove(key);
    const { readColumns, readFields, fields } = this.#grouping;
    const columns = readColumns.map((read) => read(value, key) ?? null);
    this.#assertFits(valueBytes(columns, this.#bytesMax)); // before a name is made of them
    const id = groupId(columns);
    let group = this.#groups.get(id);
    if (group === undefined) {
      group = new Group(id, columns, fields.length);
      this.#assertFits(this.#bytes + group.bytes);
      this.#bytes += group.bytes;
      this.#groups.set(id, group);
    }
    const numbers = readFields.map((read) => {
      const field = read(value, key);
      return typeof field === 'number' ? field : Number.NaN;
    });
    const row: GroupedRow = { group, numbers };
    group.rows.add(row);
    this.#rows.set(key, row);
    numbers.forEach((number, index) => {
      if (!Number.isNaN(number)) group.fields[index]?.add(number);
    });
    this.#touched.add(id);
  }

  remove(key: string): void {
    const row = this.#rows.get(key);
    if (row === undefined) return;
    const { group, numbers } = row;
    this.#rows.delete(key);
    group.rows.delete(row);
    numbers.forEach((number, index) => {
      if (!Number.isNaN(number)) group.fields[index]?.subtract(number);
    });
    if (group.rows.size === 0) {
      this.#groups.delete(group.id);
      this.#bytes -= group.bytes;
    }
    this.#touched.add(group.id);
  }

  /** The groups that changed since the last time, as they are now. */
  take(): GroupPartial[] {
    const partials = [...this.#touched].map((id) => this.#partial(id));
    this.#touched.clear();
    return partials;
  }

  #assertFits(bytes: number): void {
    if (bytes <= this.#bytesMax) return;
    throw new GridError('FRAME_TOO_LARGE', `groups are larger than ${this.#bytesMax} bytes: group by less, or by shorter values`);
  }

  #partial(id: string): GroupPartial {
    const group = this.#groups.get(id);
    if (group === undefined) return { id, columns: [], count: 0, fields: [] };
    group.fields.forEach((summary, index) => {
      if (summary.isOff) summary.recompute(numbersOf(group, index));
    });
    return { id, columns: group.columns, count: group.rows.size, fields: group.fields };
  }
}

function* numbersOf(group: Group, field: number): Generator<number> {
  for (const { numbers } of group.rows) {
    const number = numbers[field] as number;
    if (!Number.isNaN(number)) yield number;
  }
}

/** The row that a client sees for a group, from what each worker has of it. */
export function groupRow(grouping: Grouping, partials: readonly GroupPartial[]): Record<string, unknown> {
  const [first] = partials;
  const row = Object.create(null) as Record<string, unknown>;
  row.__key = first?.id ?? ALL_ROWS_KEY;
  row.__count = partials.reduce((count, partial) => count + partial.count, 0);
  for (const { func, field } of grouping.aggregations) {
    if (func === 'count') continue;
    const summaries = partials.flatMap((partial) => partial.fields[field] ?? []).filter(({ count }) => count > 0);
    row[`__${func}_${grouping.fields[field]}`] = aggregate(func, summaries);
  }
  grouping.columns.forEach((column, index) => {
    row[column] = first?.columns[index] ?? null;
  });
  return row;
}

function aggregate(func: Exclude<AggregateFunction, 'count'>, summaries: readonly FieldSummary[]): number | null {
  const sum = summaries.reduce((total, summary) => total + summary.sum, 0);
  if (func === 'sum') return sum;
  if (summaries.length === 0) return null;
  if (func === 'min') return summaries.map(({ min }) => min).reduce((a, b) => (compareValues(a, b) <= 0 ? a : b));
  if (func === 'max') return summaries.map(({ max }) => max).reduce((a, b) => (compareValues(a, b) >= 0 ? a : b));
  return sum / summaries.reduce((count, summary) => count + summary.count, 0);
}
