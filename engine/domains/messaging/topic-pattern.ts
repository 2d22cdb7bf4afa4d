/**
 * A pattern over names of topics, as Redis has them: `*` any run, `?` any character, `[a-c]` or `[^a-c]` one of a class,
 * `\x` the character itself.
 *
 * The pattern is read once into a list of tests, one a character, with `undefined` for a run. Matching goes through text and tests
 * together and returns only to the last run it has met: at most text × tests steps, whatever the pattern.
 * Source: Redis util.c stringmatchlen, for what patterns mean.
 */

/** Tells whether one UTF-16 unit fits; undefined in the list of tests: any run of units. */
type Test = (unit: number) => boolean;

const STAR = 0x2a;
const QUESTION = 0x3f;
const OPEN = 0x5b;
const CLOSE = 0x5d;
const CARET = 0x5e;
const DASH = 0x2d;
const BACKSLASH = 0x5c;

export class TopicPattern {
  readonly #tests: readonly (Test | undefined)[];

  constructor(pattern: string) {
    this.#tests = parse(pattern);
  }

  matches(name: string): boolean {
    const tests = this.#tests;
    let at = 0;
    let test = 0;
    let runTest = -1; // the last run met, and where the text that it swallows ends
    let runEnd = 0;
    while (at < name.length) {
      const current = tests[test];
      if (test < tests.length && current === undefined) {
        runTest = test++;
        runEnd = at;
      } else if (current?.(name.charCodeAt(at)) === true) {
        at += 1;
        test += 1;
      } else if (runTest >= 0) {
        at = ++runEnd;
        test = runTest + 1;
      } else return false;
    }
    while (test < tests.length && tests[test] === undefined) test += 1;
    return test === tests.length;
  }
}

function parse(pattern: string): (Test | undefined)[] {
  const tests: (Test | undefined)[] = [];
  for (let at = 0; at < pattern.length; ) {
    const unit = pattern.charCodeAt(at);
    if (unit === OPEN) {
      const end = classEnd(pattern, at);
      tests.push(classTest(pattern, at + 1, end));
      at = end + 1;
    } else if (unit === STAR) {
      if (tests.length === 0 || tests.at(-1) !== undefined) tests.push(undefined);
      at += 1;
    } else if (unit === QUESTION) {
      tests.push(() => true);
      at += 1;
    } else {
      const isEscape = unit === BACKSLASH && at + 1 < pattern.length;
      const wanted = isEscape ? pattern.charCodeAt(at + 1) : unit;
      tests.push((other) => other === wanted);
      at += isEscape ? 2 : 1;
    }
  }
  return tests;
}

/** Where the class that opens at `open` is closed; the end of the pattern when it is not. */
function classEnd(pattern: string, open: number): number {
  for (let at = open + 1; at < pattern.length; at++) {
    const unit = pattern.charCodeAt(at);
    if (unit === BACKSLASH) at += 1;
    else if (unit === CLOSE) return at;
  }
  return pattern.length;
}

function classTest(pattern: string, start: number, end: number): Test {
  const isNegated = start < end && pattern.charCodeAt(start) === CARET;
  const ranges: (readonly [number, number])[] = [];
  for (let at = isNegated ? start + 1 : start; at < end; at++) {
    if (pattern.charCodeAt(at) === BACKSLASH && at + 1 < end) at += 1;
    const from = pattern.charCodeAt(at);
    if (at + 2 < end && pattern.charCodeAt(at + 1) === DASH) {
      const to = pattern.charCodeAt(at + 2);
      ranges.push([Math.min(from, to), Math.max(from, to)]);
      at += 2;
    } else ranges.push([from, from]);
  }
  return (unit) => ranges.some(([from, to]) => unit >= from && unit <= to) !== isNegated;
}
