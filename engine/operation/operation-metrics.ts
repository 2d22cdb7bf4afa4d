/**
 * How often each type of operation came and how long it took, as numbers in memory that other threads read.
 *
 *   a row a type   RESPONSE VOID WAIT HELD OFFLOAD │ ms total │ < 1 ms  < 2  < 4  < 8 …  < 16384  longer
 *
 * Times are counted by their power of two: a bucket is found by one instruction, and a quantile read from them is right
 * to within a factor of two.
 */
import { assert } from '../assert.ts';
import type { OperationListener } from './interceptors/event-listener.ts';
import { type CallStatus, OPERATIONS, type OperationType } from './operation.ts';

export const CALL_STATUSES = ['RESPONSE', 'VOID', 'WAIT', 'HELD', 'OFFLOAD'] as const satisfies readonly CallStatus[];
export const OPERATION_TYPES = Object.keys(OPERATIONS) as readonly OperationType[];

/** Upper ends of all buckets but the last, ms. */
export const BUCKET_ENDS_MS: readonly number[] = Array.from({ length: 15 }, (_, power) => 2 ** power);

const TOTAL_MS = CALL_STATUSES.length;
const BUCKETS = TOTAL_MS + 1;
const CELLS = BUCKETS + BUCKET_ENDS_MS.length + 1;

/** What is known of one type. */
export interface OperationNumbers {
  readonly handled: Readonly<Record<CallStatus, number>>;
  readonly totalMs: number;
  /** Operations that took less than each of BUCKET_ENDS_MS, and all of them at last: each holds those before it. */
  readonly within: readonly number[];
}

export class OperationMetrics implements OperationListener {
  readonly #cells: Float64Array;
  readonly #rows = new Map(OPERATION_TYPES.map((type, index) => [type, index * CELLS]));

  /** Bytes that it needs. */
  static readonly BYTES = OPERATION_TYPES.length * CELLS * Float64Array.BYTES_PER_ELEMENT;

  /** @param memory of one writer, any reader; `BYTES` from `offset` on. */
  constructor(memory: ArrayBufferLike, offset = 0) {
    this.#cells = new Float64Array(memory, offset, OPERATION_TYPES.length * CELLS);
  }

  handled(type: OperationType, status: CallStatus): void {
    this.#add(this.#rowOf(type) + CALL_STATUSES.indexOf(status), 1);
  }

  ended(type: OperationType, tookMs: number): void {
    const row = this.#rowOf(type);
    this.#add(row + TOTAL_MS, tookMs);
    this.#add(row + BUCKETS + Math.min(BUCKET_ENDS_MS.length, 32 - Math.clz32(tookMs)), 1);
  }

  read(type: OperationType): OperationNumbers {
    const row = this.#rowOf(type);
    let sum = 0;
    const within = [...BUCKET_ENDS_MS, Number.POSITIVE_INFINITY].map((_, bucket) => {
      sum += this.#cells[row + BUCKETS + bucket] as number;
      return sum;
    });
    const [response = 0, none = 0, wait = 0, held = 0, offload = 0] = this.#cells.subarray(row, row + CALL_STATUSES.length);
    const handled = { RESPONSE: response, VOID: none, WAIT: wait, HELD: held, OFFLOAD: offload };
    return { handled, totalMs: this.#cells[row + TOTAL_MS] as number, within };
  }

  #rowOf(type: OperationType): number {
    const row = this.#rows.get(type);
    assert(row !== undefined, `operation ${type}`);
    return row;
  }

  #add(cell: number, amount: number): void {
    this.#cells[cell] = (this.#cells[cell] as number) + amount;
  }
}
