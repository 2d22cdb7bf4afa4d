/**
 * Hash → record reference of one table: open addressing with linear probing, grown a little at a time.
 *
 *   #slots   [hash, ref] [hash, ref] [0, 0] ...    ref 0: never used, ends a probe
 *   #old     the array before the last resize, while it is being emptied; ref -1: moved on, does not end a probe
 *   #moved   slots of #old that were looked at
 *
 * Doubling a table of a million records in one go would stop the worker for tens of milliseconds. Instead a resize
 * only makes the new array, and each later change moves 32 slots; until then a lookup asks both arrays. A slot holds
 * the whole hash, so moving never touches a record. Removal shifts the rest of the probe run back: no tombstones.
 *
 * Invariant: at most 3/4 of #slots is used; #old is empty before the next resize is due.
 *
 * Hashes come from the protocol and have no secret: keys with one hash are easily made, and stand in one run. `alike` says how many were
 * passed, so that their number can be bounded (record-store.ts).
 *
 * Deletion by shifting: Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithm R.
 */
import { assert } from '../assert.ts';
import type { KernelMemory } from './kernel-memory.ts';
import type { RecordImage } from './record.ts';
import { HITS, hasIdentity, KEY_TAG_BYTES } from './record-block.ts';
import { type Segment, SEGMENT_SHIFT, UNIT_MASK } from './slab.ts';

const SLOTS_MIN = 8;
const MOVED_PER_CHANGE = 32;
const MOVED = -1;
const FIRST_LINE_WORD = KEY_TAG_BYTES;
const LAST_LINE_WORD = HITS;

/** Slots with the hash that was looked for that the last `probe` passed. */
let passed = 0;

export class SlotIndex {
  /** When the last `find` answered 0: records with that hash. */
  alike = 0;
  readonly #segments: readonly Segment[];
  readonly #memory: KernelMemory | undefined;
  /** Where the kernel is told of the slots; 0: nowhere. */
  readonly #entry: number;
  #slots: Int32Array;
  #used = 0;
  #old: Int32Array | undefined;
  #moved = 0;

  /** @param entry address in `memory` of the two words by which the kernel finds the slots (kernel/record-merge.ts). */
  constructor(segments: readonly Segment[], memory?: KernelMemory, entry = 0) {
    this.#segments = segments;
    this.#memory = memory;
    this.#entry = entry;
    this.#slots = this.#make(SLOTS_MIN);
  }

  /** Memory of the arrays. */
  get bytes(): number {
    return this.#slots.byteLength + (this.#old?.byteLength ?? 0);
  }

  /** The record with this hash whose key and tag equal the image's, or 0. `words` are those of the image's source. */
  find(hash: number, image: RecordImage, words: Int32Array): number {
    passed = 0;
    let ref = probe(this.#slots, this.#segments, hash, image, words);
    if (ref === 0 && this.#old !== undefined) ref = probe(this.#old, this.#segments, hash, image, words);
    this.alike = passed;
    return ref;
  }

  /**
   * Reads the home slot of a hash and the header behind it for the cache's sake; see RecordStore.warm. No branch
   * depends on what is found there, so that the processor goes on to the next one while it waits for memory.
   */
  warm(hash: number): number {
    const slots = this.#slots;
    const ref = slots[((hash << 1) & (slots.length - 2)) + 1] as number;
    if (ref === 0) return 0;
    const i32 = (this.#segments[ref >>> SEGMENT_SHIFT] as Segment).i32;
    const word = (ref & UNIT_MASK) << 2;
    return (i32[word + FIRST_LINE_WORD] as number) ^ (i32[word + LAST_LINE_WORD] as number);
  }

  /** Adds a reference that is not there yet. */
  add(hash: number, ref: number): void {
    if (this.#old !== undefined) this.#moveSome(this.#old);
    const capacity = this.#slots.length >>> 1;
    if ((this.#used + 1) * 4 > capacity * 3) this.#resize(capacity * 2);
    place(this.#slots, hash, ref);
    this.#used += 1;
  }

  /** The record moved in memory. */
  replace(hash: number, from: number, to: number): void {
    const at = locate(this.#slots, hash, from);
    if (at >= 0) {
      this.#slots[at + 1] = to;
      return;
    }
    const old = this.#old;
    const oldAt = old === undefined ? -1 : locate(old, hash, from);
    assert(old !== undefined && oldAt >= 0, `record ${from} is not indexed`);
    old[oldAt + 1] = to;
  }

  remove(hash: number, ref: number): void {
    const at = locate(this.#slots, hash, ref);
    if (at >= 0) {
      closeHole(this.#slots, at);
    } else {
      const old = this.#old;
      const oldAt = old === undefined ? -1 : locate(old, hash, ref);
      assert(old !== undefined && oldAt >= 0, `record ${ref} is not indexed`);
      old[oldAt + 1] = MOVED;
    }
    this.#used -= 1;
    if (this.#old !== undefined) this.#moveSome(this.#old);
    else if (this.#used * 8 < this.#slots.length >>> 1) this.#shrink();
  }

  clear(): void {
    this.drop();
    this.#slots = this.#make(SLOTS_MIN);
    this.#old = undefined;
    this.#used = 0;
    this.#moved = 0;
  }

  /** Lets the slots go. Of no use from then on. */
  drop(): void {
    const memory = this.#memory;
    if (memory === undefined) return;
    if (this.#entry !== 0) memory.words[this.#entry >>> 2] = 0;
    if (this.#old !== undefined) memory.releaseSlots(this.#old);
    memory.releaseSlots(this.#slots);
  }

  #shrink(): void {
    const capacity = this.#slots.length >>> 1;
    if (capacity > SLOTS_MIN) this.#resize(Math.max(SLOTS_MIN, capacity >>> 2));
  }

  #resize(capacity: number): void {
    assert(this.#old === undefined, 'resized again before the last resize was done');
    this.#old = this.#slots;
    this.#moved = 0;
    this.#slots = this.#make(capacity);
    this.#moveSome(this.#old);
  }

  /** Slots that are all free, of which the kernel is told. What it does not find there it leaves to us, who ask #old, too. */
  #make(capacity: number): Int32Array {
    const memory = this.#memory;
    if (memory === undefined) return new Int32Array(capacity * 2);
    const slots = memory.makeSlots(capacity * 2);
    if (this.#entry !== 0) {
      memory.words[this.#entry >>> 2] = memory.addressOf(slots);
      memory.words[(this.#entry >>> 2) + 1] = (capacity - 1) << 3;
    }
    return slots;
  }

  #moveSome(old: Int32Array): void {
    const slots = this.#slots;
    const start = this.#moved * 2;
    const end = Math.min(old.length, start + MOVED_PER_CHANGE * 2);
    for (let at = start; at < end; at += 2) {
      const ref = old[at + 1] as number;
      if (ref > 0) {
        place(slots, old[at] as number, ref);
        old[at + 1] = MOVED;
      }
    }
    this.#moved = end >>> 1;
    if (end < old.length) return;
    this.#memory?.releaseSlots(old);
    this.#old = undefined;
  }
}

function probe(slots: Int32Array, segments: readonly Segment[], hash: number, image: RecordImage, words: Int32Array): number {
  const mask = slots.length - 2;
  for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
    const ref = slots[at + 1] as number;
    if (ref === 0) return 0;
    if (slots[at] === hash && ref > 0) {
      if (hasIdentity(segments[ref >>> SEGMENT_SHIFT] as Segment, (ref & UNIT_MASK) << 2, image, words)) return ref;
      passed += 1;
    }
  }
}

/** Index of the slot that holds `ref`, or -1. */
function locate(slots: Int32Array, hash: number, ref: number): number {
  const mask = slots.length - 2;
  for (let at = (hash << 1) & mask; ; at = (at + 2) & mask) {
    const stored = slots[at + 1] as number;
    if (stored === ref) return at;
    if (stored === 0) return -1;
  }
}

function place(slots: Int32Array, hash: number, ref: number): void {
  const mask = slots.length - 2;
  let at = (hash << 1) & mask;
  while (slots[at + 1] !== 0) at = (at + 2) & mask;
  slots[at] = hash;
  slots[at + 1] = ref;
}

/** Moves back every slot of the run behind `hole` that may stand there, and so on until the run ends. */
function closeHole(slots: Int32Array, hole: number): void {
  const mask = slots.length - 2;
  let empty = hole;
  for (let at = (hole + 2) & mask; slots[at + 1] !== 0; at = (at + 2) & mask) {
    const home = ((slots[at] as number) << 1) & mask;
    if (((at - home) & mask) < ((at - empty) & mask)) continue; // its home lies behind the hole
    slots[empty] = slots[at] as number;
    slots[empty + 1] = slots[at + 1] as number;
    empty = at;
  }
  slots[empty] = 0;
  slots[empty + 1] = 0;
}
