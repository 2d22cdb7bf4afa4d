/**
 * Segments that a thread before this one has left, of the same worker in the same epoch: a worker that was replaced.
 *
 *   e7-w0-0001 ─ e7-w0-0412 ─ e7-w0-0805         next frame 1100: all three are synced with our first group,
 *                                                since "synced up to 1100" speaks for their frames too
 *                             e7-w0-1100         next frame 1100: it holds no whole frame, and stands in our way
 */
import { GridError } from '../../engine/protocol/errors.ts';
import type { LogFile, LogFiles } from '../../engine/storage/log-files.ts';
import { decodeSegmentHeader, parseSegmentName, SEGMENT_HEADER_BYTES, segmentName } from '../../engine/storage/wal-segment.ts';

export interface LogPlace {
  readonly epoch: number;
  readonly worker: number;
  /** Frame that we begin with. */
  readonly firstSequence: number;
}

/** Opens what a predecessor has left, so that it can be synced. */
export function openPredecessors(files: LogFiles, { epoch, worker, firstSequence }: LogPlace): LogFile[] {
  if (firstSequence === 1) return [];
  const names = files.list().filter((name) => {
    const place = parseSegmentName(name);
    return place !== undefined && place.epoch === epoch && place.worker === worker && place.firstSequence < firstSequence;
  });
  return names.sort().map((name) => files.reopen(name));
}

/**
 * Removes the file that has our first segment's name: the predecessor has made it and died before a frame was whole.
 * Throws GridError LOG_DAMAGED when there is more in it, which nobody can read: its header is not whole.
 */
export function clearWay(files: LogFiles, { epoch, worker, firstSequence }: LogPlace): void {
  const name = segmentName(epoch, worker, firstSequence);
  if (!files.list().includes(name)) return;
  const bytes = files.read(name);
  const isReadable = decodeSegmentHeader(bytes) !== undefined;
  if (!isReadable && bytes.subarray(SEGMENT_HEADER_BYTES).some((byte) => byte !== 0)) {
    throw new GridError('LOG_DAMAGED', `the header of ${name} is unreadable: what it holds is lost`);
  }
  files.remove(name);
}
