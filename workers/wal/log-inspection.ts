/**
 * Looks at a log from outside, without the server: what is in it, what is wrong with it, and what accepting a loss does.
 *
 *   inspect   reads, and nothing else; beside a running server too
 *   repair    under the lock of the data directory: notes damage as accepted, so that the next start opens its partitions
 *
 * Beside a running server the names are listed before the first file is read. A segment that has a successor in that
 * list is no longer written, so no gap is seen that is only the time between two reads.
 */
import { existsSync } from 'node:fs';
import type { LogFiles } from '../../engine/storage/log-files.ts';
import { FrameRecords } from '../../engine/storage/wal-frame.ts';
import type { AcceptedLoss, LogLoss } from '../../engine/storage/wal-loss.ts';
import { LogReader } from '../../engine/storage/wal-reader.ts';
import type { SegmentHeader } from '../../engine/storage/wal-segment.ts';
import { DataDirectoryLock } from '../postgres/data-directory-lock.ts';
import { readAcceptedLosses, writeAcceptedLosses } from './accepted-losses.ts';
import { logFolder, segmentsByWorker, type WorkerSegments } from './log-folder.ts';
import { NodeLogFiles } from './node-log-files.ts';

const ATTEMPTS_MAX = 5;

export interface InspectedSegment {
  readonly name: string;
  readonly epoch: number;
  readonly worker: number;
  bytes: number;
  /** Valid frames and their records. */
  frames: number;
  records: number;
  /** 0 when there is no valid frame. */
  firstSequence: number;
  lastSequence: number;
  /** Identity of the database; undefined when the header is unreadable. */
  database: string | undefined;
}

export interface LogInspection {
  readonly folder: string;
  readonly segments: readonly InspectedSegment[];
  readonly losses: readonly LogLoss[];
}

/**
 * Reads the whole log of a data directory; one that is not there has no segments.
 * Throws GridError DATA_VERSION or LOG_DAMAGED for what a newer version wrote.
 */
export function inspectLog(dataDir: string): LogInspection {
  const folder = logFolder(dataDir);
  if (!existsSync(folder)) return { folder, segments: [], losses: [] };
  const files = new NodeLogFiles(folder);
  for (let attempt = 1; ; attempt++) {
    try {
      return inspectFiles(folder, files, readAcceptedLosses(folder));
    } catch (error) {
      // a server that runs has deleted a segment between our listing and our reading
      if (attempt === ATTEMPTS_MAX || !(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }
}

export interface RepairedLog extends LogInspection {
  /** Damage that was there; with `accept` it is accepted now. */
  readonly damage: readonly LogLoss[];
}

/** Rejects with GridError DATA_DIRECTORY_IN_USE, naming the holder, while a server runs. */
export async function repairLog(dataDir: string, accept: boolean): Promise<RepairedLog> {
  const folder = logFolder(dataDir);
  if (!existsSync(folder)) return { folder, segments: [], losses: [], damage: [] };
  const lock = await DataDirectoryLock.take(dataDir);
  try {
    const inspection = inspectLog(dataDir);
    const damage = inspection.losses.filter((loss) => loss.kind === 'damage');
    if (accept && damage.length > 0) writeAcceptedLosses(folder, [...readAcceptedLosses(folder), ...damage]);
    return { ...inspection, damage };
  } finally {
    await lock.release();
  }
}

type Readable = Pick<LogFiles, 'list' | 'read'>;

function inspectFiles(folder: string, files: Readable, accepted: readonly AcceptedLoss[]): LogInspection {
  const segments: InspectedSegment[] = [];
  const losses: LogLoss[] = [];
  for (const log of segmentsByWorker(files.list())) losses.push(...inspectWorker(log, files, accepted, segments));
  return { folder, segments, losses };
}

/** Adds the segments of one worker to `segments` and answers its losses. */
function inspectWorker(
  log: WorkerSegments,
  files: Readable,
  accepted: readonly AcceptedLoss[],
  segments: InspectedSegment[],
): readonly LogLoss[] {
  const { epoch, worker } = log;
  let segment: InspectedSegment | undefined;
  const read = (name: string): Uint8Array => {
    const bytes = files.read(name);
    segment = {
      name,
      epoch,
      worker,
      bytes: bytes.length,
      frames: 0,
      records: 0,
      firstSequence: 0,
      lastSequence: 0,
      database: undefined,
    };
    segments.push(segment);
    return bytes;
  };
  const onHeader = (_name: string, header: SegmentHeader): void => {
    if (segment !== undefined) segment.database = header.database;
  };
  const reader = new LogReader({ ...log, accepted, read, onHeader });
  const records = new FrameRecords();
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
    records.open(frame);
    let count = 0;
    while (records.next()) count++;
    if (segment !== undefined) countFrame(segment, frame.sequence, count);
  }
  return reader.report().losses;
}

function countFrame(segment: InspectedSegment, sequence: number, records: number): void {
  segment.frames++;
  segment.records += records;
  segment.lastSequence = sequence;
  if (segment.firstSequence === 0) segment.firstSequence = sequence;
}
