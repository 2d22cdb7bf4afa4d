/**
 * The policies that apply to one subject, bound to it: everything that decides for it, and nothing about who it is.
 *
 *   policies ─ appliesTo(subject) ─ bind conditions ─▶ grants ─┬─ decide(action, name)   allow, deny, or it depends on the row
 *                                                             └─ text                    travels to workers; equal for subjects alike
 *
 * Deny wins. What nothing allows is denied. An action depends on the row when a condition decides, or when fields are hidden.
 */
import { GridError } from '../../protocol/errors.ts';
import { ALL_ROWS, NO_ROWS, type Action, type RowView } from './access.ts';
import { bindCondition, type CompileCondition, type Condition, type RowTest } from './condition.ts';
import { compilePattern, type NameTest } from './name-pattern.ts';
import { type Effect, appliesTo, type Policy } from './policy.ts';
import { type RowGrant, RowRule } from './row-rule.ts';
import type { Subject } from './subject.ts';

/** A policy without its subject: what remains of it is plain JSON. */
export interface Grant {
  readonly pattern: string;
  readonly actions: readonly Action[];
  readonly effect: Effect;
  readonly condition?: Condition;
  readonly fields?: readonly string[];
}

export type Decision = 'allow' | 'deny' | 'rows';

interface MatchedGrant {
  readonly grant: Grant;
  readonly matches: NameTest;
}

/** Names whose decisions are remembered; beyond, they are made anew. */
const REMEMBERED_MAX = 10_000;
/** Longer names are decided anew each time: whoever asks may make them as long as a frame. */
const REMEMBERED_CHARACTERS_MAX = 256;

export class Grants {
  readonly text: string;
  /** True when some decision may depend on rows. */
  readonly dependOnRows: boolean;
  readonly #grants: readonly MatchedGrant[];
  readonly #compile: CompileCondition;
  readonly #decisions = new Map<Action, Map<string, Decision>>();
  readonly #rules = new Map<Action, Map<string, RowRule>>();

  private constructor(grants: readonly Grant[], text: string, compile: CompileCondition) {
    this.text = text;
    this.dependOnRows = grants.some(({ condition, fields }) => condition !== undefined || fields !== undefined);
    this.#compile = compile;
    this.#grants = grants.map((grant) => ({ grant, matches: compilePattern(grant.pattern) }));
  }

  /** What the policies give to a subject; undefined = nobody in particular. */
  static of(policies: readonly Policy[], subject: Subject | undefined, compile: CompileCondition): Grants {
    const grants = policies.flatMap((policy) => (appliesTo(policy, subject) ? bound(policy, subject) : []));
    return new Grants(grants, JSON.stringify(grants), compile);
  }

  /** The same from its text. */
  static parse(text: string, compile: CompileCondition): Grants {
    const grants: Grant[] = JSON.parse(text); // written by `of`, in this process
    return new Grants(grants, text, compile);
  }

  /** Remembered by name. A writer that is shown some fields only depends on the row, too: what it does not see must stay. */
  decide(action: Action, name: string): Decision {
    const known = remembered(this.#decisions, action);
    const decided = known.get(name);
    if (decided !== undefined) return decided;
    let decision = this.#decideAlone(action, name);
    if (decision === 'allow' && action === 'write' && this.#masks(name)) decision = 'rows';
    if (isRemembered(known, name)) known.set(name, decision);
    return decision;
  }

  /** What decides row by row. */
  rule(action: Action, name: string): RowRule {
    const known = remembered(this.#rules, action);
    let rule = known.get(name);
    if (rule === undefined) {
      rule = new RowRule(this.#matching(action, name).map((grant) => this.#rowGrant(grant)));
      if (isRemembered(known, name)) known.set(name, rule);
    }
    return rule;
  }

  /** The rows of a map as the subject sees them. */
  rows(name: string): RowView {
    const decision = this.decide('read', name);
    return decision === 'allow' ? ALL_ROWS : decision === 'deny' ? NO_ROWS : this.rule('read', name);
  }

  /** What decides about reading the map, as text: a map whose text changes is another one for the subject. */
  readText(name: string): string {
    const decision = this.decide('read', name);
    return decision === 'rows' ? JSON.stringify(this.#matching('read', name)) : decision;
  }

  #decideAlone(action: Action, name: string): Decision {
    const grants = this.#matching(action, name);
    const whole = grants.filter(({ condition, fields }) => condition === undefined && fields === undefined);
    if (whole.some(({ effect }) => effect === 'deny')) return 'deny';
    const allows = grants.filter(({ effect }) => effect === 'allow');
    if (allows.length === 0) return 'deny';
    return allows.length === grants.length && whole.length > 0 ? 'allow' : 'rows';
  }

  /** True when some field of some row of the map may be hidden. */
  #masks(name: string): boolean {
    return this.#matching('read', name).some(({ fields }) => fields !== undefined);
  }

  #matching(action: Action, name: string): Grant[] {
    return this.#grants.filter(({ grant, matches }) => grant.actions.includes(action) && matches(name)).map(({ grant }) => grant);
  }

  /** Compiled when a row is first judged: gateways never do. */
  #rowGrant({ effect, condition, fields }: Grant): RowGrant {
    return { effect, fields, test: condition === undefined ? undefined : this.#test(condition, effect) };
  }

  /** A claim may not fit the operator that it is compared by: such a condition is judged against the subject. */
  #test(condition: Condition, effect: Effect): RowTest {
    try {
      return this.#compile(condition);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      return () => effect === 'deny';
    }
  }
}

function remembered<Value>(by: Map<Action, Map<string, Value>>, action: Action): Map<string, Value> {
  let known = by.get(action);
  if (known === undefined) {
    known = new Map();
    by.set(action, known);
  }
  return known;
}

/** A condition about a claim that the subject lacks cannot be bound: nothing is allowed by it, and everything denied. */
function bound({ pattern, actions, effect, condition, fields }: Policy, subject: Subject | undefined): Grant[] {
  const grant = { pattern, actions, effect, ...(fields === undefined ? {} : { fields }) };
  if (condition === undefined) return [grant];
  const ofSubject = bindCondition(condition, subject);
  if (ofSubject !== undefined) return [{ ...grant, condition: ofSubject }];
  return effect === 'deny' ? [grant] : [];
}

function isRemembered(known: ReadonlyMap<string, unknown>, name: string): boolean {
  return known.size < REMEMBERED_MAX && name.length <= REMEMBERED_CHARACTERS_MAX;
}
