/**
 * What an index keeps of an attribute, and the conditions that it can answer.
 *
 *   text             its first 256 units: what shares them is looked at together
 *   number, boolean  itself
 *   null, missing    null, the greatest
 *   all else         UNORDERED, just before null (comparison.ts)
 *
 * An index names candidates. Each is judged again as it is stored and as its subject may see it, so what an index keeps may be
 * coarser than the value, but never puts it outside of a range that the value is in: cutting texts keeps their order.
 */
import { compareValues, isScalar } from './comparison.ts';

export type IndexValue = string | number | boolean | null | readonly [];

/** Stands for arrays, maps and bytes, which have no order. */
export const UNORDERED: readonly [] = Object.freeze([]) as readonly [];

/** Units of a text that are kept. */
export const TEXT_UNITS_MAX = 256;

/** The stored attribute as an index keeps it. */
export function indexValueOf(field: unknown): IndexValue {
  if (typeof field === 'string') return cutText(field);
  if (field === undefined) return null;
  return isScalar(field) ? field : UNORDERED;
}

/** A copy where it is cut: a part of a text would keep all of it in memory. */
function cutText(text: string): string {
  if (text.length <= TEXT_UNITS_MAX) return text;
  const units: number[] = [];
  for (let index = 0; index < TEXT_UNITS_MAX; index++) units.push(text.charCodeAt(index));
  return String.fromCharCode(...units);
}

/** One end of a range. */
export interface IndexBound {
  readonly value: IndexValue;
  readonly inclusive: boolean;
}

/** From `low` to `high` in the order of `compareValues`; an end that is left out is open. */
export interface IndexRange {
  readonly low?: IndexBound | undefined;
  readonly high?: IndexBound | undefined;
}

export const WHOLE_RANGE: IndexRange = {};

/** What an index is asked for: rows with one of the values, or in the range. */
export type IndexCondition =
  | { readonly kind: 'equal'; readonly values: readonly IndexValue[] }
  | { readonly kind: 'range'; readonly range: IndexRange };

/** The range of one value. */
export function rangeOf(value: IndexValue): IndexRange {
  const bound = { value, inclusive: true };
  return { low: bound, high: bound };
}

/** What is in both. */
export function intersect(a: IndexRange, b: IndexRange): IndexRange {
  return { low: tighter(a.low, b.low, 1), high: tighter(a.high, b.high, -1) };
}

/** The bound that leaves less: the higher of two low ones with sign 1, the lower of two high ones with -1. */
function tighter(a: IndexBound | undefined, b: IndexBound | undefined, sign: 1 | -1): IndexBound | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  const order = compareValues(a.value, b.value) * sign;
  if (order === 0) return a.inclusive ? b : a;
  return order > 0 ? a : b;
}

/** Values of the operand's kind that compare with it as the operator says; undefined for operands without an order. */
export function comparedRange(op: 'gt' | 'gte' | 'lt' | 'lte', operand: unknown): IndexRange | undefined {
  const kind = kindRange(operand);
  if (kind === undefined || !isScalar(operand)) return undefined;
  const value = indexValueOf(operand);
  const isCut = typeof operand === 'string' && operand.length > TEXT_UNITS_MAX;
  const bound = { value, inclusive: isCut || op === 'gte' || op === 'lte' };
  return op === 'gt' || op === 'gte' ? { low: bound, high: kind.high } : { low: kind.low, high: bound };
}

/** Texts that begin with the prefix. */
export function prefixRange(prefix: string): IndexRange {
  const texts = { low: { value: prefix, inclusive: true }, high: AFTER_TEXTS };
  if (prefix.length > TEXT_UNITS_MAX) return rangeOf(indexValueOf(prefix));
  for (let length = prefix.length; length > 0; length--) {
    const unit = prefix.charCodeAt(length - 1);
    if (unit === 0xffff) continue;
    const next = prefix.slice(0, length - 1) + String.fromCharCode(unit + 1);
    return { low: texts.low, high: { value: next, inclusive: false } };
  }
  return texts;
}

const AFTER_TEXTS: IndexBound = { value: UNORDERED, inclusive: false };

function kindRange(operand: unknown): Required<IndexRange> | undefined {
  const inclusive = true;
  if (typeof operand === 'number' && !Number.isNaN(operand))
    return {
      low: { value: Number.NEGATIVE_INFINITY, inclusive },
      high: { value: Number.POSITIVE_INFINITY, inclusive },
    };
  if (typeof operand === 'string') return { low: { value: '', inclusive }, high: AFTER_TEXTS };
  if (typeof operand === 'boolean') return { low: { value: false, inclusive }, high: { value: true, inclusive } };
  return undefined;
}
