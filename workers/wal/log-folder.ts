/** The folder of the write-ahead log inside the data directory, as recovery and the commands see it: whose segments are there. */
import { join } from 'node:path';
import { GridError } from '../../engine/protocol/errors.ts';
import { parseSegmentName } from '../../engine/storage/wal-segment.ts';

export function logFolder(dataDir: string): string {
  return join(dataDir, 'wal');
}

/** The segments of one worker in one epoch. */
export interface WorkerSegments {
  readonly epoch: number;
  readonly worker: number;
  /** Ascending by first sequence. */
  readonly names: string[];
}

/** Segments among `names`, by epoch, then worker. Other files are left out. */
export function segmentsByWorker(names: readonly string[]): WorkerSegments[] {
  const logs: WorkerSegments[] = [];
  for (const name of [...names].sort()) {
    const place = parseSegmentName(name);
    if (place === undefined) continue;
    const last = logs.at(-1);
    if (last !== undefined && last.epoch === place.epoch && last.worker === place.worker) last.names.push(name);
    else logs.push({ epoch: place.epoch, worker: place.worker, names: [name] });
  }
  return logs;
}

/**
 * Throws GridError CONFIG_INVALID when a segment was written in an epoch above `epoch`: the database has gone back in time
 * (an older backup), and the order of epochs, by which a log is replayed and deleted, holds no more.
 */
export function refuseLaterEpochs(names: readonly string[], epoch: number): void {
  const last = segmentsByWorker(names).at(-1);
  if (last === undefined || last.epoch <= epoch) return;
  throw new GridError(
    'CONFIG_INVALID',
    `the write-ahead log (${last.names[0]}) was written in epoch ${last.epoch}, and the database has only come to epoch ${epoch}: it was ` +
      'restored from an older backup. To merge the log into it: ' +
      `update lattice.meta set value = '${last.epoch}' where key = 'owner_epoch', and start again; to leave the log out, move ` +
      'the folder wal out of the data directory',
  );
}
