/**
 * How values compare, for predicates, sort orders and indexes alike.
 *
 *   equal     by value: numbers as JavaScript's ===, arrays and maps item by item, bytes byte by byte
 *   order     false < true < numbers < NaN < strings < bytes, arrays and maps (all alike) < null and missing
 *
 * Strings compare by UTF-16 units, because the client sorts what it got again with JavaScript's `<`. Null sorts as the
 * greatest, so it is last when ascending and first when descending (docs/PROTOCOL.md §6.3).
 */
import { isData } from '../../protocol/codec.ts';
import type { StepBudget } from './step-budget.ts';

/** Steps that a field of a map costs: its name is listed, and looked for in the other map. */
const FIELD_STEPS = 64;
const ITEM_STEPS = 2;

/** True when both are the same value. NaN equals nothing. Throws GridError BAD_REQUEST when the steps do not suffice. */
export function isEqual(a: unknown, b: unknown, steps: StepBudget): boolean {
  if (typeof a === 'string') {
    if (typeof b !== 'string' || a.length !== b.length) return false;
    steps.spend(a.length >> 4); // many units are compared at once
    return a === b;
  }
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && areBytesEqual(a, b, steps);
  if (Array.isArray(a)) return Array.isArray(b) && areItemsEqual(a, b, steps);
  return isData(a) && isData(b) && areFieldsEqual(a, b, steps);
}

/** True for what === compares by value. */
export function isScalar(value: unknown): value is string | number | boolean | null {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' || value === null;
}

/** Negative, 0 or positive: a total order of all values, except that values without an order of their own are alike. */
export function compareValues(a: unknown, b: unknown): number {
  const rank = rankOf(a);
  const otherRank = rankOf(b);
  if (rank !== otherRank) return rank - otherRank;
  if (typeof a === 'number' && typeof b === 'number') return a - b || 0; // NaN - NaN
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  if (typeof a === 'boolean' && typeof b === 'boolean') return Number(a) - Number(b);
  return 0;
}

/**
 * As the operators `gt` to `lte` compare: undefined when the two are not of one kind that has an order, or one is NaN.
 * Throws GridError BAD_REQUEST when the steps do not suffice.
 */
export function compareSameKind(a: unknown, b: unknown, steps: StepBudget): number | undefined {
  if (typeof a === 'number' && typeof b === 'number') return Number.isNaN(a) || Number.isNaN(b) ? undefined : compareValues(a, b);
  if (typeof a === 'string' && typeof b === 'string') {
    steps.spend(Math.min(a.length, b.length) >> 2);
    return compareValues(a, b);
  }
  return typeof a === 'boolean' && typeof b === 'boolean' ? Number(a) - Number(b) : undefined;
}

function rankOf(value: unknown): number {
  switch (typeof value) {
    case 'boolean':
      return 0;
    case 'number':
      return Number.isNaN(value) ? 2 : 1;
    case 'string':
      return 3;
    default:
      return value === null || value === undefined ? 5 : 4;
  }
}

function areBytesEqual(a: Uint8Array, b: Uint8Array, steps: StepBudget): boolean {
  if (a.length !== b.length) return false;
  steps.spend(a.length);
  return a.every((byte, index) => byte === b[index]);
}

function areItemsEqual(a: readonly unknown[], b: readonly unknown[], steps: StepBudget): boolean {
  if (a.length !== b.length) return false;
  return a.every((item, index) => {
    steps.spend(ITEM_STEPS);
    return isEqual(item, b[index], steps);
  });
}

function areFieldsEqual(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>, steps: StepBudget): boolean {
  const names = Object.keys(a);
  steps.spend(FIELD_STEPS * names.length);
  const otherNames = Object.keys(b);
  steps.spend(FIELD_STEPS * otherNames.length);
  if (names.length !== otherNames.length) return false;
  return names.every((name) => Object.hasOwn(b, name) && isEqual(a[name], b[name], steps));
}
