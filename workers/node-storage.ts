/**
 * What a node as a whole has in storage: its directory, its database, and the few values that belong to nobody else.
 *
 *   open    lock of the data directory ─ its format ─ embedded Postgres (unless DATABASE_URL) ─ advisory lock, schema, epoch ─ meta
 *   close   the reverse
 *
 * With `store: none` nothing is opened: the node is a cache with a name and a secret for one life.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Config } from '../engine/config.ts';
import { GridError } from '../engine/protocol/errors.ts';
import { checkDataFormat } from './data-format.ts';
import { packageVersion } from './package-folder.ts';
import { DataDirectoryLock } from './postgres/data-directory-lock.ts';
import { SupervisedPostgres } from './postgres/embedded-supervisor.ts';
import { AuditStore } from './postgres/audit-store.ts';
import { DefinitionStore } from './postgres/definition-store.ts';
import { type ClockOffset, MetaStore } from './postgres/meta-store.ts';
import { Ownership } from './postgres/ownership.ts';
import type { PgTarget } from './postgres/pg-session.ts';
import { logFolder, refuseLaterEpochs } from './wal/log-folder.ts';
import { removeOldSegments } from './wal/recovery.ts';
import { openFiles } from './wal/worker-log.ts';

const NODE_ID_BYTES = 8;
const SECRET_BYTES = 32;

interface Opened {
  readonly lock: DataDirectoryLock;
  readonly embedded: SupervisedPostgres | undefined;
  readonly ownership: Ownership;
  readonly meta: MetaStore;
  readonly definitions: DefinitionStore;
  readonly audit: AuditStore;
}

export interface NodeStorageEvents {
  /** Called once, when another process has become the owner: stop writing, end. */
  readonly onFenced: (error: GridError) => void;
  /** Told now and then whether the database is there, as the node's own connection sees it. */
  readonly onReach: (isThere: boolean) => void;
}

export class NodeStorage {
  /** Node id of this server in clocks, the same after each start. */
  readonly nodeId: string;
  /** What device tokens are signed with. */
  readonly secret: Uint8Array;
  readonly #opened: Opened | undefined;
  readonly #logFolder: string | undefined;
  readonly #log: Logger;

  private constructor(
    nodeId: string,
    secret: Uint8Array,
    opened: Opened | undefined,
    logFolder: string | undefined,
    log: Logger,
  ) {
    this.nodeId = nodeId;
    this.secret = secret;
    this.#opened = opened;
    this.#logFolder = logFolder;
    this.#log = log;
  }

  /**
   * Rejects with GridError: DATA_DIRECTORY_IN_USE, DATA_VERSION, STORAGE_FENCED, STORAGE_VERSION, STORAGE_UNAVAILABLE,
   * CONFIG_INVALID.
   */
  static async open(config: Config, log: Logger, events: NodeStorageEvents): Promise<NodeStorage> {
    if (config.store === 'none') {
      return new NodeStorage(
        `server-${randomBytes(NODE_ID_BYTES).toString('hex')}`,
        randomBytes(SECRET_BYTES),
        undefined,
        undefined,
        log,
      );
    }
    const lock = await DataDirectoryLock.take(config.dataDir);
    let embedded: SupervisedPostgres | undefined;
    let ownership: Ownership | undefined;
    try {
      const { dataDir, databaseUrl } = config;
      await checkDataFormat({ dataDir, program: packageVersion(), embedded: databaseUrl === undefined, nowMs: Date.now() });
      if (databaseUrl === undefined) embedded = await startPostgres(dataDir, log, events, () => ownership?.check());
      const target = databaseUrl === undefined ? embedded?.connection : { url: databaseUrl };
      if (target === undefined) throw new GridError('CONFIG_INVALID', 'no database: set DATABASE_URL');
      ownership = await Ownership.acquire({ target, ...events });
      const meta = new MetaStore(ownership.client);
      const secret = Buffer.from(await meta.serverSecret(randomBytes), 'base64url');
      const opened = {
        lock,
        embedded,
        ownership,
        meta,
        definitions: new DefinitionStore(ownership.client),
        audit: new AuditStore(ownership.client),
      };
      refuseLaterEpochs(openFiles(logFolder(config.dataDir)).list(), ownership.epoch - 1);
      return new NodeStorage(await meta.nodeId(randomBytes), secret, opened, logFolder(config.dataDir), log);
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

  /** Where definitions are kept; undefined with `store: none`. */
  get definitions(): DefinitionStore | undefined {
    return this.#opened?.definitions;
  }

  /** Where the audit of the administration is kept; undefined with `store: none`. */
  get audit(): AuditStore | undefined {
    return this.#opened?.audit;
  }

  get ownerEpoch(): number {
    return this.#opened?.ownership.epoch ?? 0;
  }

  /** Folder of the write-ahead log; undefined with `store: none`. */
  get logFolder(): string | undefined {
    return this.#logFolder;
  }

  /** Deletes files of the log that earlier runs wrote: Postgres has all of them. */
  removeOldLogs(names: readonly string[]): void {
    if (this.#logFolder === undefined || names.length === 0) return;
    removeOldSegments(openFiles(this.#logFolder), names).then(
      () => this.#log.info({ files: names.length }, 'the log of earlier runs is in Postgres and was deleted'),
      (error: unknown) => this.#log.warn({ error: String(error) }, 'the log of earlier runs could not be deleted'),
    );
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

/** Starts the embedded Postgres and keeps it running; `onUp` is called when it is back. */
function startPostgres(
  dataDir: string,
  log: Logger,
  { onReach }: NodeStorageEvents,
  onUp: () => void,
): Promise<SupervisedPostgres> {
  return SupervisedPostgres.start(
    { dataDir, log: (line) => log.debug({ postgres: line }) },
    {
      onDown: (how) => {
        log.error({ how }, 'the embedded Postgres has ended: it is started again, changes wait meanwhile');
        onReach(false);
      },
      onUp: () => {
        log.warn('the embedded Postgres serves again');
        onUp();
      },
      onStartFailed: (error) => log.error({ error: String(error) }, 'the embedded Postgres could not be started again'),
    },
  );
}
