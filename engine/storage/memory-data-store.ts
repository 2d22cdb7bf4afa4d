/**
 * A DataStore in memory with the guards of data-store.ts: for tests and simulation, with faults on demand.
 *
 *   rows     identity (kind, map, key, tag) → newest record
 *   letters  what was buried
 *   faults   what goes wrong next, set by the test
 *
 * Batches apply in the order of their puts and removals; a batch either applies whole or not at all.
 */
import { assert } from '../assert.ts';
import { partitionOf } from '../partition/hash.ts';
import { GridError } from '../protocol/errors.ts';
import {
  type BatchResult,
  type DataBatch,
  type DataStore,
  type DeadLetter,
  type OnStoredRecord,
  READ_RECORDS_MAX,
  type RecordIdentity,
} from './data-store.ts';
import { KIND_COUNTER, KIND_LWW, RecordImage, type RecordKind, type StoredKind } from './record.ts';
import { fillImage, identityOf, imageOf, type StoredRecord, storedRecord } from './stored-record.ts';

export interface BuriedRecord {
  readonly record: StoredRecord;
  readonly reason: string;
  readonly applied: boolean;
}

/** What goes wrong, from the next call on. All fields may be changed at any time. */
export class MemoryFaults {
  /** The next commits reject with these, one each, first one first. */
  readonly commits: GridError[] = [];
  /** The next burials reject with these, one each. */
  readonly burials: GridError[] = [];
  /** The next reads reject with these, one each. */
  readonly reads: GridError[] = [];
  /** Awaited before each read looks at the rows. */
  beforeRead: () => Promise<void> = () => Promise.resolve();
  /** So many of the next commits take effect, but answer STORAGE_UNAVAILABLE, as when a connection is cut. */
  answersLost = 0;
  /** A commit that holds a put of such a record rejects with STORAGE_POISON. */
  poison: (record: StoredRecord) => boolean = () => false;
  /** True: a commit waits for its deadline, by `waitMs` of the store, then rejects with STORAGE_UNAVAILABLE. */
  hanging = false;
  /** Awaited before each commit and burial takes effect: lets a test look at, and change, what is in flight. */
  beforeCommit: () => Promise<void> = () => Promise.resolve();
}

interface MemoryRow {
  readonly record: StoredRecord;
  readonly prune: boolean;
}

export class MemoryDataStore implements DataStore {
  readonly rows = new Map<string, StoredRecord>();
  readonly letters: BuriedRecord[] = [];
  readonly faults = new MemoryFaults();
  /** Commits that took effect. */
  commits = 0;
  /** Reads that were answered. */
  reads = 0;
  readonly #waitMs: (ms: number) => Promise<void>;
  #committing = false;

  /** @param waitMs resolves after that time; only asked when `faults.hanging`. */
  constructor(waitMs: (ms: number) => Promise<void> = () => Promise.resolve()) {
    this.#waitMs = waitMs;
  }

  batch(): DataBatch {
    return new MemoryBatch((rows, deadlineMs) => this.#commit(rows, deadlineMs));
  }

  async load(partitions: readonly number[], onRecord: OnStoredRecord): Promise<void> {
    const wanted = new Set(partitions);
    const image = new RecordImage();
    for (const record of this.#all()) {
      if (!wanted.has(partitionOf(record.keyHash))) continue;
      fillImage(record, image);
      onRecord(record.kind, record.map, image);
    }
  }

  async read(
    kind: RecordKind,
    map: Uint8Array,
    identities: readonly RecordIdentity[],
    onRecord: OnStoredRecord,
    deadlineMs: number,
  ): Promise<void> {
    assert(identities.length <= READ_RECORDS_MAX, `a read of ${identities.length} records`);
    await this.faults.beforeRead();
    if (this.faults.hanging) await this.#settle(deadlineMs, []);
    const failure = this.faults.reads.shift();
    if (failure !== undefined) throw failure;
    const wanted = new Set(identities.map((identity) => identityOf({ ...identity, kind, map })));
    this.reads += 1;
    for (const record of this.#all()) if (wanted.has(identityOf(record))) onRecord(kind, map, imageOf(record));
  }

  async bury(letter: DeadLetter, deadlineMs: number): Promise<void> {
    const record = storedRecord(letter.kind, Uint8Array.from(letter.map), letter.record);
    await this.#settle(deadlineMs, this.faults.burials);
    this.letters.push({ record, reason: letter.reason, applied: letter.applied });
  }

  async close(): Promise<void> {}

  #all(): StoredRecord[] {
    return [...this.rows.values(), ...this.letters.filter(({ applied }) => applied).map(({ record }) => record)];
  }

  async #commit(rows: readonly MemoryRow[], deadlineMs: number): Promise<void> {
    assert(!this.#committing, 'two batches of one store are being committed at a time');
    this.#committing = true;
    try {
      await this.#settle(deadlineMs, this.faults.commits);
      const refused = rows.find((row) => !row.prune && this.faults.poison(row.record));
      if (refused !== undefined) throw new GridError('STORAGE_POISON', `refused: ${identityOf(refused.record)}`);
      for (const row of rows) this.#apply(row);
      this.commits += 1;
      this.#answer();
    } finally {
      this.#committing = false;
    }
  }

  async #settle(deadlineMs: number, failures: GridError[]): Promise<void> {
    if (this.faults.hanging) {
      await this.#waitMs(deadlineMs);
      throw new GridError('STORAGE_UNAVAILABLE', `no answer within ${deadlineMs} ms`);
    }
    await this.faults.beforeCommit();
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
  }

  #answer(): void {
    if (this.faults.answersLost === 0) return;
    this.faults.answersLost -= 1;
    throw new GridError('STORAGE_UNAVAILABLE', 'the answer was lost');
  }

  #apply({ record, prune }: MemoryRow): void {
    const identity = identityOf(record);
    const stored = this.rows.get(identity);
    if (prune) {
      this.#forgetLetters(identity, record);
      if (stored?.tombstone === true && compareClocks(stored, record) <= 0) this.rows.delete(identity);
      return;
    }
    this.rows.set(identity, stored === undefined ? record : joined(stored, record));
  }

  /** Letters of what is removed stay, but are not loaded again. */
  #forgetLetters(identity: string, pruned: StoredRecord): void {
    for (const [index, letter] of this.letters.entries()) {
      if (identityOf(letter.record) !== identity || compareClocks(letter.record, pruned) > 0) continue;
      this.letters[index] = { ...letter, applied: false };
    }
  }
}

class MemoryBatch implements DataBatch {
  bytes = 0;
  readonly #rows: MemoryRow[] = [];
  readonly #apply: (rows: readonly MemoryRow[], deadlineMs: number) => Promise<void>;

  constructor(apply: (rows: readonly MemoryRow[], deadlineMs: number) => Promise<void>) {
    this.#apply = apply;
  }

  get rows(): number {
    return this.#rows.length;
  }

  put(kind: StoredKind, map: Uint8Array, image: RecordImage): void {
    this.#add(kind, map, image, false);
  }

  prune(kind: StoredKind, map: Uint8Array, image: RecordImage): void {
    assert(kind !== KIND_COUNTER, 'a counter has no tombstones');
    this.#add(kind, map, image, true);
  }

  async commit(deadlineMs: number): Promise<BatchResult> {
    await this.#apply(this.#rows, deadlineMs);
    return { rows: this.rows, bytes: this.bytes };
  }

  #add(kind: StoredKind, map: Uint8Array, image: RecordImage, prune: boolean): void {
    this.#rows.push({ record: storedRecord(kind, Uint8Array.from(map), image), prune });
    this.bytes += map.length + image.keyBytes + image.tagBytes + image.nodeBytes + image.valueBytes;
  }
}

/** The row after a put on a stored one. */
function joined(stored: StoredRecord, record: StoredRecord): StoredRecord {
  if (record.kind === KIND_COUNTER) return joinedCounter(stored, record);
  if (record.kind === KIND_LWW) return newer(stored, record) ? record : stored;
  if (stored.tombstone || !record.tombstone) return stored;
  return { ...record, value: stored.value };
}

function joinedCounter(stored: StoredRecord, record: StoredRecord): StoredRecord {
  const millis = Math.max(stored.millis, record.millis);
  const ttlMs = Math.max(stored.ttlMs, record.ttlMs);
  return { ...stored, tag: stored.tag.length > 0 ? stored.tag : record.tag, millis, ttlMs };
}

function newer(stored: StoredRecord, record: StoredRecord): boolean {
  const order = compareClocks(record, stored);
  return order > 0 || (order === 0 && compareBytes(record.value, stored.value) > 0);
}

/** Millis, then counter, then the node's bytes. */
function compareClocks(left: StoredRecord, right: StoredRecord): number {
  return left.millis - right.millis || left.counter - right.counter || compareBytes(left.node, right.node);
}

function compareBytes(left: Uint8Array, right: Uint8Array): number {
  const shared = Math.min(left.length, right.length);
  for (let index = 0; index < shared; index++) {
    const order = (left[index] as number) - (right[index] as number);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}
