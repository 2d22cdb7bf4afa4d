/** A write-ahead log over a disk in memory, with a ledger of what was written, called synced and flushed. */
import assert from 'node:assert/strict';
import type { GridError } from '../../engine/protocol/errors.ts';
import type { ForgetfulLogFiles } from '../../engine/storage/forgetful-log-files.ts';
import type { LogFiles } from '../../engine/storage/log-files.ts';
import { KIND_LWW } from '../../engine/storage/record.ts';
import { imageOf, recordOf, storedRecord } from '../../engine/storage/stored-record.ts';
import { VirtualTime } from '../../engine/storage/virtual-time.ts';
import { forEachRecord } from '../../engine/storage/wal-frame.ts';
import { LogReader, type LogReport } from '../../engine/storage/wal-reader.ts';
import { parseSegmentName } from '../../engine/storage/wal-segment.ts';
import { WriteAheadLog, type WriteAheadLogOptions } from '../wal/write-ahead-log.ts';

const MAP = new TextEncoder().encode('map');
export const EPOCH = 7;
export const WORKER = 3;
const RECORD_BYTES = 200;

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The value that record `key` must have: a wrong byte anywhere is seen. */
export function expectedValue(key: string, bytes: number): Uint8Array {
  const next = seeded([...key].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7));
  return Uint8Array.from({ length: bytes }, () => next() * 256);
}

export class LogUnderTest<Files extends LogFiles = ForgetfulLogFiles> {
  readonly files: Files;
  readonly time = new VirtualTime();
  readonly log: WriteAheadLog;
  /** What `onSynced` has told, in order. */
  readonly synced: number[] = [];
  readonly failures: GridError[] = [];
  /** Frame → keys of its records. */
  readonly frames = new Map<number, string[]>();
  /** Changes staged so far: each record is one. */
  staged = 0;
  #keys: string[] = [];

  constructor(files: Files, options: Partial<WriteAheadLogOptions> = {}) {
    this.files = files;
    const random = seeded(1);
    this.log = WriteAheadLog.open({
      files,
      epoch: EPOCH,
      worker: WORKER,
      partitions: [1, 2, 270],
      database: 'node-1',
      firstSequence: 1,
      segmentBytes: 16 * 1024,
      maxBytes: 1024 * 1024,
      policy: 10,
      nowMs: () => this.time.nowMs(),
      random32: () => random() * 2 ** 32,
      onSynced: (sequence) => this.synced.push(sequence),
      onFailed: (error) => this.failures.push(error),
      ...options,
    });
  }

  /** Highest frame that was called synced. */
  get reported(): number {
    return Math.max(0, ...this.synced.slice(-1));
  }

  /** Changes a record: it is staged, and in the frame at hand. */
  append(bytes = RECORD_BYTES): void {
    this.staged += 1;
    const key = `key-${this.staged}-${bytes}`;
    this.log.frame.append(
      KIND_LWW,
      MAP,
      imageOf(recordOf({ key, map: MAP, value: expectedValue(key, bytes), millis: this.staged })),
    );
    this.#keys.push(key);
  }

  /** Ends the frame at hand. */
  end(): boolean {
    const written = this.log.write(this.staged, [this.staged, -1]);
    if (written) this.noteFrame();
    return written;
  }

  /** What was appended went into the frame that the log has now written. */
  noteFrame(): void {
    this.frames.set(this.log.sequence, this.#keys);
    this.#keys = [];
  }

  /** A frame of one record. */
  write(bytes = RECORD_BYTES): boolean {
    this.append(bytes);
    return this.end();
  }

  writeMany(frames: number, bytes = RECORD_BYTES): void {
    for (let frame = 0; frame < frames; frame++) assert.ok(this.write(bytes));
  }

  /** Everything changed so far is in Postgres. */
  flushAll(): void {
    this.log.flushed(this.staged);
  }

  tick(): void {
    this.log.tick(this.time.nowMs());
  }
}

export interface ReadBack {
  readonly sequences: ReadonlySet<number>;
  readonly report: LogReport;
}

/** Reads what is on a disk; fails when a record is not the one that `frames` says. */
export function readBack(files: LogFiles, frames: ReadonlyMap<number, readonly string[]>): ReadBack {
  const names = files
    .list()
    .filter((name) => parseSegmentName(name)?.epoch === EPOCH)
    .sort();
  const reader = new LogReader({ epoch: EPOCH, worker: WORKER, names, read: (name) => files.read(name), accepted: [] });
  const sequences = new Set<number>();
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    const keys: string[] = [];
    forEachRecord(frame, (kind, map, image) => {
      const { key: keyBytes, value } = storedRecord(kind, map, image);
      const key = new TextDecoder().decode(keyBytes);
      assert.deepEqual(value, expectedValue(key, Number(key.split('-')[2])), `value of ${key}`);
      keys.push(key);
    });
    assert.deepEqual(keys, frames.get(frame.sequence), `frame ${frame.sequence}`);
    sequences.add(frame.sequence);
  }
  return { sequences, report: reader.report() };
}

/** Frames from..to that are neither flushed nor read back. */
export function missing({ sequences }: ReadBack, from: number, to: number): number[] {
  const lost: number[] = [];
  for (let sequence = from; sequence <= to; sequence++) if (!sequences.has(sequence)) lost.push(sequence);
  return lost;
}
