/**
 * The OP_ACK of a batch that asked for one level, for all its ops, and got it: the usual answer to who names a level.
 *
 *   {type: 'OP_ACK', payload: {lastId, achievedLevel, results: [{opId, success: true, achievedLevel}, …], proof?}}
 *
 * Written byte by byte in one buffer that is used again: an object and a string for each op, and an encoder that looks at
 * them, took five times as long as all else that a gateway does for the op.
 */
import { MessageWriter } from '../engine/protocol/msgpack-writer.ts';
import type { Proof } from './asked-levels.ts';

export interface EvenAnswer {
  readonly lastId: number;
  /** Ids rise by one from this one. */
  readonly lowId: number;
  readonly ops: number;
  /** Name of the level that all have reached. */
  readonly level: string;
  /** Undefined for who forgets. */
  readonly proof: readonly Proof[] | undefined;
}

export class EvenAck {
  readonly #writer = new MessageWriter();

  /** The frame, in memory of its own. */
  frame({ lastId, lowId, ops, level, proof }: EvenAnswer): Uint8Array {
    const writer = this.#writer;
    writer.reset();
    writer.mapHeader(2);
    writer.string('type');
    writer.string('OP_ACK');
    writer.string('payload');
    writer.mapHeader(proof === undefined ? 3 : 4);
    writer.string('lastId');
    writer.digits(lastId);
    writer.string('achievedLevel');
    writer.string(level);
    writer.string('results');
    writer.arrayHeader(ops);
    for (let op = 0; op < ops; op++) this.#result(lowId + op, level);
    if (proof !== undefined) this.#proof(proof);
    return writer.bytes.slice(0, writer.length);
  }

  #result(id: number, level: string): void {
    const writer = this.#writer;
    writer.mapHeader(3);
    writer.string('opId');
    writer.digits(id);
    writer.string('success');
    writer.bool(true);
    writer.string('achievedLevel');
    writer.string(level);
  }

  #proof(proof: readonly Proof[]): void {
    const writer = this.#writer;
    writer.string('proof');
    writer.arrayHeader(proof.length);
    for (const { worker, wal, synced, postgres } of proof) {
      writer.mapHeader(4);
      writer.string('worker');
      writer.number(worker);
      writer.string('wal');
      writer.number(wal);
      writer.string('synced');
      writer.number(synced);
      writer.string('postgres');
      writer.number(postgres);
    }
  }
}
