/**
 * A data store behind a bad connection: commits, burials and loads begin late, and commits and burials fail.
 *
 *   commit ─ waits ─┬─ refused      nothing happened                      ┐ STORAGE_UNAVAILABLE: who asked cannot tell
 *                   ├─ answer lost  it took effect, the answer is gone    ┘ the one from the other
 *                   └─ done
 *
 * The deadline holds: a delay beyond it is a refusal at the deadline.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Faults } from '../../engine/faults.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { BatchResult, DataBatch, DataStore, DeadLetter, OnStoredRecord } from '../../engine/storage/data-store.ts';
import type { RecordImage, StoredKind } from '../../engine/storage/record.ts';

export class FaultyDataStore implements DataStore {
  readonly #inner: DataStore;
  readonly #faults: Faults;

  constructor(inner: DataStore, faults: Faults) {
    this.#inner = inner;
    this.#faults = faults;
  }

  batch(): DataBatch {
    return new FaultyBatch(this.#inner.batch(), this.#faults);
  }

  async load(partitions: readonly number[], onRecord: OnStoredRecord): Promise<void> {
    await delay(this.#faults.postgresDelayMs());
    await this.#inner.load(partitions, onRecord);
  }

  async read(...asked: Parameters<DataStore['read']>): Promise<void> {
    await delay(this.#faults.postgresDelayMs());
    await this.#inner.read(...asked);
  }

  bury(letter: DeadLetter, deadlineMs: number): Promise<void> {
    return withFaults(this.#faults, deadlineMs, (leftMs) => this.#inner.bury(letter, leftMs));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

class FaultyBatch implements DataBatch {
  readonly #inner: DataBatch;
  readonly #faults: Faults;

  constructor(inner: DataBatch, faults: Faults) {
    this.#inner = inner;
    this.#faults = faults;
  }

  get rows(): number {
    return this.#inner.rows;
  }

  get bytes(): number {
    return this.#inner.bytes;
  }

  put(kind: StoredKind, map: Uint8Array, record: RecordImage): void {
    this.#inner.put(kind, map, record);
  }

  prune(kind: StoredKind, map: Uint8Array, record: RecordImage): void {
    this.#inner.prune(kind, map, record);
  }

  commit(deadlineMs: number): Promise<BatchResult> {
    return withFaults(this.#faults, deadlineMs, (leftMs) => this.#inner.commit(leftMs));
  }
}

/** `work` after the delay and with the faults drawn for it. It gets the ms that are left of its deadline. */
async function withFaults<Result>(
  faults: Faults,
  deadlineMs: number,
  work: (leftMs: number) => Promise<Result>,
): Promise<Result> {
  const delayMs = faults.postgresDelayMs();
  const fault = faults.commitFault();
  if (delayMs > 0) await delay(Math.min(delayMs, deadlineMs));
  if (delayMs >= deadlineMs) throw unavailable(`no answer within ${deadlineMs} ms`);
  if (fault === 'refused') throw unavailable('the connection was refused');
  const result = await work(deadlineMs - delayMs);
  if (fault === 'answerLost') throw unavailable('the connection was cut before the answer');
  return result;
}

function unavailable(what: string): GridError {
  return new GridError('STORAGE_UNAVAILABLE', `${what} (injected)`);
}
