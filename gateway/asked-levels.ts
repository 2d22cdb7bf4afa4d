/**
 * The durability levels that a batch asks for, and how far it has come: only batches that name a level have one.
 *
 *   asked    a level per op: its own `writeConcern`, else the batch's; and how long to wait for PERSISTED
 *   acks     one per worker: the log sequence that holds its part of the batch
 *   missing  the workers whose part is applied and not persisted yet
 *
 * A batch is answered once, when all of its ops have what they can have; so one op that asks for PERSISTED makes the whole
 * batch wait, and then all of it is persisted. The shortest `timeout` among those ops ends the wait for all.
 */
import { type AckLevels, levelName } from '../engine/protocol/ack-level.ts';
import { FLAG_PERSIST } from '../engine/protocol/envelope.ts';
import type { ErrorCode } from '../engine/protocol/errors.ts';
import {
  CONCERN_FIRE_AND_FORGET,
  CONCERN_MASK,
  CONCERN_NONE,
  CONCERN_PERSISTED,
  CONCERN_SHIFT,
  OP,
  OP_WORDS,
  type OpIndex,
} from '../engine/protocol/op-index.ts';

/** A worker has handled its part of the batch. */
export interface WorkerAck {
  readonly worker: number;
  /** Sequence of the log, or of the staging where there is no log, that holds the part. */
  readonly sequence: number;
}

/** What stands behind an answer, for one worker: sequences as in WorkerAck. */
export interface Proof {
  readonly worker: number;
  /** Holds this worker's part of the batch. */
  readonly wal: number;
  /** Up to here everything survives a power loss. */
  readonly synced: number;
  /** Up to here everything is in Postgres. */
  readonly postgres: number;
}

/** A frame of ops as the scanner left it. */
export interface ScannedBatch {
  readonly index: OpIndex;
  /** Level asked for the whole batch, CONCERN_NONE when none. */
  readonly writeConcern: number;
  /** Deadline asked for the whole batch, in ms; 0 when none. */
  readonly timeoutMs: number;
}

export interface WaitBounds {
  /** How long to wait when neither op nor batch says so, in ms. */
  readonly usualMs: number;
  /** The longest wait that may be asked for, in ms. */
  readonly longestMs: number;
}

export class AskedLevels {
  /** Slot of the batch in the call table. */
  readonly slot: number;
  /** Level asked for each op at its ordinal; 0 = none. */
  readonly concerns: readonly number[];
  /** Every op asks for FIRE_AND_FORGET: answered as soon as the ops are in the rings. */
  readonly forgets: boolean;
  /** Some op waits for PERSISTED, which a plain ack does not say here. */
  readonly persists: boolean;
  /** Until when to wait for PERSISTED, in ms of the gateway's clock. */
  readonly deadlineMs: number;
  readonly acks: WorkerAck[] = [];
  /** One bit per worker whose part is applied and not persisted. */
  missing = 0;
  /** Why PERSISTED will not be reached, once that is certain. */
  failure: ErrorCode | undefined;
  proof: readonly Proof[] = [];
  readonly #plain: number;

  constructor(slot: number, batch: ScannedBatch, levels: AckLevels, nowMs: number, bounds: WaitBounds) {
    const concerns = concernsOf(batch);
    this.slot = slot;
    this.concerns = concerns;
    this.forgets = concerns.length > 0 && concerns.every((concern) => concern === CONCERN_FIRE_AND_FORGET);
    this.persists = levels.persists && levels.plain !== CONCERN_PERSISTED && concerns.includes(CONCERN_PERSISTED);
    this.deadlineMs = nowMs + waitMs(batch, concerns, bounds);
    this.#plain = levels.plain;
  }

  /** Flags of the records that carry the ops to their workers. */
  get opsFlags(): number {
    return this.persists ? FLAG_PERSIST : 0;
  }

  /** True when nothing is waited for but the workers that have not handled their part. */
  get isSettled(): boolean {
    return this.missing === 0 || this.failure !== undefined;
  }

  /** The level that all ops of the batch have reached, once it is settled. */
  get reached(): number {
    if (this.forgets) return CONCERN_FIRE_AND_FORGET;
    return this.persists && this.failure === undefined ? CONCERN_PERSISTED : this.#plain;
  }

  get reachedName(): string {
    return levelName(this.reached);
  }
}

/** True when the batch or an op of it names a level. */
export function namesLevels({ index, writeConcern }: ScannedBatch): boolean {
  if (writeConcern !== CONCERN_NONE) return true;
  const words = index.words;
  for (let row = OP.FLAGS; row < index.count * OP_WORDS; row += OP_WORDS) {
    if (((words[row] as number) & (CONCERN_MASK << CONCERN_SHIFT)) !== 0) return true;
  }
  return false;
}

function concernsOf({ index, writeConcern }: ScannedBatch): number[] {
  return Array.from({ length: index.count }, (_, op) => {
    const own = ((index.words[op * OP_WORDS + OP.FLAGS] as number) >> CONCERN_SHIFT) & CONCERN_MASK;
    return own === CONCERN_NONE ? writeConcern : own;
  });
}

function waitMs({ index, timeoutMs }: ScannedBatch, concerns: readonly number[], { usualMs, longestMs }: WaitBounds): number {
  let shortestMs = longestMs;
  concerns.forEach((concern, op) => {
    if (concern !== CONCERN_PERSISTED) return;
    const ownMs = index.words[op * OP_WORDS + OP.TIMEOUT_MS] as number;
    shortestMs = Math.min(shortestMs, ownMs > 0 ? ownMs : timeoutMs > 0 ? timeoutMs : usualMs);
  });
  return shortestMs;
}
