/**
 * The main thread's part of definitions: the only one that changes them, one change after the other.
 *
 *   gateway ─ ask ─▶ change ─ version right? ─ stored ─ applied here ─▶ told to every thread ─▶ answer
 *
 * With `store: none` there is nothing to store them in: they hold for the life of the process.
 */
import { type Definition, type DefinitionKind, Definitions } from '../engine/operation/definitions.ts';
import { GridError } from '../engine/protocol/errors.ts';
import type { DefinitionChange, DefinitionStore } from '../workers/postgres/definition-store.ts';

/** A wish to change a definition. */
export interface DefinitionWish {
  readonly kind: DefinitionKind;
  readonly name: string;
  /** Undefined to remove it. */
  readonly body: string | undefined;
  /** The version that it is to replace, 0 for none; left out: whatever there is. */
  readonly replaces?: number | undefined;
  /** Who wants it, for the history. */
  readonly changedBy: string;
}

const DEFINITIONS_MAX = 10_000;
const BODY_CHARACTERS_MAX = 256 * 1024;
const NAME_CHARACTERS_MAX = 1024;

export class DefinitionRegistry {
  readonly definitions: Definitions;
  readonly #store: DefinitionStore | undefined;
  readonly #tell: (definition: Definition) => void;
  readonly #unstored: DefinitionChange[] = [];
  #last: Promise<unknown> = Promise.resolve();

  private constructor(stored: readonly Definition[], store: DefinitionStore | undefined, tell: (definition: Definition) => void) {
    this.definitions = new Definitions(stored);
    this.#store = store;
    this.#tell = tell;
  }

  /** @param tell hands a changed definition to every other thread. Rejects with GridError when they cannot be read. */
  static async open(store: DefinitionStore | undefined, tell: (definition: Definition) => void): Promise<DefinitionRegistry> {
    return new DefinitionRegistry((await store?.newest()) ?? [], store, tell);
  }

  /** Rejects with GridError: CONFLICT when another version is there, NOT_FOUND, BAD_REQUEST, STORAGE_UNAVAILABLE. */
  change(wish: DefinitionWish): Promise<Definition> {
    const changed = this.#last.then(() => this.#change(wish));
    this.#last = changed.catch(() => {}); // who asked is told; the next change does not care
    return changed;
  }

  /** Newest first. */
  async history(kind: DefinitionKind, name: string): Promise<readonly DefinitionChange[]> {
    if (this.#store !== undefined) return this.#store.history(kind, name);
    return this.#unstored.filter((change) => change.kind === kind && change.name === name).reverse();
  }

  async #change({ kind, name, body, replaces, changedBy }: DefinitionWish): Promise<Definition> {
    if (name === '' || name.length > NAME_CHARACTERS_MAX)
      throw new GridError('BAD_REQUEST', `a ${kind} has a name of 1 to ${NAME_CHARACTERS_MAX} characters`);
    if ((body?.length ?? 0) > BODY_CHARACTERS_MAX)
      throw new GridError('BAD_REQUEST', `a ${kind} has at most ${BODY_CHARACTERS_MAX} characters`);
    const newest = this.definitions.newest(kind, name);
    const version = newest?.body === undefined ? 0 : newest.version;
    if (replaces !== undefined && replaces !== version) {
      throw new GridError('CONFLICT', `${kind} '${name}' is at version ${version}, not ${replaces}`);
    }
    if (body === undefined && newest?.body === undefined) throw new GridError('NOT_FOUND', `there is no ${kind} '${name}'`);
    if (newest === undefined && this.definitions.all().length >= DEFINITIONS_MAX) {
      throw new GridError('OVERLOADED', `there are ${DEFINITIONS_MAX} definitions, the most that may be`);
    }
    const definition = { kind, name, version: (newest?.version ?? 0) + 1, body, changedAtMs: Date.now() };
    await this.#store?.add(definition, changedBy);
    if (this.#store === undefined) this.#unstored.push({ ...definition, changedBy });
    this.definitions.apply(definition);
    this.#tell(definition);
    return definition;
  }
}
