/**
 * Reads evicted values back from the data store for those who wait for them.
 *
 *   load(records) ─▶ queue of each map ─▶ one read at a time, of up to `batchRecords` ─▶ answered
 *                     │ the same record is read once, however many wait for it
 *                     └ at the deadline, or when the data store is away: UNAVAILABLE, never nothing
 *
 * Records and bytes that are waited for are bounded; beyond that a load is refused at once. What was read is handed over
 * and not kept here: whoever asked says whether there is room to put it back into memory.
 */
import { assert } from '../assert.ts';
import { GridError } from '../protocol/errors.ts';
import type { DataStore } from './data-store.ts';
import { evictedBytes, fillValue, isSameVersion, type ValueStore } from './evicted-value.ts';
import type { FlushTime } from './flusher.ts';
import { JOIN_EVICTED, type JoinResult } from './join-rule.ts';
import { RecordImage, type RecordKind } from './record.ts';
import type { RecordRef } from './storage.ts';
import { identityOf, imageOf, type StoredRecord, storedRecord } from './stored-record.ts';

export interface ValueLoaderOptions {
  readonly dataStore: DataStore;
  readonly time: Pick<FlushTime, 'nowMs' | 'startTimer'>;
  /** Records that may be waited for at a time. */
  readonly recordsMax?: number;
  /** Bytes of their values. A single load may exceed it when nothing else is waited for. */
  readonly bytesMax?: number;
  /** Records, and bytes of values, of one read; at least one record is read. */
  readonly batchRecords?: number;
  readonly batchBytes?: number;
  /** How long a load may wait, ms. */
  readonly deadlineMs?: number;
}

const DEFAULTS: Required<Omit<ValueLoaderOptions, 'dataStore' | 'time'>> = Object.freeze({
  recordsMax: 65_536,
  bytesMax: 64 * 1024 * 1024,
  batchRecords: 500,
  batchBytes: 4 * 1024 * 1024,
  deadlineMs: 30_000,
});

/** A store that joins writes, too; a RecordStore is one. */
export interface TiedStore extends ValueStore {
  readonly lastRef: RecordRef;
  rejoin(image: RecordImage, nowMs: number): JoinResult;
}

/** What the data store has of each record: its row and what was buried of it. By `identityOf`. */
export type LoadedValues = ReadonlyMap<string, readonly StoredRecord[]>;

/** One call of `load`. */
interface Waiter {
  readonly values: Map<string, readonly StoredRecord[]>;
  left: number;
  over: boolean;
  readonly resolve: (values: LoadedValues) => void;
  readonly reject: (error: unknown) => void;
}

/** A record that somebody waits for. */
interface Read {
  readonly identity: string;
  readonly record: StoredRecord;
  readonly bytes: number;
  readonly waiters: Waiter[];
  readonly found: StoredRecord[];
}

/** The reads of one map and kind, in the order of asking. */
interface MapQueue {
  readonly kind: RecordKind;
  readonly map: Uint8Array;
  readonly reads: Read[];
}

export class ValueLoader {
  /** Records read back. */
  loaded = 0;
  /** Reads that failed. */
  failures = 0;
  /** Records that memory knows and the data store did not have as they were dropped. Never to happen. */
  missing = 0;
  readonly #options: typeof DEFAULTS & ValueLoaderOptions;
  readonly #reads = new Map<string, Read>();
  readonly #queues = new Map<string, MapQueue>();
  readonly #waiters = new Set<Waiter>();
  #bytes = 0;
  #reading = false;
  #closed = false;
  readonly #image = new RecordImage();

  constructor(options: ValueLoaderOptions) {
    this.#options = { ...DEFAULTS, ...options };
  }

  /** Records that are waited for. */
  get parked(): number {
    return this.#reads.size;
  }

  /**
   * Reads the evicted records at `refs`, of which there is at least one. Rejects with GridError UNAVAILABLE: the data
   * store is away, too much is waited for, or the deadline passed.
   */
  async load(store: ValueStore, refs: readonly RecordRef[]): Promise<LoadedValues> {
    assert(refs.length > 0, 'a load of nothing');
    return this.#load(
      store,
      refs.map((ref) => this.#wanted(store, ref)),
    );
  }

  /**
   * Reads records back, in portions, and puts each value where it was dropped, if that is still the same version without a value.
   * Answers how many. Rejects as `load`.
   */
  async restoreValues(store: ValueStore, refs: readonly RecordRef[]): Promise<number> {
    const wanted = refs.map((ref) => this.#wanted(store, ref)); // of this moment: later a reference may be another record's
    let restored = 0;
    for (let from = 0; from < wanted.length; ) {
      const count = this.#portion(wanted, from);
      const portion = wanted.slice(from, from + count).filter(({ record }) => this.#isAway(store, record));
      const values = portion.length === 0 ? undefined : await this.#load(store, portion);
      for (const { identity } of portion)
        if ((values?.get(identity) ?? []).some((record) => fillValue(store, imageOf(record)))) restored += 1;
      from += count;
    }
    return restored;
  }

  /** Another may have put it back, or written it, since. */
  #isAway(store: ValueStore, record: StoredRecord): boolean {
    const ref = store.find(imageOf(record));
    if (ref !== 0) store.read(ref, this.#image);
    return ref !== 0 && this.#image.evicted;
  }

  /** How many from there on are one read. */
  #portion(wanted: readonly Read[], from: number): number {
    let bytes = 0;
    let count = 0;
    for (; count < this.#options.batchRecords && from + count < wanted.length; count++) {
      bytes += wanted[from + count]?.bytes ?? 0;
      if (count > 0 && bytes > this.#options.batchBytes) break;
    }
    return count;
  }

  #load(store: ValueStore, wanted: readonly Read[]): Promise<LoadedValues> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(unavailable('the worker is shutting down'));
      const added = wanted.filter(({ identity }) => !this.#reads.has(identity));
      const bytes = added.reduce((sum, read) => sum + read.bytes, 0);
      const { recordsMax, bytesMax, deadlineMs } = this.#options;
      const isFull = this.#reads.size + added.length > recordsMax || this.#bytes + bytes > bytesMax;
      if (isFull && this.#reads.size > 0) return reject(unavailable('too many values are being read back'));
      const cancel = this.#options.time.startTimer(deadlineMs, () =>
        waiter.reject(unavailable(`not read within ${deadlineMs} ms`)),
      );
      const end = (): void => {
        waiter.over = true;
        cancel();
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        values: new Map(),
        left: 0,
        over: false,
        resolve: (values) => {
          end();
          resolve(values);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      this.#waiters.add(waiter);
      for (const read of wanted) this.#enqueue(store, read, waiter);
      void this.#pump();
    });
  }

  /** Reads one record and puts its value back, if it is still the one that was dropped. */
  async restoreValue(store: ValueStore, ref: RecordRef): Promise<boolean> {
    return (await this.restoreValues(store, [ref])) > 0;
  }

  /**
   * Joins a record for which `join` or `restore` answered JOIN_EVICTED while nothing could wait, as in a load: with the
   * value read back. False when it was not there to be read; then the record stays as it is, and `missing` counts it.
   */
  async settleTie(store: TiedStore, record: StoredRecord, nowMs: number): Promise<boolean> {
    const image = imageOf(record);
    if (store.rejoin(image, nowMs) !== JOIN_EVICTED) return true;
    await this.restoreValue(store, store.lastRef);
    if (store.rejoin(image, nowMs) !== JOIN_EVICTED) return true;
    this.missing += 1;
    return false;
  }

  /**
   * The image of what was dropped from the record that `evicted` shows, or undefined when it is not among `values`: the
   * record changed since it was asked for, or the data store does not have it.
   */
  static valueOf(store: ValueStore, evicted: RecordImage, values: LoadedValues): RecordImage | undefined {
    for (const record of values.get(identityOf(storedRecord(store.kind, store.map, evicted))) ?? []) {
      const image = imageOf(record);
      if (isSameVersion(evicted, image)) return image;
    }
    return undefined;
  }

  /** Refuses everything that waits, and all that comes. */
  close(): void {
    this.#closed = true;
    for (const waiter of [...this.#waiters]) waiter.reject(unavailable('the worker is shutting down'));
  }

  #wanted(store: ValueStore, ref: RecordRef): Read {
    store.read(ref, this.#image);
    assert(this.#image.evicted, `record ${ref} has its value`);
    const bytes = evictedBytes(this.#image);
    const record = storedRecord(store.kind, store.map, this.#image);
    return { identity: identityOf(record), record, bytes, waiters: [], found: [] };
  }

  #enqueue(store: ValueStore, wanted: Read, waiter: Waiter): void {
    waiter.left += 1;
    const known = this.#reads.get(wanted.identity);
    const read = known ?? wanted;
    read.waiters.push(waiter);
    if (known !== undefined) return;
    this.#reads.set(read.identity, read);
    this.#bytes += read.bytes;
    const name = `${store.kind} ${latin1(store.map)}`;
    const queue = this.#queues.get(name);
    if (queue === undefined) this.#queues.set(name, { kind: store.kind, map: store.map, reads: [read] });
    else queue.reads.push(read);
  }

  /** Reads batch after batch, of the maps in turn, until nothing is wanted. */
  async #pump(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    for (let batch = this.#take(); batch !== undefined; batch = this.#take()) await this.#read(batch);
    this.#reading = false;
  }

  #take(): MapQueue | undefined {
    for (const [name, queue] of this.#queues) {
      const reads: Read[] = [];
      let bytes = 0;
      while (reads.length < this.#options.batchRecords) {
        const next = queue.reads[0];
        if (next === undefined || (reads.length > 0 && bytes + next.bytes > this.#options.batchBytes)) break;
        queue.reads.shift();
        if (next.waiters.every(({ over }) => over)) {
          this.#forget(next);
          continue;
        }
        reads.push(next);
        bytes += next.bytes;
      }
      this.#queues.delete(name);
      if (queue.reads.length > 0) this.#queues.set(name, queue); // behind the other maps
      if (reads.length > 0) return { ...queue, reads };
    }
    return undefined;
  }

  async #read({ kind, map, reads }: MapQueue): Promise<void> {
    const byIdentity = new Map(reads.map((read) => [read.identity, read]));
    try {
      const records = reads.map(({ record }) => record);
      await this.#options.dataStore.read(
        kind,
        map,
        records,
        (foundKind, foundMap, image) => {
          const record = storedRecord(foundKind, foundMap, image);
          byIdentity.get(identityOf(record))?.found.push(record);
        },
        this.#options.deadlineMs,
      );
      for (const read of reads) this.#settle(read);
    } catch (error) {
      this.failures += 1;
      const refusal = error instanceof GridError ? unavailable(`the data store is away: ${error.message}`, error) : error;
      for (const read of reads) this.#forget(read);
      for (const read of reads) for (const waiter of read.waiters) if (!waiter.over) waiter.reject(refusal);
    }
  }

  #settle(read: Read): void {
    this.#forget(read);
    this.loaded += 1;
    for (const waiter of read.waiters) {
      waiter.values.set(read.identity, read.found);
      waiter.left -= 1;
      if (waiter.left === 0 && !waiter.over) waiter.resolve(waiter.values);
    }
  }

  #forget(read: Read): void {
    this.#reads.delete(read.identity);
    this.#bytes -= read.bytes;
  }
}

function unavailable(message: string, cause?: unknown): GridError {
  return new GridError('UNAVAILABLE', message, cause === undefined ? undefined : { cause });
}

function latin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
