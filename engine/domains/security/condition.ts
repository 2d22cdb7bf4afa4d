/**
 * Conditions about rows: predicates of queries (query/predicate.ts), of which a value may come from the subject.
 *
 *   {op: 'eq', attribute: 'owner', valueRef: 'auth.id'}  ─ bind to a subject ─▶  {op: 'eq', attribute: 'owner', value: 'ada'}
 *
 * Once bound, a condition is plain data: two subjects whose conditions are the same share them, and a worker needs no subject.
 * A reference to a claim that the subject lacks cannot be bound: then an allowing policy does not apply, and a denying one
 * applies to every row.
 */
import { GridError } from '../../protocol/errors.ts';
import { compileNode } from '../query/predicate.ts';
import { authValue, type Subject } from './subject.ts';

/** A predicate in the form of the wire. */
export interface Condition {
  readonly op: string;
  readonly attribute?: string | undefined;
  readonly value?: unknown;
  readonly valueRef?: string | undefined;
  readonly children?: readonly Condition[] | undefined;
}

export type RowTest = (row: unknown, key: string) => boolean;
export type CompileCondition = (condition: Condition) => RowTest;

/** Makes a test of a bound condition. Throws GridError BAD_REQUEST for one that means nothing. */
export function compileCondition(condition: Condition): RowTest {
  const predicate = compileNode(condition);
  return (row, key) => predicate.matches(row, key);
}

const AUTH = 'auth.';

/** The condition for one subject, or undefined when it speaks of a claim that the subject lacks. */
export function bindCondition(condition: Condition, subject: Subject | undefined): Condition | undefined {
  const { op, attribute, value, valueRef, children } = condition;
  const bound: Condition[] = [];
  for (const child of children ?? []) {
    const part = bindCondition(child, subject);
    if (part === undefined) return undefined;
    bound.push(part);
  }
  const given = {
    op,
    ...(attribute === undefined ? {} : { attribute }),
    ...(children === undefined ? {} : { children: bound }),
  };
  if (valueRef === undefined) return value === undefined ? given : { ...given, value };
  if (!valueRef.startsWith(AUTH)) return { ...given, valueRef };
  const claimed = authValue(subject, valueRef.slice(AUTH.length));
  return claimed === undefined ? undefined : { ...given, value: claimed };
}

const DEPTH_MAX = 16;
const NODES_MAX = 256;
const KEYS: ReadonlySet<string> = new Set(['op', 'attribute', 'value', 'valueRef', 'children']);
const TEXT_MAX = 256;
const VALUE_JSON_MAX = 4096;

/** A condition as somebody wrote it, checked. Throws GridError BAD_REQUEST. */
export function parseCondition(input: unknown): Condition {
  const counted = { nodes: 0 };
  return parseNode(input, 1, counted);
}

function parseNode(input: unknown, depth: number, counted: { nodes: number }): Condition {
  counted.nodes += 1;
  if (depth > DEPTH_MAX || counted.nodes > NODES_MAX) throw bad(`a condition has at most ${NODES_MAX} nodes, ${DEPTH_MAX} deep`);
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw bad('a condition is an object with an op');
  const fields = new Map(Object.entries(input));
  for (const key of fields.keys()) if (!KEYS.has(key)) throw bad(`a condition has no ${key.slice(0, 32)}`);
  const op = text(fields.get('op'), 'op');
  const attribute = optionalText(fields.get('attribute'), 'attribute');
  const valueRef = optionalText(fields.get('valueRef'), 'valueRef');
  if (valueRef !== undefined && !valueRef.startsWith(AUTH) && !valueRef.startsWith('data.'))
    throw bad('valueRef begins with auth. or data.');
  const value = fields.get('value');
  if (value !== undefined && (JSON.stringify(value)?.length ?? 0) > VALUE_JSON_MAX)
    throw bad('a value in a condition is too long');
  const children = fields.get('children');
  if (children !== undefined && children !== null && !Array.isArray(children)) throw bad('children is a list');
  return {
    op,
    ...(attribute === undefined ? {} : { attribute }),
    ...(value === undefined ? {} : { value }),
    ...(valueRef === undefined ? {} : { valueRef }),
    ...(Array.isArray(children) ? { children: children.map((child) => parseNode(child, depth + 1, counted)) } : {}),
  };
}

function optionalText(value: unknown, name: string): string | undefined {
  return value === undefined || value === null ? undefined : text(value, name);
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '' || value.length > TEXT_MAX)
    throw bad(`${name} is a text of 1 to ${TEXT_MAX} characters`);
  return value;
}

function bad(message: string): GridError {
  return new GridError('BAD_REQUEST', message);
}
