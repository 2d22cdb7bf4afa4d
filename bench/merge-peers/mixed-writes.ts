/**
 * The writes that peers merge: those of the mix (op-mix.ts), a fixed number a connection, as the objects that their clients would have.
 *
 * And what must be left of them: by the clocks of the mix where a peer takes clocks from its clients, by its own replica where it does not.
 */
import { mixedKey, type MixName, OpMix } from '../op-mix.ts';

export const BATCH_OPS = 10;

/** The same document of four fields as in write-frames.ts. */
export interface MixedValue {
  readonly title: string;
  readonly count: number;
  readonly done: boolean;
  readonly owner: string;
}

export interface MixedWrite {
  readonly key: string;
  readonly value: MixedValue;
  readonly millis: number;
  /** Number of the op on its connection. */
  readonly op: number;
  readonly connection: number;
}

/** What one run writes. Plain data: it crosses from the harness. */
export interface MixedRun {
  readonly mix: MixName;
  readonly connections: number;
  readonly batchesPerConnection: number;
  /** No clock says this or later. */
  readonly beforeMillis: number;
}

/** The batches of a connection, in the order in which it sends them. */
export function batchesOf({ mix, batchesPerConnection, beforeMillis }: MixedRun, connection: number): MixedWrite[][] {
  const ops = new OpMix(mix, connection, beforeMillis);
  return Array.from({ length: batchesPerConnection }, (_, batch) =>
    Array.from({ length: BATCH_OPS }, (_, place) => {
      const op = batch * BATCH_OPS + place;
      const title = `item ${String(op % 1_000_000).padStart(6, '0')}`;
      const value = { title, count: 42, done: false, owner: 'u-1234' };
      return { key: mixedKey('w2-', ops.keyOf(op)), value, millis: ops.millisOf(op), op, connection };
    }),
  );
}

/** Which of two writes of a key stays. */
export type Newer = (write: MixedWrite, than: MixedWrite) => boolean;

/** By time, number, connection: no two are equal. */
export const newerByClock: Newer = (write, than) => {
  if (write.millis !== than.millis) return write.millis > than.millis;
  return write.op === than.op ? write.connection > than.connection : write.op > than.op;
};

/** As GUN has it: of two writes with one state, the one whose text is greater. */
export const newerByState: Newer = (write, than) => {
  if (write.millis !== than.millis) return write.millis > than.millis;
  return JSON.stringify(write.value.title) > JSON.stringify(than.value.title);
};

/** Key → title of what must be left, whatever the order in which it was merged. */
export function winnersOf(run: MixedRun, newer: Newer): Map<string, string> {
  const winners = new Map<string, MixedWrite>();
  for (let connection = 0; connection < run.connections; connection++)
    for (const batch of batchesOf(run, connection))
      for (const write of batch) {
        const known = winners.get(write.key);
        if (known === undefined || newer(write, known)) winners.set(write.key, write);
      }
  return new Map([...winners].map(([key, { value }]) => [key, value.title]));
}
