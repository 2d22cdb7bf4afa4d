/**
 * Draws logs for tests: segments in memory, with frames left out, junk in between and headers of any kind.
 *
 *   new LogSketch().segment().frame([record]).skip(2).junk(64).frame([record]).files      name → bytes
 */
import { PARTITION_COUNT } from '../partition/hash.ts';
import type { LogFiles } from './log-files.ts';
import { imageOf, type StoredRecord } from './stored-record.ts';
import { type FrameFields, FrameWriter } from './wal-frame.ts';
import type { WholeNote } from './whole-act-note.ts';
import { encodeSegmentHeader, type SegmentHeader, segmentName } from './wal-segment.ts';

const ALL_PARTITIONS = Array.from({ length: PARTITION_COUNT }, (_, partition) => partition);
const ZEROS_BEHIND = 512;

/** One frame as it was drawn. */
export interface SketchedFrame {
  readonly sequence: number;
  readonly file: string;
  /** Where it begins in its file. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly records: readonly StoredRecord[];
}

export class LogSketch {
  readonly frames: SketchedFrame[] = [];
  readonly #header: SegmentHeader;
  readonly #writer = new FrameWriter();
  readonly #parts = new Map<string, Uint8Array[]>();
  #sequence: number;
  #name = '';
  #salt = 0;

  constructor(header: Partial<SegmentHeader> = {}) {
    this.#header = {
      epoch: 1,
      worker: 0,
      firstSequence: 1,
      salt: 0xc0ffee11,
      partitions: ALL_PARTITIONS,
      database: 'server-a',
      ...header,
    };
    this.#sequence = this.#header.firstSequence;
  }

  /** Begins the next segment. */
  segment(fields: Partial<SegmentHeader> = {}): this {
    const header = { ...this.#header, firstSequence: this.#sequence, salt: this.#header.salt + this.#sequence, ...fields };
    this.#name = segmentName(header.epoch, header.worker, header.firstSequence);
    this.#salt = header.salt >>> 0;
    this.#parts.set(this.#name, [encodeSegmentHeader({ ...header, salt: this.#salt })]);
    return this;
  }

  /** Adds a frame; by default it knows of no sync and no flush. */
  frame(records: readonly StoredRecord[], fields: Partial<FrameFields> = {}, notes: readonly WholeNote[] = []): this {
    this.#writer.clear();
    for (const note of notes) this.#writer.appendWhole(note);
    for (const record of records) this.#writer.append(record.kind, record.map, imageOf(record));
    const sequence = this.#sequence++;
    const sealed = {
      salt: this.#salt,
      sequence,
      syncedSequence: 0,
      flushedSequence: 0,
      writtenAtMs: 1,
      inboxPositions: [],
      ...fields,
    };
    const bytes = this.#writer.finish(sealed).slice();
    this.frames.push({ sequence, file: this.#name, offset: this.#fileBytes(), bytes, records });
    return this.junk(bytes);
  }

  /** Leaves the next `count` sequences out. */
  skip(count: number): this {
    this.#sequence += count;
    return this;
  }

  /** Adds bytes as they are, or so many of 0xa5. Keep them multiples of 8. */
  junk(bytes: Uint8Array | number): this {
    this.#parts.get(this.#name)?.push(typeof bytes === 'number' ? new Uint8Array(bytes).fill(0xa5) : bytes);
    return this;
  }

  /** Name of the segment at hand. */
  get name(): string {
    return this.#name;
  }

  /** All segments, each with zeros behind its last frame. */
  get files(): Map<string, Uint8Array> {
    return new Map([...this.#parts].map(([name, parts]) => [name, joined([...parts, new Uint8Array(ZEROS_BEHIND)])]));
  }

  #fileBytes(): number {
    return (this.#parts.get(this.#name) ?? []).reduce((bytes, part) => bytes + part.length, 0);
  }
}

/** A folder in memory. Nothing is ever lost in it, and nothing can be written. */
export function sketchedFolder(...maps: readonly ReadonlyMap<string, Uint8Array>[]): Omit<LogFiles, 'create' | 'reopen'> {
  const files = new Map(maps.flatMap((map) => [...map]));
  return {
    list: () => [...files.keys()],
    read: (name) => files.get(name) ?? new Uint8Array(0),
    size: (name) => files.get(name)?.length ?? 0,
    remove: (name) => void files.delete(name),
    syncFolder: async () => undefined,
  };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
