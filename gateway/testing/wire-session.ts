/**
 * One connection by hand: sends what it is told, keeps what it gets. For the tests in which every frame counts.
 */
import { decodeFrame, encodeFrame, isMessage, type Message } from './client-codec.ts';
import { type Closed, RawWebSocket, type RawWebSocketOptions } from './raw-websocket.ts';

const DEADLINE_MS = 10_000;

export class WireSession {
  /** Everything received, in order, save for what `next` and `take` took. */
  readonly messages: Message[] = [];
  readonly socket: RawWebSocket;
  #waiting: (() => void)[] = [];

  private constructor(socket: RawWebSocket) {
    this.socket = socket;
    socket.onMessage = (frame) => {
      const message = decodeFrame(frame);
      this.messages.push(isMessage(message) ? message : { type: 'NOT_A_MAP', message });
      for (const wake of this.#waiting.splice(0)) wake();
    };
    void socket.closed.then(() => {
      for (const wake of this.#waiting.splice(0)) wake();
    });
  }

  static async open(options: RawWebSocketOptions): Promise<WireSession> {
    return new WireSession(await RawWebSocket.open(options));
  }

  get closed(): Promise<Closed> {
    return this.socket.closed;
  }

  send(message: Message): void {
    this.socket.send(encodeFrame(message));
  }

  sendOps(...ops: readonly Message[]): void {
    this.send({ type: 'OP_BATCH', payload: { ops } });
  }

  /** Takes the first message of the type that fits; waits for it. Rejects when the connection ends without it. */
  async next(type: string, fits: (message: Message) => boolean = () => true): Promise<Message> {
    const endsMs = performance.now() + DEADLINE_MS;
    for (;;) {
      const index = this.messages.findIndex((message) => message.type === type && fits(message));
      const [message] = index < 0 ? [] : this.messages.splice(index, 1);
      if (message !== undefined) return message;
      const leftMs = endsMs - performance.now();
      const got = JSON.stringify(this.messages.slice(-5)).slice(0, 1000);
      if (!this.socket.isOpen) throw new Error(`closed before ${type}; got ${got}`);
      if (leftMs <= 0) throw new Error(`no ${type} in ${DEADLINE_MS} ms; got ${got}`);
      await this.#arrival(leftMs);
    }
  }

  /** Resolves when all that was sent so far has been handled: PING is answered in its order. */
  async barrier(): Promise<void> {
    const timestamp = nextBarrier++;
    this.send({ type: 'PING', timestamp });
    await this.next('PONG', (message) => message.timestamp === timestamp);
  }

  /** Takes the messages of the type that have come so far. */
  take(type: string): Message[] {
    const taken = this.messages.filter((message) => message.type === type);
    const rest = this.messages.filter((message) => message.type !== type);
    this.messages.splice(0, this.messages.length, ...rest);
    return taken;
  }

  /** Says goodbye and waits for the answer. */
  async close(): Promise<Closed> {
    this.socket.close();
    return this.closed;
  }

  #arrival(waitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

let nextBarrier = 1;
