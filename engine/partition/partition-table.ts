/**
 * Which worker runs which partition: 271 entries in shared memory, read by every thread.
 *
 *   Int32Array  [ workers | owner × 271 | state × 271 | epoch × 271 ]
 *
 *   LOADING ──loaded──► OWNED ──a hand-over begins──► MIGRATING ──stays, or assign──► OWNED
 *   LOADING, OWNED, MIGRATING ──worker died──► LOST ──assign──► LOADING
 *
 * Routing reads the owner alone, one plain array read; whoever gets a misrouted operation sees it by the epoch, which
 * rises with each `assign`. One thread (the one that starts workers) assigns and ends hand-overs; state changes compare
 * and exchange, so a worker that reports "loaded" cannot undo a "lost" that came before.
 *
 * Source: Hazelcast's partition table, reduced to one process.
 */
import { assert, unreachable } from '../assert.ts';
import { PARTITION_COUNT } from './hash.ts';

/**
 * LOADING: the owner reads the partition from Postgres and the WAL; nothing is served. OWNED: served.
 * MIGRATING: the owner still serves reads while a copy is made. LOST: the owner died; answers are UNAVAILABLE.
 */
export type PartitionState = 'LOADING' | 'OWNED' | 'MIGRATING' | 'LOST';

/** Position = number in shared memory. */
const STATES: readonly PartitionState[] = ['LOADING', 'OWNED', 'MIGRATING', 'LOST'];

const OWNERS_AT = 1;
const STATES_AT = OWNERS_AT + PARTITION_COUNT;
const EPOCHS_AT = STATES_AT + PARTITION_COUNT;
const WORDS = EPOCHS_AT + PARTITION_COUNT;

/** Size of the shared buffer of a table. */
export const PARTITION_TABLE_BYTES = WORDS * Int32Array.BYTES_PER_ELEMENT;

const FIRST_EPOCH = 1;

export class PartitionTable {
  /** Shared memory of the table: pass it to another thread and build a view there. */
  readonly buffer: SharedArrayBuffer;
  /** Number of workers; ids are 0..workers-1. */
  readonly workers: number;
  readonly #words: Int32Array;
  readonly #owners: Int32Array;

  /** A view over a buffer that `create` filled. */
  constructor(buffer: SharedArrayBuffer) {
    assert(buffer.byteLength === PARTITION_TABLE_BYTES, `partition table of ${buffer.byteLength} bytes`);
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.#owners = this.#words.subarray(OWNERS_AT, STATES_AT);
    this.workers = this.#words[0] as number;
    assert(this.workers > 0, 'the partition table was never created');
  }

  /** A new table: partitions dealt in turn, all LOADING at epoch 1. `workers` is 1..271. */
  static create(workers: number): PartitionTable {
    assert(Number.isInteger(workers) && workers >= 1 && workers <= PARTITION_COUNT, `workers: ${workers}`);
    const buffer = new SharedArrayBuffer(PARTITION_TABLE_BYTES);
    const words = new Int32Array(buffer);
    words[0] = workers;
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      words[OWNERS_AT + partition] = partition % workers;
      words[STATES_AT + partition] = STATES.indexOf('LOADING');
      words[EPOCHS_AT + partition] = FIRST_EPOCH;
    }
    return new PartitionTable(buffer);
  }

  /** Worker that runs the partition now. The hot path: a plain read, so it may lag a hand-over by a moment. */
  ownerOf(partition: number): number {
    return this.#owners[partition] as number;
  }

  stateOf(partition: number): PartitionState {
    assertPartition(partition);
    return stateAt(Atomics.load(this.#words, STATES_AT + partition));
  }

  /** Rises by one with each change of authority over the partition; a message of an older epoch is refused. */
  epochOf(partition: number): number {
    assertPartition(partition);
    return Atomics.load(this.#words, EPOCHS_AT + partition);
  }

  /** Partitions of a worker, ascending. */
  partitionsOf(worker: number): number[] {
    this.#assertWorker(worker);
    const partitions: number[] = [];
    for (let partition = 0; partition < PARTITION_COUNT; partition++) {
      if (Atomics.load(this.#owners, partition) === worker) partitions.push(partition);
    }
    return partitions;
  }

  /** Moves `from` → `to`. False when the partition is not in `from` (any more); a move that is not drawn above asserts. */
  transition(partition: number, from: PartitionState, to: PartitionState): boolean {
    assertPartition(partition);
    assert(isAllowed(from, to), `partition ${partition}: no transition ${from} to ${to}`);
    const expected = STATES.indexOf(from);
    return Atomics.compareExchange(this.#words, STATES_AT + partition, expected, STATES.indexOf(to)) === expected;
  }

  /** Marks every partition of a dead worker LOST; returns how many were not LOST before. */
  lose(worker: number): number {
    const lost = STATES.indexOf('LOST');
    let changed = 0;
    for (const partition of this.partitionsOf(worker)) {
      if (Atomics.exchange(this.#words, STATES_AT + partition, lost) !== lost) changed += 1;
    }
    return changed;
  }

  /**
   * Gives the partition to `worker` (the same id for a replaced worker) and raises the epoch. From LOST it is LOADING
   * afterwards, from MIGRATING it is OWNED, since the copy is complete; other states assert. Called by one thread only.
   * Returns the new epoch.
   */
  assign(partition: number, worker: number): number {
    this.#assertWorker(worker);
    const from = this.stateOf(partition);
    assert(from === 'LOST' || from === 'MIGRATING', `partition ${partition}: assigned while ${from}`);
    const epoch = Atomics.add(this.#words, EPOCHS_AT + partition, 1) + 1; // first, so that nobody acts for the old owner
    Atomics.store(this.#owners, partition, worker);
    const changed = this.transition(partition, from, from === 'LOST' ? 'LOADING' : 'OWNED');
    assert(changed, `partition ${partition}: changed during its hand-over`);
    return epoch;
  }

  #assertWorker(worker: number): void {
    assert(Number.isInteger(worker) && worker >= 0 && worker < this.workers, `worker ${worker} of ${this.workers}`);
  }
}

function isAllowed(from: PartitionState, to: PartitionState): boolean {
  switch (from) {
    case 'LOADING':
      return to === 'OWNED' || to === 'LOST';
    case 'OWNED':
      return to === 'MIGRATING' || to === 'LOST';
    case 'MIGRATING':
      return to === 'OWNED' || to === 'LOST';
    case 'LOST':
      return to === 'LOADING';
    default:
      return unreachable(from);
  }
}

function stateAt(position: number): PartitionState {
  const state = STATES[position];
  assert(state !== undefined, `partition state ${position}`);
  return state;
}

function assertPartition(partition: number): void {
  assert(Number.isInteger(partition) && partition >= 0 && partition < PARTITION_COUNT, `partition ${partition}`);
}
