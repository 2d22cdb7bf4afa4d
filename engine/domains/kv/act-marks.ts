/**
 * Whether a read of several workers saw each act over them whole: counts in memory that all threads share.
 *
 *   act      begin(maps) ─ COMMIT ─ APPLY at each worker ─ end(maps)
 *   reader   place = quiet(maps) ─ asks the workers ─ isQuietSince(place): no act began meanwhile, and none was under way before
 *
 * Two counts for each group of maps (by the hash of their names): acts begun, acts ended. Only the gateway with the Redis door
 * writes them. A reader that finds no quiet moment says so (`readers`), and acts that have not begun let it pass.
 */
import { assert } from '../../assert.ts';
import { fnv1aUtf8 } from '../../partition/hash.ts';

const GROUPS = 64;
const READERS = 2 * GROUPS;

/** How many acts of each group had ended when there was none under way. */
export interface QuietPlace {
  readonly groups: readonly number[];
  readonly ended: readonly number[];
}

export class ActMarks {
  static readonly BYTES = 4 * (2 * GROUPS + 1);
  readonly #words: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    assert(memory.byteLength === ActMarks.BYTES);
    this.#words = new Int32Array(memory);
  }

  /** What one of these maps holds is about to change. Answers with what `end` is given when it has changed everywhere. */
  begin(maps: Iterable<Uint8Array>): readonly number[] {
    const groups = groupsOf(maps);
    for (const group of groups) Atomics.add(this.#words, group, 1);
    return groups;
  }

  end(groups: readonly number[]): void {
    for (const group of groups) Atomics.add(this.#words, GROUPS + group, 1);
  }

  /** Undefined while an act changes one of these maps. */
  quiet(maps: Iterable<Uint8Array>): QuietPlace | undefined {
    const groups = groupsOf(maps);
    const place = { groups, ended: groups.map((group) => Atomics.load(this.#words, GROUPS + group)) };
    return this.isQuietSince(place) ? place : undefined;
  }

  /** No act has changed anything of these maps since then. */
  isQuietSince({ groups, ended }: QuietPlace): boolean {
    return groups.every((group, index) => Atomics.load(this.#words, group) === ended[index]);
  }

  /** Readers that acts should let pass. */
  get readers(): number {
    return Atomics.load(this.#words, READERS);
  }

  addReader(): void {
    Atomics.add(this.#words, READERS, 1);
  }

  removeReader(): void {
    Atomics.sub(this.#words, READERS, 1);
  }
}

function groupsOf(maps: Iterable<Uint8Array>): number[] {
  const groups = new Set<number>();
  for (const name of maps) groups.add(fnv1aUtf8(name, 0, name.length) % GROUPS);
  return [...groups];
}
