/**
 * How safe a batch of merges is when it is answered, and when it is safe for good.
 *
 *               endBatch                              persisted (survives a power loss)
 *   LOG         one write to the log; with the policy  when the log is synced that far
 *               `always` also its sync
 *   FLUSH       nothing: memory (log off)              when Postgres has committed that far
 *   STORE       the commit in Postgres (write-through) with the batch
 *   NOTHING     nothing: a cache                       never
 *
 * Sequences rise. Of LOG they count frames, else changes that were staged; a later one includes all before it.
 */
import { GridError } from '../engine/protocol/errors.ts';
import type { WriteBehind } from '../engine/storage/write-behind.ts';
import type { WriteThrough } from '../engine/storage/write-through.ts';
import type { WriteAheadLog } from './wal/write-ahead-log.ts';

const PERSIST_DEADLINE_MS = 30_000;

export interface Durability {
  /** Holds everything merged up to the last `endBatch`. */
  readonly sequence: number;
  /** True when what `endBatch` let through is persisted already. */
  readonly persistsBatches: boolean;
  /** True when nothing ever is persisted. */
  readonly neverPersists: boolean;
  /**
   * Makes the batch as safe as its answers say. Undefined: it is. A promise: it will be, or rejects with GridError.
   * A GridError: it is merged in memory, but must not be acknowledged.
   */
  endBatch(): Promise<void> | GridError | undefined;
  /** Logs what changed between batches (expiry); nobody is answered, so nobody waits. */
  endTick(): void;
  /** Somebody waits until `sequence` is persisted. */
  persistSoon(): void;
  /** Everything up to here is persisted. */
  readonly persistedSequence: number;
  /** Why nothing is made safe any more: what was changed and not logged until then is let go. */
  readonly failure: GridError | undefined;
}

export class LogDurability implements Durability {
  readonly neverPersists = false;
  readonly persistsBatches: boolean;
  readonly #log: WriteAheadLog;
  readonly #behind: WriteBehind;
  readonly #inboxPositions: () => readonly number[];

  constructor(log: WriteAheadLog, behind: WriteBehind, always: boolean, inboxPositions: () => readonly number[]) {
    this.#log = log;
    this.#behind = behind;
    this.persistsBatches = always;
    this.#inboxPositions = inboxPositions;
  }

  get sequence(): number {
    return this.#log.sequence;
  }

  get persistedSequence(): number {
    return this.#log.syncedSequence;
  }

  get failure(): GridError | undefined {
    return this.#log.failure;
  }

  endBatch(): Promise<void> | GridError | undefined {
    const log = this.#log;
    if (!this.#write()) return new GridError(log.refusal ?? 'READ_ONLY', 'the write-ahead log could not take the batch');
    if (!this.persistsBatches || log.syncedSequence >= log.sequence) return undefined;
    return log.synced(log.sequence);
  }

  /** A full log takes what its next segment begins with: only then may the one go that fills it. */
  endTick(): void {
    const { refusal, isCarrying } = this.#log;
    if (refusal === undefined || (refusal === 'LOG_FULL' && isCarrying)) this.#write();
  }

  #write(): boolean {
    const log = this.#log;
    return log.frame.isEmpty || log.write(this.#behind.stagedSequence, this.#inboxPositions());
  }

  persistSoon(): void {
    this.#log.requestSync();
  }
}

export class FlushDurability implements Durability {
  readonly persistsBatches = false;
  readonly neverPersists = false;
  readonly failure = undefined;
  readonly #behind: WriteBehind;

  constructor(behind: WriteBehind) {
    this.#behind = behind;
  }

  get sequence(): number {
    return this.#behind.stagedSequence;
  }

  get persistedSequence(): number {
    return this.#behind.flushedSequence;
  }

  endBatch(): undefined {
    return undefined;
  }

  endTick(): void {}

  /** Whatever the delay says. A failure is tried again by the soft flush, and who waits is told at his deadline. */
  persistSoon(): void {
    this.#behind.tryFlush(PERSIST_DEADLINE_MS).catch(assertTyped);
  }
}

export class StoreDurability implements Durability {
  readonly sequence = 0;
  readonly persistedSequence = 0;
  readonly persistsBatches = true;
  readonly neverPersists = false;
  readonly failure = undefined;
  readonly #through: WriteThrough;

  constructor(through: WriteThrough) {
    this.#through = through;
  }

  endBatch(): Promise<void> {
    return this.#through.settle();
  }

  /** The soft flush carries it. */
  endTick(): void {}

  persistSoon(): void {}
}

export const NO_DURABILITY: Durability = Object.freeze({
  sequence: 0,
  persistedSequence: 0,
  persistsBatches: false,
  neverPersists: true,
  failure: undefined,
  endBatch: () => undefined,
  endTick: () => undefined,
  persistSoon: () => undefined,
});

function assertTyped(error: unknown): void {
  if (!(error instanceof GridError)) throw error;
}
