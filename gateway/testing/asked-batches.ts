/** For tests: batches that ask for durability levels, and what their acks say. */
import assert from 'node:assert/strict';
import type { DurabilityOptions } from '../../engine/protocol/ack-level.ts';
import type { Message, TestClient } from './one-thread-node.ts';

export interface Result {
  readonly opId: string;
  readonly success: boolean;
  readonly achievedLevel: string;
  readonly error?: string;
}

export interface Ack {
  readonly lastId: string;
  readonly achievedLevel: string;
  readonly results?: readonly Result[];
  readonly proof?: unknown;
}

export interface Asks {
  readonly writeConcern?: string;
  readonly timeout?: number;
}

export const LOGGED: DurabilityOptions = { store: 'write-behind', wal: true, walFsync: '10' };
export const NOT_LOGGED: DurabilityOptions = { ...LOGGED, wal: false };

export function put(id: number, key: string, asks: Asks = {}): object {
  const timestamp = { millis: 1_700_000_000_000, counter: id, nodeId: 'node-a' };
  return { id: String(id), mapName: 'todos', opType: 'PUT', key, record: { value: id, timestamp }, ...asks };
}

export function batch(asks: Asks, ...ops: object[]): object {
  return { type: 'OP_BATCH', payload: { ops, ...asks } };
}

export function acksIn(messages: readonly Message[]): Ack[] {
  return messages.filter(({ type }) => type === 'OP_ACK').map(({ payload }) => payload as Ack);
}

export function acksOf(client: TestClient): Ack[] {
  return acksIn(client.heard());
}

/** The only ack that came. */
export function ackOf(client: TestClient): Ack {
  const [ack, ...more] = acksOf(client);
  assert.ok(ack !== undefined && more.length === 0, `${more.length + (ack === undefined ? 0 : 1)} acks`);
  return ack;
}

/** Of each result: id, success, level, and the code of its error. */
export function resultsOf({ results = [] }: Ack): (string | boolean)[][] {
  return results.map(({ opId, success, achievedLevel, error }) => [
    opId,
    success,
    achievedLevel,
    ...(error === undefined ? [] : [error.slice(0, error.indexOf(':'))]),
  ]);
}

export function errorsOf(client: TestClient): { code: number; message: string }[] {
  return client.heardOf('ERROR').map(({ payload }) => payload as { code: number; message: string });
}
