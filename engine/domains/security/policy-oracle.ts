/**
 * The same rules said once more, as plainly as can be, for tests to compare with: policy by policy, row by row, nothing bound,
 * compiled or remembered. Also the policies, subjects and rows that such tests draw.
 */
import fc from 'fast-check';
import { ACTIONS, type Action } from './access.ts';
import type { Condition } from './condition.ts';
import type { Policy } from './policy.ts';
import type { Claim, ClaimScalar, Subject } from './subject.ts';

export type Row = Readonly<Record<string, unknown>>;

/** What a condition says of a row; undefined when it speaks of a claim that the subject lacks. */
function holds(condition: Condition, row: unknown, subject: Subject | undefined): boolean | undefined {
  const parts = (condition.children ?? []).map((child) => holds(child, row, subject));
  if (parts.includes(undefined)) return undefined;
  if (condition.op === 'and') return parts.every((part) => part === true);
  if (condition.op === 'or') return parts.some((part) => part === true);
  if (condition.op === 'not') return parts[0] !== true;
  const wanted = condition.valueRef === undefined ? condition.value : claim(condition.valueRef, subject);
  if (wanted === undefined) return undefined;
  const field = isRow(row) ? row[condition.attribute ?? ''] : undefined;
  if (field === undefined || field === null) return false;
  if (condition.op === 'eq') return field === wanted;
  if (condition.op === 'gt') return isAbove(field, wanted);
  return Array.isArray(wanted) && wanted.includes(field);
}

function isAbove(field: unknown, wanted: unknown): boolean {
  if (typeof field === 'string' && typeof wanted === 'string') return field > wanted;
  return typeof field === 'number' && typeof wanted === 'number' && field > wanted;
}

function claim(reference: string, subject: Subject | undefined): Claim | undefined {
  if (reference === 'auth.id') return subject?.id;
  if (reference === 'auth.roles') return subject?.roles;
  return subject?.claims.get(reference.slice('auth.'.length));
}

function nameMatches(pattern: readonly string[], name: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return name.length === 0;
  if (first === '**') return nameMatches(rest, name) || (name.length > 0 && nameMatches(pattern, name.slice(1)));
  return name.length > 0 && (first === '*' || first === name[0]) && nameMatches(rest, name.slice(1));
}

function concerns(policy: Policy, subject: Subject | undefined, action: Action, name: string): boolean {
  if (!policy.actions.includes(action)) return false;
  if (policy.pattern !== '*' && !nameMatches(policy.pattern.split('.'), name.split('.'))) return false;
  if (policy.subjects !== undefined && !(subject !== undefined && policy.subjects.includes(subject.id))) return false;
  if (policy.roles !== undefined && !policy.roles.some((role) => subject?.roles.includes(role) === true)) return false;
  for (const [key, wanted] of Object.entries(policy.claims ?? {})) {
    const has = [subject?.claims.get(key) ?? []].flat();
    if (!has.some((one) => wanted.includes(one))) return false;
  }
  return true;
}

function concernsRow(policy: Policy, subject: Subject | undefined, row: unknown): boolean {
  if (policy.condition === undefined) return true;
  return holds(policy.condition, row, subject) ?? policy.effect === 'deny';
}

/** True when some policy allows the action on the row, and none denies it. */
export function oracleAllows(
  policies: readonly Policy[],
  subject: Subject | undefined,
  action: Action,
  name: string,
  row: unknown,
): boolean {
  const met = policies.filter((policy) => concerns(policy, subject, action, name) && concernsRow(policy, subject, row));
  return (
    met.some(({ effect }) => effect === 'allow') && !met.some(({ effect, fields }) => effect === 'deny' && fields === undefined)
  );
}

/** The row as the subject sees it, undefined when it does not. */
export function oracleSees(policies: readonly Policy[], subject: Subject | undefined, name: string, row: unknown): unknown {
  if (!oracleAllows(policies, subject, 'read', name, row)) return undefined;
  const met = policies.filter((policy) => concerns(policy, subject, 'read', name) && concernsRow(policy, subject, row));
  const isShown = (field: string): boolean =>
    met.some(({ effect, fields }) => effect === 'allow' && (fields === undefined || fields.includes(field))) &&
    !met.some(({ effect, fields }) => effect === 'deny' && fields?.includes(field) === true);
  if (!isRow(row)) return met.some(({ effect, fields }) => effect === 'allow' && fields === undefined) ? row : undefined;
  return Object.fromEntries(Object.entries(row).filter(([field]) => isShown(field)));
}

function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const FIELDS = ['owner', 'team', 'level', 'secret'];
const IDS = ['ada', 'bob', 'cyd'];
const TEAMS = ['red', 'blue'];
export const NAMES = ['notes', 'notes.a', 'notes.a.b', 'staff'];

const scalar: fc.Arbitrary<ClaimScalar> = fc.oneof(fc.constantFrom(...IDS, ...TEAMS), fc.integer({ min: 0, max: 3 }));

export const rowArbitrary: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 8, arbitrary: fc.dictionary(fc.constantFrom(...FIELDS), fc.oneof(scalar, fc.constant(null)), { maxKeys: 4 }) },
  { weight: 1, arbitrary: fc.oneof(scalar, fc.constant([1]), fc.constant(true)) },
);

export const subjectArbitrary: fc.Arbitrary<Subject | undefined> = fc.option(
  fc.record({
    id: fc.constantFrom(...IDS),
    roles: fc.subarray(['boss', 'intern']),
    claims: fc
      .record(
        { team: fc.constantFrom(...TEAMS), level: fc.integer({ min: 0, max: 3 }), teams: fc.subarray(TEAMS) },
        { requiredKeys: [] },
      )
      .map((claims) => new Map<string, Claim>(Object.entries(claims).filter(([, value]) => value !== undefined))),
  }),
  { nil: undefined, freq: 8 },
);

const leaf: fc.Arbitrary<Condition> = fc.oneof(
  fc.record({ op: fc.constantFrom('eq', 'gt'), attribute: fc.constantFrom(...FIELDS), value: scalar }),
  fc.record({
    op: fc.constantFrom('eq', 'gt'),
    attribute: fc.constantFrom(...FIELDS),
    valueRef: fc.constantFrom('auth.id', 'auth.team', 'auth.level'),
  }),
  fc.record({
    op: fc.constant('in'),
    attribute: fc.constantFrom(...FIELDS),
    valueRef: fc.constantFrom('auth.roles', 'auth.teams'),
  }),
);

const conditionArbitrary: fc.Arbitrary<Condition> = fc.letrec<{ node: Condition; leaf: Condition }>((tie) => ({
  leaf,
  node: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    tie('leaf'),
    fc.record({ op: fc.constantFrom('and', 'or'), children: fc.array(tie('node'), { maxLength: 3 }) }),
    fc.record({ op: fc.constant('not'), children: fc.array(tie('node'), { minLength: 1, maxLength: 1 }) }),
  ),
})).node;

const about = {
  pattern: fc.constantFrom('*', '**', 'notes', 'notes.*', 'notes.**', '*.a', '**.b', 'staff'),
  effect: fc.constantFrom('allow' as const, 'allow' as const, 'deny' as const),
};
const who = {
  subjects: fc.subarray(IDS, { minLength: 1 }),
  roles: fc.subarray(['boss', 'intern'], { minLength: 1 }),
  claims: fc.record({ team: fc.subarray(TEAMS, { minLength: 1 }) }),
};

/** Policies as `parsePolicy` would answer them. */
export const policiesArbitrary: fc.Arbitrary<Policy[]> = fc
  .array(
    fc.oneof(
      fc.record(
        { ...about, ...who, actions: fc.constant<readonly Action[]>(ACTIONS) },
        { requiredKeys: ['pattern', 'effect', 'actions'] },
      ),
      fc.record(
        {
          ...about,
          ...who,
          condition: conditionArbitrary,
          actions: fc.subarray<Action>(['read', 'write', 'remove'], { minLength: 1 }),
        },
        { requiredKeys: ['pattern', 'effect', 'actions'] },
      ),
      fc.record(
        {
          ...about,
          ...who,
          condition: conditionArbitrary,
          fields: fc.subarray(FIELDS, { minLength: 1 }),
          actions: fc.constant<readonly Action[]>(['read']),
        },
        { requiredKeys: ['pattern', 'effect', 'actions', 'fields'] },
      ),
    ),
    { maxLength: 6 },
  )
  .map((list) => list.map((policy, index) => ({ ...policy, id: `p${index}` })));

/** Policies about names alone, for every action: of maps, topics, locks, counters and databases of Redis. */
export const rightsArbitrary: fc.Arbitrary<Policy[]> = fc
  .array(
    fc.record(
      {
        ...who,
        pattern: fc.constantFrom('*', 'notes', 'notes.*', 'staff', 'db0', 'db1', 'user:1'),
        effect: fc.constantFrom('allow' as const, 'allow' as const, 'allow' as const, 'deny' as const),
        actions: fc.subarray<Action>([...ACTIONS], { minLength: 1 }),
      },
      { requiredKeys: ['pattern', 'effect', 'actions'] },
    ),
    { minLength: 1, maxLength: 6 },
  )
  .map((list) => list.map((policy, index) => ({ ...policy, id: `r${index}` })));
