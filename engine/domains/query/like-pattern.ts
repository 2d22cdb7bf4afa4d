/**
 * The patterns of `like`: `%` is any run of characters, `_` exactly one, all else itself; case does not matter.
 *
 * Matched without backtracking further than to the last `%`: what stood before it already matched as early as possible,
 * and nothing later can need it otherwise. So the cost is at most text × pattern, and no more than the steps that are left;
 * there is no exponential case. There is no escape, as in the client.
 */
import { GridError } from '../../protocol/errors.ts';
import type { StepBudget } from './step-budget.ts';

const PATTERN_CHARS_MAX = 1000;
/** Steps that a comparison costs, and comparisons after which they are spent. */
const COMPARISON_STEPS = 2;
const SPENT_COMPARISONS = 4096;
const ANY_RUN = 0x25;
const ANY_ONE = 0x5f;

/** Throws GridError BAD_REQUEST when the pattern is too long; the test does when the steps do not suffice. */
export function likeTest(pattern: string): (text: string, steps: StepBudget) => boolean {
  if (pattern.length > PATTERN_CHARS_MAX)
    throw new GridError('BAD_REQUEST', `a pattern has at most ${PATTERN_CHARS_MAX} characters, not ${pattern.length}`);
  const folded = pattern.toLowerCase().replace(/%+/g, '%');
  return (text, steps) => {
    steps.spend(text.length);
    return isLike(text.toLowerCase(), folded, steps);
  };
}

function isLike(text: string, pattern: string, steps: StepBudget): boolean {
  let at = 0;
  let patternAt = 0;
  let retryAt = 0;
  let retryPatternAt = -1;
  let taken = 0;
  while (at < text.length) {
    taken += 1;
    if (taken === SPENT_COMPARISONS) {
      steps.spend(taken * COMPARISON_STEPS);
      taken = 0;
    }
    const wanted = patternAt < pattern.length ? pattern.charCodeAt(patternAt) : -1;
    if (wanted === ANY_RUN) {
      patternAt += 1;
      if (patternAt === pattern.length) return true;
      retryPatternAt = patternAt;
      retryAt = at;
    } else if (wanted === ANY_ONE) {
      at += characterUnits(text, at);
      patternAt += 1;
    } else if (wanted === text.charCodeAt(at)) {
      at += 1;
      patternAt += 1;
    } else {
      if (retryPatternAt < 0) return false;
      retryAt += characterUnits(text, retryAt);
      at = retryAt;
      patternAt = retryPatternAt;
    }
  }
  while (pattern.charCodeAt(patternAt) === ANY_RUN) patternAt += 1;
  return patternAt === pattern.length;
}

/** 2 for a surrogate pair, else 1. */
function characterUnits(text: string, at: number): number {
  const point = text.codePointAt(at);
  return point !== undefined && point > 0xffff ? 2 : 1;
}
