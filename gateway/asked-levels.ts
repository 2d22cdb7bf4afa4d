/**
 * The durability levels that a batch asks for, and how far it has come: only batches that name a level have one.
 *
 *   asked    a level per op: its own `writeConcern`, else the batch's; and how long it waits for PERSISTED. Mostly one for all,
 *            an even batch, of which no list is kept
 *   acks     one per worker: the log sequence that holds its part of the batch
 *   missing  the workers whose part is applied and not persisted yet
 *
 * One op that asks for PERSISTED makes the whole batch wait for its ack. An op whose own time is up before that of others
 * is told by an ack of its own, which names it and nothing else; the last one's time ends the wait of the batch.
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
  FLAG_EMPTY,
  FLAG_INVALID,
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

/** Who owns which key. */
export interface KeyOwners {
  /** Workers there are. */
  readonly workers: number;
  /** The worker that owns the key with this hash. */
  ownerOf(keyHash: number): number;
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
  /** Level that all ops ask for; undefined where they differ, or some go to no worker. */
  readonly asked: number | undefined;
  /** Every op asks for FIRE_AND_FORGET: answered as soon as the ops are in the rings. */
  readonly forgets: boolean;
  /** Some op waits for PERSISTED, which a plain ack does not say here. */
  readonly persists: boolean;
  /** When the next op has waited long enough for PERSISTED, in ms of the gateway's clock. */
  deadlineMs: number;
  /** Ops whose time was up and who were told. */
  readonly told = new Set<number>();
  readonly acks: WorkerAck[] = [];
  /** One bit per worker whose part is applied and not persisted. */
  missing = 0;
  /** Why PERSISTED will not be reached, once that is certain. */
  failure: ErrorCode | undefined;
  proof: readonly Proof[] = [];
  readonly #ops: number;
  readonly #plain: number;
  /** Level asked for each op at its ordinal, 0 = none; undefined in an even batch. */
  readonly #concerns: readonly number[] | undefined;
  /** Until when each op waits; Infinity for those who do not ask for PERSISTED. In an even batch only once it is needed. */
  #deadlinesMs: readonly number[] | undefined;
  /** One bit for the worker of each op, 0 for ops that go to none; undefined: all go to worker 0. */
  readonly #workers: readonly number[] | undefined;

  constructor(slot: number, batch: ScannedBatch, levels: AckLevels, nowMs: number, bounds: WaitBounds, owners: KeyOwners) {
    this.slot = slot;
    this.#ops = batch.index.count;
    this.#plain = levels.plain;
    this.asked = isEven(batch) ? batch.writeConcern : undefined;
    this.#workers = this.asked !== undefined && owners.workers === 1 ? undefined : workersOf(batch, owners);
    if (this.asked !== undefined) {
      this.#concerns = undefined;
      this.deadlineMs = nowMs + waitMs(this.asked, 0, batch.timeoutMs, bounds);
      this.forgets = this.asked === CONCERN_FIRE_AND_FORGET;
    } else {
      const concerns = concernsOf(batch);
      this.#concerns = concerns;
      this.#deadlinesMs = waitsMs(batch, concerns, bounds).map((wait) => nowMs + wait);
      this.deadlineMs = this.#deadlinesMs.reduce((first, deadlineMs) => Math.min(first, deadlineMs), Number.POSITIVE_INFINITY);
      this.forgets = concerns.length > 0 && concerns.every((concern) => concern === CONCERN_FIRE_AND_FORGET);
    }
    const asksToPersist = this.#concerns?.includes(CONCERN_PERSISTED) ?? this.asked === CONCERN_PERSISTED;
    this.persists = levels.persists && levels.plain !== CONCERN_PERSISTED && asksToPersist;
  }

  /** The level that the op asks for; 0 = none. */
  askedBy(op: number): number {
    return this.#concerns === undefined ? (this.asked ?? CONCERN_NONE) : (this.#concerns[op] ?? CONCERN_NONE);
  }

  /** Flags of the records that carry the ops to their workers. */
  get opsFlags(): number {
    return this.persists ? FLAG_PERSIST : 0;
  }

  /** True when nothing is waited for but the workers that have not handled their part. */
  get isSettled(): boolean {
    return this.missing === 0 || this.failure !== undefined;
  }

  /** The level that all ops of the batch have reached, once it is applied. */
  get reachedName(): string {
    return levelName(this.#reached(this.missing === 0));
  }

  /** The level that the op has reached, once the batch is applied. */
  reachedBy(op: number): number {
    return this.#reached((this.missing & (this.#workers === undefined ? 1 : (this.#workers[op] as number))) === 0);
  }

  /** True when no op may wait any longer. */
  isDue(nowMs: number): boolean {
    return this.#deadlines().every((deadlineMs) => deadlineMs < nowMs || deadlineMs === Number.POSITIVE_INFINITY);
  }

  /** Takes the ops whose time is up and who were not told yet. */
  takeDue(nowMs: number): readonly number[] {
    const due: number[] = [];
    const deadlinesMs = this.#deadlines();
    this.deadlineMs = Number.POSITIVE_INFINITY;
    deadlinesMs.forEach((deadlineMs, op) => {
      if (deadlineMs >= nowMs) this.deadlineMs = Math.min(this.deadlineMs, deadlineMs);
      else if (!this.told.has(op)) due.push(op);
    });
    for (const op of due) this.told.add(op);
    return due;
  }

  #deadlines(): readonly number[] {
    this.#deadlinesMs ??= new Array<number>(this.#ops).fill(this.deadlineMs);
    return this.#deadlinesMs;
  }

  #reached(isPersisted: boolean): number {
    if (this.forgets) return CONCERN_FIRE_AND_FORGET;
    return this.persists && isPersisted ? CONCERN_PERSISTED : this.#plain;
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

/** True when no op asks for anything of its own, and all go to workers. */
function isEven({ index: { words, count } }: ScannedBatch): boolean {
  const own = FLAG_EMPTY | FLAG_INVALID | (CONCERN_MASK << CONCERN_SHIFT);
  for (let row = 0; row < count * OP_WORDS; row += OP_WORDS) {
    if (((words[row + OP.FLAGS] as number) & own) !== 0 || (words[row + OP.TIMEOUT_MS] as number) > 0) return false;
  }
  return count > 0;
}

function concernsOf({ index, writeConcern }: ScannedBatch): number[] {
  return Array.from({ length: index.count }, (_, op) => {
    const own = ((index.words[op * OP_WORDS + OP.FLAGS] as number) >> CONCERN_SHIFT) & CONCERN_MASK;
    return own === CONCERN_NONE ? writeConcern : own;
  });
}

/** How long each op waits, in ms: its own time, else the batch's, else the usual one; Infinity for ops that do not. */
function waitsMs({ index, timeoutMs }: ScannedBatch, concerns: readonly number[], bounds: WaitBounds): number[] {
  return concerns.map((concern, op) => waitMs(concern, index.words[op * OP_WORDS + OP.TIMEOUT_MS] as number, timeoutMs, bounds));
}

function waitMs(concern: number, ownMs: number, timeoutMs: number, { usualMs, longestMs }: WaitBounds): number {
  if (concern !== CONCERN_PERSISTED) return Number.POSITIVE_INFINITY;
  return Math.min(longestMs, ownMs > 0 ? ownMs : timeoutMs > 0 ? timeoutMs : usualMs);
}

function workersOf({ index }: ScannedBatch, owners: KeyOwners): number[] {
  return Array.from({ length: index.count }, (_, op) => {
    const row = op * OP_WORDS;
    const goesNowhere = ((index.words[row + OP.FLAGS] as number) & (FLAG_EMPTY | FLAG_INVALID)) !== 0;
    return goesNowhere ? 0 : 1 << owners.ownerOf(index.words[row + OP.KEY_HASH] as number);
  });
}
