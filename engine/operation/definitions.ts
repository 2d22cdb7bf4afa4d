/**
 * What people define for the whole node while it runs: schemas, indexes, policies. Every thread holds a copy of all.
 *
 *   PUT ─ gateway ─▶ main thread ─ stored in Postgres ─▶ every gateway and worker: apply ─▶ who watches the kind
 *
 * A definition is a text under a kind and a name. Each change of it has a version of its own, one higher than the last, also
 * a removal: so copies that hear of changes out of order, or twice, end with the same.
 */

/** The kinds there are. Each says what its texts mean. */
export const DEFINITION_KINDS = ['schema', 'index', 'policy'] as const;
export type DefinitionKind = (typeof DEFINITION_KINDS)[number];

export interface Definition {
  readonly kind: DefinitionKind;
  readonly name: string;
  /** From 1; rises by one with each change. */
  readonly version: number;
  /** JSON text; undefined once it is removed. */
  readonly body: string | undefined;
  /** When it was made this version, wall-clock ms; undefined where nobody noted it. */
  readonly changedAtMs?: number;
}

export type DefinitionWatcher = (definition: Definition) => void;

export class Definitions {
  readonly #current = new Map<string, Definition>();
  readonly #watchers = new Map<DefinitionKind, DefinitionWatcher[]>();

  constructor(current: readonly Definition[] = []) {
    for (const definition of current) this.#current.set(keyOf(definition.kind, definition.name), definition);
  }

  /** The newest of that name, removed or not; undefined when there never was one. */
  newest(kind: DefinitionKind, name: string): Definition | undefined {
    return this.#current.get(keyOf(kind, name));
  }

  /** Those of a kind that are not removed, in the order in which their names came. */
  of(kind: DefinitionKind): Definition[] {
    return [...this.#current.values()].filter((definition) => definition.kind === kind && definition.body !== undefined);
  }

  /** True when there is or ever was a definition of the kind. */
  everHad(kind: DefinitionKind): boolean {
    for (const definition of this.#current.values()) if (definition.kind === kind) return true;
    return false;
  }

  /** All, removed ones too: what a new thread is given. */
  all(): Definition[] {
    return [...this.#current.values()];
  }

  /** Takes a change in; what is not newer than what is known changes nothing. Watchers of the kind hear of it. */
  apply(definition: Definition): void {
    const key = keyOf(definition.kind, definition.name);
    const known = this.#current.get(key);
    if (known !== undefined && known.version >= definition.version) return;
    this.#current.set(key, definition);
    for (const watcher of this.#watchers.get(definition.kind) ?? []) watcher(definition);
  }

  /** Calls `watcher` with each definition of the kind there is, at once, and from then on with each change. */
  watch(kind: DefinitionKind, watcher: DefinitionWatcher): void {
    const watchers = this.#watchers.get(kind) ?? [];
    watchers.push(watcher);
    this.#watchers.set(kind, watchers);
    for (const definition of this.of(kind)) watcher(definition);
  }
}

function keyOf(kind: DefinitionKind, name: string): string {
  return `${kind} ${name}`;
}
