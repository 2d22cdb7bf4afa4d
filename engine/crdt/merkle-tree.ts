/**
 * Merkle tree of one map: 4096 leaf sums, and the folding of sums to the hashes that a client compares.
 *
 *   key hash   374a6a67            leaf 374 = the first three hex digits
 *   leaf       Σ fmix32(entry hash)       inner node = Σ fmix32(child)       root the same      all mod 2^32
 *
 *   pages      16, one per first digit, made when first touched:  sums 256 × i32 | heads 256 × u32 | dirty 8 × 32 bits
 *
 * The clever thing: the hash of a leaf is a sum, so a write adds the difference of two entry hashes, the leaves of
 * several workers add up to the leaf of the map, and only sums are stored: inner nodes (273 of them) are folded when
 * somebody asks. A hash of 0 means nothing there, as the client reads a missing bucket.
 *
 * Source: docs/PROTOCOL.md §4.2, §4.3.
 */
import { assert } from '../assert.ts';
import { fmix32 } from '../partition/hash.ts';

export const LEAVES = 4096;
/** Children of an inner node. */
export const FAN_OUT = 16;
/** Digits of a leaf's path. */
export const PATH_DIGITS = 3;

const PAGE_LEAVES = 256;
const PAGES = LEAVES / PAGE_LEAVES;
const PAGE_SHIFT = 8;
const PAGE_MASK = PAGE_LEAVES - 1;
const REF_MAX = 0xffffffff;

class Page {
  readonly sums = new Int32Array(PAGE_LEAVES);
  readonly heads = new Uint32Array(PAGE_LEAVES);
  readonly dirty = new Int32Array(PAGE_LEAVES / 32);
}

const PAGE_BYTES = PAGE_LEAVES * 4 * 2 + PAGE_LEAVES / 8;

export class MerkleLeaves {
  readonly #pages: (Page | null)[] = new Array<Page | null>(PAGES).fill(null);
  #pagesMade = 0;

  /** Memory of the pages made so far. */
  get bytes(): number {
    return this.#pagesMade * PAGE_BYTES;
  }

  /** Sum of a leaf, unsigned; what the client calls the hash of the leaf. */
  sum(leaf: number): number {
    const page = this.#pages[leaf >>> PAGE_SHIFT] as Page | null;
    return page === null ? 0 : (page.sums[leaf & PAGE_MASK] as number) >>> 0;
  }

  /** Adds to a leaf's sum, mod 2^32; signed or not. */
  add(leaf: number, delta: number): void {
    const page = this.#page(leaf);
    page.sums[leaf & PAGE_MASK] = ((page.sums[leaf & PAGE_MASK] as number) + (delta | 0)) | 0;
  }

  /** Replaces an entry's hash in the sum of its leaf. 0 stands for no entry: (0, h) adds, (h, 0) removes. */
  replace(leaf: number, oldHash: number, newHash: number): void {
    this.add(leaf, fmix32(newHash) - fmix32(oldHash));
  }

  setSum(leaf: number, sum: number): void {
    this.#page(leaf).sums[leaf & PAGE_MASK] = sum | 0;
  }

  /** Reference of the first record linked to the leaf, 0 for none. Storage keeps it here; the tree does not read it. */
  head(leaf: number): number {
    const page = this.#pages[leaf >>> PAGE_SHIFT] as Page | null;
    return page === null ? 0 : (page.heads[leaf & PAGE_MASK] as number);
  }

  /** `ref` is 0..2^32-1. */
  setHead(leaf: number, ref: number): void {
    assert(ref >= 0 && ref <= REF_MAX, 'a record reference is a u32');
    this.#page(leaf).heads[leaf & PAGE_MASK] = ref;
  }

  /** Notes that the leaf's sum is out of date: entry hashes of OR-Maps are computed when somebody syncs. */
  markDirty(leaf: number): void {
    const dirty = this.#page(leaf).dirty;
    const word = (leaf & PAGE_MASK) >>> 5;
    dirty[word] = (dirty[word] as number) | (1 << (leaf & 31));
  }

  isDirty(leaf: number): boolean {
    const page = this.#pages[leaf >>> PAGE_SHIFT] as Page | null;
    return page !== null && (((page.dirty[(leaf & PAGE_MASK) >>> 5] as number) >>> (leaf & 31)) & 1) === 1;
  }

  clearDirty(leaf: number): void {
    const page = this.#pages[leaf >>> PAGE_SHIFT] as Page | null;
    if (page === null) return;
    const word = (leaf & PAGE_MASK) >>> 5;
    page.dirty[word] = (page.dirty[word] as number) & ~(1 << (leaf & 31));
  }

  /** Calls `fn` for each dirty leaf, ascending. `fn` may clear the leaf it was given; it stays dirty otherwise. */
  forEachDirty(fn: (leaf: number) => void): void {
    for (let pageNumber = 0; pageNumber < PAGES; pageNumber++) {
      const page = this.#pages[pageNumber] as Page | null;
      if (page === null) continue;
      for (let word = 0; word < page.dirty.length; word++) {
        const first = pageNumber * PAGE_LEAVES + word * 32;
        for (let bits = page.dirty[word] as number; bits !== 0; bits &= bits - 1) fn(first + 31 - Math.clz32(bits & -bits));
      }
    }
  }

  /** Calls `fn` for each leaf under a path of 0 to 3 digits that has a sum or a head, ascending. */
  forEachLeaf(path: string, fn: (leaf: number, sum: number) => void): void {
    const first = firstLeafOf(path);
    const end = first + leafCountOf(path);
    for (let leaf = first; leaf < end; leaf++) {
      const sum = this.sum(leaf);
      if (sum !== 0 || this.head(leaf) !== 0) fn(leaf, sum);
    }
  }

  /** Fills `into` (4096) with all sums. */
  copySums(into: Uint32Array): void {
    assert(into.length === LEAVES, `${into.length} leaves`);
    for (let pageNumber = 0; pageNumber < PAGES; pageNumber++) {
      const start = pageNumber * PAGE_LEAVES;
      const page = this.#pages[pageNumber] as Page | null;
      if (page === null) into.fill(0, start, start + PAGE_LEAVES);
      else into.set(page.sums, start); // a typed array turns negative numbers into their unsigned form
    }
  }

  #page(leaf: number): Page {
    assert(leaf >= 0 && leaf < LEAVES, 'leaf out of range');
    const pageNumber = leaf >>> PAGE_SHIFT;
    const page = this.#pages[pageNumber] as Page | null;
    return page === null ? this.#makePage(pageNumber) : page;
  }

  #makePage(pageNumber: number): Page {
    const page = new Page();
    this.#pages[pageNumber] = page;
    this.#pagesMade += 1;
    return page;
  }
}

/** Leaf of a key's hash. */
export function leafOf(keyHash: number): number {
  return keyHash >>> 20;
}

/** True for 0 to 3 lower-case hex digits: the paths that a walk may ask for. */
export function isPath(text: string): boolean {
  return /^[0-9a-f]{0,3}$/.test(text);
}

/** Leaf of a path of three digits. */
export function leafOfPath(path: string): number {
  assert(path.length === PATH_DIGITS, `not the path of a leaf: ${path}`);
  return firstLeafOf(path);
}

/** First leaf under a path; the leaves under it follow one another. */
export function firstLeafOf(path: string): number {
  assert(isPath(path), `not a path: ${path}`);
  return path === '' ? 0 : Number.parseInt(path, 16) * leafCountOf(path);
}

/** Number of leaves under a path: 4096, 256, 16 or 1. */
export function leafCountOf(path: string): number {
  return FAN_OUT ** (PATH_DIGITS - path.length);
}

/** Hash of a node with these children, or of a leaf with these entries: independent of order, 0 for none. Unsigned. */
export function combine(hashes: ArrayLike<number>): number {
  return combineSpan(hashes, 0, hashes.length);
}

/** Root of the tree over all leaf sums (4096), unsigned. */
export function foldRoot(sums: Uint32Array): number {
  return combine(foldBuckets(sums, ''));
}

/** Hashes of the 16 children of the node at `path` (0 to 2 digits), by digit; 0 where there is nothing. */
export function foldBuckets(sums: Uint32Array, path: string): Uint32Array {
  assert(sums.length === LEAVES, `${sums.length} leaves`);
  assert(path.length < PATH_DIGITS, `the path ${path} has no buckets`);
  const first = firstLeafOf(path);
  let level = sums.slice(first, first + leafCountOf(path));
  while (level.length > FAN_OUT) level = foldLevel(level);
  return level;
}

/** Adds the leaf sums of one worker to those of others, mod 2^32. */
export function addSums(into: Uint32Array, from: Uint32Array): void {
  assert(into.length === from.length, `${from.length} sums added to ${into.length}`);
  for (let leaf = 0; leaf < into.length; leaf++) into[leaf] = (into[leaf] as number) + (from[leaf] as number);
}

/** Hashes of the parents of a level of nodes. */
function foldLevel(level: Uint32Array): Uint32Array<ArrayBuffer> {
  const parents = new Uint32Array(level.length / FAN_OUT);
  for (let parent = 0; parent < parents.length; parent++) {
    parents[parent] = combineSpan(level, parent * FAN_OUT, (parent + 1) * FAN_OUT);
  }
  return parents;
}

function combineSpan(hashes: ArrayLike<number>, start: number, end: number): number {
  let sum = 0;
  for (let index = start; index < end; index++) sum = (sum + fmix32(hashes[index] as number)) | 0;
  return sum >>> 0;
}
