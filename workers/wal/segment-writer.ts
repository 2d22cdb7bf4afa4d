/**
 * One segment file of the log while it is written: a header page, frames one behind the other, zeros ahead.
 *
 *   ┌────────┬───────┬───────┬───────┬ 0 0 0 0 0 ┐
 *   │ header │ frame │ frame │ frame │           │        the next write may go past the zeros: then more of them
 *   └────────┴───────┴───────┴───────┴ 0 0 0 0 0 ┘        are written behind it
 *                            position            zeroedTo
 *
 * The zeros are there so that a sync of later frames has only their bytes to write, not the file's length and where its
 * blocks lie. They go behind `position` only, never over data; a disk without room for them is no failure, since the
 * next frame will tell.
 */
import { assert } from '../../engine/assert.ts';
import type { LogFile, LogFiles } from '../../engine/storage/log-files.ts';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader, segmentName } from '../../engine/storage/wal-segment.ts';
import { isDiskFull, ShortWrite } from './disk-trouble.ts';

/** Zeros are written in steps of this size. */
export const ZERO_STEP_BYTES = 1024 * 1024;
const ZEROS = new Uint8Array(ZERO_STEP_BYTES);

export class SegmentWriter {
  readonly salt: number;
  lastSequence: number;
  /** The frame that carries on what older segments hold; 0: there is none. */
  carrySequence = 0;
  /** Not to be closed: a sync of it is under way. */
  isSyncing = false;
  readonly #file: LogFile;
  readonly #firstSequence: number;
  readonly #segmentBytes: number;
  #position = SEGMENT_HEADER_BYTES;
  #zeroedTo = SEGMENT_HEADER_BYTES;
  /** Length of the file. */
  #bytes = SEGMENT_HEADER_BYTES;

  private constructor(file: LogFile, header: SegmentHeader, segmentBytes: number) {
    this.#file = file;
    this.salt = header.salt;
    this.#firstSequence = header.firstSequence;
    this.lastSequence = header.firstSequence - 1;
    this.#segmentBytes = segmentBytes;
  }

  /** Creates the file and writes its header. Throws as the system does, and leaves no file then. */
  static create(files: LogFiles, header: SegmentHeader, segmentBytes: number): SegmentWriter {
    const file = files.create(segmentName(header.epoch, header.worker, header.firstSequence));
    try {
      const page = encodeSegmentHeader(header);
      const written = file.write(page, 0);
      if (written < page.length) throw new ShortWrite(file.name, written, page.length);
      return new SegmentWriter(file, header, segmentBytes);
    } catch (error) {
      file.close();
      files.remove(file.name);
      throw error;
    }
  }

  get name(): string {
    return this.#file.name;
  }

  /** Length of the file, zeros included. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.lastSequence < this.#firstSequence;
  }

  /** True when frames fill at least this share of the segment. */
  isFilledTo(share: number): boolean {
    return this.#position >= this.#segmentBytes * share;
  }

  /** An empty segment takes any frame: one that is larger than a segment gets a file of its own size. */
  hasRoom(frameBytes: number): boolean {
    return this.isEmpty || this.#position + frameBytes <= this.#segmentBytes;
  }

  /**
   * Writes the frame behind the last one, by one write. False when the disk had no room for all of it: what is there of
   * it is no frame, and the next write goes to the same place. Throws as the system does.
   */
  append(frame: Uint8Array, sequence: number): boolean {
    assert(sequence === this.lastSequence + 1, `frame ${sequence} behind frame ${this.lastSequence}`);
    const written = this.#file.write(frame, this.#position);
    this.#bytes = Math.max(this.#bytes, this.#position + written);
    if (written < frame.length) return false;
    this.#position += written;
    this.lastSequence = sequence;
    if (this.#position > this.#zeroedTo) this.#zeroAhead();
    return true;
  }

  /** Forces to the disk what was written before the call. */
  sync(): Promise<void> {
    return this.#file.sync();
  }

  close(): void {
    this.#file.close();
  }

  #zeroAhead(): void {
    this.#zeroedTo = this.#position;
    const bytes = Math.min(this.#segmentBytes - this.#position, ZERO_STEP_BYTES);
    if (bytes <= 0) return;
    try {
      this.#zeroedTo += this.#file.write(ZEROS.subarray(0, bytes), this.#position);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
    }
    this.#bytes = Math.max(this.#bytes, this.#zeroedTo);
  }
}
