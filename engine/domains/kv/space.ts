/**
 * Keys and values as commands see them: one database, or a map as a hash. Two implementations: records of a worker
 * (record-space.ts), and the keys that workers act on together (joint-space.ts).
 */
import type { RespCommand } from '../../protocol/resp-parser.ts';
import type { RecordStore } from '../../storage/record-store.ts';
import type { RecordRef } from '../../storage/storage.ts';

const NO_BYTES = new Uint8Array(0);

/** Bytes of a value. Redis takes 512 MiB; records are smaller. */
export const VALUE_BYTES_MAX = 4 << 20;
/** Bytes of map name and key together. */
export const IDENTITY_BYTES_MAX = 2048;

export const KEYS_ALIKE = 'ERR KEYS_ALIKE the key is new, and too many others of its database have its hash';
export const TOO_LONG = 'ERR string exceeds maximum allowed size (proto-max-bulk-len)';
export const KEY_TOO_LONG = `ERR key is longer than ${IDENTITY_BYTES_MAX} bytes`;

/** A value that is there: `source[start, start + length)`. Reused: valid until the next call of the space. */
export class StoredValue {
  source: Uint8Array = NO_BYTES;
  start = 0;
  length = 0;
  /** When it expires, ms; NaN: never. */
  expiresAtMs = Number.NaN;

  /** A view of it. */
  get value(): Uint8Array {
    return this.source.subarray(this.start, this.start + this.length);
  }
}

export interface KeySpace {
  /** True for the name of a map that has records: as a key it is a hash, and the other methods throw KvError WRONGTYPE. */
  isHash(key: Uint8Array): boolean;
  /** The live value of a key. */
  get(key: Uint8Array): StoredValue | undefined;
  /** As `get`, of the key that is an argument of the command at hand: without a view of it. */
  at(args: RespCommand, index: number): StoredValue | undefined;
  has(key: Uint8Array): boolean;
  /** When the key expires, ms; NaN: never; undefined: there is no such key. */
  expiryOf(key: Uint8Array): number | undefined;
  /** Writes a value; the bytes are copied. Throws KvError for one that is too long. */
  set(key: Uint8Array, value: Uint8Array, expiresAtMs: number): void;
  /** As `set`, under the key that is an argument of the command at hand: `source[start, start + length)`. */
  put(args: RespCommand, index: number, source: Uint8Array, start: number, length: number, expiresAtMs: number): void;
  /**
   * Writes pairs of key and value, which are the arguments from `first` on, for ever: all of them, or none and throws KvError. Answers
   * with how many keys were not there.
   */
  putPairs(args: RespCommand, first: number): number;
  /** Gives a key that is there another expiry. */
  expire(key: Uint8Array, expiresAtMs: number): void;
  /** False when there was no such key. */
  remove(key: Uint8Array): boolean;
  /** All that there is. */
  readonly whole: WholeSpace;
}

/** All keys of a database or a hash, as far as they are here: on one worker, or what an act was told. */
export interface WholeSpace {
  /** Live keys. */
  readonly size: number;
  /** Those of them that expire; of many, about. */
  readonly expiring: number;
  /** Calls `visit` with every live key until it answers false. */
  visitAll(visit: (key: Uint8Array) => boolean): void;
  random(random: number): Uint8Array | undefined;
  clear(): void;
  /** Visits up to `limit` records from a cursor on and answers with the next one, 0 at the end (scan.ts). */
  scan(cursor: number, limit: number, visit: (key: Uint8Array) => void): number;
}

/** Values must be read back from the data store before the command can be run. */
export class ValueAway extends Error {
  override readonly name = 'ValueAway';
  readonly store: RecordStore;
  readonly refs: readonly RecordRef[];

  constructor(store: RecordStore, refs: readonly RecordRef[]) {
    super('values were dropped from memory');
    this.store = store;
    this.refs = refs;
  }
}

export function isSame(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index++) if (left[index] !== right[index]) return false;
  return true;
}
