/**
 * Who makes records durable in LOG: the product's write-ahead log, as a worker drives it with the policy `always`, and lmdb.
 *
 *   log    append each ─ one write ─ synced          a frame for all that came together, one fdatasync a group
 *   lmdb   put each ─ transaction ─ fdatasync        what came in one turn is one transaction
 *
 * Both get the same 200 bytes a record (key 9, node 8, value 183). Keys rise, which suits a B-tree: neighbours share pages.
 */
import { KIND_LWW, RecordImage } from '../engine/storage/record.ts';
import { PARTITION_COUNT } from '../engine/partition/hash.ts';
import { openFiles, openLog } from '../workers/wal/worker-log.ts';
import type { WriteAheadLog } from '../workers/wal/write-ahead-log.ts';
import type { DurableWriter } from './outstanding-writes.ts';
import { importPeer } from './peer-packages.ts';

export const RECORD_BYTES = 200;
const KEY_BYTES = 9;
const NODE = Buffer.from('bench-01');
const KEYS = 100_000;
const MAP = Buffer.from('bench');
/** As in a server with its defaults. */
const SEGMENT_BYTES = 64 << 20;
const MAX_BYTES = 1 << 30;
const TICK_MS = 100;
const PARTITIONS = Array.from({ length: PARTITION_COUNT }, (_, partition) => partition);

/** All records one behind the other, as they lie in a worker's memory: key, node, value. */
export function recordBytes(keys = KEYS): Uint8Array {
  const bytes = new Uint8Array(keys * RECORD_BYTES).fill(7);
  for (let key = 0; key < keys; key++) {
    bytes.set(Buffer.from(`k-${String(key).padStart(KEY_BYTES - 2, '0')}`), key * RECORD_BYTES);
    bytes.set(NODE, key * RECORD_BYTES + KEY_BYTES);
  }
  return bytes;
}

/** The image of a record of `source`; only its starts and its clock change from record to record. */
export function recordImage(source: Uint8Array): RecordImage {
  const image = new RecordImage();
  image.source = source;
  image.keyBytes = KEY_BYTES;
  image.nodeBytes = NODE.length;
  image.valueBytes = RECORD_BYTES - KEY_BYTES - NODE.length;
  return image;
}

export function pointAt(image: RecordImage, start: number, millis: number): void {
  image.keyStart = start;
  image.tagStart = start + KEY_BYTES;
  image.nodeStart = image.tagStart;
  image.valueStart = image.nodeStart + NODE.length;
  image.millis = millis;
}

/** A log with a server's sizes in `folder`. */
export function openBenchLog(folder: string, policy: 'always' | 'off', onFailed: (error: Error) => void): WriteAheadLog {
  return openLog({
    files: openFiles(folder),
    epoch: 1,
    worker: 0,
    partitions: PARTITIONS,
    database: 'bench',
    carry: () => false,
    firstSequence: 1,
    segmentBytes: SEGMENT_BYTES,
    retireAfterMs: Number.POSITIVE_INFINITY,
    maxBytes: MAX_BYTES,
    policy,
    onSynced: () => {},
    onFailed,
  });
}

/** The product. Postgres is played by a timer: what was written before the last tick counts as flushed, so files go. */
export class LogWriter implements DurableWriter {
  readonly #log: WriteAheadLog;
  readonly #onFailed: (cause: unknown) => void;
  readonly #image = recordImage(recordBytes());
  readonly #positions = [0];
  readonly #timer: NodeJS.Timeout;
  #staged = 0;
  #stagedAtTick = 0;

  constructor(folder: string, onFailed: (cause: unknown) => void) {
    this.#onFailed = onFailed;
    this.#log = openBenchLog(folder, 'always', onFailed);
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  write(first: number, count: number, durable: (count: number) => void): void {
    const log = this.#log;
    const image = this.#image;
    for (let record = first; record < first + count; record++) {
      pointAt(image, (record % KEYS) * RECORD_BYTES, record);
      log.frame.append(KIND_LWW, MAP, image);
    }
    this.#staged = first + count;
    if (log.write(this.#staged, this.#positions)) log.synced(log.sequence).then(() => durable(count), this.#onFailed);
    else this.#onFailed(new Error(`the log refuses with ${log.refusal}`));
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#log.close();
  }

  #tick(): void {
    this.#log.flushed(this.#stagedAtTick);
    this.#log.tick(Date.now());
    this.#stagedAtTick = this.#staged;
  }
}

/** The part of lmdb-js that is used here. */
interface Lmdb {
  open(options: object): LmdbDatabase;
}

interface LmdbDatabase {
  put(key: Uint8Array, value: Uint8Array): Promise<boolean> & { readonly flushed?: Promise<unknown> };
  close(): Promise<void>;
}

/**
 * lmdb, which has two ways to be durable:
 *
 *   overlap false   a put resolves when its transaction is on the disk
 *   overlap true    (its default) a put resolves when it is visible; `flushed`, later, is the durable one, and the next
 *                   transaction is made meanwhile
 */
export class LmdbWriter implements DurableWriter {
  readonly #database: LmdbDatabase;
  readonly #onFailed: (cause: unknown) => void;
  readonly #overlap: boolean;
  readonly #keys: Uint8Array[] = [];
  readonly #values: Uint8Array[] = [];

  private constructor(database: LmdbDatabase, overlap: boolean, onFailed: (cause: unknown) => void) {
    this.#database = database;
    this.#overlap = overlap;
    this.#onFailed = onFailed;
    const source = Buffer.from(recordBytes().buffer);
    for (let start = 0; start < source.length; start += RECORD_BYTES) {
      this.#keys.push(source.subarray(start, start + KEY_BYTES));
      this.#values.push(source.subarray(start + KEY_BYTES, start + RECORD_BYTES));
    }
  }

  /** Rejects when lmdb is not installed. */
  static async open(folder: string, overlap: boolean, onFailed: (cause: unknown) => void): Promise<LmdbWriter> {
    const { open } = await importPeer<Lmdb>('lmdb');
    const sync = overlap ? { separateFlushed: true } : { overlappingSync: false };
    return new LmdbWriter(open({ path: folder, encoding: 'binary', keyEncoding: 'binary', ...sync }), overlap, onFailed);
  }

  write(first: number, count: number, durable: (count: number) => void): void {
    // All puts of a transaction share one promise, so it is waited for once.
    let waited: Promise<unknown> | undefined;
    let shared = 0;
    for (let record = first; record < first + count; record++) {
      const put = this.#put(record % KEYS);
      if (put !== waited) {
        this.#wait(waited, shared, durable);
        waited = put;
        shared = 0;
      }
      shared += 1;
    }
    this.#wait(waited, shared, durable);
  }

  #put(key: number): Promise<unknown> {
    const put = this.#database.put(this.#keys[key] as Uint8Array, this.#values[key] as Uint8Array);
    return this.#overlap ? (put.flushed ?? put) : put;
  }

  #wait(promise: Promise<unknown> | undefined, count: number, durable: (count: number) => void): void {
    promise?.then(() => durable(count), this.#onFailed);
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}
