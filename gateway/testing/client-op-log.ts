/**
 * Writes that the server has not acknowledged, in the order they were made, as the TopGun client logs them.
 *
 * Ids are decimal and count up from 1 for the life of the log. An op leaves the log through OP_ACK only: when it is named
 * in `results`, whatever `success` says, or when its id is not above `lastId`. Source: docs/PROTOCOL.md §5.2.
 */
import type { Stamp } from '../../engine/crdt/hlc.ts';
import type { OpAck } from './client-fields.ts';
import { isOlder } from './client-sync.ts';
import type { LwwRecord, OrRecord } from './client-maps.ts';

export interface ClientOp {
  readonly mapName: string;
  readonly opType: 'PUT' | 'REMOVE' | 'OR_ADD' | 'OR_REMOVE';
  readonly key: string;
  readonly record?: LwwRecord;
  readonly orRecord?: OrRecord;
  readonly orTag?: string;
  readonly timestamp: Stamp;
  readonly synced: false;
  readonly id: string;
}

export class ClientOpLog {
  readonly #pending = new Map<string, ClientOp>();
  #nextId = 1;
  /** Ops that were acknowledged, with what their result said: 'done', or the error. */
  readonly outcomes = new Map<string, string>();

  get size(): number {
    return this.#pending.size;
  }

  get pending(): ClientOp[] {
    return [...this.#pending.values()];
  }

  /** Appends an op and answers with its id. */
  append(op: Omit<ClientOp, 'id' | 'synced'>): string {
    const id = String(this.#nextId++);
    // The client's order of fields, in which the server's fast path expects them.
    this.#pending.set(id, { ...op, synced: false, id });
    return id;
  }

  acknowledge(ack: OpAck): void {
    for (const { opId, success, error } of ack.results) this.#settle(opId, success ? 'done' : (error ?? 'failed'));
    const isNumeric = /^\d+$/.test(ack.lastId);
    for (const id of [...this.#pending.keys()]) {
      if (!isNumeric || Number(id) <= Number(ack.lastId)) this.#settle(id, 'done');
    }
  }

  /** Drops ops on an OR-Map that are older than `olderThan`. */
  dropOrOps(mapName: string, olderThan: Stamp): void {
    for (const [id, op] of this.#pending) {
      if (op.mapName === mapName && op.opType.startsWith('OR_') && isOlder(op.timestamp, olderThan)) this.#pending.delete(id);
    }
  }

  #settle(id: string, outcome: string): void {
    if (this.#pending.delete(id)) this.outcomes.set(id, outcome);
  }
}
