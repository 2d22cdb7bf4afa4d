/**
 * The patterns of `like`: `%` is any run of characters, `_` exactly one, all else itself; case does not matter.
 *
 * Matched without backtracking further than to the last `%`: what stood before it already matched as early as possible,
 * and nothing later can need it otherwise. So the cost is at most text × pattern, which is bounded; there is no
 * exponential case. There is no escape, as in the client.
 */
import { GridError } from '../../protocol/errors.ts';

const PATTERN_CHARS_MAX = 1000;
/** Longest text × pattern that is matched: tens of milliseconds. */
const STEPS_MAX = 2 ** 26;
const ANY_RUN = 0x25;
const ANY_ONE = 0x5f;

/** Throws GridError BAD_REQUEST when the pattern is too long; the test does when the text is too long for the pattern. */
export function likeTest(pattern: string): (text: string) => boolean {
  if (pattern.length > PATTERN_CHARS_MAX)
    throw new GridError('BAD_REQUEST', `a pattern has at most ${PATTERN_CHARS_MAX} characters, not ${pattern.length}`);
  const folded = pattern.toLowerCase().replace(/%+/g, '%');
  return (text) => {
    if (text.length * folded.length > STEPS_MAX)
      throw new GridError('BAD_REQUEST', `a text of ${text.length} characters is too long for this pattern`);
    return isLike(text.toLowerCase(), folded);
  };
}

function isLike(text: string, pattern: string): boolean {
  let at = 0;
  let patternAt = 0;
  let retryAt = 0;
  let retryPatternAt = -1;
  while (at < text.length) {
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
