/**
 * What the policies for one subject, one action and one map say about a row.
 *
 *   seen     some allowing grant holds for the row, and no denying one without fields
 *   shown    the fields of the allowing grants that hold (one without fields: all of them), less those of the denying ones
 *
 * Conditions are asked of the whole row, hidden fields included; what leaves is the cut copy. A value that is no map has no
 * fields: it is seen by whoever is shown all of them.
 */
import { isData } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';
import { HIDDEN, type RowView } from './access.ts';
import type { RowTest } from './condition.ts';
import type { Effect } from './policy.ts';

export interface RowGrant {
  readonly effect: Effect;
  /** undefined = every row. */
  readonly test: RowTest | undefined;
  /** undefined = the whole row. */
  readonly fields: readonly string[] | undefined;
}

type Row = Readonly<Record<string, unknown>>;

export class RowRule implements RowView {
  readonly #allows: readonly RowGrant[];
  readonly #denies: readonly RowGrant[];
  /** True when some field may be hidden of some row. */
  readonly masks: boolean;

  constructor(grants: readonly RowGrant[]) {
    this.#allows = grants.filter(({ effect }) => effect === 'allow');
    this.#denies = grants.filter(({ effect }) => effect === 'deny');
    this.masks = grants.some(({ fields }) => fields !== undefined);
  }

  /** True when the action is allowed on the row. */
  allows(value: unknown, key: string): boolean {
    return (
      this.#allows.some((grant) => holds(grant, value, key)) &&
      !this.#denies.some((grant) => grant.fields === undefined && holds(grant, value, key))
    );
  }

  see(value: unknown, key: string): unknown {
    if (!this.allows(value, key)) return HIDDEN;
    if (!this.masks) return value;
    const shown = this.#shown(value, key);
    if (!isData(value)) return shown === undefined ? value : HIDDEN;
    const hidden = this.#hidden(value, key);
    const isShown = (field: string): boolean => (shown === undefined || shown.has(field)) && !hidden.has(field);
    return cut(value, isShown);
  }

  /**
   * What is stored when the subject writes `written` over `stored` (undefined: there is no live row): fields that it is not
   * shown stay as they are, and it cannot give them. Whoever sees nothing of a row writes it as a whole. HIDDEN when what is
   * written has no fields, so that those could not stay.
   */
  keepHidden(written: unknown, stored: unknown, key: string): unknown {
    if (!this.masks) return written;
    if (!isData(written))
      return isData(stored) && this.allows(stored, key) && this.see(stored, key) !== stored ? HIDDEN : written;
    const basis = isData(stored) && this.allows(stored, key) ? stored : undefined;
    const judged = basis ?? written;
    if (!this.allows(judged, key)) return written;
    const shown = this.#shown(judged, key);
    const hidden = this.#hidden(judged, key);
    const isShown = (field: string): boolean => (shown === undefined || shown.has(field)) && !hidden.has(field);
    const given = cut(written, isShown);
    if (basis === undefined) return given;
    const kept = cut(basis, (field) => !isShown(field));
    return Object.keys(kept).length === 0 ? given : joined(given, kept);
  }

  /** The fields of the allowing grants that hold; undefined = all. */
  #shown(value: unknown, key: string): ReadonlySet<string> | undefined {
    const shown = new Set<string>();
    for (const grant of this.#allows) {
      if (!holds(grant, value, key)) continue;
      if (grant.fields === undefined) return undefined;
      for (const field of grant.fields) shown.add(field);
    }
    return shown;
  }

  #hidden(value: unknown, key: string): ReadonlySet<string> {
    const hidden = new Set<string>();
    for (const grant of this.#denies) {
      if (grant.fields !== undefined && holds(grant, value, key)) for (const field of grant.fields) hidden.add(field);
    }
    return hidden;
  }
}

/** A condition that cannot be judged is judged against the subject. */
function holds({ effect, test }: RowGrant, value: unknown, key: string): boolean {
  if (test === undefined) return true;
  try {
    return test(value, key);
  } catch (error) {
    if (!(error instanceof GridError)) throw error;
    return effect === 'deny'; // a row that cannot be judged is not shown
  }
}

/** The fields that are shown, in their order; the row itself when all are. */
function cut(row: Row, isShown: (field: string) => boolean): Row {
  const fields = Object.keys(row);
  const left = fields.filter(isShown);
  if (left.length === fields.length) return row;
  const part = emptyRow();
  for (const field of left) part[field] = row[field];
  return part;
}

function joined(first: Row, second: Row): Row {
  const row = emptyRow();
  for (const part of [first, second]) for (const field of Object.keys(part)) row[field] = part[field];
  return row;
}

/** Without a prototype: a field may be called `__proto__`. */
function emptyRow(): Record<string, unknown> {
  return Object.create(null);
}
