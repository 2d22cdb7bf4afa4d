/**
 * Whether a text has another in it, in linear time whatever both are.
 *
 * The engine's own search is faster, but compares text × part units at worst: a part of a megabyte of `a` and a `b` would
 * hold the thread for minutes. So it looks only for the head of a longer part, and when that is found so often that comparing the
 * rest costs more than the text, the search is Knuth, Morris and Pratt's, which never steps back in the text.
 */
import type { StepBudget } from './step-budget.ts';

/** Units that the engine's own search looks for: some nanoseconds a unit of the text at worst. */
const HEAD_UNITS = 6;
/** Steps that a unit of the text costs. */
const UNIT_STEPS = 2;

/** Throws GridError BAD_REQUEST when the steps do not suffice. */
export function isSubstring(part: string, text: string, steps: StepBudget): boolean {
  if (part.length > text.length) return false;
  steps.spend(text.length * UNIT_STEPS);
  if (part.length <= HEAD_UNITS) return text.includes(part);
  const head = part.slice(0, HEAD_UNITS);
  let compared = 0;
  for (let at = text.indexOf(head); at >= 0; at = text.indexOf(head, at + 1)) {
    if (text.startsWith(part, at)) return true;
    compared += part.length;
    if (compared > text.length) return isSubstringFrom(at + 1, part, text, steps);
  }
  return false;
}

function isSubstringFrom(start: number, part: string, text: string, steps: StepBudget): boolean {
  steps.spend((text.length - start + part.length) * UNIT_STEPS);
  const borders = bordersOf(part);
  let matched = 0;
  for (let at = start; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    while (matched > 0 && part.charCodeAt(matched) !== unit) matched = borders[matched - 1] as number;
    if (part.charCodeAt(matched) === unit) matched += 1;
    if (matched === part.length) return true;
  }
  return false;
}

/** For each prefix of `part`, the length of the longest shorter prefix that it also ends with. */
function bordersOf(part: string): Int32Array {
  const borders = new Int32Array(part.length);
  let length = 0;
  for (let at = 1; at < part.length; at++) {
    while (length > 0 && part.charCodeAt(length) !== part.charCodeAt(at)) length = borders[length - 1] as number;
    if (part.charCodeAt(length) === part.charCodeAt(at)) length += 1;
    borders[at] = length;
  }
  return borders;
}
