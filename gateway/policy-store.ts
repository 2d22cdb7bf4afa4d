/**
 * Policies as administrators see them: read, put, removed, with a version for each change and all versions kept.
 *
 *   put ─ parsed, conditions compiled ─▶ definition of kind `policy` ─ main thread: version right? stored ─▶ every gateway
 */
import { compileCondition, type Condition } from '../engine/domains/security/condition.ts';
import { parsePolicy, POLICIES_MAX, type Policy } from '../engine/domains/security/policy.ts';
import type { Definition, DefinitionKind, Definitions } from '../engine/operation/definitions.ts';
import { GridError } from '../engine/protocol/errors.ts';
import type { DefinitionChange } from '../workers/postgres/definition-store.ts';
import type { DefinitionWish } from './definition-registry.ts';

/** Who changes definitions: the main thread, or its desk at a gateway. */
export interface DefinitionChanges {
  define(wish: DefinitionWish): Promise<Definition>;
  history(kind: DefinitionKind, name: string): Promise<readonly DefinitionChange[]>;
}

export interface StoredPolicy {
  /** From 1; rises by one with each change, a removal too. */
  readonly version: number;
  /** undefined once it is removed, or when this program cannot read it: then it denies everything. */
  readonly policy: Policy | undefined;
}

export interface PolicyChange extends StoredPolicy {
  readonly changedBy: string;
  readonly changedAtMs: number;
}

export class PolicyStore {
  readonly #definitions: Definitions;
  readonly #changes: DefinitionChanges;

  constructor(definitions: Definitions, changes: DefinitionChanges) {
    this.#definitions = definitions;
    this.#changes = changes;
  }

  /** The policies that hold. Those that cannot be read are among them, by their id alone. */
  list(): readonly (StoredPolicy & { readonly id: string })[] {
    return this.#definitions.of('policy').map(({ name, version, body }) => ({ id: name, version, policy: readable(body) }));
  }

  /**
   * Makes or replaces a policy. Rejects with GridError: BAD_REQUEST with what is wrong with it, CONFLICT when another version than
   * `replaces` is there (0: none; left out: whatever there is), OVERLOADED, STORAGE_UNAVAILABLE.
   */
  async put(input: unknown, changedBy: string, replaces?: number): Promise<StoredPolicy> {
    const policy = parsePolicy(input);
    if (policy.condition !== undefined) compileCondition(withoutReferences(policy.condition));
    const known = this.#definitions.newest('policy', policy.id)?.body !== undefined;
    if (!known && this.#definitions.of('policy').length >= POLICIES_MAX)
      throw new GridError('OVERLOADED', `there are ${POLICIES_MAX} policies, the most that may be`);
    const body = JSON.stringify(policy);
    const { version } = await this.#changes.define({ kind: 'policy', name: policy.id, body, replaces, changedBy });
    return { version, policy };
  }

  /** Removes a policy. Rejects with GridError: NOT_FOUND, CONFLICT, STORAGE_UNAVAILABLE. What was once guarded stays so: nothing is allowed then. */
  async remove(id: string, changedBy: string, replaces?: number): Promise<void> {
    await this.#changes.define({ kind: 'policy', name: id, body: undefined, replaces, changedBy });
  }

  /** All versions of a policy that are kept, newest first. */
  async history(id: string): Promise<readonly PolicyChange[]> {
    const changes = await this.#changes.history('policy', id);
    return changes.map(({ version, body, changedBy, changedAtMs }) => ({
      version,
      policy: readable(body),
      changedBy,
      changedAtMs,
    }));
  }
}

function readable(body: string | undefined): Policy | undefined {
  if (body === undefined) return undefined;
  try {
    return parsePolicy(JSON.parse(body));
  } catch (error) {
    if (error instanceof GridError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** As for some subject: a text, or a list where the operator takes one, stands for what it claims. */
function withoutReferences({ valueRef, children, ...node }: Condition): Condition {
  return {
    ...node,
    ...(valueRef === undefined ? {} : valueRef.startsWith('auth.') ? { value: CLAIMED[node.op] ?? '' } : { valueRef }),
    ...(children === undefined ? {} : { children: children.map(withoutReferences) }),
  };
}

const CLAIMED: Readonly<Record<string, readonly string[]>> = { containsAll: [''], containsAny: [''], between: ['', ''] };
