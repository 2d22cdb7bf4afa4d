/**
 * Finds the rows of a query again by their keys, when they are to be told.
 */
import { fnv1aUtf8 } from '../../partition/hash.ts';
import { decode } from '../../protocol/codec.ts';
import { encodeText } from '../../protocol/wire-text.ts';
import { evictedBytes, fillValue } from '../../storage/evicted-value.ts';
import { RecordImage } from '../../storage/record.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';
import { imageOf } from '../../storage/stored-record.ts';
import type { LoadedValues } from '../../storage/value-loader.ts';

/** Bytes inside of others; valid until the store changes. */
export interface Span {
  readonly source: Uint8Array;
  readonly start: number;
  readonly length: number;
}

export class RowLookup {
  /** Bytes of the values that the last `missing` found missing. */
  evictedBytes = 0;
  readonly #image = new RecordImage();

  /** The record of the key, or 0. */
  find(store: RecordStore, key: string): RecordRef {
    const bytes = encodeText(key);
    const image = this.#image;
    image.source = bytes;
    image.keyHash = fnv1aUtf8(bytes, 0, bytes.length) >>> 0;
    image.keyStart = 0;
    image.keyBytes = bytes.length;
    image.tagBytes = 0;
    return store.find(image);
  }

  /** Those of the rows whose values are not in memory; the first of them, where all are more than `bytesMax`. */
  missing(store: RecordStore | undefined, rows: Iterable<{ readonly key: string }>, bytesMax: number): RecordRef[] {
    this.evictedBytes = 0;
    if (store === undefined || store.evicted === 0) return [];
    const refs: RecordRef[] = [];
    for (const { key } of rows) {
      const ref = this.find(store, key);
      if (ref === 0) continue;
      store.read(ref, this.#image);
      if (!this.#image.evicted) continue;
      refs.push(ref);
      this.evictedBytes += evictedBytes(this.#image);
      if (this.evictedBytes >= bytesMax) break;
    }
    return refs;
  }

  /** The encoded value of the row of that key; `'evicted'` when it is not in memory. */
  value(store: RecordStore | undefined, key: string): Span | 'evicted' | undefined {
    if (store === undefined) return undefined;
    const ref = this.find(store, key);
    if (ref === 0) return undefined;
    const image = this.#image;
    store.read(ref, image);
    return image.evicted ? 'evicted' : { source: image.source, start: image.valueStart, length: image.valueBytes };
  }

  decode({ source, start, length }: Span): unknown {
    return decode(source, start, start + length);
  }

  /** Puts values that were read back into memory, room or not: they are told in this turn, and may be dropped again after it. */
  keep(store: RecordStore, values: LoadedValues): void {
    for (const records of values.values()) for (const record of records) fillValue(store, imageOf(record));
  }
}
