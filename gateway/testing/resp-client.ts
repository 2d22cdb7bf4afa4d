/** A client of the Redis protocol that keeps replies as the bytes they are, for comparing two servers byte by byte. */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

const CR = 0x0d;

export class RespClient {
  readonly #socket: Socket;
  readonly #waiting: { resolve: (reply: Buffer) => void; reject: (error: Error) => void }[] = [];
  #pending: Buffer = Buffer.alloc(0);
  #isClosed = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#received(chunk));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#isClosed = true;
      for (const { reject } of this.#waiting.splice(0)) reject(new Error('the connection was closed'));
    });
  }

  /** @param ca certificate to be trusted: TLS is spoken then, to the name localhost. */
  static open(port: number, ca?: Buffer): Promise<RespClient> {
    return new Promise((resolve, reject) => {
      const address = { port, host: '127.0.0.1', noDelay: true };
      const socket = ca === undefined ? connect(address) : connectTls({ ...address, ca, servername: 'localhost' });
      socket.once('error', reject);
      socket.once(ca === undefined ? 'connect' : 'secureConnect', () => resolve(new RespClient(socket)));
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Sends one command; resolves with its reply as it came. */
  command(...args: readonly (string | Buffer | number)[]): Promise<Buffer> {
    this.#socket.write(encodeCommand(args));
    return this.reply();
  }

  /** As `command`, as text: `\r\n` and all. */
  async text(...args: readonly (string | Buffer | number)[]): Promise<string> {
    return (await this.command(...args)).toString('latin1');
  }

  /** Sends one command, whose reply is read elsewhere. */
  post(...args: readonly (string | Buffer | number)[]): void {
    this.#socket.write(encodeCommand(args));
  }

  /** Sends bytes as they are. */
  send(bytes: string | Buffer): void {
    this.#socket.write(bytes);
  }

  /** Resolves with the next reply that nobody waits for yet. */
  reply(): Promise<Buffer> {
    if (this.#isClosed) return Promise.reject(new Error('the connection was closed'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#deliver();
    });
  }

  /** Resolves when the server has closed the connection. */
  async ended(): Promise<void> {
    if (this.#isClosed) return;
    await new Promise<void>((resolve) => this.#socket.once('close', () => resolve()));
  }

  pause(): void {
    this.#socket.pause();
  }

  close(): void {
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#deliver();
  }

  #deliver(): void {
    while (this.#waiting.length > 0) {
      const end = replyEnd(this.#pending, 0);
      if (end < 0) return;
      const reply = Buffer.from(this.#pending.subarray(0, end));
      this.#pending = this.#pending.subarray(end);
      this.#waiting.shift()?.resolve(reply);
    }
  }
}

export function encodeCommand(args: readonly (string | Buffer | number)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${args.length}\r\n`)];
  for (const arg of args) {
    const bytes = typeof arg === 'number' ? Buffer.from(String(arg)) : Buffer.from(arg);
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'));
  }
  return Buffer.concat(parts);
}

/** Where the reply that begins at `at` ends, -1 when it is not all there. */
function replyEnd(bytes: Buffer, at: number): number {
  const cr = bytes.indexOf(CR, at);
  if (cr < 0 || cr + 2 > bytes.length) return -1;
  const line = cr + 2;
  const count = Number(bytes.toString('latin1', at + 1, cr));
  switch (String.fromCharCode(bytes[at] ?? 0)) {
    case '$':
    case '=':
      if (count < 0) return line;
      return line + count + 2 > bytes.length ? -1 : line + count + 2;
    case '*':
    case '~':
    case '>':
      return elementsEnd(bytes, line, count);
    case '%':
      return elementsEnd(bytes, line, 2 * count);
    default:
      return line;
  }
}

function elementsEnd(bytes: Buffer, from: number, count: number): number {
  let at = from;
  for (let index = 0; index < count; index++) {
    at = replyEnd(bytes, at);
    if (at < 0) return -1;
  }
  return at;
}
