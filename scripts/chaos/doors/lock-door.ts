/** Takes a lock of its own and gives it back, again and again: a fencing token that was told is never told again. */
import { payloadOf } from '../../../gateway/testing/client-fields.ts';
import { AskingSocket } from './asking-socket.ts';
import { type Door, type DoorOptions, passed, type Target } from './door.ts';

const TTL_MS = 60_000;

export class LockDoor implements Door {
  readonly #options: DoorOptions;
  #socket: AskingSocket | undefined;
  #newest = 0;
  #requests = 0;

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  async open({ port }: Target): Promise<void> {
    this.#socket = await AskingSocket.open(port);
  }

  async write(): Promise<void> {
    const { nodeId, random, counts } = this.#options;
    const name = `chaos-lock-${nodeId}`;
    const requestId = String(this.#requests++);
    await this.#socket?.ask({ type: 'LOCK_REQUEST', payload: { requestId, name, ttl: TTL_MS } }, (message) => {
      if (message.type !== 'LOCK_GRANTED' || payloadOf(message).requestId !== requestId) return false;
      const token = Number(payloadOf(message).fencingToken);
      if (!(token > this.#newest)) counts.contradictions.push(`token ${token} of ${name} after ${this.#newest}`);
      this.#newest = token;
      passed(counts, 'locks granted');
      return true;
    });
    // Or it goes without a word, and the end of the connection gives it back.
    if (random.below(4) === 0) throw new Error('left');
    const release = { requestId, name, fencingToken: this.#newest };
    await this.#socket?.ask({ type: 'LOCK_RELEASE', payload: release }, ({ type }) => type === 'LOCK_RELEASED');
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }
}
