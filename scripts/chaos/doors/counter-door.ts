/**
 * PN counters: the writer raises and lowers counters that all writers share, each by a node of its own.
 *
 * What it has added under a node goes along with each change, so that a loss would mend itself unseen. So it takes a new
 * node every few changes, and never sends the old one again.
 */
import type { Message } from '../../../gateway/testing/client-codec.ts';
import { payloadOf } from '../../../gateway/testing/client-fields.ts';
import { readCounterState } from '../../../engine/crdt/pn-counter.ts';
import type { Sum } from '../door-ledger.ts';
import { AskingSocket } from './asking-socket.ts';
import { acknowledged, type Door, type DoorOptions, refused, type Target } from './door.ts';

export const COUNTERS = ['chaos-visits', 'chaos-votes', 'chaos-stock', 'chaos-likes'] as const;

/** Changes under one node, of all counters together. */
const CHANGES_MAX = 40;

export class CounterDoor implements Door {
  readonly #options: DoorOptions;
  #socket: AskingSocket | undefined;
  /** Keeps the device, to which the nodes belong. */
  #token: string | undefined;
  #nodes = 0;
  #changes = CHANGES_MAX;
  #sums = new Map<string, Sum>();

  constructor(options: DoorOptions) {
    this.#options = options;
  }

  async open({ port }: Target): Promise<void> {
    this.#socket = await AskingSocket.open(port);
    await this.#socket.ask(
      { type: 'DEVICE_HELLO', ...(this.#token === undefined ? {} : { deviceToken: this.#token }) },
      (message) => {
        if (message.type !== 'DEVICE_ACK') return false;
        if (typeof message.deviceToken === 'string') this.#token = message.deviceToken;
        return true;
      },
    );
  }

  async write(): Promise<void> {
    const { random, counts, plainLevel } = this.#options;
    const name = random.pick(COUNTERS);
    const [node, sum] = this.#sumOf(name);
    sum.sent[random.below(3) === 0 ? 'negative' : 'positive'] += 1 + random.below(20);
    const sent = { ...sum.sent };
    counts.sent += 1;
    const state = { positive: sideOf(node, sent.positive), negative: sideOf(node, sent.negative) };
    await this.#socket?.ask({ type: 'COUNTER_SYNC', payload: { name, state } }, (message) => {
      if (message.type === 'ERROR') {
        const { code, message: reason } = payloadOf(message);
        refused(counts, `${String(code)} ${String(reason)}`);
        return true;
      }
      if (message.type !== 'COUNTER_UPDATE' || payloadOf(message).name !== name) return false;
      const told = readCounterState(payloadOf(message).state);
      const isTold = (told?.positive.get(node) ?? 0) >= sent.positive && (told?.negative.get(node) ?? 0) >= sent.negative;
      if (!isTold) return false;
      Object.assign(sum.told, sent);
      acknowledged(counts, plainLevel, 'counter changes');
      return true;
    });
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  #sumOf(name: string): [string, Sum] {
    if (this.#changes >= CHANGES_MAX) {
      this.#nodes += 1;
      this.#changes = 0;
      this.#sums = new Map();
    }
    this.#changes += 1;
    const { nodeId, ledger, plainLevel } = this.#options;
    const node = `${nodeId}-${this.#nodes}`;
    const sum = this.#sums.get(name) ?? ledger.doors.sum(name, node, plainLevel);
    this.#sums.set(name, sum);
    return [node, sum];
  }
}

function sideOf(node: string, sum: number): Message {
  return sum === 0 ? {} : { [node]: sum };
}
