/**
 * redis-server as a peer of benchmarks: started on a free port in a folder of its own, without persistence unless asked.
 *
 * Measured where it is on PATH; nothing installs it.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { diskFolder } from './disk-folder.ts';
import { type Pinning, TASKSET } from './pinning.ts';

const START_DEADLINE_MS = 30_000;

/** Why it cannot take part, or undefined. */
export function redisMissing(): string | undefined {
  const { status } = spawnSync('redis-server', ['--version'], { stdio: 'ignore' });
  return status === 0 ? undefined : 'redis-server is not on PATH';
}

/** Commands that are sent through one connection ahead of their replies. */
export interface PipelinedLoad {
  readonly commands: number;
  /** Commands of one write. */
  readonly perWrite: number;
  readonly writesInFlight: number;
  /** The command with that number, from 0 on; its reply is one line and no error. */
  wordsOf(command: number): readonly string[];
}

export class RedisPeer {
  readonly port: number;
  readonly #folder: string;
  readonly #words: readonly string[];
  readonly #pinning: Pinning | undefined;
  #child: ChildProcess;

  private constructor(port: number, folder: string, words: readonly string[], pinning: Pinning | undefined) {
    this.port = port;
    this.#folder = folder;
    this.#words = words;
    this.#pinning = pinning;
    this.#child = this.#spawn();
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** @param words more of its command line, such as `--appendonly yes`. */
  static async start(words: readonly string[] = [], pinning?: Pinning): Promise<RedisPeer> {
    const folder = mkdtempSync(join(diskFolder(), 'lattice-bench-redis-'));
    const peer = new RedisPeer(await freePort(), folder, words, pinning);
    await peer.#ready();
    return peer;
  }

  /** Ends it, without saving anything more, and starts it on what it has saved; resolves with how long that took, in ms. */
  async restart(): Promise<number> {
    await this.#end();
    const beganMs = performance.now();
    this.#child = this.#spawn();
    await this.#ready();
    return performance.now() - beganMs;
  }

  async stop(): Promise<void> {
    await this.#end();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Sends commands in one write; resolves with the text of the replies once there are as many lines as commands. */
  async run(...commands: readonly (readonly string[])[]): Promise<string> {
    const socket = connect(this.port, '127.0.0.1');
    try {
      return await replies(socket, commands.map(commandText).join(''), commands.length);
    } finally {
      socket.destroy();
    }
  }

  /** Resolves when every command has its reply. Rejects when one is an error. */
  async load(load: PipelinedLoad): Promise<void> {
    const socket = connect({ port: this.port, host: '127.0.0.1', noDelay: true });
    try {
      await loaded(socket, load);
    } finally {
      socket.destroy();
    }
  }

  #spawn(): ChildProcess {
    const own = [
      '--port',
      String(this.port),
      '--bind',
      '127.0.0.1',
      '--dir',
      this.#folder,
      '--save',
      '',
      '--loglevel',
      'warning',
    ];
    const pinned = this.#pinning === undefined ? [] : [TASKSET, '-c', this.#pinning.server];
    const [program = '', ...words] = [...pinned, 'redis-server', ...own, ...this.#words];
    return spawn(program, words, { stdio: 'ignore' });
  }

  async #end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await ended;
  }

  async #ready(): Promise<void> {
    const givenUpMs = performance.now() + START_DEADLINE_MS;
    for (;;) {
      const answer = await this.run(['PING']).catch(() => '');
      if (answer.startsWith('+PONG')) return;
      if (performance.now() > givenUpMs) throw new Error('redis-server did not start');
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

/** A command as an array of bulk strings. */
export function commandText(words: readonly string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}

function loaded(socket: Socket, { commands, perWrite, writesInFlight, wordsOf }: PipelinedLoad): Promise<void> {
  return new Promise((resolve, reject) => {
    let sent = 0;
    let replied = 0;
    const send = (): void => {
      while (sent < commands && sent - replied <= perWrite * (writesInFlight - 1)) {
        const end = Math.min(commands, sent + perWrite);
        let text = '';
        for (; sent < end; sent++) text += commandText(wordsOf(sent));
        socket.write(text);
      }
    };
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('redis-server closed the connection')));
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      if (text.includes('-')) return reject(new Error(`a reply is wrong: ${text.slice(0, 200)}`));
      replied += text.split('\n').length - 1;
      if (replied === commands) resolve();
      else send();
    });
    send();
  });
}

function replies(socket: Socket, text: string, count: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    let lines = 0;
    socket.setNoDelay(true);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('redis-server closed the connection')));
    socket.on('data', (chunk: Buffer) => {
      const part = chunk.toString('latin1');
      lines += part.split('\n').length - 1;
      received = (received + part).slice(-10_000);
      if (lines >= count) resolve(received);
    });
    socket.write(text);
  });
}

/** A port of loopback that nobody listens to now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
