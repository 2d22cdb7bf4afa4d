/**
 * A policy: who may, or may not, do what with which names, for which rows, seeing which fields. Data, written by administrators.
 *
 *   {id: 'own-notes', pattern: 'notes.*', actions: ['read', 'write', 'remove'], effect: 'allow',
 *    condition: {op: 'eq', attribute: 'owner', valueRef: 'auth.id'}}
 *   {id: 'no-pay', pattern: 'staff', actions: ['read'], effect: 'deny', roles: ['intern'], fields: ['salary']}
 *
 * It applies to a subject that is among `subjects`, has one of `roles` and all of `claims`; a list that is left out asks for
 * nothing. With `fields` it is about those top-level fields only: allowed, no others are shown; denied, they are hidden and the
 * row is not. How policies combine says grants.ts.
 */
import { GridError } from '../../protocol/errors.ts';
import { ACTIONS, type Action } from './access.ts';
import { type Condition, parseCondition } from './condition.ts';
import type { ClaimScalar, Subject } from './subject.ts';

export type Effect = 'allow' | 'deny';

export interface Policy {
  readonly id: string;
  /** Of the names of maps, topics, locks or counters (name-pattern.ts). */
  readonly pattern: string;
  readonly actions: readonly Action[];
  readonly effect: Effect;
  readonly subjects?: readonly string[];
  readonly roles?: readonly string[];
  /** Claim → the values of which the subject's must be, or contain, one. */
  readonly claims?: Readonly<Record<string, readonly ClaimScalar[]>>;
  readonly condition?: Condition;
  readonly fields?: readonly string[];
}

export const POLICIES_MAX = 1000;
const LIST_MAX = 256;
const NAME_MAX = 256;
const SEGMENTS_MAX = 32;
/** The rows of the other actions' objects are nobody's to look at. */
const ROW_ACTIONS: ReadonlySet<Action> = new Set(['read', 'write', 'remove']);
const KEYS: ReadonlySet<string> = new Set([
  'id',
  'pattern',
  'actions',
  'effect',
  'subjects',
  'roles',
  'claims',
  'condition',
  'fields',
]);

/** True when the policy is about this subject. Nobody in particular (undefined) is met by policies for everybody only. */
export function appliesTo(policy: Policy, subject: Subject | undefined): boolean {
  const { subjects, roles, claims } = policy;
  if (subject === undefined) return subjects === undefined && roles === undefined && claims === undefined;
  if (subjects !== undefined && !subjects.includes(subject.id)) return false;
  if (roles !== undefined && !roles.some((role) => subject.roles.includes(role))) return false;
  return claims === undefined || Object.entries(claims).every(([name, wanted]) => claimMeets(subject, name, wanted));
}

function claimMeets(subject: Subject, name: string, wanted: readonly ClaimScalar[]): boolean {
  const claim = subject.claims.get(name);
  if (claim === undefined) return false;
  return typeof claim === 'object' ? claim.some((one) => wanted.includes(one)) : wanted.includes(claim);
}

/** A policy as somebody wrote it, checked; `action` may stand for `actions`, and `'all'` for every action. Throws GridError BAD_REQUEST. */
export function parsePolicy(input: unknown): Policy {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw bad('a policy is an object');
  const members = new Map(Object.entries(input));
  const one = members.get('action');
  if (one !== undefined && members.get('actions') === undefined) members.set('actions', Array.isArray(one) ? one : [one]);
  members.delete('action');
  const mapPattern = members.get('mapPattern');
  if (mapPattern !== undefined && members.get('pattern') === undefined) members.set('pattern', mapPattern);
  members.delete('mapPattern');
  for (const key of members.keys()) if (!KEYS.has(key)) throw bad(`a policy has no ${key.slice(0, 32)}`);
  const id = textOf(members.get('id'), 'id');
  const pattern = textOf(members.get('pattern'), `pattern of policy ${id}`);
  if (pattern.split('.').length > SEGMENTS_MAX) throw bad(`pattern of policy ${id} has more than ${SEGMENTS_MAX} segments`);
  const effect = members.get('effect');
  if (effect !== 'allow' && effect !== 'deny') throw bad(`effect of policy ${id} is allow or deny`);
  const actions = actionsOf(members.get('actions'), id);
  const condition = members.get('condition');
  const fields = textsOf(members.get('fields'), `fields of policy ${id}`);
  if (condition !== undefined && condition !== null && !actions.every((action) => ROW_ACTIONS.has(action)))
    throw bad(`policy ${id} has a condition about rows: it is for the actions read, write and remove only`);
  if (fields !== undefined && (actions.length !== 1 || actions[0] !== 'read'))
    throw bad(`policy ${id} names fields: it is for the action read only`);
  const subjects = textsOf(members.get('subjects'), `subjects of policy ${id}`);
  const roles = textsOf(members.get('roles'), `roles of policy ${id}`);
  const claims = claimsOf(members.get('claims'), id);
  return {
    id,
    pattern,
    actions,
    effect,
    ...(subjects === undefined ? {} : { subjects }),
    ...(roles === undefined ? {} : { roles }),
    ...(claims === undefined ? {} : { claims }),
    ...(condition === undefined || condition === null ? {} : { condition: parseCondition(condition) }),
    ...(fields === undefined ? {} : { fields }),
  };
}

function actionsOf(input: unknown, id: string): readonly Action[] {
  const names = textsOf(input, `actions of policy ${id}`) ?? [];
  if (names.length === 0) throw bad(`policy ${id} is about no action`);
  if (names.includes('all')) return ACTIONS;
  for (const name of names)
    if (!isAction(name)) throw bad(`policy ${id}: no action ${name.slice(0, 32)}, only ${ACTIONS.join(', ')} and all`);
  return [...new Set(names.filter(isAction))];
}

function isAction(name: string): name is Action {
  return ACTIONS.some((action) => action === name);
}

function claimsOf(input: unknown, id: string): Policy['claims'] | undefined {
  if (input === undefined || input === null) return undefined;
  if (typeof input !== 'object' || Array.isArray(input)) throw bad(`claims of policy ${id} is an object`);
  const entries = Object.entries(input).map(([name, wanted]): [string, ClaimScalar[]] => {
    const values: unknown[] = Array.isArray(wanted) ? wanted : [wanted];
    if (name.length > NAME_MAX || values.length === 0 || values.length > LIST_MAX || !values.every(isClaimScalar))
      throw bad(`claims of policy ${id}: texts, numbers and truth values, or lists of them`);
    return [name, values.filter(isClaimScalar)];
  });
  if (entries.length === 0 || entries.length > LIST_MAX) throw bad(`claims of policy ${id} has 1 to ${LIST_MAX} names`);
  return Object.fromEntries(entries);
}

function isClaimScalar(value: unknown): value is ClaimScalar {
  return (typeof value === 'string' && value.length <= NAME_MAX) || typeof value === 'number' || typeof value === 'boolean';
}

function textOf(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '' || value.length > NAME_MAX || !value.isWellFormed())
    throw bad(`${name} is a text of 1 to ${NAME_MAX} characters`);
  return value;
}

/** An empty list means nobody and nothing, which is never what is wanted: it is refused. */
function textsOf(value: unknown, name: string): readonly string[] | undefined {
  if (value === undefined || value === null) return undefined;
  const list: unknown[] | undefined = Array.isArray(value) ? value : undefined;
  if (list === undefined || list.length === 0 || list.length > LIST_MAX) throw bad(`${name} is a list of 1 to ${LIST_MAX} texts`);
  return list.map((one) => textOf(one, name));
}

function bad(message: string): GridError {
  return new GridError('BAD_REQUEST', message);
}
