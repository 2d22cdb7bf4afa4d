/**
 * What one subject may do, by the policies that hold now: asked again, it follows them (access-control.ts).
 */
import { ALL_ROWS, type Access, type Action, NO_SCOPE, type RowView } from '../engine/domains/security/access.ts';
import type { Decision } from '../engine/domains/security/grants.ts';
import type { Subject } from '../engine/domains/security/subject.ts';
import type { GrantScope } from './grant-scope.ts';

/** Where the grants of a subject come from. */
export interface GrantSource {
  /** Rises with each change of the policies. */
  readonly version: number;
  /** undefined: the subject may do everything. */
  scopeOf(subject: Subject | undefined): GrantScope | undefined;
  /** The number of a scope at the workers, which are told of it first if need be. */
  numberOf(scope: GrantScope): number;
}

/** What a session may do. */
export interface SessionAccess extends Access {
  /** The grants that decide; undefined: everything is allowed. The hot path reads it once a frame. */
  readonly guard?: GrantScope | undefined;
  /** The grants that decided when `guard` was last read. */
  readonly lastGuard?: GrantScope | undefined;
}

const UNGUARDED: GrantSource = { version: 0, scopeOf: () => undefined, numberOf: () => NO_SCOPE };

export class SubjectAccess implements SessionAccess {
  /** Of whoever is not to be asked; what a session has before it is ready, and may do nothing. */
  static readonly FULL: SubjectAccess = new SubjectAccess(UNGUARDED, undefined);

  readonly #source: GrantSource;
  readonly #subject: Subject | undefined;
  #version = -1;
  #guard: GrantScope | undefined;

  constructor(source: GrantSource, subject: Subject | undefined) {
    this.#source = source;
    this.#subject = subject;
  }

  get guard(): GrantScope | undefined {
    if (this.#version !== this.#source.version) {
      this.#guard = this.#source.scopeOf(this.#subject);
      this.#version = this.#source.version;
    }
    return this.#guard;
  }

  get lastGuard(): GrantScope | undefined {
    return this.#guard;
  }

  get scope(): number {
    const { guard } = this;
    return guard?.grants.dependOnRows === true ? this.#source.numberOf(guard) : NO_SCOPE;
  }

  may(action: Action, name: string): boolean {
    return decisionOf(this, action, name) !== 'deny';
  }

  rows(mapName: string): RowView {
    return this.guard?.grants.rows(mapName) ?? ALL_ROWS;
  }
}

/** As `may`, and whether it depends on the row. */
export function decisionOf({ guard }: SessionAccess, action: Action, name: string): Decision {
  return guard?.grants.decide(action, name) ?? 'allow';
}
