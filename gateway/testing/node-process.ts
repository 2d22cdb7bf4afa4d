/** A server in a process of its own that a test kills and starts again on the same folder. Call `endProcesses` at the end of the file. */
import { type Exit, ServerProcess } from './server-process.ts';
import { WireSession } from './wire-session.ts';

/** Nothing reaches Postgres by itself: what survives, survives by the log. */
export const NO_FLUSH = { LATTICE_FLUSH_DELAY_MS: '60000' };

const processes: ServerProcess[] = [];

export async function endProcesses(): Promise<void> {
  for (const server of processes) await server.end();
}

export class NodeProcess {
  readonly dataDir: string;
  readonly #env: Readonly<Record<string, string>>;
  #server: ServerProcess | undefined;
  port = 0;

  constructor(dataDir: string, env: Readonly<Record<string, string>> = {}) {
    this.dataDir = dataDir;
    this.#env = env;
  }

  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    this.#server = new ServerProcess(['--port', '0', '--data-dir', this.dataDir], { ...NO_FLUSH, ...this.#env, ...env });
    processes.push(this.#server);
    this.port = await this.#server.port();
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    this.#server?.signal(signal);
    await this.#server?.exited;
  }

  /** Waits for the end of the process. */
  async ended(): Promise<Exit> {
    return (await this.#server?.exited) ?? { code: 0, signal: null };
  }

  get stderr(): string {
    return this.#server?.stderr ?? '';
  }

  wire(): Promise<WireSession> {
    return WireSession.open({ port: this.port, path: '/ws' });
  }
}
