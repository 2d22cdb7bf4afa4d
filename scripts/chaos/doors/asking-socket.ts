/** A WebSocket connection on which one question at a time is asked and waited for. */
import { decodeFrame, encodeFrame, isMessage, type Message } from '../../../gateway/testing/client-codec.ts';
import { RawWebSocket } from '../../../gateway/testing/raw-websocket.ts';

/** Longer than the server takes for any answer. */
const SILENCE_MS_MAX = 40_000;

interface Question {
  readonly take: (message: Message) => boolean;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class AskingSocket {
  readonly #socket: RawWebSocket;
  #question: Question | undefined;

  private constructor(socket: RawWebSocket) {
    this.#socket = socket;
    socket.onMessage = (frame) => this.#took(frame);
    void socket.closed.then(() => this.#question?.reject(new Error('the connection was closed')));
  }

  static async open(port: number): Promise<AskingSocket> {
    return new AskingSocket(await RawWebSocket.open({ port, path: '/ws?events=interest' }));
  }

  /** Sends, and resolves when `take` answers true for what came. Rejects when the connection ends, or nothing comes. */
  async ask(message: Message, take: (message: Message) => boolean): Promise<void> {
    if (!this.#socket.isOpen) throw new Error('the connection is closed');
    let impatience: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#question = { take, resolve, reject };
        impatience = setTimeout(() => reject(new Error('no answer')), SILENCE_MS_MAX);
        this.#socket.send(encodeFrame(message));
      });
    } finally {
      clearTimeout(impatience);
    }
  }

  close(): void {
    this.#socket.terminate();
  }

  #took(frame: Uint8Array): void {
    const question = this.#question;
    try {
      const message = decodeFrame(frame);
      if (!isMessage(message) || question?.take(message) !== true) return;
      this.#question = undefined; // what comes in the same breath answers nothing
      question.resolve();
    } catch (error) {
      question?.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }
}
