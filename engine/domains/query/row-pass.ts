/**
 * One pass over rows of a map, a slice at a time: decodes each live row once and hands it over.
 *
 *   next() ─▶ value in memory? ─ yes ─▶ take(row)
 *                 └ no: noted ─ enough of them ─▶ read back from the data store ─▶ take(row as it is then)
 *
 * Rows come, change and go meanwhile; a row is always handed over as it is at that moment. What cannot be read is an error, never
 * left out: unknown is not empty. A row whose key is no text, or whose value no reader could decode, is no row for queries.
 */
import { fnv1aUtf8, isUtf8 } from '../../partition/hash.ts';
import { fmix32 } from '../../partition/hash.ts';
import { decode } from '../../protocol/codec.ts';
import { GridError } from '../../protocol/errors.ts';
import { decodeText } from '../../protocol/wire-text.ts';
import { evictedBytes, fillValue } from '../../storage/evicted-value.ts';
import { isExpiredImage } from '../../storage/expired-record.ts';
import { RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { imageOf, type StoredRecord, storedRecord } from '../../storage/stored-record.ts';
import { type LoadedValues, ValueLoader } from '../../storage/value-loader.ts';

/** What reading rows needs of its worker. */
export interface RowEnvironment {
  /** Wall clock, ms. */
  readonly nowMs: () => number;
  /** Monotonic clock, ms: slices are measured by it. */
  readonly clockMs: () => number;
  /** Resolves when the loop of the thread has had its turn. */
  readonly nextTurn: () => Promise<void>;
  /** Reads back what was dropped from memory; undefined where nothing is. */
  readonly loader: ValueLoader | undefined;
  /** True when a value of this size may be kept in memory. */
  readonly hasRoomFor: (bytes: number) => boolean;
}

/** Takes a row. Returns how many steps that took (step-budget.ts). */
export type TakeRow = (key: string, value: unknown, version: number) => number;

/** Longest slice, ms, and how much work is done between two looks at the clock: bytes decoded, steps taken, and so much a row. */
const SLICE_MS = 3;
const LOOK_WORK = 64 * 1024;
const ROW_WORK = 1024;
/** Values read back at a time. */
const READ_ROWS = 256;
const READ_BYTES = 4 * 1024 * 1024;
/** Times that a record is asked for which changes each time while it is read. */
const ATTEMPTS_MAX = 5;

export class RowPass {
  /** Rows looked at. */
  looked = 0;
  /** Those of them whose values had to be read back. */
  readBackRows = 0;
  readonly #store: RecordStore;
  readonly #next: () => RecordRef;
  readonly #take: TakeRow;
  readonly #env: RowEnvironment;
  readonly #image = new RecordImage();
  #missing: StoredRecord[] = [];
  #missingBytes = 0;
  /** Work since the clock was looked at. */
  #work = 0;

  constructor(store: RecordStore, next: () => RecordRef, take: TakeRow, env: RowEnvironment) {
    this.#store = store;
    this.#next = next;
    this.#take = take;
    this.#env = env;
  }

  /** A slice of the work. `'read'`: await `readBack` before the next step. */
  step(): 'done' | 'more' | 'read' {
    const endMs = this.#env.clockMs() + SLICE_MS;
    for (;;) {
      const ref = this.#next();
      if (ref === 0) return this.#missing.length > 0 ? 'read' : 'done';
      this.looked += 1;
      this.#row(ref);
      if (this.#missing.length >= READ_ROWS || this.#missingBytes >= READ_BYTES) return 'read';
      if (this.#isOver(endMs)) return 'more';
    }
  }

  /** Reads what was noted, and hands it over in slices. Rejects with GridError UNAVAILABLE. */
  async readBack(): Promise<void> {
    let left = this.#missing;
    this.readBackRows += left.length;
    this.#missing = [];
    this.#missingBytes = 0;
    let values: LoadedValues = new Map();
    for (let attempt = 0; left.length > 0; attempt++) {
      const refs = left.map((record) => this.#store.find(imageOf(record))).filter((ref) => ref !== 0 && this.#isMissing(ref));
      if (refs.length > 0) {
        const { loader } = this.#env;
        if (attempt === ATTEMPTS_MAX || loader === undefined)
          throw new GridError('UNAVAILABLE', `${refs.length} values could not be read back`);
        values = await loader.load(this.#store, refs);
      }
      left = await this.#notFound(left, values);
    }
  }

  /** Hands over what is in memory, or among the values. Returns the rest. */
  async #notFound(records: readonly StoredRecord[], values: LoadedValues): Promise<StoredRecord[]> {
    const left: StoredRecord[] = [];
    let endMs = this.#env.clockMs() + SLICE_MS;
    for (const record of records) {
      if (!this.#found(record, values)) left.push(record);
      if (!this.#isOver(endMs)) continue;
      await this.#env.nextTurn();
      endMs = this.#env.clockMs() + SLICE_MS;
    }
    return left;
  }

  /** True when the slice has taken its time. */
  #isOver(endMs: number): boolean {
    this.#work += ROW_WORK;
    if (this.#work < LOOK_WORK) return false;
    this.#work = 0;
    return this.#env.clockMs() >= endMs;
  }

  #row(ref: RecordRef): void {
    const image = this.#image;
    this.#store.read(ref, image);
    if (image.tombstone || isExpiredImage(image, this.#env.nowMs())) return;
    if (!image.evicted) {
      this.#handOver(image);
      return;
    }
    this.#missingBytes += evictedBytes(image);
    image.nodeBytes = 0; // found again by its key
    image.valueBytes = 0;
    this.#missing.push(storedRecord(this.#store.kind, this.#store.map, image));
  }

  #isMissing(ref: RecordRef): boolean {
    this.#store.read(ref, this.#image);
    return this.#image.evicted && !isExpiredImage(this.#image, this.#env.nowMs());
  }

  /** Hands the record over as it is now. False when its value is not here. */
  #found(record: StoredRecord, values: LoadedValues): boolean {
    const ref = this.#store.find(imageOf(record));
    if (ref === 0) return true;
    if (!this.#isMissing(ref)) {
      this.#row(ref);
      return true;
    }
    const loaded = ValueLoader.valueOf(this.#store, this.#image, values);
    if (loaded === undefined) return false;
    this.#handOver(loaded);
    if (this.#env.hasRoomFor(loaded.valueBytes)) fillValue(this.#store, loaded);
    return true;
  }

  #handOver(image: RecordImage): void {
    this.#work += image.valueBytes;
    const key = keyOf(image);
    const value = decodedValue(image);
    if (key !== undefined && value !== undefined) this.#work += this.#take(key, value, versionOf(image));
  }
}

/** The key as clients know it, or undefined when it is no text: such keys are left out of what clients see. */
export function keyOf({ source, keyStart, keyBytes }: RecordImage): string | undefined {
  return isUtf8(source, keyStart, keyStart + keyBytes) ? decodeText(source, keyStart, keyStart + keyBytes) : undefined;
}

/** The decoded value of a live record that has it in memory; undefined when nobody could decode it. */
export function decodedValue({ source, valueStart, valueBytes }: RecordImage): unknown {
  try {
    return decode(source, valueStart, valueStart + valueBytes);
  } catch (error) {
    if (error instanceof GridError) return undefined;
    throw error;
  }
}

/** A number that tells versions of one record apart, on every worker and after every restart the same. */
export function versionOf(image: RecordImage): number {
  const node = fnv1aUtf8(image.source, image.nodeStart, image.nodeStart + image.nodeBytes);
  const low = fmix32(node ^ Math.imul(image.counter | 0, 0x9e3779b1)) >>> 0;
  const high = fmix32(low ^ (image.millis | 0) ^ Math.imul(Math.floor(image.millis / 2 ** 32), 0x85ebca6b)) >>> 0;
  return (high >>> 11) * 2 ** 32 + (fmix32(low + (image.millis | 0)) >>> 0);
}
