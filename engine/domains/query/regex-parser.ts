/**
 * Parses the safe subset of JavaScript's regular expressions into a tree.
 *
 *   taken     literals, `.`, classes, \d \w \s \D \W \S, \b \B, ^ $, groups, `|`, * + ? {n} {n,} {n,m}, lazy forms
 *   refused   what no automaton can do in linear time (back references, lookaround), names, properties, and what is an error
 *
 * Refusals are typed: GridError BAD_REQUEST, with the place. Meaning is that of `new RegExp(pattern)` without flags:
 * units are UTF-16, `.` is no line end, `$` is the end of the text. Lazy forms match the same texts as greedy ones.
 */
import { GridError } from '../../protocol/errors.ts';

/** Pairs of first and last unit. */
export type Ranges = readonly (readonly [number, number])[];
export type AssertionKind = 'start' | 'end' | 'boundary' | 'no-boundary';

export type RegexTree =
  | { readonly kind: 'empty' }
  | { readonly kind: 'unit'; readonly ranges: Ranges; readonly negated: boolean }
  | { readonly kind: 'assertion'; readonly assertion: AssertionKind }
  | { readonly kind: 'sequence' | 'choice'; readonly parts: readonly RegexTree[] }
  | { readonly kind: 'repeat'; readonly part: RegexTree; readonly min: number; readonly max: number };

export const PATTERN_CHARS_MAX = 1000;
const GROUPS_DEEP_MAX = 50;
const COUNT_MAX = 1000;

const DIGITS: Ranges = [[0x30, 0x39]];
export const WORD_UNITS: Ranges = [...DIGITS, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]];
const SPACES: Ranges = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const LINE_ENDS: Ranges = [
  [0x0a, 0x0a],
  [0x0d, 0x0d],
  [0x2028, 0x2029],
];
const CLASS_ESCAPES: ReadonlyMap<string, Ranges> = new Map([
  ['d', DIGITS],
  ['D', complement(DIGITS)],
  ['w', WORD_UNITS],
  ['W', complement(WORD_UNITS)],
  ['s', SPACES],
  ['S', complement(SPACES)],
]);
const CONTROL_ESCAPES: ReadonlyMap<string, number> = new Map([
  ['t', 0x09],
  ['n', 0x0a],
  ['v', 0x0b],
  ['f', 0x0c],
  ['r', 0x0d],
]);

/** Throws GridError BAD_REQUEST when `pattern` is no regular expression, or outside of the subset. */
export function parseRegex(pattern: string): RegexTree {
  if (pattern.length > PATTERN_CHARS_MAX)
    throw new GridError('BAD_REQUEST', `a pattern has at most ${PATTERN_CHARS_MAX} characters, not ${pattern.length}`);
  return new Parser(pattern).parse();
}

class Parser {
  readonly #pattern: string;
  #at = 0;
  #depth = 0;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  parse(): RegexTree {
    const tree = this.#choice();
    if (this.#at < this.#pattern.length) throw this.#error('a parenthesis closes nothing');
    return tree;
  }

  #choice(): RegexTree {
    const parts = [this.#sequence()];
    while (this.#take('|')) parts.push(this.#sequence());
    return parts.length === 1 ? (parts[0] as RegexTree) : { kind: 'choice', parts };
  }

  #sequence(): RegexTree {
    const parts: RegexTree[] = [];
    while (this.#at < this.#pattern.length && this.#peek() !== '|' && this.#peek() !== ')') parts.push(this.#repeated());
    return parts.length === 0 ? { kind: 'empty' } : parts.length === 1 ? (parts[0] as RegexTree) : { kind: 'sequence', parts };
  }

  #repeated(): RegexTree {
    const part = this.#atom();
    const count = this.#count();
    if (count === undefined) return part;
    if (part.kind === 'assertion') throw this.#error('an assertion cannot be repeated');
    this.#take('?'); // lazy: the same texts match
    if (this.#count() !== undefined) throw this.#error('there is nothing to repeat');
    return { kind: 'repeat', part, min: count[0], max: count[1] };
  }

  #count(): readonly [number, number] | undefined {
    if (this.#take('*')) return [0, Number.POSITIVE_INFINITY];
    if (this.#take('+')) return [1, Number.POSITIVE_INFINITY];
    if (this.#take('?')) return [0, 1];
    const counted = /^\{(\d{1,9})(,(\d{0,9}))?\}/.exec(this.#pattern.slice(this.#at, this.#at + 24));
    if (counted === null) return undefined; // a brace that counts nothing is a literal
    this.#at += counted[0].length;
    const min = Number(counted[1]);
    const max = counted[2] === undefined ? min : counted[3] === '' ? Number.POSITIVE_INFINITY : Number(counted[3]);
    if (min > max) throw this.#error('a count is out of order');
    if (min > COUNT_MAX || (max > COUNT_MAX && max !== Number.POSITIVE_INFINITY))
      throw this.#error(`a count is at most ${COUNT_MAX}`);
    return [min, max];
  }

  #atom(): RegexTree {
    if (this.#count() !== undefined) throw this.#error('there is nothing to repeat');
    const unit = this.#next();
    switch (unit) {
      case '(':
        return this.#group();
      case '[':
        return this.#class();
      case '.':
        return { kind: 'unit', ranges: LINE_ENDS, negated: true };
      case '^':
        return { kind: 'assertion', assertion: 'start' };
      case '$':
        return { kind: 'assertion', assertion: 'end' };
      case '\\':
        return this.#escape();
      default:
        return literal(unit.charCodeAt(0));
    }
  }

  #group(): RegexTree {
    if (this.#take('?') && !this.#take(':')) throw this.#error('lookaround, named groups and flags are not supported');
    this.#depth += 1;
    if (this.#depth > GROUPS_DEEP_MAX) throw this.#error(`groups are at most ${GROUPS_DEEP_MAX} deep`);
    const tree = this.#choice();
    if (!this.#take(')')) throw this.#error('a group does not end');
    this.#depth -= 1;
    return tree;
  }

  #escape(): RegexTree {
    if (this.#take('b')) return { kind: 'assertion', assertion: 'boundary' };
    if (this.#take('B')) return { kind: 'assertion', assertion: 'no-boundary' };
    const ranges = CLASS_ESCAPES.get(this.#peek());
    if (ranges === undefined) return literal(this.#escapedUnit());
    this.#at += 1;
    return { kind: 'unit', ranges, negated: false };
  }

  /** The unit that the escape behind a backslash means. */
  #escapedUnit(): number {
    const letter = this.#next();
    const control = CONTROL_ESCAPES.get(letter);
    if (control !== undefined) return control;
    if (letter === '0' && !/\d/.test(this.#peek())) return 0;
    if (letter === 'x') return this.#hex(2);
    if (letter === 'u') return this.#hex(4);
    if (/[A-Za-z0-9]/.test(letter)) throw this.#error(`the escape \\${letter} is not supported`);
    return letter.charCodeAt(0);
  }

  #hex(digits: number): number {
    const text = this.#pattern.slice(this.#at, this.#at + digits);
    if (text.length < digits || !/^[0-9a-fA-F]+$/.test(text)) throw this.#error(`an escape lacks its ${digits} hex digits`);
    this.#at += digits;
    return Number.parseInt(text, 16);
  }

  #class(): RegexTree {
    const negated = this.#take('^');
    const ranges: (readonly [number, number])[] = [];
    while (!this.#take(']')) {
      const first = this.#classItem();
      if (this.#peek() !== '-' || this.#pattern[this.#at + 1] === ']') {
        ranges.push(...first);
        continue;
      }
      this.#at += 1;
      const last = this.#classItem();
      ranges.push(...this.#range(first, last));
    }
    return { kind: 'unit', ranges, negated };
  }

  /** From a single unit to a single unit; beside a class like \d the hyphen is a literal. */
  #range(first: Ranges, last: Ranges): Ranges {
    const from = singleUnit(first);
    const to = singleUnit(last);
    if (from === undefined || to === undefined) return [...first, [0x2d, 0x2d], ...last];
    if (from > to) throw this.#error('a range of a class is out of order');
    return [[from, to]];
  }

  #classItem(): Ranges {
    if (this.#at >= this.#pattern.length) throw this.#error('a class does not end');
    const unit = this.#next();
    if (unit !== '\\') return [[unit.charCodeAt(0), unit.charCodeAt(0)]];
    const ranges = CLASS_ESCAPES.get(this.#peek());
    if (ranges !== undefined) {
      this.#at += 1;
      return ranges;
    }
    const escaped = this.#take('b') ? 0x08 : this.#escapedUnit();
    return [[escaped, escaped]];
  }

  #peek(): string {
    return this.#pattern[this.#at] ?? '';
  }

  #next(): string {
    const unit = this.#pattern[this.#at];
    if (unit === undefined) throw this.#error('the pattern ends too early');
    this.#at += 1;
    return unit;
  }

  #take(unit: string): boolean {
    if (this.#peek() !== unit) return false;
    this.#at += 1;
    return true;
  }

  #error(reason: string): GridError {
    return new GridError('BAD_REQUEST', `regular expression, at ${this.#at}: ${reason}`);
  }
}

function literal(unit: number): RegexTree {
  return { kind: 'unit', ranges: [[unit, unit]], negated: false };
}

function singleUnit(ranges: Ranges): number | undefined {
  const [range] = ranges;
  return ranges.length === 1 && range !== undefined && range[0] === range[1] ? range[0] : undefined;
}

function complement(ranges: Ranges): Ranges {
  const result: (readonly [number, number])[] = [];
  let from = 0;
  for (const [first, last] of ranges) {
    if (from < first) result.push([from, first - 1]);
    from = last + 1;
  }
  result.push([from, 0xffff]);
  return result;
}
