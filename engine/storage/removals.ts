/**
 * Tombstones that left memory and must leave the data store too: a short, bounded queue of copies, oldest first.
 *
 * The store only deletes a row that is a tombstone. So when the tombstone itself was still staged, its removal
 * writes it first (`writes`): else an older live row would stay behind and come back at the next boot.
 * When the queue is full, a removal whose tombstone is in the store is left out: the row is loaded again at the next
 * boot and pruned again. One that writes is never left out; it takes over the bytes its record was staged with, and its
 * place in the order: the watermark must not pass a tombstone that neither the store nor anybody else has yet.
 */
import { assert } from '../assert.ts';
import type { DataBatch } from './data-store.ts';
import type { StagedQueue } from './flusher.ts';
import { imageOf, type StoredRecord } from './stored-record.ts';

interface Removal {
  readonly record: StoredRecord;
  readonly writes: boolean;
  readonly bytes: number;
  readonly sinceMs: number;
  readonly sequence: number;
  done: boolean;
}

/** Counted for the object around the bytes. */
const OVERHEAD_BYTES = 200;

/** What a removal of this record counts for in the staging bound. */
export function removalBytes(record: StoredRecord): number {
  return OVERHEAD_BYTES + record.key.length + record.tag.length + record.node.length + record.value.length;
}

export class Removals implements StagedQueue {
  records = 0;
  bytes = 0;
  #removals: Removal[] = [];
  #flying = 0;
  #flyingFirst = 0;

  get oldestSinceMs(): number {
    return this.#removals[this.#flyingFirst]?.sinceMs ?? Number.POSITIVE_INFINITY;
  }

  /** What waits is in order, but may be older than what flies. */
  get oldestSequence(): number {
    const flying = this.#flyingFirst < this.#flying ? this.#sequenceAt(this.#flyingFirst) : Number.POSITIVE_INFINITY;
    return Math.min(flying, this.#sequenceAt(this.#flying));
  }

  /**
   * @param bytes what it counts for.
   * @param writes whether the tombstone may be missing in the store.
   * @param sequence of the oldest change that it stands for.
   */
  add(record: StoredRecord, writes: boolean, bytes: number, nowMs: number, sequence: number): void {
    let at = this.#removals.length;
    while (at > this.#flying && this.#sequenceAt(at - 1) > sequence) at -= 1;
    this.#removals.splice(at, 0, { record, writes, bytes, sinceMs: nowMs, sequence, done: false });
    this.records += 1;
    this.bytes += bytes;
  }

  take(recordsMax: number, bytesMax: number, sequenceMax: number): number {
    assert(this.#flying === 0, 'one flight at a time');
    let bytes = 0;
    for (const removal of this.#removals) {
      bytes += removal.bytes;
      if (this.#flying === recordsMax || removal.sequence > sequenceMax) break;
      if (this.#flying > 0 && bytes > bytesMax) break;
      this.#flying += 1;
    }
    return this.#flying;
  }

  put(index: number, batch: DataBatch): void {
    const { record, writes } = this.#at(index);
    const image = imageOf(record);
    if (writes) batch.put(record.kind, record.map, image);
    batch.prune(record.kind, record.map, image);
  }

  copy(index: number): StoredRecord {
    return this.#at(index).record;
  }

  done(index: number): void {
    const removal = this.#at(index);
    assert(!removal.done, 'a removal is done once');
    removal.done = true;
    this.records -= 1;
    this.bytes -= removal.bytes;
    while (this.#flyingFirst < this.#flying && this.#at(this.#flyingFirst).done) this.#flyingFirst += 1;
  }

  land(): void {
    if (this.#flying > 0) {
      this.#removals = this.#removals.filter((removal) => !removal.done).sort((left, right) => left.sequence - right.sequence);
    }
    this.#flying = 0;
    this.#flyingFirst = 0;
  }

  #sequenceAt(index: number): number {
    return this.#removals[index]?.sequence ?? Number.POSITIVE_INFINITY;
  }

  #at(index: number): Removal {
    const removal = this.#removals[index];
    assert(removal !== undefined, 'inside the flight');
    return removal;
  }
}
