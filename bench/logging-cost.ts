/**
 * What a worker's CPU pays for the log, a batch at a time, without any disk to wait for:
 *
 *   append   the records are at hand              FrameWriter: append each, seal (crc32)
 *   logged   as the product does on each change   LoggedDataStore: read the record from its slab, append; seal
 *   written  the same, and into the file          one write of the frame, with segments rotated and deleted on the way
 */
import { Slab } from '../engine/storage/slab.ts';
import { LoggedDataStore } from '../engine/storage/logged-data-store.ts';
import { NullDataStore } from '../engine/storage/null-data-store.ts';
import type { StagedSource } from '../engine/storage/map-data-store.ts';
import { KIND_LWW, RecordImage } from '../engine/storage/record.ts';
import { RecordStore } from '../engine/storage/record-store.ts';
import type { RecordRef } from '../engine/storage/storage.ts';
import { FrameWriter } from '../engine/storage/wal-frame.ts';
import { fnv1aUtf8 } from '../engine/partition/hash.ts';
import type { WriteAheadLog } from '../workers/wal/write-ahead-log.ts';
import { openBenchLog, pointAt, RECORD_BYTES, recordBytes, recordImage } from './durable-writers.ts';

const MAP = Buffer.from('bench');
const NOW_MS = 1_700_000_000_000;
const STORED_RECORDS = 20_000;
const POSITIONS = [0];
const SALT = 0x5a17;

/** Keeps where each record of the store lies. */
class RefKeeper extends NullDataStore {
  readonly refs: RecordRef[] = [];

  override changed(_store?: StagedSource, ref?: RecordRef): void {
    if (ref !== undefined) this.refs.push(ref);
  }
}

export class LoggingCost {
  readonly #store: RecordStore;
  readonly #refs: readonly RecordRef[];
  readonly #images: RecordImage[];
  readonly #frame = new FrameWriter();
  readonly #logged = new LoggedDataStore(new NullDataStore());
  readonly #written = new LoggedDataStore(new NullDataStore());
  readonly #log: WriteAheadLog;
  #next = 0;
  #sequence = 0;
  #failure: Error | undefined;

  /** @param folder on a disk, for `written`. */
  constructor(folder: string) {
    const keeper = new RefKeeper();
    this.#store = new RecordStore({ map: MAP, kind: KIND_LWW, slab: new Slab(), dataStore: keeper });
    fillStore(this.#store);
    this.#refs = keeper.refs;
    this.#images = keeper.refs.map((ref) => {
      const image = new RecordImage();
      this.#store.read(ref, image);
      return image;
    });
    this.#log = openBenchLog(folder, 'off', (error) => {
      this.#failure = error;
    });
    this.#logged.logTo(this.#frame);
    this.#written.logTo(this.#log.frame);
  }

  /** Each returns the size of the frame, or throws. */
  append(records: number): number {
    const images = this.#images;
    for (let place = this.#take(records), end = place + records; place < end; place++)
      this.#frame.append(KIND_LWW, MAP, images[place] as RecordImage);
    return this.#seal();
  }

  logged(records: number): number {
    for (let place = this.#take(records), end = place + records; place < end; place++)
      this.#logged.changed(this.#store, this.#refs[place] as RecordRef, NOW_MS);
    return this.#seal();
  }

  written(records: number): number {
    const log = this.#log;
    for (let place = this.#take(records), end = place + records; place < end; place++)
      this.#written.changed(this.#store, this.#refs[place] as RecordRef, NOW_MS);
    const bytes = log.frame.bodyBytes;
    this.#sequence += 1;
    if (!log.write(this.#sequence, POSITIONS)) throw this.#failure ?? new Error(`the log refuses with ${log.refusal}`);
    log.flushed(this.#sequence - 1);
    return bytes;
  }

  close(): Promise<void> {
    return this.#log.close();
  }

  #take(records: number): number {
    const first = this.#next + records <= this.#refs.length ? this.#next : 0;
    this.#next = first + records;
    return first;
  }

  #seal(): number {
    this.#sequence += 1;
    const bytes = this.#frame.finish({
      salt: SALT,
      sequence: this.#sequence,
      syncedSequence: 0,
      flushedSequence: 0,
      writtenAtMs: NOW_MS,
      inboxPositions: POSITIONS,
    });
    this.#frame.clear();
    return bytes.length;
  }
}

function fillStore(store: RecordStore): void {
  const source = recordBytes(STORED_RECORDS);
  const image = recordImage(source);
  for (let start = 0; start < source.length; start += RECORD_BYTES) {
    pointAt(image, start, NOW_MS);
    image.keyHash = fnv1aUtf8(source, start, start + image.keyBytes);
    store.join(image, NOW_MS);
  }
}
