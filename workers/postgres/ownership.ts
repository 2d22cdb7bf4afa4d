/**
 * One owner a database: a session-level advisory lock on a connection of its own, and an epoch that rises with each owner.
 *
 *   acquire:  connect ─▶ lock ─▶ migrate ─▶ epoch + 1      refused: STORAGE_FENCED, naming the holder
 *   beat:     select 1 each 5 s; a new connection must get the lock and find the epoch unchanged before it is used
 *   fenced:   somebody else has the lock, or the epoch has moved: `onFenced`, once
 *
 * The lock keeps a second process out in good times; the epoch, checked inside every flush, does when the lock's
 * connection was lost without our knowledge. A lock still held by our own former connection (the network forgot it, the server has not)
 * is freed by ending that backend.
 */
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { GridError } from '../../engine/protocol/errors.ts';
import { describeTarget, PgClient } from './connection.ts';
import type { PgSession, PgTarget } from './pg-session.ts';
import { LOCK_CLASS, LOCK_OWNER, migrate } from './schema.ts';
import { unavailable } from './storage-errors.ts';

const DEADLINE_MS = 10_000;
const BEAT_MS = 5000;
const WAIT_MS = 5000;
const RETRY_MS = 100;
const APPLICATION_NAME_BYTES_MAX = 63;

export interface OwnershipOptions {
  readonly target: PgTarget;
  /** Called once, when another process has become the owner: stop writing, end. */
  readonly onFenced: (error: GridError) => void;
  /** Told at each beat whether the database was there. */
  readonly onReach?: (isThere: boolean) => void;
  /** How long a refused lock is tried again: a killed predecessor's session may take a moment to end. Default 5000. */
  readonly waitMs?: number;
  /** Default 5000. */
  readonly beatMs?: number;
}

export class Ownership {
  readonly target: PgTarget;
  readonly #client: PgClient;
  readonly #onFenced: (error: GridError) => void;
  readonly #onReach: (isThere: boolean) => void;
  #epoch: number | undefined;
  #backendPid = 0;
  #beat: NodeJS.Timeout | undefined;

  private constructor(options: OwnershipOptions) {
    this.target = options.target;
    this.#onFenced = options.onFenced;
    this.#onReach = options.onReach ?? (() => {});
    const applicationName = `lattice owner pid=${process.pid} host=${hostname()}`.slice(0, APPLICATION_NAME_BYTES_MAX);
    this.#client = new PgClient({ target: options.target, applicationName, prepare: (session) => this.#lock(session) });
  }

  /**
   * Takes the lock, brings the schema up to date and raises the epoch.
   * Rejects with GridError: STORAGE_FENCED (somebody owns it), STORAGE_VERSION, STORAGE_UNAVAILABLE.
   */
  static async acquire(options: OwnershipOptions): Promise<Ownership> {
    const ownership = new Ownership(options);
    try {
      await ownership.#take(options.waitMs ?? WAIT_MS);
    } catch (error) {
      await ownership.#client.close();
      throw error;
    }
    ownership.#beat = setInterval(() => void ownership.check(), options.beatMs ?? BEAT_MS).unref();
    return ownership;
  }

  /** Our epoch: every flush checks that the stored one is still this. */
  get epoch(): number {
    return this.#epoch ?? 0;
  }

  /** Statements of the owner itself (meta, quarantine) share the lock's connection. */
  get client(): PgClient {
    return this.#client;
  }

  /** Makes sure that the lock is held, on a new connection when the old one is lost. Never rejects. */
  async check(): Promise<void> {
    try {
      await this.#client.run(DEADLINE_MS, (session) => session.script('select 1'));
      if (this.#beat !== undefined) this.#onReach(true);
    } catch (error) {
      if (!(error instanceof GridError)) throw error;
      if (error.code === 'STORAGE_FENCED') this.#fenced(error);
      else if (this.#beat !== undefined) this.#onReach(false); // the next beat tries again
    }
  }

  /** Gives the lock free by closing its connection. */
  async release(): Promise<void> {
    clearInterval(this.#beat);
    this.#beat = undefined;
    await this.#client.close();
  }

  #fenced(error: GridError): void {
    if (this.#beat === undefined) return;
    clearInterval(this.#beat);
    this.#beat = undefined;
    this.#onFenced(error);
  }

  async #take(waitMs: number): Promise<void> {
    const endsMs = performance.now() + waitMs;
    for (;;) {
      try {
        this.#epoch = await this.#client.run(DEADLINE_MS, becomeOwner);
        return;
      } catch (error) {
        const refused = error instanceof GridError && error.code === 'STORAGE_FENCED';
        if (!refused || performance.now() + RETRY_MS > endsMs) throw error;
        await delay(RETRY_MS);
      }
    }
  }

  /** Set-up of each session of ours: without the lock it is not used. */
  async #lock(session: PgSession): Promise<void> {
    const [row] = await session.script(
      `select pg_try_advisory_lock(${LOCK_CLASS}, ${LOCK_OWNER}) as held, pg_backend_pid() as pid`,
    );
    if (row?.held !== true) throw await this.#refusal(session);
    this.#backendPid = Number(row.pid);
    if (this.#epoch === undefined) return;
    const stored = await storedEpoch(session);
    if (stored !== this.#epoch) {
      throw new GridError(
        'STORAGE_FENCED',
        `another process owned the data meanwhile: its owner epoch is ${stored}, ours was ${this.#epoch}`,
      );
    }
  }

  async #refusal(session: PgSession): Promise<GridError> {
    const [holder] = await session.script(HOLDER);
    if (holder !== undefined && Number(holder.pid) === this.#backendPid) {
      await session.script(`select pg_terminate_backend(${this.#backendPid})`);
      return unavailable('the lock is still held by our former connection');
    }
    const who =
      holder === undefined ? 'another process' : `"${holder.name}" from ${holder.address}, connected since ${holder.since}`;
    return new GridError('STORAGE_FENCED', `${describeTarget(this.target)} is owned by ${who}`);
  }
}

const HOLDER = `
select a.pid, a.application_name as name, coalesce(host(a.client_addr), 'this machine') as address,
  to_char(a.backend_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since
from pg_locks l join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.classid::int8 = ${LOCK_CLASS >>> 0} and l.objid = ${LOCK_OWNER} and l.objsubid = 2
  and l.database = (select oid from pg_database where datname = current_database())`;

async function becomeOwner(session: PgSession): Promise<number> {
  await migrate(session);
  const [row] = await session.rows(
    `update lattice.meta set value = (value::int8 + 1)::text, updated_at = now() where key = 'owner_epoch' returning value`,
  );
  return Number(row?.value);
}

async function storedEpoch(session: PgSession): Promise<number> {
  const [row] = await session.script(`select value from lattice.meta where key = 'owner_epoch'`);
  return Number(row?.value);
}
