/** The server as users run it: `lattice start` in a process of its own, with its own environment and nothing of ours. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const START_DEADLINE_MS = 60_000;

export class ServerProcess {
  stdout = '';
  stderr = '';
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;

  /** `flags` come after `start`; `env` is all of the environment save PATH, HOME and TMPDIR. */
  constructor(flags: readonly string[], env: Readonly<Record<string, string>>) {
    const cli = fileURLToPath(new URL('../cli.js', import.meta.url));
    const { PATH, HOME, TMPDIR } = process.env;
    const own = Object.fromEntries(Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined));
    this.#child = spawn(process.execPath, ['--enable-source-maps', cli, 'start', ...flags], {
      env: { ...own, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.exited = new Promise((resolve) => this.#child.once('close', (code, signal) => resolve({ code, signal })));
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The port that it says, when it serves. Rejects when it ends before. */
  async port(): Promise<number> {
    const endsMs = performance.now() + START_DEADLINE_MS;
    let exit: Exit | undefined;
    void this.exited.then((ended) => {
      exit = ended;
    });
    for (;;) {
      const [, port] = /^PORT=(\d+)\n/.exec(this.stdout) ?? [];
      if (port !== undefined) return Number(port);
      if (exit !== undefined) throw new Error(`ended with ${exit.code ?? exit.signal}: ${this.stderr}`);
      if (performance.now() > endsMs) throw new Error(`no port after ${START_DEADLINE_MS} ms: ${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends it whatever its state, for the end of a test. */
  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}
