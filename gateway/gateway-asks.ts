/**
 * What the main thread asks of gateways, and who waits for the answers.
 *
 *   ask(gateway, command, kinds) ─▶ the gateway's thread ─▶ hear(message of one of the kinds) ─▶ resolved
 *                                        └─ died, or silent until the deadline ─▶ rejected
 *
 * An answer is known by its gateway and kind: of one kind only one question is under way at a time.
 */
import type { GatewayCommand, GatewayMessage } from './gateway-thread.ts';

/** A gateway's thread answers a command within a turn; one that does not is stuck. */
export const ASK_DEADLINE_MS = 30_000;

interface Reply {
  readonly gateway: number;
  readonly resolve: (message: GatewayMessage) => void;
  readonly reject: (error: Error) => void;
}

export class GatewayAsks {
  readonly #send: (gateway: number, command: GatewayCommand) => void;
  readonly #replies = new Map<string, Reply>();
  readonly #dead = new Set<number>();

  constructor(send: (gateway: number, command: GatewayCommand) => void) {
    this.#send = send;
  }

  isDead(gateway: number): boolean {
    return this.#dead.has(gateway);
  }

  /** Sends a command and resolves with the first answer of one of the kinds; rejects when the thread dies, or at the deadline. */
  async ask(
    gateway: number,
    command: GatewayCommand,
    kinds: readonly GatewayMessage['kind'][],
    deadlineMs = ASK_DEADLINE_MS,
  ): Promise<GatewayMessage> {
    if (this.#dead.has(gateway)) throw new Error(`gateway ${gateway} is gone`);
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`gateway ${gateway} has not answered ${command.kind} in time`)), deadlineMs);
        for (const kind of kinds) this.#replies.set(`${gateway} ${kind}`, { gateway, resolve, reject });
        this.#send(gateway, command);
      });
    } finally {
      clearTimeout(timer);
      for (const kind of kinds) this.#replies.delete(`${gateway} ${kind}`);
    }
  }

  /** A message that may be an answer; one that nobody waits for is dropped. */
  hear(gateway: number, message: GatewayMessage): void {
    this.#replies.get(`${gateway} ${message.kind}`)?.resolve(message);
  }

  /** Nobody waits for the answers of a dead thread. */
  died(gateway: number, error: Error): void {
    this.#dead.add(gateway);
    for (const reply of [...this.#replies.values()]) if (reply.gateway === gateway) reply.reject(error);
  }
}
