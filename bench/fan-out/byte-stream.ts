/**
 * A connection opened by a script: bytes are sent, an answer is waited for, and so on; then everything that comes is handed on.
 *
 *   send ─▶ until the text came ─▶ send ─▶ … ─▶ open: each read to `onBytes`
 *
 * No frames are parsed, so one client speaks to every server alike and costs little beside it. All connections of the process
 * read into the same memory: what is to be kept must be copied.
 */
import { connect, type Socket } from 'node:net';

/** Bytes to send, and the text that must have come before the next step; '' waits for nothing. */
export interface Step {
  readonly send: Uint8Array | string;
  readonly expect: string;
}

const OPEN_DEADLINE_MS = 30_000;
const received = Buffer.allocUnsafeSlow(64 * 1024);

export class ByteStream {
  /** Told of what comes once the connection is open. Returns false to read nothing more until `resume`. */
  onBytes: (chunk: Buffer) => boolean = () => true;
  onClosed: (reason: string) => void = () => {};
  readonly #socket: Socket;
  #isOpen = false;
  #early = '';
  #wake: () => void = () => {};
  #ended: string | undefined;

  private constructor(port: number, readBytesMax: number) {
    const buffer = received.subarray(0, readBytesMax);
    this.#socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: { buffer, callback: (bytes) => this.#take(received.subarray(0, bytes)) },
    });
    this.#socket.on('error', (cause) => this.#end(cause.message));
    this.#socket.on('close', () => this.#end('the server closed the connection'));
  }

  /**
   * Resolves when the last step is done. Rejects when the connection ends or an answer stays out.
   *
   * @param readBytesMax of one read, 64 KiB at the most
   */
  static async open(port: number, steps: readonly Step[], readBytesMax = received.length): Promise<ByteStream> {
    const stream = new ByteStream(port, readBytesMax);
    try {
      for (const { send, expect } of steps) {
        stream.write(send);
        await stream.#until(expect);
      }
    } catch (cause) {
      stream.close();
      throw cause;
    }
    stream.#isOpen = true;
    return stream;
  }

  write(bytes: Uint8Array | string): void {
    this.#socket.write(bytes);
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.onClosed = () => {};
    this.#socket.destroy();
  }

  async #until(text: string): Promise<void> {
    const givenUpMs = performance.now() + OPEN_DEADLINE_MS;
    for (;;) {
      if (this.#ended !== undefined) throw new Error(`${this.#ended}; it had said: ${readable(this.#early)}`);
      const at = this.#early.indexOf(text);
      if (at >= 0) {
        this.#early = this.#early.slice(at + text.length);
        return;
      }
      if (performance.now() > givenUpMs) throw new Error(`no ${text} came; the server said: ${readable(this.#early)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, OPEN_DEADLINE_MS);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  #take(chunk: Buffer): boolean {
    if (this.#isOpen) return this.onBytes(chunk);
    this.#early += chunk.toString('latin1');
    this.#wake();
    return true;
  }

  #end(reason: string): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#wake();
    this.onClosed(reason);
  }
}

function readable(text: string): string {
  return text.slice(0, 300).replace(/[^ -~]+/g, ' ');
}
