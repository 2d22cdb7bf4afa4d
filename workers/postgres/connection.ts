/**
 * A connection to Postgres that is always there to be asked, and always answers by the deadline.
 *
 *   run(deadline, work) ─▶ wait for my turn ─▶ breaker ─▶ open session if none ─▶ work(session)
 *                                                │ open: refuse at once
 *   deadline passed, connection lost  ─▶ the session is cut and thrown away, the breaker counts a failure
 *
 * Calls run one after another on one session. Nothing is retried here: the caller knows whether a repeat is safe.
 */
import { assert } from '../../engine/assert.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import { BREAKER_DEFAULTS, CircuitBreaker } from '../../engine/operation/circuit-breaker.ts';
import { PgSession, type PgTarget } from './pg-session.ts';
import { endsSession, storageError, unavailable } from './storage-errors.ts';

/** Calls that may wait for their turn; more are refused. */
const WAITING_MAX = 256;

/** The log is given back when Postgres has committed: a database that commits before its disk has it must not do so for us. */
const WAITS_FOR_DISK = `select set_config('synchronous_commit', case now.commit when 'off' then 'local' else now.commit end, false)
  from (select current_setting('synchronous_commit') as commit) as now`;
const SESSION_SETTINGS = `set bytea_output = 'hex'; set idle_in_transaction_session_timeout = '60s'; set extra_float_digits = 1; ${WAITS_FOR_DISK}`;

export interface PgClientOptions {
  readonly target: PgTarget;
  readonly applicationName: string;
  /** Run on every new session before its first use. */
  readonly prepare?: (session: PgSession) => Promise<void>;
  /** Default: opens at the first failure, for 100 ms doubling to 10 s. */
  readonly breaker?: CircuitBreaker;
  /** Default 10 000. */
  readonly connectTimeoutMs?: number;
  /** A clock that only counts; default performance.now. */
  readonly nowMs?: () => number;
}

/** What one call has come to. */
interface Call {
  state: 'WAITING' | 'RUNNING' | 'OVER';
}

export class PgClient {
  readonly breaker: CircuitBreaker;
  readonly #options: PgClientOptions;
  readonly #nowMs: () => number;
  #session: PgSession | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #calls = 0;
  #closed = false;

  constructor(options: PgClientOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.breaker = options.breaker ?? new CircuitBreaker({ ...BREAKER_DEFAULTS, random: Math.random });
  }

  /**
   * Runs `work` when the calls before it are done. Settles by `deadlineMs` from now, waiting included.
   * Rejects with GridError STORAGE_UNAVAILABLE, STORAGE_POISON, or what `work` itself throws.
   */
  async run<T>(deadlineMs: number, work: (session: PgSession) => Promise<T>): Promise<T> {
    if (this.#closed) throw unavailable('the connection is closed');
    if (this.#calls >= WAITING_MAX) throw unavailable(`${WAITING_MAX} calls are waiting for Postgres already`);
    this.#calls += 1;
    const call: Call = { state: 'WAITING' };
    const settled = this.#turn.then(() => this.#take(call, work));
    this.#turn = settled.then(nothing, nothing);
    try {
      return await withDeadline(settled, deadlineMs, () => this.#expire(call, deadlineMs));
    } finally {
      this.#calls -= 1;
    }
  }

  /** Waits for the calls under way, up to `waitMs`, then closes. */
  async close(waitMs = 5000): Promise<void> {
    this.#closed = true;
    await withDeadline(this.#turn, waitMs, nothing).catch(nothing);
    const session = this.#session;
    this.#session = undefined;
    await session?.close();
  }

  async #take<T>(call: Call, work: (session: PgSession) => Promise<T>): Promise<T> {
    if (call.state === 'OVER') throw unavailable('the deadline passed while waiting');
    call.state = 'RUNNING';
    if (!this.breaker.admits(this.#nowMs())) {
      throw unavailable(`Postgres is away, next attempt in ${Math.ceil(this.breaker.retryAfterMs(this.#nowMs()))} ms`);
    }
    try {
      const answer = await work(await this.#open());
      this.breaker.succeeded();
      return answer;
    } catch (error) {
      throw this.#failed(error);
    } finally {
      call.state = 'OVER';
    }
  }

  async #open(): Promise<PgSession> {
    if (this.#session !== undefined && !this.#session.over) return this.#session;
    const { target, applicationName, connectTimeoutMs = 10_000 } = this.#options;
    const session = new PgSession({ target, applicationName, connectTimeoutMs });
    this.#session = session;
    try {
      // Calls may have deadlines of hours (a load); a session that does not come about is known much sooner.
      await withDeadline(this.#setUp(session), connectTimeoutMs, () => session.kill('the session was not set up in time'));
    } catch (error) {
      session.kill('the session could not be set up');
      throw error;
    }
    return session;
  }

  async #setUp(session: PgSession): Promise<void> {
    await session.script(SESSION_SETTINGS);
    await this.#options.prepare?.(session);
  }

  /** Counts the failure where it is the connection's, and makes it a GridError where it is the world's. */
  #failed(error: unknown): unknown {
    const mapped = storageError(error);
    const session = this.#session;
    const ours = !(mapped instanceof GridError);
    const lost = session === undefined || session.over || (!(error instanceof GridError) && endsSession(error));
    if (lost || ours) {
      session?.kill('the session failed');
      this.#session = undefined;
    }
    const away = mapped instanceof GridError && mapped.code === 'STORAGE_UNAVAILABLE' && lost;
    if (away) this.breaker.failed(this.#nowMs());
    else this.breaker.succeeded();
    return mapped;
  }

  #expire(call: Call, deadlineMs: number): void {
    const wasRunning = call.state === 'RUNNING';
    call.state = 'OVER';
    if (wasRunning) this.#session?.kill(`no answer within ${deadlineMs} ms`);
  }
}

/** Settles as `promise` does, or rejects with STORAGE_UNAVAILABLE after `deadlineMs`, having called `onDeadline`. */
export async function withDeadline<T>(promise: Promise<T>, deadlineMs: number, onDeadline: () => void): Promise<T> {
  assert(deadlineMs >= 0);
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      onDeadline();
      reject(unavailable(`no answer from Postgres within ${deadlineMs} ms`));
    }, deadlineMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** A target without its password, for people. */
export function describeTarget(target: PgTarget): string {
  if (!('url' in target)) return `${target.path} (${target.database})`;
  if (!URL.canParse(target.url)) return 'the server of DATABASE_URL';
  const { protocol, host, pathname } = new URL(target.url);
  return `${protocol}//${host}${pathname}`;
}

function nothing(): void {}
