/**
 * The write-ahead log of one worker: what a batch has changed is in a file before the batch is answered.
 *
 *   append … append ─▶ frame ─ write ─▶ segment being written ─ full ─▶ retired segments ─ flushed ─▶ deleted
 *                                          └──────── synced in groups ────────┘
 *
 *   open ──▶ disk-full   no room: the frame at hand stays and is written again, whole, at the same place. Also at the
 *     │                  start, when not even a segment can begin: it begins as soon as there is room
 *     │ └──▶ full        the files reach `maxBytes`: until Postgres has some of it
 *     └────▶ failed      the disk has refused a write or a sync: for good, the worker is read-only
 *
 * A segment's name and header carry the number of its first frame, so it is made when that frame is there and not ahead
 * of time: the reader can then tell by name and header alone which frames are missing. That costs a file's creation, well
 * below a ms, and a sync of the folder a segment.
 */
import { assert } from '../../engine/assert.ts';
import { type ErrorCode, GridError } from '../../engine/protocol/errors.ts';
import type { LogFile, LogFiles } from '../../engine/storage/log-files.ts';
import { FrameWriter } from '../../engine/storage/wal-frame.ts';
import { isDiskFull, systemCode } from './disk-trouble.ts';
import { FlushMarks } from './flush-marks.ts';
import { GroupSync, type SyncPolicy } from './group-sync.ts';
import { clearWay, openPredecessors } from './predecessor-segments.ts';
import { RetiredSegments } from './retired-segments.ts';
import { SegmentWriter } from './segment-writer.ts';

export interface WriteAheadLogOptions {
  readonly files: LogFiles;
  /** Owner epoch of this process; rises with each boot. */
  readonly epoch: number;
  readonly worker: number;
  /** Partitions that the worker owns. */
  readonly partitions: readonly number[];
  /** Identity of the database that the records belong to. */
  readonly database: string;
  /** 1 in a fresh epoch; behind the predecessor's last frame for a worker that was replaced. */
  readonly firstSequence: number;
  /** Size of a file. At least four files fit in `maxBytes`: they are made smaller when they must. */
  readonly segmentBytes: number;
  /** Bound of this worker's files together. */
  readonly maxBytes: number;
  readonly policy: SyncPolicy;
  /** A segment that is flushed and so old is retired, however little is in it. Default never. */
  readonly retireAfterMs?: number;
  readonly nowMs: () => number;
  /** A random number of 32 bits. */
  readonly random32: () => number;
  /** Puts what no segment may lack into the frame at hand, the first of a segment; true when there is anything. */
  readonly carry?: (frame: FrameWriter) => boolean;
  /** Begins syncs by time; returns what cancels. Without it they begin on ticks. */
  readonly startTimer?: (delayMs: number, fire: () => void) => () => void;
  /** All frames up to this one are on the disk. */
  readonly onSynced: (sequence: number) => void;
  /** The log has failed; told once. Nothing above `syncedSequence` will ever be synced. */
  readonly onFailed: (error: GridError) => void;
}

export type LogState = 'open' | 'disk-full' | 'full' | 'failed';

/** A segment that is filled to this share is retired as soon as all of it is flushed. */
const RETIRE_SHARE = 0.25;
const SEGMENTS_MIN = 4;

/** What the frame at hand is to be written with. */
interface HeldFrame {
  readonly stagedSequence: number;
  readonly inboxPositions: readonly number[];
  /** Size of the frame when this was told. */
  readonly bodyBytes: number;
}

export class WriteAheadLog {
  /** The frame at hand: the caller appends to it. */
  readonly frame = new FrameWriter();
  readonly #options: WriteAheadLogOptions;
  readonly #segmentBytes: number;
  readonly #group: GroupSync;
  readonly #retired: RetiredSegments;
  readonly #marks = new FlushMarks();
  /** Segments with bytes that no sync was begun for. */
  readonly #unsynced = new Set<SegmentWriter>();
  /** Files of a predecessor, until they are synced. */
  #predecessors: readonly LogFile[];
  #isFolderUnsynced = true;
  /** Undefined as long as the disk has had no room for a first one. */
  #segment: SegmentWriter | undefined;
  #sequence: number;
  /** When the first frame of the segment was written. */
  #firstFrameMs = 0;
  /** The frame that the disk had no room for. */
  #held: HeldFrame | undefined;
  #isFull = false;
  /** The frame at hand begins a segment with what older ones hold: the segment before stays until it is written. */
  #isCarrying = false;
  /** The last frame that began a segment so, how much of it, and whether that was all. */
  #carriedSequence = 0;
  #carriedBytes = 0;
  #isCarriedAlone = false;
  #failure: GridError | undefined;
  #refusal: ErrorCode | undefined;
  #isClosed = false;

  private constructor(options: WriteAheadLogOptions) {
    this.#options = options;
    this.#segmentBytes = Math.min(options.segmentBytes, Math.floor(options.maxBytes / SEGMENTS_MIN));
    this.#sequence = options.firstSequence - 1;
    const { files, policy, nowMs, startTimer, onSynced, firstSequence } = options;
    this.#predecessors = openPredecessors(files, options);
    this.#begin();
    const onFailed = (error: unknown): void => this.#fail('forced to the disk', error);
    const run = (): Promise<void> => this.#syncAll();
    this.#group = new GroupSync({ policy, nowMs, startTimer, run, onSynced, onFailed }, firstSequence - 1);
    const onRemoved = (segment: SegmentWriter): void => this.#removed(segment);
    this.#retired = new RetiredSegments({
      files,
      hasCarried: (next) => (next === undefined ? !this.isCarrying : next.carrySequence <= this.#group.syncedSequence),
      onRemoved,
      onFailed: (error) => this.#fail('pruned', error),
    });
    this.#refusal = REFUSALS[this.state];
    this.#carry();
  }

  /**
   * Creates the first segment; without room for it the log begins as `disk-full`. Throws GridError READ_ONLY when the folder
   * does not take it for another reason, and LOG_DAMAGED when an unreadable file of a predecessor is in its place.
   */
  static open(options: WriteAheadLogOptions): WriteAheadLog {
    assert(options.firstSequence >= 1);
    try {
      clearWay(options.files, options);
      return new WriteAheadLog(options);
    } catch (error) {
      if (systemCode(error) === undefined) throw error;
      throw logError(options.worker, 'READ_ONLY', 'opened', error);
    }
  }

  /** Last frame written. */
  get sequence(): number {
    return this.#sequence;
  }

  /** All frames up to this one are on the disk. */
  get syncedSequence(): number {
    return this.#group.syncedSequence;
  }

  /** All frames up to this one are in Postgres. */
  get flushedSequence(): number {
    return this.#marks.flushedSequence;
  }

  /** Bytes of all files, zeros ahead included. */
  get bytes(): number {
    return this.#retired.bytes + (this.#segment?.bytes ?? 0);
  }

  get segments(): number {
    return this.#retired.segments + (this.#segment === undefined ? 0 : 1);
  }

  get syncs(): number {
    return this.#group.syncs;
  }

  get lastSyncMs(): number {
    return this.#group.lastSyncMs;
  }

  get state(): LogState {
    if (this.#failure !== undefined) return 'failed';
    if (this.#held !== undefined || this.#segment === undefined) return 'disk-full';
    return this.#isFull ? 'full' : 'open';
  }

  /** True until what was carried over from older segments, or older runs, is on the disk: they must stay. */
  get isCarrying(): boolean {
    return this.#isCarrying || this.#carriedSequence > this.#group.syncedSequence;
  }

  /** Why the log has failed; undefined as long as it has not. */
  get failure(): GridError | undefined {
    return this.#failure;
  }

  /** What new writes are refused with now; undefined: they are welcome. */
  get refusal(): ErrorCode | undefined {
    return this.#refusal;
  }

  /**
   * Ends the frame at hand, by one write. True when it is in the file or nothing was in it. False when it is not:
   * `refusal` says why. Then it stays and is tried again by `tick`; of a failed log it is let go.
   * @param stagedSequence newest change that was staged for Postgres.
   * @param inboxPositions where the worker stands in each inbox.
   */
  write(stagedSequence: number, inboxPositions: readonly number[]): boolean {
    assert(!this.#isClosed, 'the log is closed');
    if (this.frame.isEmpty) return true;
    if (this.#failure === undefined && this.#held === undefined && this.#put(inboxPositions)) {
      this.#marks.note(this.#sequence, stagedSequence);
      return true;
    }
    if (this.#failure !== undefined) this.frame.clear();
    else this.#hold(stagedSequence, inboxPositions);
    return false;
  }

  /**
   * Resolves when all frames up to `sequence` are on the disk; rejects with GridError READ_ONLY when they never will be.
   * Begins a sync at once, whatever the policy.
   */
  synced(sequence: number): Promise<void> {
    return this.#group.synced(sequence);
  }

  /** Begins a sync of what is written; `onSynced` tells. */
  requestSync(): void {
    this.#group.request();
  }

  /** All changes staged up to `stagedSequence` are in Postgres. Deletes the segments that are not needed any more. */
  flushed(stagedSequence: number): void {
    this.#marks.flushed(stagedSequence);
    this.#prune();
  }

  /**
   * Call it every so often: tries a held frame again, begins syncs that are due, retires and deletes segments.
   *
   * @param isBatchTold false while something that the log has still stands in inboxes: a successor asks the last frame where it may go on
   */
  tick(nowMs: number, isBatchTold = true): void {
    if (this.#isClosed) return;
    if (this.#failure !== undefined) {
      this.frame.clear(); // what the worker's own rhythms still change must not pile up
      return;
    }
    if (this.#segment === undefined) this.#tryBegin();
    if (this.#held !== undefined) this.#tryHeld(this.#held);
    this.#group.tick(nowMs);
    if (isBatchTold) this.#retireFlushed(nowMs);
    this.#prune();
  }

  /** Syncs, unless the policy is `off` or the log has failed, and closes the files. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#group.close();
    await this.#retired.close();
    this.#closePredecessors();
    this.#segment?.close();
  }

  /** True when the frame at hand is in the file. */
  #put(inboxPositions: readonly number[]): boolean {
    try {
      return this.#append(inboxPositions);
    } catch (error) {
      if (!isDiskFull(error)) this.#fail('written', error);
      return false;
    }
  }

  #append(inboxPositions: readonly number[]): boolean {
    let segment = this.#segment;
    if (segment === undefined) return false;
    const nowMs = this.#options.nowMs();
    let bytes = this.#sealed(segment, nowMs, inboxPositions);
    if (!segment.hasRoom(bytes.length)) {
      segment = this.#rotate(segment);
      bytes = this.#sealed(segment, nowMs, inboxPositions); // the salt is another
    }
    this.#unsynced.add(segment);
    if (segment.isEmpty) this.#firstFrameMs = nowMs;
    if (!segment.append(bytes, this.#sequence + 1)) return false;
    this.#sequence += 1;
    const { bodyBytes } = this.frame;
    this.frame.clear();
    this.#group.written(this.#sequence, nowMs);
    if (this.#isCarrying) this.#carried(segment, bodyBytes);
    if (this.#retired.bytes + segment.bytes >= this.#options.maxBytes) this.#refreshRefusal();
    return true;
  }

  #sealed({ salt }: SegmentWriter, writtenAtMs: number, inboxPositions: readonly number[]): Uint8Array {
    return this.frame.finish({
      salt,
      sequence: this.#sequence + 1,
      syncedSequence: this.#group.syncedSequence,
      flushedSequence: this.#marks.flushedSequence,
      writtenAtMs,
      inboxPositions,
    });
  }

  /** Throws as the system does; then nothing has changed. */
  #rotate(full: SegmentWriter): SegmentWriter {
    const next = this.#createSegment();
    this.#retired.add(full);
    this.#segment = next;
    this.#unsynced.add(next);
    this.#isFolderUnsynced = true;
    this.#carry();
    return next;
  }

  /** Creates the first segment if there is room. Throws as the system does for any other reason. */
  #begin(): void {
    try {
      this.#segment = this.#createSegment();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      return;
    }
    this.#unsynced.add(this.#segment);
  }

  #tryBegin(): void {
    try {
      this.#begin();
    } catch (error) {
      this.#fail('opened', error);
    }
    this.#refreshRefusal();
  }

  #carry(): void {
    const { bodyBytes } = this.frame;
    if (this.#options.carry?.(this.frame) !== true) return;
    this.#isCarrying = true;
    this.#carriedBytes = this.frame.bodyBytes - bodyBytes;
  }

  /** The frame that begins `segment` is in it. */
  #carried(segment: SegmentWriter, bodyBytes: number): void {
    this.#isCarrying = false;
    segment.carrySequence = this.#sequence;
    this.#carriedSequence = this.#sequence;
    this.#isCarriedAlone = bodyBytes === this.#carriedBytes;
    this.#group.request();
  }

  #createSegment(): SegmentWriter {
    const { files, epoch, worker, partitions, database, random32 } = this.#options;
    const header = { epoch, worker, firstSequence: this.#sequence + 1, salt: random32() >>> 0, partitions, database };
    return SegmentWriter.create(files, header, this.#segmentBytes);
  }

  #hold(stagedSequence: number, inboxPositions: readonly number[]): void {
    this.#held = { stagedSequence, inboxPositions: [...inboxPositions], bodyBytes: this.frame.bodyBytes };
    this.#refreshRefusal();
  }

  #tryHeld({ stagedSequence, inboxPositions, bodyBytes }: HeldFrame): void {
    const hasGrown = this.frame.bodyBytes > bodyBytes;
    if (!this.#put(inboxPositions)) return;
    // What came in since was staged later than we know: the next frame's mark then speaks for this one.
    if (!hasGrown) this.#marks.note(this.#sequence, stagedSequence);
    this.#held = undefined;
    this.#refreshRefusal();
  }

  /**
   * A segment with a good deal in it that nobody needs any more makes room, though it is not full. An old one goes in any case: it may have
   * a record whose removal another worker has logged, and forgets when the horizon of tombstones is passed.
   */
  #retireFlushed(nowMs: number): void {
    const segment = this.#segment;
    if (this.#failure !== undefined || segment === undefined || segment.isEmpty || this.#marks.flushedSequence < this.#sequence)
      return;
    const isOld = nowMs - this.#firstFrameMs >= (this.#options.retireAfterMs ?? Number.POSITIVE_INFINITY);
    const isOldRecord = isOld && !this.#isCarriedAlone;
    if (this.#carriedSequence === this.#sequence && !isOldRecord && !this.#isFullOfMore(segment)) return; // the next one would be as full
    if (!this.#isFull && !isOld && !segment.isFilledTo(RETIRE_SHARE)) return;
    try {
      this.#rotate(segment);
    } catch (error) {
      if (!isDiskFull(error)) this.#fail('written', error);
    }
  }

  /** The frame that begins the segment holds more than was carried over: so much that the log is full. */
  #isFullOfMore({ bytes }: SegmentWriter): boolean {
    return this.#isFull && !this.isCarrying && bytes > Math.max(this.#segmentBytes, 2 * this.#carriedBytes);
  }

  #prune(): void {
    if (this.#failure === undefined) this.#retired.removeUpTo(this.#marks.flushedSequence);
  }

  #removed(segment: SegmentWriter): void {
    this.#unsynced.delete(segment);
    this.#refreshRefusal();
  }

  /** Forces all that is written to the disk, in the order of writing, and the names of new segments. */
  async #syncAll(): Promise<void> {
    const segments = [...this.#unsynced];
    const isFolderUnsynced = this.#isFolderUnsynced;
    this.#unsynced.clear();
    this.#isFolderUnsynced = false;
    for (const segment of segments) segment.isSyncing = true;
    try {
      for (const file of this.#predecessors) await file.sync();
      for (const segment of segments) await segment.sync();
      if (isFolderUnsynced) await this.#options.files.syncFolder();
    } finally {
      for (const segment of segments) segment.isSyncing = false;
    }
    this.#closePredecessors();
  }

  #closePredecessors(): void {
    for (const file of this.#predecessors) file.close();
    this.#predecessors = [];
  }

  #refreshRefusal(): void {
    this.#isFull = this.bytes >= this.#options.maxBytes;
    this.#refusal = REFUSALS[this.state];
  }

  /** An error that is not the system's is a bug of ours and goes up. */
  #fail(work: string, error: unknown): void {
    if (systemCode(error) === undefined) throw error;
    if (this.#failure !== undefined) return;
    const failure = logError(this.#options.worker, 'READ_ONLY', work, error);
    this.#failure = failure;
    this.#refreshRefusal();
    this.#group.end(failure);
    this.#options.onFailed(failure);
  }
}

const REFUSALS: Readonly<Record<LogState, ErrorCode | undefined>> = Object.freeze({
  open: undefined,
  'disk-full': 'DISK_FULL',
  full: 'LOG_FULL',
  failed: 'READ_ONLY',
});

function logError(worker: number, code: ErrorCode, work: string, cause: unknown): GridError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new GridError(code, `the write-ahead log of worker ${worker} could not be ${work}: ${reason}`, { cause });
}
