/**
 * The log of one worker thread over its life: what earlier threads and earlier runs left in the folder, then its own.
 *
 *   replayPast   records above what Postgres has ─▶ joined and staged        LoggedPast
 *   openLog      fresh segments behind the last sequence                     WriteAheadLog
 *
 * What is replayed from earlier runs is forced to the disk first: a process that was killed may have left it in the page
 * cache alone, and a write that comes again changes nothing and would be called persisted with nothing to sync.
 *
 * Segments that earlier threads of this worker wrote in this run go when what was replayed from them is in Postgres;
 * those of earlier runs go when that is true of every worker, which only the main thread knows.
 */
import { randomBytes } from 'node:crypto';
import { GridError } from '../../engine/protocol/errors.ts';
import type { OnStoredRecord } from '../../engine/storage/data-store.ts';
import type { LogFiles } from '../../engine/storage/log-files.ts';
import type { FrameWriter } from '../../engine/storage/wal-frame.ts';
import { WholeNotes } from '../../engine/storage/whole-act-note.ts';
import type { LogLoss } from '../../engine/storage/wal-loss.ts';
import { readAcceptedLosses } from './accepted-losses.ts';
import { systemCode } from './disk-trouble.ts';
import { segmentsByWorker } from './log-folder.ts';
import { fencesFrom, type KnownFences } from './logged-fences.ts';
import { NodeLogFiles } from './node-log-files.ts';
import { removeOldSegments, replayLog } from './recovery.ts';
import { WriteAheadLog } from './write-ahead-log.ts';

/** How a worker writes its log. */
export interface LogSettings {
  /** Sync before each acknowledgement, never by itself, or so many ms after a write. */
  readonly policy: 'always' | 'off' | number;
  readonly segmentBytes: number;
  /** This worker's share of all segments together. */
  readonly maxBytes: number;
  readonly retireAfterMs: number;
}

/** Whose log it is, and where. */
export interface LogPlace {
  readonly files: LogFiles;
  readonly epoch: number;
  readonly worker: number;
  /** Identity of the database behind the log. */
  readonly database: string;
  readonly partitions: readonly number[];
}

export interface PastOptions extends LogPlace {
  readonly folder: string;
  /** True when an earlier thread of this worker may have written in this epoch. */
  readonly isReplacement: boolean;
  readonly onRecord: OnStoredRecord;
  /** Takes the fencing tokens that the log has. */
  readonly fences: KnownFences;
}

/** What the log says of the time before this thread. */
export interface LoggedPast {
  /** Sequence of this worker's next frame. */
  readonly nextSequence: number;
  /** Where the thread before this one stood in each inbox at its last frame. */
  readonly inboxPositions: readonly number[] | undefined;
  /** Acts over several workers that earlier threads of this worker committed in this run. */
  readonly commits: ReadonlySet<number>;
  /** How changes of whole databases stand. */
  readonly wholeActs: WholeNotes;
  /** Visits the records of that frame. */
  forEachLastRecord(visit: OnStoredRecord): void;
  /** Own partitions that lost synced writes. */
  readonly damaged: ReadonlySet<number>;
  /** Segments of earlier runs that are of no more use once every worker has flushed what it replayed. */
  readonly oldNames: readonly string[];
  /** Why what earlier runs wrote could not be forced to the disk: it must not be called persisted, and nothing be written. */
  readonly syncFailure: GridError | undefined;
  /** What was found wrong, for the log of the process. */
  readonly warnings: readonly string[];
  /** Removes what earlier threads of this worker wrote in this run. Call it when all that was replayed is flushed. */
  removeOwn(): Promise<void>;
}

/** Rejects with GridError when the log belongs to another database or another format, or cannot be read. */
export async function replayPast(options: PastOptions): Promise<LoggedPast> {
  const { files, folder, epoch, worker, database, partitions, isReplacement, onRecord, fences } = options;
  const own = new Set(partitions);
  const commits = new Set<number>();
  const wholeActs = new WholeNotes();
  const replay = await replayLog({
    files,
    epoch,
    worker: isReplacement ? worker : undefined,
    database,
    wantsPartition: (partition) => own.has(partition),
    onRecord,
    onCommit: (act) => commits.add(act),
    onWhole: (note) => wholeActs.note(note),
    onFence: fencesFrom(fences, files.list(), epoch),
    yieldTurn: () => new Promise((resolve) => setImmediate(resolve)),
    accepted: readAcceptedLosses(folder),
  });
  const syncFailure = await syncEarlierRuns(files, epoch);
  const isOwnDamaged = replay.reports.some((report) => report.epoch === epoch && report.losses.some(isDamage));
  // A damaged log stays until it is repaired. An empty segment goes now: the next one is made with its name, and lives.
  const ownNames = isReplacement && !isOwnDamaged ? namesOf(files, epoch, worker, replay.emptyNames) : [];
  await removeOldSegments(files, replay.emptyNames);
  return {
    nextSequence: replay.nextSequence,
    inboxPositions: replay.inboxPositions,
    commits,
    wholeActs,
    forEachLastRecord: (visit) => replay.visitLastFrame(visit),
    damaged: new Set(replay.damagedPartitions),
    oldNames: replay.oldNames,
    syncFailure,
    warnings: replay.reports.flatMap(({ losses }) => losses.map(warningOf)),
    removeOwn: () => removeOldSegments(files, ownNames),
  };
}

export interface OpenOptions extends LogPlace, LogSettings {
  readonly firstSequence: number;
  readonly onSynced: (sequence: number) => void;
  readonly onFailed: (error: GridError) => void;
  /** Puts what each segment begins with into its first frame; true when there is anything. */
  readonly carry: (frame: FrameWriter) => boolean;
}

export function openLog(options: OpenOptions): WriteAheadLog {
  return WriteAheadLog.open({
    ...options,
    nowMs: Date.now,
    startTimer: (delayMs, fire) => {
      const timer = setTimeout(fire, delayMs);
      return () => clearTimeout(timer);
    },
    random32: () => randomBytes(4).readUInt32LE(), // salts must not be guessed: values could pass for frames
  });
}

export function openFiles(folder: string): LogFiles {
  return new NodeLogFiles(folder);
}

function namesOf(files: LogFiles, epoch: number, worker: number, without: readonly string[]): readonly string[] {
  const log = segmentsByWorker(files.list()).find((segments) => segments.epoch === epoch && segments.worker === worker);
  return log?.names.filter((name) => !without.includes(name)) ?? [];
}

function isDamage({ kind }: LogLoss): boolean {
  return kind === 'damage';
}

/** Forces what earlier runs wrote to the disk. A file that is gone is in Postgres. */
async function syncEarlierRuns(files: LogFiles, epoch: number): Promise<GridError | undefined> {
  const names = segmentsByWorker(files.list()).flatMap((log) => (log.epoch < epoch ? log.names : []));
  try {
    for (const name of names) await syncFile(files, name);
    if (names.length > 0) await files.syncFolder();
    return undefined;
  } catch (cause) {
    if (systemCode(cause) === undefined) throw cause;
    return new GridError('READ_ONLY', `the write-ahead log of earlier runs could not be forced to the disk: ${String(cause)}`, {
      cause,
    });
  }
}

async function syncFile(files: LogFiles, name: string): Promise<void> {
  try {
    const file = files.reopen(name);
    try {
      await file.sync();
    } finally {
      file.close();
    }
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

function warningOf({ kind, file, offset, fromSequence, toSequence, reason }: LogLoss): string {
  const frames = toSequence < fromSequence ? 'no frame is lost' : `frames ${fromSequence} to ${toSequence}`;
  return `log: ${kind} at ${file}, byte ${offset}: ${reason} (${frames})`;
}
