/**
 * What the log says of a change of whole databases (FLUSHDB, SWAPDB; engine/domains/kv/whole-acts.ts), which is one over all workers.
 *
 *   first worker   DECIDED + DONE, with its records ──────────────── OVER        all in one frame each
 *   the others                        DONE, with their records
 *
 * A note says which partitions its worker has done. A run that was killed between DECIDED and OVER leaves partitions in which the
 * change is still to be made: those that no note calls done. Nobody has written to them by commands since, because they were held.
 */
import { PARTITION_COUNT } from '../partition/hash.ts';

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

/** What all notes of a log say together. */
export class WholeNotes {
  readonly #decided = new Map<string, WholeNote>();
  readonly #done = new Map<string, Set<number>>();
  readonly #over = new Set<string>();
  readonly #actsDone: WholeNote[] = [];

  note(note: WholeNote): void {
    const name = `${note.epoch} ${note.act}`;
    if (note.state === WHOLE_DECIDED) this.#decided.set(name, note);
    else if (note.state === WHOLE_OVER) this.#over.add(name);
    else {
      this.#actsDone.push(note);
      const done = this.#done.get(name) ?? new Set();
      this.#done.set(name, done);
      for (const partition of partitionsOf(note.partitions)) done.add(partition);
    }
  }

  /** Acts of that run which were done where its notes come from. */
  doneIn(epoch: number): ReadonlySet<number> {
    return new Set(this.#actsDone.filter((note) => note.epoch === epoch).map(({ act }) => act));
  }

  /** What earlier runs have left undone in these partitions, oldest first. */
  undone(partitions: readonly number[], epoch: number): UndoneAct[] {
    const undone: UndoneAct[] = [];
    for (const [name, note] of this.#decided) {
      if (this.#over.has(name) || note.epoch >= epoch) continue;
      const left = partitions.filter((partition) => this.#done.get(name)?.has(partition) !== true);
      if (left.length > 0) undone.push({ act: note.act, epoch: note.epoch, change: note.change, partitions: left });
    }
    return undone.sort((left, right) => left.epoch - right.epoch || left.act - right.act);
  }
}

export function partitionBits(partitions: readonly number[]): Uint8Array {
  const bits = new Uint8Array(PARTITION_BITS_BYTES);
  for (const partition of partitions) bits[partition >>> 3] = (bits[partition >>> 3] as number) | (1 << (partition & 7));
  return bits;
}

function partitionsOf(bits: Uint8Array): number[] {
  const partitions: number[] = [];
  for (let partition = 0; partition < PARTITION_COUNT; partition++) {
    if (((bits[partition >>> 3] as number) & (1 << (partition & 7))) !== 0) partitions.push(partition);
  }
  return partitions;
}
