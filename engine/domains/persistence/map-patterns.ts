/**
 * Which maps are meant: patterns in which `*` stands for any characters, and `!` in front takes maps out again.
 *
 *   []                       every map
 *   ['orders', 'user.*']     these
 *   ['*', '!audit.*']        every map but these
 *
 * A pattern is walked, not made a regular expression: time is at most pattern × name, whatever the pattern.
 */
export class MapPatterns {
  readonly #wanted: readonly string[];
  readonly #unwanted: readonly string[];

  constructor(patterns: readonly string[]) {
    this.#wanted = patterns.filter((pattern) => !pattern.startsWith('!'));
    this.#unwanted = patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1));
  }

  fits(map: string): boolean {
    if (this.#unwanted.some((pattern) => fitsPattern(pattern, map))) return false;
    return this.#wanted.length === 0 || this.#wanted.some((pattern) => fitsPattern(pattern, map));
  }
}

/** Goes back to the last `*` when the rest does not fit, and lets it take one character more. */
function fitsPattern(pattern: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let starText = 0;
  for (let index = 0; index < text.length; ) {
    if (pattern[at] === '*') {
      star = at;
      starText = index;
      at += 1;
    } else if (pattern[at] === text[index]) {
      at += 1;
      index += 1;
    } else if (star >= 0) {
      at = star + 1;
      starText += 1;
      index = starText;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}
