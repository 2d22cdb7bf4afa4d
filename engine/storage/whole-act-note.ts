/**
 * What the log says of a change of whole databases (FLUSHDB, SWAPDB; engine/domains/kv/whole-acts.ts), which is one over all workers.
 *
 *   first worker   DECIDED + DONE, with its records ──────────────── OVER        all in one frame each
 *   the others                        DONE, with their records
 *
 * A note says which partitions its worker has done. A run that was killed between DECIDED and OVER leaves partitions in which the
 * change is still to be made: those that no note calls done. Nobody has written to them by commands since, because they were held.
 *
 * DONE must not go before DECIDED does, or the change would be made again, over what was written since. So each segment begins with the
 * notes of acts that are not over, as it does with fences, and older ones may go.
 */
export const WHOLE_DECIDED = 0;
export const WHOLE_DONE = 1;
export const WHOLE_OVER = 2;
export type WholeState = typeof WHOLE_DECIDED | typeof WHOLE_DONE | typeof WHOLE_OVER;

/** A bit a partition, padded to 8 bytes. */
export const PARTITION_BITS_BYTES = 40;

export interface WholeNote {
  /** Number of the act in its run. */
  readonly act: number;
  /** Owner epoch of that run. */
  readonly epoch: number;
  readonly state: WholeState;
  /** Of DONE: a bit a partition. */
  readonly partitions: Uint8Array;
  /** Of DECIDED: what is changed, as text. */
  readonly change: Uint8Array;
}

/** A change that is decided, and still to be made in these partitions. */
export interface UndoneAct {
  readonly act: number;
  readonly epoch: number;
  readonly change: Uint8Array;
  readonly partitions: readonly number[];
}

const NO_CHANGE = new Uint8Array(0);

/** An act as far as notes speak of it; of one that is over, not even what it changes: there may be very many. */
interface NotedAct {
  readonly act: number;
  readonly epoch: number;
  decided: WholeNote | undefined;
  isOver: boolean;
  /** Some worker has noted that it did its part. */
  isDone: boolean;
  /** A bit for each partition in which it is done. */
  doneBits: Uint8Array;
}

const NO_BITS = new Uint8Array(0);

/** What all notes of a log say together. */
export class WholeNotes {
  readonly #acts = new Map<string, NotedAct>();

  note(note: WholeNote): void {
    const { act, epoch, state } = note;
    const name = `${epoch} ${act}`;
    const noted = this.#acts.get(name) ?? { act, epoch, decided: undefined, isOver: false, isDone: false, doneBits: NO_BITS };
    this.#acts.set(name, noted);
    if (state === WHOLE_DONE) noted.isDone = true;
    if (state === WHOLE_OVER) noted.isOver = true;
    if (noted.isOver) {
      noted.decided = undefined;
      noted.doneBits = NO_BITS;
    } else if (state === WHOLE_DECIDED) noted.decided = note;
    else noted.doneBits = unionOf(noted.doneBits, note.partitions);
  }

  /** Acts of that run which were done where its notes come from. */
  doneIn(epoch: number): ReadonlySet<number> {
    return new Set([...this.#acts.values()].filter((noted) => noted.isDone && noted.epoch === epoch).map(({ act }) => act));
  }

  /** What earlier runs have left undone in these partitions, oldest first. */
  undone(partitions: readonly number[], epoch: number): UndoneAct[] {
    const undone: UndoneAct[] = [];
    for (const { act, epoch: actEpoch, decided, doneBits } of this.#acts.values()) {
      if (decided === undefined || actEpoch >= epoch) continue;
      const left = partitions.filter((partition) => !hasBit(doneBits, partition));
      if (left.length > 0) undone.push({ act, epoch: actEpoch, change: decided.change, partitions: left });
    }
    return undone.sort((left, right) => left.epoch - right.epoch || left.act - right.act);
  }

  /** True when partitions are done of an act that an earlier run has decided, and that is not over. */
  hasFinished(epoch: number): boolean {
    for (const noted of this.#acts.values()) {
      if (noted.epoch < epoch && noted.isDone && noted.decided !== undefined) return true;
    }
    return false;
  }

  /**
   * What a segment begins with in the log of the run `epoch`. Forgets acts that are over: all that was said of them is read by then.
   *
   * @param hasOlderLogs there are logs of earlier runs, which decide acts that this one may call done
   */
  carried(epoch: number, hasOlderLogs: boolean): WholeNote[] {
    const notes: WholeNote[] = [];
    for (const [name, { act, epoch: actEpoch, decided, isOver, isDone, doneBits }] of this.#acts) {
      const isOwn = actEpoch === epoch;
      if (isOver) this.#acts.delete(name);
      if (isOver || !isDone || !(isOwn || (hasOlderLogs && decided !== undefined))) continue;
      if (isOwn && decided !== undefined) notes.push(decided);
      notes.push({ act, epoch: actEpoch, state: WHOLE_DONE, partitions: unionOf(doneBits, NO_BITS), change: NO_CHANGE });
    }
    return notes;
  }
}

export function partitionBits(partitions: readonly number[]): Uint8Array {
  const bits = new Uint8Array(PARTITION_BITS_BYTES);
  for (const partition of partitions) bits[partition >>> 3] = (bits[partition >>> 3] as number) | (1 << (partition & 7));
  return bits;
}

function unionOf(left: Uint8Array, right: Uint8Array): Uint8Array {
  const bits = new Uint8Array(PARTITION_BITS_BYTES);
  for (let byte = 0; byte < bits.length; byte++) bits[byte] = (left[byte] ?? 0) | (right[byte] ?? 0);
  return bits;
}

function hasBit(bits: Uint8Array, partition: number): boolean {
  return ((bits[partition >>> 3] ?? 0) & (1 << (partition & 7))) !== 0;
}
