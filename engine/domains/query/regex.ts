/**
 * Regular expressions of clients, in time that is linear in the text: all states that a pattern can be in are carried
 * along at once, so nothing is ever tried again.
 *
 *   pattern ──▶ tree ──▶ program: UNIT set · SPLIT a b · ASSERT kind · MATCH      at most PROGRAM_MAX instructions
 *   text    ──▶ for each unit: the states that it leads to, each once             at most text × program, and the steps left
 *
 * JavaScript's own RegExp backtracks: twenty characters of pattern can hold a thread for hours. It never sees a client's.
 *
 * Source: Thompson, "Regular Expression Search Algorithm" (1968); Cox, "Regular Expression Matching: the Virtual Machine Approach".
 */
import { assert } from '../../assert.ts';
import { GridError } from '../../protocol/errors.ts';
import { type AssertionKind, parseRegex, type Ranges, type RegexTree, WORD_UNITS } from './regex-parser.ts';
import type { StepBudget } from './step-budget.ts';

/** Instructions of a program: what a thousand characters may cost is this times a thousand steps of some nanoseconds. */
const PROGRAM_MAX = 256;
/** Steps that a state costs, and states after which they are spent. */
const STATE_STEPS = 2;
const SPENT_STATES = 4096;

type Instruction =
  | { readonly op: 'unit'; readonly includes: (unit: number) => boolean }
  | { readonly op: 'split'; readonly first: number; readonly second: number }
  | { readonly op: 'assert'; readonly assertion: AssertionKind }
  | { readonly op: 'match' };

/**
 * Throws GridError BAD_REQUEST when the pattern is none, is outside of the subset, or is too large; the test does when the steps
 * do not suffice.
 */
export function regexTest(pattern: string): (text: string, steps: StepBudget) => boolean {
  const run = new Run(compile(parseRegex(pattern)));
  return (text, steps) => run.matches(text, steps);
}

/** Instructions follow one another, so only a split names others. */
function compile(tree: RegexTree): readonly Instruction[] {
  const program: (Instruction | undefined)[] = [];
  emit(tree, program);
  add(program, { op: 'match' });
  return program.map((instruction) => {
    assert(instruction !== undefined, 'every split was given its ends');
    return instruction;
  });
}

function emit(tree: RegexTree, program: (Instruction | undefined)[]): void {
  switch (tree.kind) {
    case 'empty':
      return;
    case 'unit':
      return add(program, { op: 'unit', includes: unitTest(tree.ranges, tree.negated) });
    case 'assertion':
      return add(program, { op: 'assert', assertion: tree.assertion });
    case 'sequence':
      for (const part of tree.parts) emit(part, program);
      return;
    case 'choice':
      return emitChoice(tree.parts, program);
    case 'repeat':
      emitCopies(tree.part, tree.min, program);
      return tree.max === Number.POSITIVE_INFINITY ? emitLoop(tree.part, program) : emitOptional(tree, program);
  }
}

/** split A, (B, (…)): behind each way but the last a jump to the end, which is a split with one end. */
function emitChoice(parts: readonly RegexTree[], program: (Instruction | undefined)[]): void {
  const jumps: number[] = [];
  for (const part of parts.slice(0, -1)) {
    const split = reserve(program);
    emit(part, program);
    jumps.push(reserve(program));
    program[split] = { op: 'split', first: split + 1, second: program.length };
  }
  emit(parts.at(-1) ?? { kind: 'empty' }, program);
  for (const jump of jumps) program[jump] = { op: 'split', first: program.length, second: program.length };
}

/** Stops when a copy is empty: counts inside one another would cost their product, for nothing. */
function emitCopies(part: RegexTree, copies: number, program: (Instruction | undefined)[]): void {
  for (let copy = 0; copy < copies; copy++) {
    const before = program.length;
    emit(part, program);
    if (program.length === before) return;
  }
}

function emitLoop(part: RegexTree, program: (Instruction | undefined)[]): void {
  const split = reserve(program);
  emit(part, program);
  add(program, { op: 'split', first: split, second: split });
  program[split] = { op: 'split', first: split + 1, second: program.length };
}

function emitOptional(
  tree: { readonly part: RegexTree; readonly min: number; readonly max: number },
  program: (Instruction | undefined)[],
): void {
  const splits: number[] = [];
  for (let copy = tree.min; copy < tree.max; copy++) {
    splits.push(reserve(program));
    emit(tree.part, program);
  }
  for (const split of splits) program[split] = { op: 'split', first: split + 1, second: program.length };
}

function reserve(program: (Instruction | undefined)[]): number {
  if (program.length >= PROGRAM_MAX) throw new GridError('BAD_REQUEST', 'regular expression: the pattern is too large');
  return program.push(undefined) - 1;
}

function add(program: (Instruction | undefined)[], instruction: Instruction): void {
  program[reserve(program)] = instruction;
}

function unitTest(ranges: Ranges, negated: boolean): (unit: number) => boolean {
  const [range] = ranges;
  if (ranges.length === 1 && range !== undefined && !negated) {
    const [first, last] = range;
    return first === last ? (unit) => unit === first : (unit) => unit >= first && unit <= last;
  }
  const ascii = Uint8Array.from({ length: 128 }, (_, unit) => (isWithin(ranges, unit) === negated ? 0 : 1));
  return (unit) => (unit < 128 ? ascii[unit] === 1 : isWithin(ranges, unit) !== negated);
}

function isWithin(ranges: Ranges, unit: number): boolean {
  return ranges.some(([first, last]) => unit >= first && unit <= last);
}

const isWordUnit = unitTest(WORD_UNITS, false);

/** The states of one program, used again for each text. A run never runs inside another. */
class Run {
  readonly #program: readonly Instruction[];
  /** Unit instructions that wait for the next unit, and those for the one behind. */
  #now: Int32Array;
  #next: Int32Array;
  #nextCount = 0;
  /** States reached that were not yet paid for. */
  #states = 0;
  /** Position + 1 at which the instruction was reached last. */
  readonly #reachedAt: Float64Array;
  /** Instructions whose ways are still to be followed. Each is put there at most twice a position. */
  readonly #open: Int32Array;

  constructor(program: readonly Instruction[]) {
    this.#program = program;
    this.#now = new Int32Array(program.length);
    this.#next = new Int32Array(program.length);
    this.#reachedAt = new Float64Array(program.length);
    this.#open = new Int32Array(2 * program.length + 1);
  }

  matches(text: string, steps: StepBudget): boolean {
    this.#reachedAt.fill(0);
    this.#nextCount = 0;
    this.#states = 0;
    for (let at = 0; ; at++) {
      if (this.#states >= SPENT_STATES) {
        steps.spend(this.#states * STATE_STEPS);
        this.#states = 0;
      }
      if (this.#follow(0, text, at)) return true; // a match may start anywhere
      if (at === text.length) return false;
      const waiting = this.#nextCount;
      [this.#now, this.#next] = [this.#next, this.#now];
      this.#nextCount = 0;
      const unit = text.charCodeAt(at);
      this.#states += waiting + 1;
      for (let index = 0; index < waiting; index++) {
        const position = this.#now[index] as number;
        const instruction = this.#program[position] as Instruction;
        if (instruction.op === 'unit' && instruction.includes(unit) && this.#follow(position + 1, text, at + 1)) return true;
      }
    }
  }

  /** Goes from `position` as far as no unit is needed. True when that reaches the match. */
  #follow(position: number, text: string, at: number): boolean {
    const open = this.#open;
    let count = 1;
    open[0] = position;
    while (count > 0) {
      count -= 1;
      this.#states += 1;
      const here = open[count] as number;
      if (this.#reachedAt[here] === at + 1) continue;
      this.#reachedAt[here] = at + 1;
      const instruction = this.#program[here] as Instruction;
      if (instruction.op === 'match') return true;
      if (instruction.op === 'unit') this.#next[this.#nextCount++] = here;
      else if (instruction.op === 'split') {
        open[count++] = instruction.second;
        open[count++] = instruction.first;
      } else if (holds(instruction.assertion, text, at)) open[count++] = here + 1;
    }
    return false;
  }
}

function holds(assertion: AssertionKind, text: string, at: number): boolean {
  if (assertion === 'start') return at === 0;
  if (assertion === 'end') return at === text.length;
  const isBefore = at > 0 && isWordUnit(text.charCodeAt(at - 1));
  const isBehind = at < text.length && isWordUnit(text.charCodeAt(at));
  return (isBefore !== isBehind) === (assertion === 'boundary');
}
