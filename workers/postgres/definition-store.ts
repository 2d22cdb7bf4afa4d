/**
 * Definitions (engine/operation/definitions.ts) in Postgres: every version of each, the newest last.
 *
 *   lattice.definition   kind, name, version, body (NULL = removed), who changed it and when     primary key (kind, name, version)
 *
 * A change is an insert of the next version: two changes at once cannot both be it, and the history is there by itself.
 */
import { type Definition, DEFINITION_KINDS, type DefinitionKind } from '../../engine/operation/definitions.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { PgClient } from './connection.ts';
import type { PgRow } from './pg-session.ts';

const DEADLINE_MS = 10_000;
/** Most versions of one definition that are shown. */
const HISTORY_MAX = 100;

/** One version of a definition, with who made it. */
export interface DefinitionChange extends Definition {
  readonly changedBy: string;
  readonly changedAtMs: number;
}

export class DefinitionStore {
  readonly #client: PgClient;

  constructor(client: PgClient) {
    this.#client = client;
  }

  /** The newest version of each definition, removed ones too. */
  async newest(): Promise<Definition[]> {
    const rows = await this.#rows(
      `select distinct on (kind, name) kind, name, version, body, extract(epoch from changed_at) * 1000 as changed_ms
        from lattice.definition order by kind, name, version desc`,
      [],
    );
    return rows.flatMap(definitionOf);
  }

  /** Stores a version. Rejects with GridError CONFLICT when that version is there already. */
  async add({ kind, name, version, body }: Definition, changedBy: string): Promise<void> {
    const text = `insert into lattice.definition (kind, name, version, body, changed_by) values ($1, $2, $3::int, $4, $5)
      on conflict do nothing returning version`;
    const rows = await this.#rows(text, [kind, name, version, body ?? null, changedBy]);
    if (rows.length === 0) throw new GridError('CONFLICT', `${kind} '${name}' has a version ${version} already: read it again`);
  }

  /** The last versions of one definition, newest first. */
  async history(kind: DefinitionKind, name: string): Promise<DefinitionChange[]> {
    const text = `select kind, name, version, body, changed_by, extract(epoch from changed_at) * 1000 as changed_ms
      from lattice.definition where kind = $1 and name = $2 order by version desc limit ${HISTORY_MAX}`;
    const rows = await this.#rows(text, [kind, name]);
    return rows.flatMap((row) =>
      definitionOf(row).map((definition) => ({
        ...definition,
        changedBy: String(row.changed_by),
        changedAtMs: Math.round(Number(row.changed_ms)),
      })),
    );
  }

  async #rows(text: string, parameters: readonly (string | number | null)[]): Promise<readonly PgRow[]> {
    return this.#client.run(DEADLINE_MS, (session) => session.rows(text, parameters));
  }
}

/** Kinds of a newer program are left alone. */
function definitionOf({ kind, name, version, body, changed_ms: changedMs }: PgRow): Definition[] {
  const known = DEFINITION_KINDS.find((candidate) => candidate === kind);
  if (known === undefined || typeof name !== 'string') return [];
  const text = typeof body === 'string' ? body : undefined;
  return [{ kind: known, name, version: Number(version), body: text, changedAtMs: Math.round(Number(changedMs)) }];
}
