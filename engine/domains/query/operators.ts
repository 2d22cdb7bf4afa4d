/**
 * The leaf operators of predicates: each takes its operand once and gives the test of a field.
 *
 *   missing and null  JavaScript's answers where the client has its own evaluator: `eq` and `neq` are === and !==, so `neq`
 *                     is true of a missing field; `gt` to `lte` are false unless both sides are of one kind
 *   case              `like`, `contains` and the match operators do not see it; `startsWith`, `endsWith` and `regex` do
 *   arrays            `contains*` of an array is membership, of a text a substring
 *
 * Source: docs/PROTOCOL.md §6.2. Where client and older servers differ, the client is followed.
 */
import { GridError } from '../../protocol/errors.ts';
import { fieldOf } from './attribute.ts';
import { compareSameKind, isEqual, isScalar } from './comparison.ts';
import { likeTest } from './like-pattern.ts';
import { regexTest } from './regex.ts';
import type { StepBudget } from './step-budget.ts';
import { isSubstring } from './substring.ts';
import { matchTest, phraseTest, prefixTest } from './text-match.ts';

/** Throws GridError BAD_REQUEST when the steps do not suffice. */
export type FieldTest = (field: unknown, steps: StepBudget) => boolean;

export interface LeafOperator {
  /** Makes the test. `node` has the options of the match operators. Throws GridError BAD_REQUEST for an operand that it cannot take. */
  readonly test: (operand: unknown, node: unknown) => FieldTest;
  /** False when making the test is work, so that the operand may not be another field of each row. */
  readonly isCheap: boolean;
  /** The node's field with the operand. */
  readonly operand: 'value' | 'query' | 'prefix' | 'none';
}

const LIST_ITEMS_MAX = 10_000;
const SLOP_MAX = 100;
/** Steps that an item of a list costs, beside what it is compared with. */
const ITEM_STEPS = 2;

export const LEAF_OPERATORS: ReadonlyMap<string, LeafOperator> = new Map<string, LeafOperator>([
  ['eq', cheap((operand) => (field, steps) => isEqual(field, operand, steps))],
  ['neq', cheap((operand) => (field, steps) => !isEqual(field, operand, steps))],
  ['gt', comparison((order) => order > 0)],
  ['gte', comparison((order) => order >= 0)],
  ['lt', comparison((order) => order < 0)],
  ['lte', comparison((order) => order <= 0)],
  ['between', costly(betweenTest)],
  ['in', cheap(inTest)],
  ['contains', cheap((operand) => containsTest([operand], true))],
  ['containsAll', costly((operand) => containsTest(listOperand(operand), true))],
  ['containsAny', costly((operand) => containsTest(listOperand(operand), false))],
  ['startsWith', affix((field, operand) => field.startsWith(operand))],
  ['endsWith', affix((field, operand) => field.endsWith(operand))],
  ['like', costly((operand) => onText(likeTest(textOperand('like', operand))))],
  ['regex', costly((operand) => onText(regexTest(textOperand('regex', operand))))],
  ['isNull', { ...cheap(() => (field) => field === null || field === undefined), operand: 'none' }],
  ['isNotNull', { ...cheap(() => (field) => field !== null && field !== undefined), operand: 'none' }],
  ['match', { ...costly((operand, node) => matchTest(textOperand('match', operand), needsAllWords(node))), operand: 'query' }],
  [
    'matchPhrase',
    { ...costly((operand, node) => phraseTest(textOperand('matchPhrase', operand), slopOf(node))), operand: 'query' },
  ],
  ['matchPrefix', { ...costly((operand) => prefixTest(textOperand('matchPrefix', operand))), operand: 'prefix' }],
]);

function cheap(test: LeafOperator['test']): LeafOperator {
  return { test, isCheap: true, operand: 'value' };
}

function costly(test: LeafOperator['test']): LeafOperator {
  return { test, isCheap: false, operand: 'value' };
}

function comparison(holds: (order: number) => boolean): LeafOperator {
  return cheap((operand) => (field, steps) => {
    const order = compareSameKind(field, operand, steps);
    return order !== undefined && holds(order);
  });
}

function betweenTest(operand: unknown): FieldTest {
  if (!Array.isArray(operand) || operand.length !== 2)
    throw new GridError('BAD_REQUEST', '`between` takes an array of the lowest and the highest value');
  const [low, high] = operand;
  return (field, steps) => (compareSameKind(field, low, steps) ?? -1) >= 0 && (compareSameKind(field, high, steps) ?? 1) <= 0;
}

/** The operand is a list with the field in it, or one value that is in the field's list. */
function inTest(operand: unknown): FieldTest {
  if (!Array.isArray(operand))
    return (field, steps) => {
      if (!Array.isArray(field) || !isScalar(operand)) return false;
      steps.spend(field.length * (isText(operand) ? ITEM_STEPS + (operand.length >> 4) : ITEM_STEPS));
      return field.includes(operand);
    };
  assertListBound(operand);
  const scalars = new Set(operand.filter(isScalar));
  const others = operand.filter((item) => !isScalar(item));
  return (field, steps) => (isScalar(field) ? !Number.isNaN(field) && scalars.has(field) : hasMember(others, field, steps));
}

function listOperand(operand: unknown): readonly unknown[] {
  if (!Array.isArray(operand)) throw new GridError('BAD_REQUEST', '`containsAll` and `containsAny` take an array');
  assertListBound(operand);
  return operand;
}

function assertListBound(list: readonly unknown[]): void {
  if (list.length > LIST_ITEMS_MAX)
    throw new GridError('BAD_REQUEST', `a list has at most ${LIST_ITEMS_MAX} items, not ${list.length}`);
}

/** The field, a list or a text, has all of the items, or any of them. */
function containsTest(items: readonly unknown[], needsAll: boolean): FieldTest {
  let folded: readonly (string | undefined)[] | undefined;
  return (field, steps) => {
    if (Array.isArray(field)) return holdOf(items, (item) => hasMember(field, item, steps), needsAll);
    if (!isText(field)) return false;
    folded ??= items.map((item) => foldedText(item, steps));
    const text = foldedText(field, steps) ?? '';
    return holdOf(folded, (part) => part !== undefined && isSubstring(part, text, steps), needsAll);
  };
}

function holdOf<T>(items: readonly T[], holds: (item: T) => boolean, needsAll: boolean): boolean {
  return needsAll ? items.every(holds) : items.some(holds);
}

/** The text in lower case; undefined for what is no text. */
function foldedText(value: unknown, steps: StepBudget): string | undefined {
  if (!isText(value)) return undefined;
  steps.spend(value.length);
  return value.toLowerCase();
}

function hasMember(list: readonly unknown[], item: unknown, steps: StepBudget): boolean {
  return list.some((member) => {
    steps.spend(ITEM_STEPS);
    return isEqual(member, item, steps);
  });
}

/** The text begins, or ends, with the operand. */
function affix(test: (field: string, operand: string) => boolean): LeafOperator {
  return cheap((operand) => (field, steps) => {
    if (!isText(field) || !isText(operand) || operand.length > field.length) return false;
    steps.spend(operand.length >> 1);
    return test(field, operand);
  });
}

function onText(test: (text: string, steps: StepBudget) => boolean): FieldTest {
  return (field, steps) => isText(field) && test(field, steps);
}

function textOperand(operator: string, operand: unknown): string {
  if (!isText(operand)) throw new GridError('BAD_REQUEST', `\`${operator}\` takes a text`);
  return operand;
}

/** `matchOptions: {operator: "and" | "or"}`. Other options are of ranking, which a filter has not. */
function needsAllWords(node: unknown): boolean {
  const options = fieldOf(node, 'matchOptions');
  if ((fieldOf(options, 'fuzziness') ?? 0) !== 0)
    throw new GridError('BAD_REQUEST', '`match` of a predicate compares whole words: `fuzziness` is not supported');
  return fieldOf(options, 'operator') === 'and';
}

function slopOf(node: unknown): number {
  const slop = fieldOf(node, 'slop') ?? 0;
  if (typeof slop !== 'number' || !(slop >= 0 && slop <= SLOP_MAX))
    throw new GridError('BAD_REQUEST', `\`slop\` is a number from 0 to ${SLOP_MAX}`);
  return slop;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}
