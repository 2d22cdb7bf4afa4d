/**
 * The fencing tokens of a worker in its log: what it knew comes back with the log, and every segment begins with all of it,
 * so that older segments may go.
 *
 *   epochs   … 7   8   ·   10   11 (this run)      runs that left a log: 7, 8, 10. Run 9 had none, and may have given tokens
 *                          └─ counts               that nobody knows: what 7 and 8 knew may be old, and is left out
 */
import { encodeText, decodeText } from '../../engine/protocol/wire-text.ts';
import type { FrameWriter } from '../../engine/storage/wal-frame.ts';
import { segmentsByWorker } from './log-folder.ts';

/** Where tokens are kept while the worker runs (engine/domains/coordination/fence-table.ts). */
export interface KnownFences {
  readonly floor: number;
  readonly names: number;
  raise(lock: string, token: number): boolean;
  raiseFloor(floor: number): void;
  entries(): Iterable<[lock: string, token: number]>;
}

const NO_NAME = new Uint8Array(0);

/** Takes tokens from the log of an epoch, if they count. @param names of all segments there are. */
export function fencesFrom(
  fences: KnownFences,
  names: readonly string[],
  epoch: number,
): (name: Uint8Array, token: number, logEpoch: number) => void {
  const oldestEpoch = oldestWithoutGap(names, epoch);
  return (name, token, logEpoch) => {
    if (logEpoch < oldestEpoch) return;
    if (name.length === 0) fences.raiseFloor(token);
    else fences.raise(decodeText(name, 0, name.length), token);
  };
}

/** Appends all tokens; false when there are none. */
export function carryFences(fences: KnownFences, frame: FrameWriter): boolean {
  if (fences.names === 0) return false;
  frame.appendFence(NO_NAME, fences.floor);
  for (const [lock, token] of fences.entries()) frame.appendFence(encodeText(lock), token);
  return true;
}

function oldestWithoutGap(names: readonly string[], epoch: number): number {
  const epochs = new Set(segmentsByWorker(names).map((log) => log.epoch));
  let oldest = epoch;
  while (epochs.has(oldest - 1)) oldest -= 1;
  return oldest;
}
