/**
 * Whether a text has another in it, in linear time whatever both are.
 *
 * The engine's own search is faster, but compares text × part units at worst: a part of a megabyte of `a` and a `b` would
 * hold the thread for minutes. So beyond a bound the search is Knuth, Morris and Pratt's, which never steps back in the text.
 */

/** Text × part up to which the engine's own search is taken: milliseconds at worst. */
const NATIVE_STEPS_MAX = 2 ** 22;

export function isSubstring(part: string, text: string): boolean {
  if (part.length * text.length <= NATIVE_STEPS_MAX) return text.includes(part);
  const borders = bordersOf(part);
  let matched = 0;
  for (let at = 0; at < text.length; at++) {
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
