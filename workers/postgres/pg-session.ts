/**
 * One connection to Postgres, from its first statement to its end. It never reconnects: a new one is made instead.
 *
 *   fresh ──first statement──▶ connected ──socket gone, fatal error, kill()──▶ over (every call rejects at once)
 *
 * Statements run one at a time, and the one under way rejects the moment the socket is gone, whatever postgres.js
 * does. COPY goes through the driver's streams in the simple protocol, see `#copy` for its one gap.
 */
import { Readable, Writable } from 'node:stream';
import postgres from 'postgres';
import { assert } from '../../engine/assert.ts';
import type { GridError } from '../../engine/protocol/errors.ts';
import { connectSocket, type OwnedSocket, refusedSocket } from './owned-socket.ts';
import { unavailable } from './storage-errors.ts';

/** Where Postgres is. Plain data: travels to worker threads. */
export type PgTarget = { readonly url: string } | { readonly path: string; readonly user: string; readonly database: string };

/** True for the one that we have started, on this machine: an operator's is named by a URL. */
export function isOwn(target: PgTarget): boolean {
  return 'path' in target;
}

export type PgRow = Readonly<Record<string, unknown>>;
export type PgParameter = string | number | boolean | Uint8Array | null;

export interface SessionOptions {
  readonly target: PgTarget;
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
  readonly connectTimeoutMs: number;
}

export class PgSession {
  readonly #sql: postgres.Sql;
  #socket: OwnedSocket | undefined;
  #over: GridError | undefined;
  #abort: ((reason: GridError) => void) | undefined;

  constructor(options: SessionOptions) {
    this.#sql = openDriver(options, (address) => this.#makeSocket(address));
  }

  /** True once nothing more can be run. */
  get over(): boolean {
    return this.#over !== undefined;
  }

  /** Runs one statement with parameters, answers its rows. */
  async rows(text: string, parameters: readonly PgParameter[] = []): Promise<readonly PgRow[]> {
    return this.#settle(() => this.#sql.unsafe(text, [...parameters]));
  }

  /** Runs several statements in one round trip, answers the rows of the last that has any. */
  async script(text: string): Promise<readonly PgRow[]> {
    const results: readonly unknown[] = await this.#settle(() => this.#sql.unsafe(text).simple());
    const last = Array.isArray(results[0]) ? results.at(-1) : results;
    return Array.isArray(last) ? last : [];
  }

  /** Runs `begin`, the work and `commit`; rolls back when the work fails. */
  async transaction<T>(begin: string, work: (beginRows: readonly PgRow[]) => Promise<T>): Promise<T> {
    try {
      const answer = await work(await this.script(`begin; ${begin}`));
      await this.script('commit');
      return answer;
    } catch (error) {
      if (!this.over) await this.script('rollback').catch((failure) => this.kill(`rollback failed: ${String(failure)}`));
      throw error;
    }
  }

  /** Runs `COPY … FROM STDIN` with these bytes. Rejects with what the server says about them. */
  async copyIn(text: string, bytes: Uint8Array): Promise<void> {
    await this.#copy(text, (stream) => {
      assert(stream instanceof Writable, 'not a COPY FROM STDIN');
      stream.on('error', ignoreEnd); // told to the statement as well
      stream.end(bytes);
    });
  }

  /**
   * Runs `COPY … TO STDOUT`, handing over each chunk, valid during the call only. The chunks are taken off the socket
   * as they are consumed, so memory stays bounded. What `onChunk` throws ends the session and rejects.
   */
  async copyOut(text: string, onChunk: (chunk: Uint8Array) => void): Promise<void> {
    let refusal: { error: unknown } | undefined;
    const copied = this.#copy(text, (stream) => {
      assert(stream instanceof Readable, 'not a COPY TO STDOUT');
      stream.on('error', ignoreEnd);
      stream.on('data', (chunk: Uint8Array) => {
        if (this.over) return;
        try {
          onChunk(chunk);
        } catch (error) {
          refusal = { error };
          this.kill('a row was refused by its reader');
        }
      });
      // From now on a chunk goes straight to the listener. One that is buffered may pause the socket for good.
      stream.read(0);
    });
    await copied.catch((error) => {
      if (refusal === undefined) throw error;
    });
    if (refusal !== undefined) throw refusal.error;
  }

  /** Cuts the connection. The statement under way rejects with STORAGE_UNAVAILABLE. */
  kill(reason: string): void {
    this.#end(unavailable(reason));
    this.#socket?.destroy();
    this.#sql.end({ timeout: 0 }).catch(ignoreEnd);
  }

  /** Takes leave of the server. Resolves when the connection is closed, by force after a second. */
  async close(): Promise<void> {
    if (!this.over) await Promise.race([this.#sql.end({ timeout: 1 }).catch(ignoreEnd), delayed(1500)]);
    this.kill('the session was closed');
  }

  /**
   * The driver settles a COPY statement with its stream, later again with its result or its error, which a promise
   * would not notice: so the two functions that it calls are replaced by ours.
   */
  async #copy(text: string, onStream: (stream: unknown) => void): Promise<void> {
    await this.#settle(
      () =>
        new Promise<void>((resolve, reject) => {
          const statement = this.#sql.unsafe(text).simple();
          const onAnswer = (answer: unknown): void => (Array.isArray(answer) ? resolve() : onStream(answer));
          Object.defineProperty(statement, 'resolve', { value: onAnswer });
          Object.defineProperty(statement, 'reject', { value: reject });
          statement.execute();
        }),
    );
  }

  #makeSocket(address: unknown): object {
    if (this.#socket !== undefined || this.over) return refusedSocket();
    this.#socket = connectSocket(address, () => this.#end(unavailable('the connection to Postgres was lost')));
    return this.#socket;
  }

  #end(reason: GridError): void {
    if (this.#over !== undefined) return;
    this.#over = reason;
    // Next turn: the driver may be about to reject with what the server said, which tells more.
    setImmediate(() => this.#abort?.(reason));
  }

  async #settle<T>(start: () => PromiseLike<T>): Promise<T> {
    if (this.#over !== undefined) throw this.#over;
    try {
      return await new Promise<T>((resolve, reject) => {
        this.#abort = reject;
        start().then(resolve, reject);
      });
    } finally {
      this.#abort = undefined;
    }
  }
}

function openDriver(options: SessionOptions, socket: (address: unknown) => object): postgres.Sql {
  const settings = {
    max: 1,
    fetch_types: false,
    prepare: false,
    idle_timeout: 0,
    max_lifetime: null,
    connect_timeout: options.connectTimeoutMs / 1000,
    backoff: () => 0,
    onnotice: () => {},
    connection: { application_name: options.applicationName },
    socket,
  };
  const { target } = options;
  return 'url' in target ? postgres(target.url, settings) : postgres({ ...settings, ...target });
}

/** The driver also rejects `end` with the loss that we already know of. */
function ignoreEnd(): void {}

function delayed(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
