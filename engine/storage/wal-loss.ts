/**
 * What is missing or odd in a log, and what it means. Judged when the whole log of a worker was read, because a later
 * frame tells whether the missing ones were already in Postgres (flushedSequence) or safely on the disk (syncedSequence).
 *
 *   frames missing        flushed meanwhile ─▶ repaired     synced once ─▶ damage (or accepted)     else ─▶ unsynced
 *   bytes at the end      not zero, no valid frame behind ─▶ torn-tail: the write that a crash interrupted
 *   bytes in between      the next frame follows on ─▶ junk: a torn write that an earlier recovery left behind
 */

/** The partitions of `damage` may not be written until somebody accepts the loss; the others need nobody. */
export type LossKind = 'torn-tail' | 'junk' | 'repaired' | 'unsynced' | 'accepted' | 'damage';

export interface LogLoss {
  readonly kind: LossKind;
  readonly epoch: number;
  readonly worker: number;
  /** Name of the segment, and byte in it, where the first thing wrong stands. */
  readonly file: string;
  readonly offset: number;
  /** Frames concerned, both ends included; none when `toSequence` is smaller. */
  readonly fromSequence: number;
  /** `UNKNOWN_END` when no later frame tells. */
  readonly toSequence: number;
  /** Partitions whose records may be among the lost. */
  readonly partitions: readonly number[];
  readonly reason: string;
}

/** A loss that somebody has agreed to, both ends included. */
export interface AcceptedLoss {
  readonly epoch: number;
  readonly worker: number;
  readonly fromSequence: number;
  readonly toSequence: number;
}

export const UNKNOWN_END = Number.MAX_SAFE_INTEGER;

/** A place that was found wrong while reading, not judged yet. */
export interface Suspect {
  readonly file: string;
  readonly offset: number;
  readonly reason: string;
}

/** Frames missing between two others, or from some place on. */
export interface Gap extends Suspect {
  readonly fromSequence: number;
  readonly toSequence: number;
}

/** What a worker's log says of itself, all of it read. */
export interface LogWitness {
  readonly epoch: number;
  readonly worker: number;
  readonly partitions: readonly number[];
  /** Highest frame that any frame calls synced, and flushed. */
  readonly syncedSequence: number;
  readonly flushedSequence: number;
  readonly accepted: readonly AcceptedLoss[];
}

export function judgeGap(gap: Gap, log: LogWitness): LogLoss {
  const { epoch, worker, partitions } = log;
  return { kind: kindOfGap(gap, log), epoch, worker, partitions, ...gap };
}

function kindOfGap({ fromSequence, toSequence }: Gap, log: LogWitness): LossKind {
  const lostFrom = Math.max(fromSequence, log.flushedSequence + 1);
  if (lostFrom > toSequence) return 'repaired';
  if (log.syncedSequence < lostFrom) return 'unsynced';
  return isAccepted(lostFrom, toSequence, log) ? 'accepted' : 'damage';
}

export function isAccepted(from: number, to: number, log: LogWitness): boolean {
  return log.accepted.some(
    (loss) => loss.epoch === log.epoch && loss.worker === log.worker && loss.fromSequence <= from && loss.toSequence >= to,
  );
}
