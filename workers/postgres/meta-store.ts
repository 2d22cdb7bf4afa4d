/**
 * The few values that a server keeps about itself in Postgres, and the clock offsets it has fixed.
 *
 *   lattice.meta              node_id, server_secret (made once), prune_watermark (only grows), owner_epoch (ownership.ts)
 *   lattice.clock_quarantine  node → offset_ms, the first one chosen stays
 *
 * Every write answers what is stored afterwards, so that several processes or repeats agree on one value.
 */
import { GridError } from '../../engine/protocol/errors.ts';
import type { PgClient } from './connection.ts';
import type { PgRow } from './pg-session.ts';

const DEADLINE_MS = 10_000;
const NODE_ID_BYTES = 8;
const SECRET_BYTES = 32;

export interface ClockOffset {
  /** Node id, UTF-8. */
  readonly node: Uint8Array;
  readonly offsetMs: number;
}

export class MetaStore {
  readonly #client: PgClient;

  constructor(client: PgClient) {
    this.#client = client;
  }

  async get(key: string): Promise<string | undefined> {
    const rows = await this.#rows('select value from lattice.meta where key = $1', [key]);
    return rows.length === 0 ? undefined : textOf(rows, 'value');
  }

  async set(key: string, value: string): Promise<void> {
    const text = `insert into lattice.meta (key, value) values ($1, $2)
      on conflict (key) do update set value = excluded.value, updated_at = now()`;
    await this.#rows(text, [key, value]);
  }

  /** Stores `value` unless there is one; answers the stored one. */
  async setOnce(key: string, value: string): Promise<string> {
    const text = `insert into lattice.meta (key, value) values ($1, $2)
      on conflict (key) do update set value = lattice.meta.value returning value`;
    return textOf(await this.#rows(text, [key, value]), 'value');
  }

  /** Name of this server in clocks: made at the first call, the same for ever. @param randomBytes of `crypto`. */
  async nodeId(randomBytes: (bytes: number) => Buffer): Promise<string> {
    return this.setOnce('node_id', `server-${randomBytes(NODE_ID_BYTES).toString('hex')}`);
  }

  /** Secret that this server signs with, 32 bytes in base64url: made at the first call, the same for ever. */
  async serverSecret(randomBytes: (bytes: number) => Buffer): Promise<string> {
    return this.setOnce('server_secret', randomBytes(SECRET_BYTES).toString('base64url'));
  }

  /** Clock (ms) up to which tombstones may have been pruned; 0 when none were. */
  async pruneWatermarkMs(): Promise<number> {
    return Number((await this.get('prune_watermark_ms')) ?? 0);
  }

  /** Moves the watermark, never back; answers the stored one. */
  async raisePruneWatermark(watermarkMs: number): Promise<number> {
    const text = `insert into lattice.meta (key, value) values ('prune_watermark_ms', $1)
      on conflict (key) do update set value = greatest(lattice.meta.value::float8, excluded.value::float8)::text, updated_at = now()
      returning value`;
    return Number(textOf(await this.#rows(text, [String(watermarkMs)]), 'value'));
  }

  /** Fixes the offset of a node's clock unless it is fixed already; answers the fixed one, in ms. */
  async quarantine(node: Uint8Array, offsetMs: number): Promise<number> {
    const text = `insert into lattice.clock_quarantine (node, offset_ms) values ($1::bytea, $2::float8)
      on conflict (node) do update set offset_ms = lattice.clock_quarantine.offset_ms returning offset_ms`;
    const [row] = await this.#rows(text, [node, offsetMs]);
    return Number(row?.offset_ms);
  }

  async quarantined(): Promise<readonly ClockOffset[]> {
    const rows = await this.#rows('select node, offset_ms from lattice.clock_quarantine order by node', []);
    return rows.map((row) => ({ node: bytesOf(row.node), offsetMs: Number(row.offset_ms) }));
  }

  async #rows(text: string, parameters: readonly (string | number | Uint8Array)[]): Promise<readonly PgRow[]> {
    return this.#client.run(DEADLINE_MS, (session) => session.rows(text, parameters));
  }
}

function textOf(rows: readonly PgRow[], column: string): string {
  const value = rows[0]?.[column];
  if (typeof value === 'string') return value;
  throw new GridError('STORAGE_UNAVAILABLE', `lattice.meta answered no ${column}`);
}

function bytesOf(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? Uint8Array.from(value) : new Uint8Array(0);
}
