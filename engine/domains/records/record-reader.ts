/**
 * Reads LWW records with their values, also those whose value was dropped from memory.
 *
 *   wanted keys ─┬─ value in memory ───────────────▶ read
 *                └─ dropped ─ load from the store ─▶ read, put back where there is room
 *
 * The loop of the worker goes on meanwhile; records come, change and go. So records are wanted by key, and each is read as
 * it is at the moment of reading. What cannot be read is an error, never an empty value.
 */
import { GridError } from '../../protocol/errors.ts';
import { fillValue } from '../../storage/evicted-value.ts';
import { becomeRemoval, isExpiredImage } from '../../storage/expired-record.ts';
import { RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { imageOf, type StoredRecord } from '../../storage/stored-record.ts';
import { type LoadedValues, ValueLoader } from '../../storage/value-loader.ts';

export interface RecordReaderOptions {
  /** Reads dropped values back; without it none are dropped. */
  readonly loader: ValueLoader | undefined;
  /** True when a value of this size may be kept in memory. */
  readonly hasRoomFor: (bytes: number) => boolean;
  /** The time by which a record counts as expired, ms. */
  readonly nowMs: () => number;
}

/** Times that a record is asked for which changes each time while it is read. */
const ATTEMPTS_MAX = 5;

export class RecordReader {
  readonly #options: RecordReaderOptions;
  readonly #image = new RecordImage();

  constructor(options: RecordReaderOptions) {
    this.#options = options;
  }

  /** The time by which a record counts as expired, ms. */
  get nowMs(): number {
    return this.#options.nowMs();
  }

  /**
   * Points `into` at the record of its key. False when there is none. An expired one is shown as the removal that it is
   * about to become. `into.evicted` says that its value is not in memory.
   */
  find(store: RecordStore, into: RecordImage): boolean {
    const ref = store.find(into);
    if (ref === 0) return false;
    const { nowMs } = this;
    store.touch(ref, nowMs);
    store.read(ref, into);
    if (isExpiredImage(into, nowMs)) becomeRemoval(into);
    return true;
  }

  /**
   * What `take` makes of each record, in the order asked; undefined for those that are gone. The image is valid during its
   * call; without `withValues` its value may be not in memory. Rejects with GridError UNAVAILABLE.
   */
  async read<Taken>(
    store: RecordStore,
    wanted: readonly StoredRecord[],
    withValues: boolean,
    take: (image: RecordImage) => Taken,
  ): Promise<(Taken | undefined)[]> {
    const taken = new Array<Taken | undefined>(wanted.length).fill(undefined);
    let open = [...wanted.keys()];
    let values: LoadedValues = new Map();
    for (let attempt = 0; ; attempt++) {
      const missing: StoredRecord[] = [];
      open = open.filter((index) => {
        const record = wanted[index];
        const image = record && this.#readNow(store, record, withValues, values);
        if (image === 'missing' && record !== undefined) missing.push(record);
        if (image instanceof RecordImage) taken[index] = take(image);
        return image === 'missing';
      });
      if (missing.length === 0) return taken;
      if (attempt === ATTEMPTS_MAX) throw this.#inconsistent(missing.length);
      values = await this.#load(store, missing);
    }
  }

  /** The record with its value as it is now; undefined when it is gone. */
  #readNow(
    store: RecordStore,
    wanted: StoredRecord,
    withValue: boolean,
    values: LoadedValues,
  ): RecordImage | 'missing' | undefined {
    const image = this.#image;
    Object.assign(image, imageOf(wanted));
    if (!this.find(store, image)) return undefined;
    if (!image.evicted || !withValue) return image;
    const loaded = ValueLoader.valueOf(store, image, values);
    if (loaded === undefined) return 'missing';
    if (this.#options.hasRoomFor(loaded.valueBytes)) fillValue(store, loaded);
    return loaded;
  }

  async #load(store: RecordStore, records: readonly StoredRecord[]): Promise<LoadedValues> {
    const { loader } = this.#options;
    if (loader === undefined) throw this.#inconsistent(records.length);
    const refs: RecordRef[] = [];
    for (const record of records) {
      const ref = store.find(imageOf(record));
      if (ref !== 0) refs.push(ref);
    }
    return refs.length === 0 ? new Map() : await loader.load(store, refs);
  }

  #inconsistent(records: number): GridError {
    const { loader } = this.#options;
    if (loader !== undefined) loader.missing += records;
    return new GridError('UNAVAILABLE', `${records} records are not in the data store as they were dropped from memory`);
  }
}
