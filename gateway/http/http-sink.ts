/**
 * A response that goes on: what was written leaves as the client reads, and nothing is skipped.
 *
 *   write ─ the kernel takes it ─▶ gone
 *         └ it does not ─▶ waits here, in order ─ writable again ─▶ …
 *
 * The bytes that wait are counted, so that the writer can end a response whose client does not read. uWS keeps the one
 * chunk of which the kernel took a part; everything behind it waits here.
 */
import type { HttpResponse } from 'uWebSockets.js';

export interface HttpSink {
  /** False when something waits. Does nothing once the response is over. */
  write(chunk: Uint8Array | string): boolean;
  /** Bytes that wait. */
  bufferedBytes(): number;
  /** Ends the response behind what waits, or, with `now`, at once. */
  end(now?: boolean): void;
  /** Called once, when the client went or the response ended. */
  onClosed(told: () => void): void;
  /** Called when what waited is gone. */
  onDrained(told: () => void): void;
}

export class ResponseSink implements HttpSink {
  readonly #response: HttpResponse;
  readonly #queue: (Uint8Array | string)[] = [];
  #queueBytes = 0;
  /** Bytes of the chunk of which the kernel took a part. */
  #heldBytes = 0;
  #over = false;
  #ending = false;
  #onClosed: () => void = () => {};
  #onDrained: () => void = () => {};

  /** The headers are written, and `onAborted` calls `aborted`. */
  constructor(response: HttpResponse) {
    this.#response = response;
    response.onWritable(() => {
      this.#heldBytes = 0;
      this.#flush();
      return true;
    });
  }

  write(chunk: Uint8Array | string): boolean {
    if (this.#over || this.#ending || chunk.length === 0) return true;
    if (this.#heldBytes > 0) {
      this.#queue.push(chunk);
      this.#queueBytes += byteLength(chunk);
      return false;
    }
    return this.#send(chunk);
  }

  bufferedBytes(): number {
    return this.#queueBytes + this.#heldBytes;
  }

  end(now = false): void {
    if (this.#over) return;
    this.#ending = true;
    if (now)
      this.#response.close(); // calls onAborted
    else if (this.#heldBytes === 0) this.#finish();
  }

  onClosed(told: () => void): void {
    this.#onClosed = told;
  }

  onDrained(told: () => void): void {
    this.#onDrained = told;
  }

  /** The client has gone. */
  aborted(): void {
    if (this.#over) return;
    this.#over = true;
    this.#queue.length = 0;
    this.#onClosed();
  }

  #flush(): void {
    while (this.#queue.length > 0 && this.#heldBytes === 0 && !this.#over) {
      const chunk = this.#queue.shift() as Uint8Array | string;
      this.#queueBytes -= byteLength(chunk);
      this.#send(chunk);
    }
    if (this.#over || this.#heldBytes > 0) return;
    if (this.#ending) this.#finish();
    else this.#onDrained();
  }

  #send(chunk: Uint8Array | string): boolean {
    let taken = true;
    this.#response.cork(() => {
      taken = this.#response.write(chunk);
    });
    if (!taken) this.#heldBytes = byteLength(chunk);
    return taken;
  }

  #finish(): void {
    this.#over = true;
    this.#response.cork(() => this.#response.end(undefined, true));
    this.#onClosed();
  }
}

function byteLength(chunk: Uint8Array | string): number {
  return typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.length;
}
