/**
 * Predicates: what a client asks of rows, checked and compiled once, then judged row by row.
 *
 *   {op, attribute, value}  {op: "and" | "or" | "not", children}      a node, as the client's builder makes it
 *   {field: value, …}                                                 a `where`: all of these fields are equal
 *
 *        parse: bounds, operands ─▶ tree without `not` (De Morgan) ─▶ one closure
 *
 * There is one predicate engine: queries, live updates, HTTP reads and row policies judge by it alike. Nothing a client
 * writes costs more than its bound: depth, nodes, list items and patterns are limited, and so is what all leaves together may do
 * to one row (step-budget.ts). Typed errors say what is refused.
 *
 * A `valueRef` names the operand instead of giving it: `auth.…` is looked up when the predicate is compiled, `data.…` in each
 * row. What it names may not be there; then the leaf is neither true nor false (as SQL's NULL), and no `not` around it makes
 * a row match. So a policy that compares with a claim which somebody lacks lets nothing through.
 */
import { isData } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';
import { attributeReader, fieldOf, fieldReader, type ReadAttribute } from './attribute.ts';
import { type FieldTest, LEAF_OPERATORS, type LeafOperator } from './operators.ts';
import { StepBudget } from './step-budget.ts';

export const PREDICATE_DEPTH_MAX = 32;
export const PREDICATE_NODES_MAX = 512;

/** True when the row is wanted. Throws GridError BAD_REQUEST when the steps do not suffice. */
type RowTest = (value: unknown, key: string, steps: StepBudget) => boolean;

/** Steps that an item of a list in the row costs when a leaf takes the list as its operand. */
const OPERAND_ITEM_STEPS = 32;

/** What planners look at. `all` of no children is true, `any` of none is false. */
export type PredicateTree =
  | { readonly kind: 'all' | 'any'; readonly children: readonly PredicateTree[] }
  | { readonly kind: 'leaf'; readonly leaf: PredicateLeaf };

export interface PredicateLeaf {
  readonly attribute: string;
  /** True when the attribute's name is taken as it is, false when dots in it may lead into maps. */
  readonly literal: boolean;
  readonly op: string;
  /** Constant operand; undefined when it is another field of the row. */
  readonly operand: unknown;
  /** True for a leaf under an odd number of `not`s: its test is already turned round. */
  readonly negated: boolean;
  readonly read: ReadAttribute;
  readonly test: RowTest;
}

export interface Predicate {
  readonly tree: PredicateTree;
  /**
   * Throws GridError BAD_REQUEST when the predicate would take more steps on this row than it may, or than are given: whoever
   * asked must be told, and no row of it may be shown.
   */
  matches(value: unknown, key: string, steps?: StepBudget): boolean;
}

export interface PredicateOptions {
  /** What `valueRef: "auth.…"` looks into: the claims of whoever asks, by name, as security/subject.ts has them. */
  readonly auth?: unknown;
}

/** Every row. */
export const EVERY_ROW: Predicate = { tree: { kind: 'all', children: [] }, matches: () => true };

/**
 * Compiles a node or a `where`. A map is a node when its `op` is a text and it has `attribute` or `children`; undefined and
 * null match every row.
 * Throws GridError BAD_REQUEST, with the reason, when it is neither, or beyond a bound.
 */
export function compilePredicate(where: unknown, options: PredicateOptions = {}): Predicate {
  if (where === undefined || where === null) return EVERY_ROW;
  return isNode(where) ? compileNode(where, options) : compileWhere(where);
}

/** Compiles what the client's predicate builder makes. Throws GridError BAD_REQUEST. */
export function compileNode(node: unknown, options: PredicateOptions = {}): Predicate {
  return compiled(new PredicateParser(options).parse(node, false, 1));
}

/** Compiles `{field: value}`: names are taken literally, except `_key`. Throws GridError BAD_REQUEST. */
export function compileWhere(where: unknown): Predicate {
  if (!isData(where)) throw new GridError('BAD_REQUEST', '`where` is a map of fields');
  const fields = Object.entries(where);
  if (fields.length > PREDICATE_NODES_MAX)
    throw new GridError('BAD_REQUEST', `\`where\` has at most ${PREDICATE_NODES_MAX} fields, not ${fields.length}`);
  return compiled({ kind: 'all', children: fields.map(([name, value]) => equalLeaf(name, value)) });
}

/** The rows that all of the predicates want. */
export function allOf(predicates: readonly Predicate[]): Predicate {
  const [first, ...rest] = predicates.filter((predicate) => predicate !== EVERY_ROW);
  if (first === undefined) return EVERY_ROW;
  return rest.length === 0 ? first : compiled({ kind: 'all', children: [first, ...rest].map(({ tree }) => tree) });
}

/** The leaves that every wanted row fulfils: those that no `any` is above. */
export function conjunctsOf(tree: PredicateTree): readonly PredicateLeaf[] {
  if (tree.kind === 'leaf') return [tree.leaf];
  return tree.kind === 'all' || tree.children.length === 1 ? tree.children.flatMap(conjunctsOf) : [];
}

function compiled(tree: PredicateTree): Predicate {
  const test = testOf(tree);
  const own = new StepBudget();
  return { tree, matches: (value, key, steps = own.refill()) => test(value, key, steps) };
}

function testOf(tree: PredicateTree): RowTest {
  if (tree.kind === 'leaf') return tree.leaf.test;
  const tests = tree.children.map(testOf);
  const [first, second] = tests;
  if (tests.length === 1 && first !== undefined) return first;
  if (tree.kind === 'any') return (value, key, steps) => tests.some((test) => test(value, key, steps));
  if (tests.length === 2 && first !== undefined && second !== undefined)
    return (value, key, steps) => first(value, key, steps) && second(value, key, steps);
  return (value, key, steps) => tests.every((test) => test(value, key, steps));
}

function equalLeaf(name: string, operand: unknown): PredicateTree {
  const read = fieldReader(name);
  const test = operator('eq').test(operand, undefined);
  const leaf = { attribute: name, literal: true, op: 'eq', operand, negated: false, read, test: onField(read, test) };
  return { kind: 'leaf', leaf };
}

function onField(read: ReadAttribute, test: FieldTest): RowTest {
  return (value, key, steps) => test(read(value, key), steps);
}

function isNode(where: unknown): boolean {
  return (
    typeof fieldOf(where, 'op') === 'string' &&
    (typeof fieldOf(where, 'attribute') === 'string' || Array.isArray(fieldOf(where, 'children')))
  );
}

function operator(name: string): LeafOperator {
  const found = LEAF_OPERATORS.get(name);
  if (found === undefined)
    throw new GridError('BAD_REQUEST', `predicate: there is no operator ${JSON.stringify(name.slice(0, 40))}`);
  return found;
}

class PredicateParser {
  readonly #options: PredicateOptions;
  #nodes = 0;

  constructor(options: PredicateOptions) {
    this.#options = options;
  }

  /** `negated`: an odd number of `not`s is around the node. */
  parse(node: unknown, negated: boolean, depth: number): PredicateTree {
    this.#nodes += 1;
    if (this.#nodes > PREDICATE_NODES_MAX)
      throw new GridError('BAD_REQUEST', `a predicate has at most ${PREDICATE_NODES_MAX} nodes`);
    if (depth > PREDICATE_DEPTH_MAX) throw new GridError('BAD_REQUEST', `a predicate is at most ${PREDICATE_DEPTH_MAX} deep`);
    const op = fieldOf(node, 'op');
    if (typeof op !== 'string') throw new GridError('BAD_REQUEST', 'a predicate is a map with the text `op`');
    if (op === 'and' || op === 'or') {
      const children = childrenOf(node).map((child) => this.parse(child, negated, depth + 1));
      return { kind: (op === 'and') === negated ? 'any' : 'all', children };
    }
    if (op !== 'not') return this.#leaf(node, op, negated);
    const [child] = childrenOf(node);
    return child === undefined ? { kind: negated ? 'any' : 'all', children: [] } : this.parse(child, !negated, depth + 1);
  }

  #leaf(node: unknown, op: string, negated: boolean): PredicateTree {
    const found = operator(op);
    const attribute = fieldOf(node, 'attribute');
    if (typeof attribute !== 'string') throw new GridError('BAD_REQUEST', `predicate: \`${op}\` needs the text \`attribute\``);
    const read = attributeReader(attribute);
    const ref = found.operand === 'none' ? undefined : (fieldOf(node, 'valueRef') ?? undefined);
    if (ref !== undefined && typeof ref !== 'string') throw new GridError('BAD_REQUEST', 'predicate: `valueRef` is a text');
    if (ref?.startsWith('data.') === true) {
      const test = fieldTest(found, op, read, attributeReader(ref.slice('data.'.length)), negated);
      return { kind: 'leaf', leaf: { attribute, literal: false, op, operand: undefined, negated, read, test } };
    }
    const operand = ref === undefined ? (fieldOf(node, found.operand) ?? fieldOf(node, 'value') ?? null) : this.#referred(ref);
    if (operand === undefined) return { kind: 'any', children: [] }; // names nothing: neither true nor false
    const test = found.test(operand, node);
    const turned: FieldTest = negated ? (field, steps) => !test(field, steps) : test;
    return { kind: 'leaf', leaf: { attribute, literal: false, op, operand, negated, read, test: onField(read, turned) } };
  }

  /** What a reference to the asker's claims names; undefined when it is not there, or null. */
  #referred(ref: string): unknown {
    if (!ref.startsWith('auth.')) throw new GridError('BAD_REQUEST', 'predicate: a `valueRef` begins with `auth.` or `data.`');
    return fieldOf(this.#options.auth, ref.slice('auth.'.length)) ?? undefined;
  }
}

/** Compares with another field of the row. */
function fieldTest(found: LeafOperator, op: string, read: ReadAttribute, readOther: ReadAttribute, negated: boolean): RowTest {
  if (!found.isCheap) throw new GridError('BAD_REQUEST', `predicate: \`${op}\` cannot take its operand from the row`);
  return (value, key, steps) => {
    const operand = readOther(value, key) ?? undefined;
    if (operand === undefined) return false;
    if (op === 'in' && Array.isArray(operand)) steps.spend(operand.length * OPERAND_ITEM_STEPS);
    return found.test(operand, undefined)(read(value, key), steps) !== negated;
  };
}

function childrenOf(node: unknown): readonly unknown[] {
  const children = fieldOf(node, 'children') ?? [];
  if (!Array.isArray(children)) throw new GridError('BAD_REQUEST', 'predicate: `children` is an array');
  return children;
}
