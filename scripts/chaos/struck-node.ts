/**
 * The server that is struck: a process as users run it, over a data directory that stays from start to start.
 *
 *   start ─▶ serving ─┬─ kill (SIGKILL) ─▶ gone          its embedded Postgres is told to end by the kernel,
 *                     ├─ killAll ─▶ gone                 or dies with it, as in a container
 *                     └─ stop (SIGTERM) ─▶ gone, flushed
 */
import { mkdtemp, chmod, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ServerProcess } from '../../gateway/testing/server-process.ts';
import { startEmbedded } from '../../workers/postgres/embedded.ts';
import type { PgTarget } from '../../workers/postgres/pg-session.ts';

const LASTING_PORT_MIN = 16_000;
const LASTING_PORTS = 16_000;

export interface StruckNodeOptions {
  /** Of every start. */
  readonly flags: readonly string[];
  /** Given when the server is not to use its embedded Postgres; `target` reaches the same database past any proxy. */
  readonly database?: { readonly url: string; readonly target: PgTarget };
  /** Default: a new temporary folder, which `dispose` removes. */
  readonly dataDir?: string;
}

export class StruckNode {
  readonly dataDir: string;
  /** For clients of Redis; the same for every start. */
  readonly respPort: number;
  readonly #options: StruckNodeOptions;
  #server: ServerProcess | undefined;
  #port = 0;
  /** From spawn to PORT=, of every start. */
  readonly startsMs: number[] = [];
  /** What earlier processes said on stderr, of the last few. */
  #said: string[] = [];

  private constructor(dataDir: string, respPort: number, options: StruckNodeOptions) {
    this.dataDir = dataDir;
    this.respPort = respPort;
    this.#options = options;
  }

  static async make(options: StruckNodeOptions): Promise<StruckNode> {
    const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'lattice-chaos-')));
    if (options.dataDir === undefined) await chmod(dataDir, 0o711);
    return new StruckNode(dataDir, await lastingPort(), options);
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    return this.#server?.pid ?? 0;
  }

  /** The log of the process that runs or ran last. */
  get log(): string {
    return this.#server?.stderr ?? '';
  }

  /** The ends of the last logs, for a report. */
  get lastWords(): string {
    return [...this.#said, this.log].map((text) => text.slice(-1500)).join('\n---\n');
  }

  /** Starts the process. `until`: what to wait for; a start that is to be struck is not waited for. */
  async start(extraFlags: readonly string[] = [], until: 'ready' | 'spawned' = 'ready'): Promise<void> {
    const { flags, database } = this.#options;
    if (this.#server !== undefined) this.#said = [...this.#said, this.#server.stderr].slice(-2);
    const env: Record<string, string> = { LATTICE_DATA_DIR: this.dataDir, LATTICE_LOG_LEVEL: 'info' };
    if (database !== undefined) env.DATABASE_URL = database.url;
    const beganMs = performance.now();
    const ports = ['--port', '0', '--resp-port', String(this.respPort)];
    const server = new ServerProcess([...ports, ...flags, ...extraFlags], env);
    this.#server = server;
    if (until === 'spawned') return;
    this.#port = await server.port();
    this.startsMs.push(performance.now() - beganMs);
  }

  /** SIGKILL of the process. What it started is left to the kernel. */
  async kill(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    server.signal('SIGKILL');
    await this.#gone(server);
  }

  /** SIGKILL of the process and of its Postgres. */
  async killAll(): Promise<void> {
    await this.killPostgres();
    await this.kill();
  }

  /** SIGKILL of the embedded Postgres; answers its process id, undefined when there is none. */
  async killPostgres(): Promise<number | undefined> {
    const pid = await this.postgresPid();
    if (pid !== undefined) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        return undefined; // it ended by itself
      }
    }
    return pid;
  }

  async postgresPid(): Promise<number | undefined> {
    const text = await readFile(join(this.dataDir, 'postgres', 'postmaster.pid'), 'utf8').catch(() => '');
    const pid = Number(text.split('\n')[0]);
    return pid > 1 ? pid : undefined;
  }

  /** SIGTERM. Answers the exit status. */
  async stop(): Promise<number | null> {
    const server = this.#server;
    if (server === undefined) return 0;
    server.signal('SIGTERM');
    const exit = await this.#gone(server);
    return exit.code;
  }

  /** The database, once the process is gone. */
  async withDatabase<T>(work: (target: PgTarget) => Promise<T>): Promise<T> {
    const { database } = this.#options;
    if (database !== undefined) return work(database.target);
    const postgres = await startEmbedded({ dataDir: this.dataDir, log: () => {} });
    try {
      return await work(postgres.connection);
    } finally {
      await postgres.stop();
    }
  }

  /** Ends everything and, unless it is to be looked at, removes the folder. */
  async dispose(keepsFolder: boolean): Promise<void> {
    await this.kill();
    const pid = await this.postgresPid();
    if (pid !== undefined && this.#options.database === undefined) await ended(pid);
    if (!keepsFolder && this.#options.dataDir === undefined)
      await rm(this.dataDir, { recursive: true, force: true, maxRetries: 5 });
  }

  /** The pipes of a killed process stay open while its Postgres lives: waits for the process, not for them. */
  async #gone(server: ServerProcess): Promise<{ code: number | null }> {
    const exit = await server.exited;
    return { code: exit.code };
  }
}

/** A free port below those that connections take for themselves, so that it is free at the next start as well. */
async function lastingPort(): Promise<number> {
  for (;;) {
    const port = LASTING_PORT_MIN + Math.floor(Math.random() * LASTING_PORTS);
    const isFree = await new Promise<boolean>((resolve) => {
      const server = createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

/** Waits for a process that was told to end by the kernel; after a while it is killed. */
async function ended(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < 5000; waitedMs += 20) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await delay(20);
  }
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended just now.
  }
}
