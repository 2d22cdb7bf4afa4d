/**
 * Patterns of KEYS, SCAN and PSUBSCRIBE: `*`, `?`, `[a-c]`, `[^x]`, `\` before a character meant as it is.
 *
 * After Redis' stringmatchlen, without its recursion: a `*` remembers where to go on when what follows does not match, and an
 * earlier `*` need not be tried again. So a match costs at most pattern × text.
 */
const STAR = 0x2a;
const ANY = 0x3f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const NOT = 0x5e;
const BACKSLASH = 0x5c;
const DASH = 0x2d;

/** Of a pattern that is held against all keys: a longer one would hold the worker up. */
export const PATTERN_BYTES_MAX = 4096;

export function matchesGlob(pattern: Uint8Array, text: Uint8Array): boolean {
  let at = 0;
  let textAt = 0;
  let starAt = -1;
  let starText = 0;
  while (textAt < text.length) {
    if (at < pattern.length && pattern[at] === STAR) {
      at += 1;
      starAt = at;
      starText = textAt;
      continue;
    }
    const next = at < pattern.length ? matchOne(pattern, at, text[textAt] as number) : -1;
    if (next > 0) {
      at = next;
      textAt += 1;
    } else if (starAt >= 0) {
      starText += 1;
      textAt = starText;
      at = starAt;
    } else return false;
  }
  while (at < pattern.length && pattern[at] === STAR) at += 1;
  return at >= pattern.length;
}

/** Where the pattern goes on when its element at `at` matches the byte, else -1. */
function matchOne(pattern: Uint8Array, at: number, byte: number): number {
  const first = pattern[at] as number;
  if (first === ANY) return at + 1;
  if (first === OPEN) return matchSet(pattern, at + 1, byte);
  if (first === BACKSLASH && at + 1 < pattern.length) return pattern[at + 1] === byte ? at + 2 : -1;
  return first === byte ? at + 1 : -1;
}

/** `at` is behind the bracket. A set that is not closed ends with the pattern. */
function matchSet(pattern: Uint8Array, at: number, byte: number): number {
  const isNegated = pattern[at] === NOT;
  let next = isNegated ? at + 1 : at;
  let matched = false;
  while (next < pattern.length && pattern[next] !== CLOSE) {
    const low = pattern[next] as number;
    if (low === BACKSLASH && next + 1 < pattern.length) {
      if (pattern[next + 1] === byte) matched = true;
      next += 2;
    } else if (next + 2 < pattern.length && pattern[next + 1] === DASH) {
      const high = pattern[next + 2] as number;
      if (byte >= Math.min(low, high) && byte <= Math.max(low, high)) matched = true;
      next += 3;
    } else {
      if (low === byte) matched = true;
      next += 1;
    }
  }
  return matched === isNegated ? -1 : Math.min(next + 1, pattern.length);
}
