/**
 * The policies at a gateway: makes of them the grants of each subject, and tells workers those that depend on rows.
 *
 *   definitions of kind `policy` ─▶ policies ─ subject ─▶ grants ─ alike? ─▶ one scope ─ REQUEST_SCOPE ─▶ every worker
 *
 * Before the first policy everything is allowed; from then on only what one allows, even when all are removed again. Subjects
 * named in the configuration pass all policies. A policy that cannot be read denies everything: nobody knows what it forbade.
 */
import { NO_SCOPE } from '../engine/domains/security/access.ts';
import { compileCondition } from '../engine/domains/security/condition.ts';
import { Grants } from '../engine/domains/security/grants.ts';
import { parsePolicy, type Policy } from '../engine/domains/security/policy.ts';
import type { Subject } from '../engine/domains/security/subject.ts';
import type { Definition, Definitions } from '../engine/operation/definitions.ts';
import { CALL_NONE, REQUEST_SCOPE, SCOPE_KNOWN, SCOPE_LISTENS, SCOPE_MAX } from '../engine/protocol/envelope.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { encodeText } from '../engine/protocol/wire-text.ts';
import type { Principal } from './authentication.ts';
import { GrantScope } from './grant-scope.ts';
import type { Session } from './session.ts';
import { type GrantSource, SubjectAccess } from './subject-access.ts';
import type { WorkerLinks } from './worker-links.ts';

/** Scopes without a session that are remembered: doors without sessions ask anew for each request. */
const IDLE_SCOPES_MAX = 1024;

export interface AccessControlOptions {
  readonly definitions: Definitions;
  /** Ids of subjects that pass all policies. */
  readonly bypassSubjects: readonly string[];
  readonly links: WorkerLinks;
  readonly onUnreadable: (name: string, reason: string) => void;
}

export class AccessControl implements GrantSource {
  version = 1;
  /** Called after each change of the policies. */
  onChange: () => void = () => {};
  readonly #options: AccessControlOptions;
  readonly #bypass: ReadonlySet<string>;
  readonly #policies = new Map<string, Policy>();
  #isActive: boolean;
  /** By the text of their grants, those used least lately first. */
  readonly #scopes = new Map<string, GrantScope>();
  readonly #byNumber = new Map<number, GrantScope>();
  #lastNumber = 0;
  #changedAtMs = 0;

  constructor(options: AccessControlOptions) {
    this.#options = options;
    this.#bypass = new Set(options.bypassSubjects);
    this.#isActive = options.definitions.everHad('policy');
    for (const definition of options.definitions.all()) if (definition.kind === 'policy') this.#noteTime(definition);
    options.definitions.watch('policy', (definition) => this.#changed(definition));
  }

  /** The access of a subject; undefined = nobody in particular (no authentication). */
  accessOf(principal: Principal | undefined): SubjectAccess {
    return new SubjectAccess(this, principal);
  }

  scopeOf(subject: Subject | undefined): GrantScope | undefined {
    if (!this.#isActive || (subject !== undefined && this.#bypass.has(subject.id))) return undefined;
    const grants = Grants.of([...this.#policies.values()], subject, compileCondition);
    const known = this.#scopes.get(grants.text) ?? new GrantScope(grants);
    this.#scopes.delete(grants.text);
    this.#scopes.set(grants.text, known);
    if (this.#scopes.size > IDLE_SCOPES_MAX) this.#forgetIdle();
    return known;
  }

  numberOf(scope: GrantScope): number {
    if (scope.number === NO_SCOPE) {
      scope.number = this.#freeNumber();
      this.#byNumber.set(scope.number, scope);
      this.#scopes.set(scope.grants.text, scope);
      this.#tellAll(scope);
    }
    return scope.number;
  }

  /** True when some policy was changed since then, wall-clock ms; a moment that nobody noted counts as just now. */
  changedSince(sinceMs: number): boolean {
    return this.#isActive && this.#changedAtMs >= sinceMs;
  }

  /** Every scope that is remembered. */
  scopes(): IterableIterator<GrantScope> {
    return this.#scopes.values();
  }

  /** The scope of a number that workers know. */
  byNumber(number: number): GrantScope | undefined {
    return this.#byNumber.get(number);
  }

  /** The session gets events by its grants from now on; by those that it had before no more. */
  listen(session: Session, before: GrantScope | undefined): void {
    const { guard } = session.access;
    if (guard === before && guard?.sessions.has(session) === true) return;
    if (before !== undefined) this.unlisten(session, before);
    if (guard === undefined) return;
    guard.sessions.add(session);
    if (!guard.grants.dependOnRows || guard.sessions.size > 1) return;
    if (guard.number === NO_SCOPE) this.numberOf(guard);
    else this.#tellAll(guard);
  }

  unlisten(session: Session, scope: GrantScope): void {
    scope.sessions.delete(session);
    if (scope.sessions.size === 0 && scope.number !== NO_SCOPE) this.#tellAll(scope);
  }

  workerReplaced(worker: number): void {
    for (const scope of this.#byNumber.values()) this.#tell(worker, scope);
  }

  #noteTime({ changedAtMs }: Definition): void {
    this.#changedAtMs = Math.max(this.#changedAtMs, changedAtMs ?? Number.POSITIVE_INFINITY);
  }

  #changed(definition: Definition): void {
    const { name, body } = definition;
    this.#isActive = true;
    this.#noteTime(definition);
    if (body === undefined) this.#policies.delete(name);
    else this.#policies.set(name, this.#parsed(name, body));
    this.version += 1;
    this.onChange();
  }

  #parsed(name: string, body: string): Policy {
    try {
      return parsePolicy(JSON.parse(body));
    } catch (error) {
      if (!(error instanceof GridError || error instanceof SyntaxError)) throw error;
      this.#options.onUnreadable(name, error.message);
      return parsePolicy({ id: name, pattern: '*', actions: ['all'], effect: 'deny' });
    }
  }

  /** Forgets scopes that no session has, the oldest first. */
  #forgetIdle(): void {
    for (const [text, scope] of this.#scopes) {
      if (this.#scopes.size <= IDLE_SCOPES_MAX / 2) return;
      if (scope.sessions.size > 0) continue;
      this.#scopes.delete(text);
      if (scope.number === NO_SCOPE) continue;
      this.#byNumber.delete(scope.number);
      this.#send(scope.number, Uint8Array.of(0));
      scope.number = NO_SCOPE;
    }
  }

  #freeNumber(): number {
    do this.#lastNumber = (this.#lastNumber % SCOPE_MAX) + 1;
    while (this.#byNumber.has(this.#lastNumber));
    return this.#lastNumber;
  }

  #tellAll(scope: GrantScope): void {
    for (let worker = 0; worker < this.#options.links.count; worker++) this.#tell(worker, scope);
  }

  #tell(worker: number, { number, grants, sessions }: GrantScope): void {
    const text = encodeText(grants.text);
    const body = new Uint8Array(1 + text.length);
    body[0] = SCOPE_KNOWN | (sessions.size > 0 ? SCOPE_LISTENS : 0);
    body.set(text, 1);
    this.#options.links.request(worker, CALL_NONE, number, REQUEST_SCOPE, body, Number.NaN);
  }

  #send(number: number, body: Uint8Array): void {
    const { links } = this.#options;
    for (let worker = 0; worker < links.count; worker++)
      links.request(worker, CALL_NONE, number, REQUEST_SCOPE, body, Number.NaN);
  }
}
