/**
 * Replays the write-ahead log into memory, before the worker serves.
 *
 *   epochs before this one   segments of every worker there was: records of the partitions that this worker owns now
 *   this epoch               only for a replaced worker: its own segments; it goes on behind them in a new one
 *
 * Replaying merges, so order between workers means nothing, and repeats change nothing; each key's records come in the
 * order of writing all the same. The thread yields between slices: its heartbeat and its connections go on meanwhile.
 */
import { partitionOf } from '../../engine/partition/hash.ts';
import { GridError } from '../../engine/protocol/errors.ts';
import type { OnStoredRecord } from '../../engine/storage/data-store.ts';
import type { LogFiles } from '../../engine/storage/log-files.ts';
import { type Frame, FrameRecords, forEachRecord } from '../../engine/storage/wal-frame.ts';
import type { AcceptedLoss } from '../../engine/storage/wal-loss.ts';
import type { WholeNote } from '../../engine/storage/whole-act-note.ts';
import { LogReader, type LogReport } from '../../engine/storage/wal-reader.ts';
import type { SegmentHeader } from '../../engine/storage/wal-segment.ts';
import { refuseLaterEpochs, segmentsByWorker, type WorkerSegments } from './log-folder.ts';

const SLICE_MS = 3;
const SLICE_RECORDS = 1000;
/** The clock is asked once in so many records. */
const CLOCK_RECORDS = 64;

export interface ReplayOptions {
  readonly files: Pick<LogFiles, 'list' | 'read' | 'size'>;
  /** Owner epoch of this process. */
  readonly epoch: number;
  /** This worker, when it may have written in this epoch already; undefined leaves this epoch out. */
  readonly worker: number | undefined;
  /** Identity of the database that was loaded: a log of another one is refused. */
  readonly database: string;
  wantsPartition(partition: number): boolean;
  /** A record of a wanted partition: join and stage it. The image is valid during the call; `map` may be kept. */
  readonly onRecord: OnStoredRecord;
  /** An act over several workers that this worker has committed in this epoch. */
  readonly onCommit?: (act: number) => void;
  /** How a change of whole databases stands, of this epoch and earlier ones. */
  readonly onWhole?: (note: WholeNote) => void;
  /** A fencing token in the log of an epoch; an empty name: that of all names that were forgotten. */
  readonly onFence?: (name: Uint8Array, token: number, epoch: number) => void;
  yieldTurn(): Promise<void>;
  readonly accepted: readonly AcceptedLoss[];
  onProgress?(progress: ReplayProgress): void;
}

export interface ReplayProgress {
  /** Bytes of the files that are behind us, and of all. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Records handed over so far. */
  readonly records: number;
}

export interface WorkerReport extends LogReport {
  /** Records in all valid frames, wanted or not. */
  readonly records: number;
}

export interface Replay {
  readonly reports: readonly WorkerReport[];
  /** Records handed to `onRecord`. */
  readonly records: number;
  /** Sequence of this worker's first frame. */
  readonly nextSequence: number;
  /** Inbox positions in this worker's last frame of this epoch; undefined when there is none. */
  readonly inboxPositions: readonly number[] | undefined;
  /** Visits that frame's records again: their change events may not have left the worker. */
  visitLastFrame(visit: OnStoredRecord): void;
  /** Segments of older epochs: to be removed when what was replayed is flushed. Those of a damaged log are not among them. */
  readonly oldNames: readonly string[];
  /** Segments of this worker in this epoch without a frame: to be removed before the next one is made. */
  readonly emptyNames: readonly string[];
  /** Partitions of `wantsPartition` that lost synced records: read-only until the loss is accepted. */
  readonly damagedPartitions: readonly number[];
}

/**
 * Rejects with GridError DATA_VERSION for a log of another format, CONFIG_INVALID for the log of another database or of a
 * later epoch,
 * LOG_DAMAGED for entries that a newer version wrote, and with what `files` throws.
 */
export async function replayLog(options: ReplayOptions): Promise<Replay> {
  return new Replayer(options).run();
}

/** Removes segments oldest first, each for good before the next, as wal-segment.ts asks. */
export async function removeOldSegments(files: Pick<LogFiles, 'remove' | 'syncFolder'>, names: readonly string[]): Promise<void> {
  for (const name of [...names].sort()) {
    files.remove(name);
    await files.syncFolder();
  }
}

class Replayer {
  readonly #options: ReplayOptions;
  readonly #cursor = new FrameRecords();
  readonly #reports: WorkerReport[] = [];
  #records = 0;
  #sliceRecords = 0;
  #sliceEndMs = performance.now() + SLICE_MS;
  #bytes = 0;
  #totalBytes = 0;
  /** A copy of the last frame of this worker in this epoch. */
  #lastFrame: Frame | undefined;

  constructor(options: ReplayOptions) {
    this.#options = options;
  }

  async run(): Promise<Replay> {
    const { epoch, worker, files } = this.#options;
    const names = files.list();
    refuseLaterEpochs(names, epoch);
    const logs = segmentsByWorker(names);
    const older = logs.filter((log) => log.epoch < epoch);
    const own = logs.filter((log) => log.epoch === epoch && log.worker === worker);
    for (const log of [...older, ...own]) for (const name of log.names) this.#totalBytes += files.size(name);
    for (const log of older) await this.#replay(log, false);
    for (const log of own) await this.#replay(log, true);
    return this.#result(older, own);
  }

  #result(older: readonly WorkerSegments[], own: readonly WorkerSegments[]): Replay {
    const reports = this.#reports;
    const ownReport = own.length === 0 ? undefined : reports.at(-1);
    const lastFrame = this.#lastFrame;
    const healthy = older.filter((_, index) => !isDamaged(reports[index]));
    return {
      reports,
      records: this.#records,
      nextSequence: ownReport?.nextSequence ?? 1,
      inboxPositions: lastFrame?.inboxPositions,
      visitLastFrame: (visit) => {
        if (lastFrame !== undefined) forEachRecord(lastFrame, visit);
      },
      oldNames: healthy.flatMap((log) => log.names),
      emptyNames: ownReport?.emptyName === undefined ? [] : [ownReport.emptyName],
      damagedPartitions: damagedPartitions(reports).filter((partition) => this.#options.wantsPartition(partition)),
    };
  }

  async #replay(log: WorkerSegments, isOwn: boolean): Promise<void> {
    const { files, accepted } = this.#options;
    const reader = new LogReader({
      ...log,
      accepted,
      read: (name) => files.read(name),
      onHeader: (name, header) => this.#checkDatabase(name, header),
    });
    const bytesBefore = this.#bytes;
    this.#cursor.onFence = (name, token) => this.#options.onFence?.(name, token, log.epoch);
    this.#cursor.onCommit = (act) => (isOwn ? this.#options.onCommit?.(act) : undefined);
    this.#cursor.onWhole = (note) => this.#options.onWhole?.(note);
    let records = 0;
    let last: Frame | undefined;
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
      records += await this.#replayFrame(frame);
      last = frame;
      this.#bytes = bytesBefore + reader.bytesBehind;
    }
    const report = { ...reader.report(), records };
    this.#bytes = bytesBefore + report.bytes;
    this.#reports.push(report);
    if (isOwn && last !== undefined) this.#lastFrame = copied(last);
    this.#tellProgress();
  }

  /** Answers how many records the frame holds. */
  async #replayFrame(frame: Frame): Promise<number> {
    const { onRecord } = this.#options;
    const cursor = this.#cursor;
    let records = 0;
    cursor.open(frame);
    while (cursor.next()) {
      records++;
      if (this.#options.wantsPartition(partitionOf(cursor.image.keyHash))) {
        this.#records++;
        onRecord(cursor.kind, cursor.map, cursor.image);
      }
      if (this.#isSliceOver()) await this.#pause();
    }
    if (records === 0 && this.#isSliceOver()) await this.#pause(); // frames without records take time too
    return records;
  }

  #isSliceOver(): boolean {
    const records = ++this.#sliceRecords;
    return records === SLICE_RECORDS || (records % CLOCK_RECORDS === 0 && performance.now() >= this.#sliceEndMs);
  }

  async #pause(): Promise<void> {
    this.#tellProgress();
    await this.#options.yieldTurn();
    this.#sliceRecords = 0;
    this.#sliceEndMs = performance.now() + SLICE_MS;
  }

  #tellProgress(): void {
    this.#options.onProgress?.({ bytes: this.#bytes, totalBytes: this.#totalBytes, records: this.#records });
  }

  #checkDatabase(name: string, header: SegmentHeader): void {
    const { database } = this.#options;
    if (header.database === database) return;
    throw new GridError(
      'CONFIG_INVALID',
      `the write-ahead log (${name}) holds writes of the database of node ${header.database}, and the database at hand is that of ` +
        `node ${database}: set DATABASE_URL to the database that belongs to this data directory, or, when its unflushed writes may ` +
        'go, move the folder wal out of the data directory',
    );
  }
}

function isDamaged(report: LogReport | undefined): boolean {
  return report?.losses.some((loss) => loss.kind === 'damage') ?? false;
}

/** Ascending. */
function damagedPartitions(reports: readonly LogReport[]): number[] {
  const losses = reports.flatMap((report) => report.losses).filter((loss) => loss.kind === 'damage');
  return [...new Set(losses.flatMap((loss) => loss.partitions))].sort((left, right) => left - right);
}

/** The same frame in memory of its own: its segment need not stay for it. */
function copied(frame: Frame): Frame {
  const source = new Uint8Array(frame.end - frame.start);
  source.set(frame.source.subarray(frame.start, frame.end));
  return { ...frame, source, start: 0, end: source.length, entriesStart: frame.entriesStart - frame.start };
}
