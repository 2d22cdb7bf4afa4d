/**
 * What a node as a whole has in storage: its directory, its database, and the few values that belong to nobody else.
 *
 *   open    lock of the data directory ─ embedded Postgres (unless DATABASE_URL) ─ advisory lock, schema, epoch ─ meta
 *   close   the reverse
 *
 * With `store: none` nothing is opened: the node is a cache with a name and a secret for one life.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Config } from '../engine/config.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { DataDirectoryLock } from './postgres/data-directory-lock.ts';
import { type EmbeddedPostgres, startEmbedded } from './postgres/embedded.ts';
import { type ClockOffset, MetaStore } from './postgres/meta-store.ts';
import { Ownership } from './postgres/ownership.ts';
import type { PgTarget } from './postgres/pg-session.ts';

const NODE_ID_BYTES = 8;
const SECRET_BYTES = 32;

interface Opened {
  readonly lock: DataDirectoryLock;
  readonly embedded: EmbeddedPostgres | undefined;
  readonly ownership: Ownership;
  readonly meta: MetaStore;
}

export class NodeStorage {
  /** Node id of this server in clocks, the same after each start. */
  readonly nodeId: string;
  /** What device tokens are signed with. */
  readonly secret: Uint8Array;
  readonly #opened: Opened | undefined;
  readonly #log: Logger;

  private constructor(nodeId: string, secret: Uint8Array, opened: Opened | undefined, log: Logger) {
    this.nodeId = nodeId;
    this.secret = secret;
    this.#opened = opened;
    this.#log = log;
  }

  /** Rejects with GridError: DATA_DIRECTORY_IN_USE, STORAGE_FENCED, STORAGE_VERSION, STORAGE_UNAVAILABLE, CONFIG_INVALID. */
  static async open(config: Config, log: Logger, onFenced: (error: GridError) => void): Promise<NodeStorage> {
    if (config.store === 'none') {
      return new NodeStorage(`server-${randomBytes(NODE_ID_BYTES).toString('hex')}`, randomBytes(SECRET_BYTES), undefined, log);
    }
    const lock = await DataDirectoryLock.take(config.dataDir);
    let embedded: EmbeddedPostgres | undefined;
    let ownership: Ownership | undefined;
    try {
      if (config.databaseUrl === undefined)
        embedded = await startEmbedded({ dataDir: config.dataDir, log: (line) => log.debug({ postgres: line }) });
      const target = config.databaseUrl === undefined ? embedded?.connection : { url: config.databaseUrl };
      if (target === undefined) throw new GridError('CONFIG_INVALID', 'no database: set DATABASE_URL');
      ownership = await Ownership.acquire({ target, onFenced });
      const meta = new MetaStore(ownership.client);
      const secret = Buffer.from(await meta.serverSecret(randomBytes), 'base64url');
      return new NodeStorage(await meta.nodeId(randomBytes), secret, { lock, embedded, ownership, meta }, log);
    } catch (error) {
      await ownership?.release();
      await embedded?.stop();
      await lock.release();
      throw error;
    }
  }

  /** Where workers store records; undefined with `store: none`. */
  get target(): PgTarget | undefined {
    return this.#opened?.ownership.target;
  }

  get ownerEpoch(): number {
    return this.#opened?.ownership.epoch ?? 0;
  }

  async pruneWatermarkMs(): Promise<number> {
    return (await this.#opened?.meta.pruneWatermarkMs()) ?? 0;
  }

  /** Moves the watermark, never back; answers the stored one. Rejects with GridError while the database is away. */
  async raisePruneWatermark(watermarkMs: number): Promise<number> {
    return (await this.#opened?.meta.raisePruneWatermark(watermarkMs)) ?? watermarkMs;
  }

  async quarantined(): Promise<readonly ClockOffset[]> {
    return (await this.#opened?.meta.quarantined()) ?? [];
  }

  /** Fixes a node's offset, ms; answers the fixed one. While the database is away the chosen one holds for this life. */
  async quarantine(node: Uint8Array, offsetMs: number): Promise<number> {
    try {
      return (await this.#opened?.meta.quarantine(node, offsetMs)) ?? offsetMs;
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      this.#log.warn({ error: error.message }, 'the offset of a quarantined clock could not be stored');
      return offsetMs;
    }
  }

  async close(): Promise<void> {
    await this.#opened?.ownership.release();
    await this.#opened?.embedded?.stop();
    await this.#opened?.lock.release();
  }
}
