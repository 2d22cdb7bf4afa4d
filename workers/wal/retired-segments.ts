/**
 * Segments that are full and wait for Postgres to have everything in them; then they are deleted.
 *
 * Oldest first, and each deletion is forced to the disk before the next begins: after a power loss the files that are
 * left are a run without holes, so a missing file in the middle always means damage.
 */
import type { LogFiles } from '../../engine/storage/log-files.ts';
import type { SegmentWriter } from './segment-writer.ts';

export interface RetiredSegmentsOptions {
  readonly files: LogFiles;
  /** True when all that is carried on by the segment behind one, undefined for the one that is written, is on the disk: else that one stays. */
  readonly hasCarried: (next: SegmentWriter | undefined) => boolean;
  readonly onRemoved: (segment: SegmentWriter) => void;
  /** A deletion has failed, with the error of the system. */
  readonly onFailed: (error: unknown) => void;
}

export class RetiredSegments {
  readonly #options: RetiredSegmentsOptions;
  readonly #segments: SegmentWriter[] = [];
  #bytes = 0;
  #flushedSequence = 0;
  #removal: Promise<void> | undefined;
  #stopped = false;

  constructor(options: RetiredSegmentsOptions) {
    this.#options = options;
  }

  get segments(): number {
    return this.#segments.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A segment that will not be written to any more. */
  add(segment: SegmentWriter): void {
    this.#segments.push(segment);
    this.#bytes += segment.bytes;
  }

  /** Begins to delete the segments whose frames are all up to `flushedSequence`. One of which a sync is under way stays until a later call. */
  removeUpTo(flushedSequence: number): void {
    this.#flushedSequence = flushedSequence;
    if (this.#removal !== undefined || this.#stopped || !this.#mayRemove()) return;
    this.#removal = this.#run().then(
      () => {
        this.#removal = undefined;
      },
      (error) => {
        this.#removal = undefined;
        this.#stopped = true;
        this.#options.onFailed(error);
      },
    );
  }

  /** Closes the files; nothing is deleted any more. Resolves when no deletion is under way. */
  async close(): Promise<void> {
    this.#stopped = true;
    await this.#removal;
    for (const segment of this.#segments) segment.close();
  }

  async #run(): Promise<void> {
    const { files, onRemoved } = this.#options;
    while (!this.#stopped && this.#mayRemove()) {
      const segment = this.#segments[0] as SegmentWriter;
      files.remove(segment.name);
      this.#segments.shift();
      this.#bytes -= segment.bytes;
      segment.close();
      onRemoved(segment);
      await files.syncFolder();
    }
  }

  #mayRemove(): boolean {
    const [oldest, next] = this.#segments;
    if (oldest === undefined || oldest.lastSequence > this.#flushedSequence || oldest.isSyncing) return false;
    return this.#options.hasCarried(next);
  }
}
