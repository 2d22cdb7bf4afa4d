/**
 * Who changed what about the node through the administration, and whether it was let: a table that only grows.
 *
 *   lattice.audit   id, at, subject, address, action, target, outcome
 *
 * A change is written down before it is made, and its outcome behind it: what cannot be written down is not made.
 */
import { GridError } from '../../engine/protocol/errors.ts';
import type { PgClient } from './connection.ts';
import type { PgRow } from './pg-session.ts';

const DEADLINE_MS = 10_000;
/** Most entries of one reading. */
const ENTRIES_MAX = 500;
const TEXT_CHARACTERS_MAX = 1024;

export interface AuditEntry {
  /** Subject of the token, or `anonymous` without authentication. */
  readonly subject: string;
  /** Of the client, as the server sees it. */
  readonly address: string;
  /** Such as `PUT schema`. */
  readonly action: string;
  /** Name of what is changed. */
  readonly target: string;
}

export interface AuditRecord extends AuditEntry {
  readonly id: number;
  readonly atMs: number;
  /** `begun`, `done`, or the code of the error. */
  readonly outcome: string;
}

export class AuditStore {
  readonly #client: PgClient;

  constructor(client: PgClient) {
    this.#client = client;
  }

  /** Notes what is about to be done; answers the entry's number. */
  async begin({ subject, address, action, target }: AuditEntry): Promise<number> {
    const text = `insert into lattice.audit (subject, address, action, target, outcome) values ($1, $2, $3, $4, 'begun') returning id`;
    const [row] = await this.#rows(text, [subject, address, action, target].map(bounded));
    const id = Number(row?.id);
    if (!Number.isSafeInteger(id)) throw new GridError('STORAGE_UNAVAILABLE', 'lattice.audit answered no id');
    return id;
  }

  /** Notes how it ended. */
  async end(id: number, outcome: string): Promise<void> {
    await this.#rows('update lattice.audit set outcome = $2 where id = $1::int8', [id, bounded(outcome)]);
  }

  /** The newest entries first, those below `before` where it is given. */
  async read(limit: number, before?: number): Promise<AuditRecord[]> {
    const text = `select id, extract(epoch from at) * 1000 as at_ms, subject, address, action, target, outcome
      from lattice.audit where id < $2::int8 order by id desc limit $1::int`;
    const rows = await this.#rows(text, [Math.min(Math.max(1, limit), ENTRIES_MAX), before ?? Number.MAX_SAFE_INTEGER]);
    return rows.map((row) => ({
      id: Number(row.id),
      atMs: Math.round(Number(row.at_ms)),
      subject: String(row.subject),
      address: String(row.address),
      action: String(row.action),
      target: String(row.target),
      outcome: String(row.outcome),
    }));
  }

  async #rows(text: string, parameters: readonly (string | number)[]): Promise<readonly PgRow[]> {
    return this.#client.run(DEADLINE_MS, (session) => session.rows(text, parameters));
  }
}

/** Text as Postgres takes it: not too long, and without U+0000. */
function bounded(text: string): string {
  return text.slice(0, TEXT_CHARACTERS_MAX).replaceAll('\0', '\ufffd').toWellFormed();
}
