/** What clients send about PN counters (docs/PROTOCOL.md §8.3). The state stays as it came: pn-counter.ts reads both spellings. */
import type { Data } from './codec.ts';

export interface CounterRequestMessage {
  readonly type: 'COUNTER_REQUEST';
  readonly name: string;
}

export interface CounterSyncMessage {
  readonly type: 'COUNTER_SYNC';
  readonly name: string;
  readonly state: unknown;
}

export type CounterMessage = CounterRequestMessage | CounterSyncMessage;

/** @param body what the message wraps in `payload` */
export function parseCounterMessage(type: CounterMessage['type'], body: Data): CounterMessage | undefined {
  const { name, state } = body;
  if (typeof name !== 'string') return undefined;
  if (type === 'COUNTER_REQUEST') return { type, name };
  return typeof state === 'object' && state !== null ? { type, name, state } : undefined;
}
