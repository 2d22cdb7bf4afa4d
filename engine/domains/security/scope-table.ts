/**
 * The scopes of a worker: the row rules of subjects, by the numbers under which each gateway told them.
 *
 *   gateway ─ REQUEST_SCOPE (number, text of grants, does anybody listen) ─▶ table ─▶ whoever judges rows here
 *
 * A scope travels the ring before the first request that names it, so an unknown number means that this worker was replaced
 * and has not been told yet: the request comes again. Sessions whose grants are alike share a scope.
 */
import { GridError } from '../../protocol/errors.ts';
import { ALL_ROWS, NO_SCOPE, type RowScopes, type RowView } from './access.ts';
import { type CompileCondition, compileCondition } from './condition.ts';
import { Grants } from './grants.ts';

export interface Scope {
  readonly gateway: number;
  readonly number: number;
  readonly grants: Grants;
  /** Some session with these grants gets change events. */
  readonly listens: boolean;
}

export class ScopeTable implements RowScopes {
  readonly #byGateway: Map<number, Scope>[] = [];
  readonly #compile: CompileCondition;
  #listening: readonly Scope[] = [];

  constructor(compile: CompileCondition = compileCondition) {
    this.#compile = compile;
  }

  /** Scopes of sessions that get change events. */
  get listening(): readonly Scope[] {
    return this.#listening;
  }

  tell(gateway: number, number: number, text: string, listens: boolean): void {
    const scopes = this.#byGateway[gateway] ?? new Map<number, Scope>();
    this.#byGateway[gateway] = scopes;
    const known = scopes.get(number);
    const grants = known?.grants.text === text ? known.grants : Grants.parse(text, this.#compile);
    scopes.set(number, { gateway, number, grants, listens });
    this.#findListening();
  }

  forget(gateway: number, number: number): void {
    this.#byGateway[gateway]?.delete(number);
    this.#findListening();
  }

  find(gateway: number, number: number): Grants | undefined {
    return this.#byGateway[gateway]?.get(number)?.grants;
  }

  rows(gateway: number, scope: number, mapName: string): RowView {
    if (scope === NO_SCOPE) return ALL_ROWS;
    const grants = this.find(gateway, scope);
    if (grants === undefined) throw new GridError('UNAVAILABLE', `scope ${scope} of gateway ${gateway} is not known here`);
    return grants.rows(mapName);
  }

  #findListening(): void {
    this.#listening = this.#byGateway.flatMap((scopes) => [...scopes.values()].filter(({ listens }) => listens));
  }
}
